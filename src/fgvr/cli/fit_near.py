"""``fgvr fit near``: from a folder of photographs to a named classifier."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, printable, tally
from fgvr.cli.fit_shared import LEDGER, explain_cap, finish, finished
from fgvr.cli.inputs import (
    cost_ahead,
    first_items,
    load_dual_encoder,
    load_model,
    load_sentences,
    prompt_options,
    stand_ins,
    start_afresh,
    support_items,
)
from fgvr.cli.label import show_estimate, stop_reason
from fgvr.cli.tables import count, money, pairs, percent
from fgvr.errors import InputError

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.methods.near import NeaR
    from fgvr.methods.near.pipeline import FitSettings


def near(
    images: o.Images,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    encoder: o.EncoderName,
    mllm: o.MllmName,
    prompt: o.Prompt = "paper",
    support: Annotated[int, typer.Option("--support", min=1, help="Images to name, at most.")] = 600,
    choose: Annotated[
        o.Choose,
        typer.Option(help="Drawn; one of each cluster, no near-duplicates; or half so, then the least certain."),
    ] = o.Choose.random,
    support_split: Annotated[
        str, typer.Option(help="Rows of this split are the support set, or its pool.")
    ] = "support",
    sets: Annotated[
        o.Sets, typer.Option(help="Where candidate sets come from; two are ablations.")
    ] = o.Sets.neighbours,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours in a set, the image itself among them.")] = 3,
    policy: Annotated[o.Policy, typer.Option(help="Weights of the labels in a set.")] = o.Policy.vote,
    preset: Annotated[
        o.Preset, typer.Option(help="Tuning; select tries all and chooses on the support set.")
    ] = o.Preset.workshop,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's own number.")] = None,
    views: Annotated[int, typer.Option(min=0, help="Cropped views per image beside the plain one.")] = 0,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="Merge spellings and synonyms of names.")] = True,
    merge_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Also merge names this alike to a sentence encoder.")
    ] = None,
    filter_labels: Annotated[
        bool, typer.Option("--filter-labels", help="Drop names no support image ends up with.")
    ] = False,
    folds: Annotated[int, typer.Option(min=0, help="Of the cross-fit that calibrates; 0 skips it.")] = 3,
    limit: o.Limit = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    force: o.Force = False,
    cache: o.Cache = None,
    sentence_encoder: o.SentenceEncoderName = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """NeaR: from photographs without labels to a classifier.

    Names a support set, cleans the names up by neighbours, tunes a classifier. True labels are never looked at.
    """
    from fgvr.data import load_items
    from fgvr.methods.near import NeaR
    from fgvr.mllm import load_prices

    question = prompt_options(prompt)
    settings = fit_settings(sets, k, policy, preset, epochs, merge, merge_threshold, filter_labels, folds)
    found = first_items(load_items(images), limit)
    # What is chosen by features is chosen by the estimator, of all images or of the rows of the support split.
    size = support if choose == o.Choose.random else len(found.items)
    chosen = support_items(found, size=size, seed=seed, marked=support_split)
    price_table = load_prices(prices) if prices else None
    model = load_model(mllm, device=device)
    replies = None if cache is None else cache / "replies.sqlite"
    asking: dict[str, Any] = {"concurrency": concurrency, "prices": price_table, "retry_failed": retry_failed}
    if dry_run:
        ledger = out_folder / f"{LEDGER}.jsonl"
        asked = chosen if choose == o.Choose.random else stand_ins(chosen, size=support, seed=seed, run=out_folder)
        ahead = cost_ahead(asked.items, model, ledger=ledger, cache=replies, prompt=question, **asking)
        show_estimate(ahead, json_wanted=json_wanted)
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        estimator = NeaR(
            load_dual_encoder(encoder, device=device, dtype=dtype),
            model,
            settings=settings,
            support_size=None if choose == o.Choose.random else support,
            choose=choose.value,
            views=views,
            sentence_encoder=None if merge_threshold is None else load_sentences(sentence_encoder or "minilm"),
            out=out_folder,
            store=None if cache is None else cache / "features",
            cache=replies,
            budget=budget,
            allow_unpriced=allow_unpriced,
            seed=seed,
            progress=progress,
            **question,
            **asking,
        )
        summary = run_fit(estimator, chosen, source=images, collection=len(found.items), dtype=dtype)
    finish(summary, _shown(summary), json_wanted=json_wanted)


def fit_settings(
    sets: str,
    k: int,
    policy: str,
    preset: str,
    epochs: int | None,
    merge: bool,
    merge_threshold: float | None,
    filter_labels: bool,
    folds: int,
) -> FitSettings:
    """The options as the library's settings. Raises ``InputError`` where they make no sense together."""
    from fgvr.methods.near import SetSettings
    from fgvr.methods.near.pipeline import FitSettings
    from fgvr.methods.near.presets import tunings

    if folds == 1:
        raise InputError("one fold cannot be held out", remedy="Use --folds 0, 2 or more.")
    # Plain strings: the settings are digested and stored.
    chosen = SetSettings(kind=str(sets), k=k, policy=str(policy))  # type: ignore[arg-type]
    tuning = {name: replace(one, epochs=epochs or one.epochs) for name, one in tunings(str(preset)).items()}
    return FitSettings(
        sets=chosen,
        tuning=tuning if len(tuning) > 1 else next(iter(tuning.values())),
        merge=merge,
        merge_threshold=merge_threshold,
        filter_labels=filter_labels,
        folds=folds,
    )


def run_fit(estimator: NeaR, chosen: Items, *, source: str, collection: int, dtype: str) -> dict[str, Any]:
    """Fit, or find the finished fit; write what the other verbs need; returns the summary (JSON-like)."""
    from fgvr.runs import write_json

    assert estimator.out is not None
    folder = estimator.out
    if (known := finished(estimator, chosen)) is not None:
        return {**known, "reused": known["answered"], "usage": asdict(_nothing()), "was_finished": True}
    try:
        estimator.fit(chosen, support=chosen)
    except InputError as error:
        explain_cap(estimator, error)
        raise
    summary = _summary(estimator, source=source, collection=collection, dtype=dtype)
    write_json(folder / "summary.json", summary)
    return summary


def _summary(estimator: NeaR, *, source: str, collection: int, dtype: str) -> dict[str, Any]:
    fit, classifier = estimator.last_fit, estimator.classifier
    assert fit is not None
    assert classifier is not None
    answers, notes = fit.labelled.answers, classifier.notes
    statuses = Counter(named.status for named in fit.labelled.named)
    last = notes["trace"][-1]
    folder = str(estimator.out)
    return {
        "run": folder,
        "images": str(Path(source).expanduser().absolute()),
        "collection": collection,
        "choose": estimator.choose,
        "support": len(fit.table.items),
        "set_aside": tally(fit.set_aside),
        "set_aside_items": [asdict(aside) for aside in fit.set_aside],
        "answered": len(answers.replies),
        "statuses": dict(sorted(statuses.items())),
        "failed": len(answers.failures),
        "not_asked": len(answers.not_asked),
        "stopped": answers.stopped,
        "labels": len(classifier.names),
        "merged": len(notes["merged"]),
        "removed": len(notes["removed"]) + len(notes["filtered"]),
        "chosen": None if notes["selection"] is None else notes["selection"].get("chosen"),
        "last_epoch": last,
        "calibration": classifier.calibration.to_dict(),
        "reused": answers.reused,
        "usage": asdict(fit.labelled.usage),
        "usage_in_all": asdict(fit.labelled.usage + answers.saved),
        "encoder": {"name": classifier.encoder, "dtype": dtype, "fingerprint": classifier.fingerprint},
        "mllm": notes["mllm"],
        "seed": estimator.seed,
        "was_finished": False,
    }


def _shown(summary: dict[str, Any]) -> str:
    usage, last = summary["usage"], summary["last_epoch"]
    statuses = ", ".join(f"{status} {number}" for status, number in summary["statuses"].items())
    how = summary.get("choose", "random")  # runs begun before there was a choice do not say
    chosen = "" if how == "random" else f", chosen by {how}"
    done = "was finished already" if summary["was_finished"] else "done"
    rows = [
        ("fit", f"{done}: {printable(summary['run'])}"),
        ("support", f"{summary['support']} of {summary['collection']} images{chosen} ({statuses})"),
        ("names", f"{summary['labels']} ({summary['merged']} merged, {summary['removed']} removed)"),
        ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
        ("tokens now", f"{count(usage['input_tokens'])} in, {count(usage['output_tokens'])} out"),
        ("cost now", f"{money(usage['cost'])} (in all {money(summary['usage_in_all']['cost'])})"),
        ("last epoch", f"loss {last['loss']:.3f}, {percent(last['agreement'])} of predictions inside their set"),
    ]
    if summary["chosen"]:
        rows.append(("chosen on the support", printable(summary["chosen"])))
    if summary["failed"]:
        rows.append(("failed", f"{summary['failed']} images without an answer; --retry-failed asks again"))
    if summary["not_asked"]:
        rows.append(("not asked", f"{summary['not_asked']}: {stop_reason(summary['stopped'])}"))
    rows.append(("next", f"fgvr predict {printable(summary['run'])} NEW_IMAGES"))
    return pairs(rows)


def _nothing() -> Any:
    from fgvr.types import Usage

    return Usage()
