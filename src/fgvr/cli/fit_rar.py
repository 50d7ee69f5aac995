"""``fgvr fit rar``: a memory of a few labelled photographs, and what an MLLM's second opinion on them is worth."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable, show_set_aside, tally
from fgvr.cli.fit import read_summary
from fgvr.cli.inputs import first_items, load_dual_encoder, load_model, start_afresh
from fgvr.cli.label import stop_reason
from fgvr.cli.tables import count, money, pairs, percent
from fgvr.errors import BudgetError, InputError

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.methods.rar import RAR, RarSettings

Labelled = Annotated[
    str | None,
    typer.Argument(help="Labelled photographs: one folder per class, or a manifest with labels.", show_default=False),
]
NAMES_LIMIT = 2**24
"""Bytes of a file of class names."""


def rar(
    images: Labelled = None,
    *,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    encoder: o.EncoderName,
    mllm: o.MllmMaybe = None,
    names: Annotated[Path | None, typer.Option(help="File of further class names, one a line.")] = None,
    name_by_mllm: Annotated[
        bool, typer.Option("--name-by-mllm", help="The photographs have no labels; the MLLM names them first.")
    ] = False,
    split: o.Split = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Photographs kept a class, drawn by --seed.")] = None,
    preset: Annotated[o.RarPreset, typer.Option(help="As in the paper, as in its code, or better.")] = (
        o.RarPreset.default
    ),
    k: Annotated[int | None, typer.Option("--k", min=1, help="Candidates; 5, or 4 with four shots a class.")] = None,
    source: Annotated[o.MemorySource | None, typer.Option(help="Rows that candidates come from; fused.")] = None,
    mode: Annotated[o.RankMode | None, typer.Option(help="Score candidates, or have a list written; score.")] = None,
    score: Annotated[o.RankAsk | None, typer.Option(help="What is scored; by default what the MLLM can.")] = None,
    permutations: Annotated[
        int, typer.Option(min=1, help="Rotations of a list of options, averaged against order bias.")
    ] = 1,
    asking: Annotated[
        o.Asking | None, typer.Option("--ask", help="When the MLLM is asked; margin: where retrieval is in doubt.")
    ] = None,
    margin: Annotated[float | None, typer.Option(min=0, max=1, help="Doubt is p1 - p2 below this; learned.")] = None,
    calibration: Annotated[
        int | None, typer.Option(min=0, help="Photographs that teach what the MLLM is worth; 300, 2000 if it is local.")
    ] = None,
    weight: Annotated[float | None, typer.Option(min=0, help="Of the MLLM's word, instead of learning it.")] = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    limit: o.Limit = None,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """RAR: retrieve with a memory, rank with an MLLM.

    Keeps a few labelled photographs a class, or names alone, and learns what the MLLM's word is worth. Without --mllm
    it only retrieves. Later classes are added by fgvr memory add, without training.
    """
    from fgvr.methods.rar import RAR
    from fgvr.mllm import load_prices

    if images is None and names is None:
        raise InputError("there is nothing to remember", remedy="Give labelled photographs, or --names FILE, or both.")
    found = None if images is None else _shots(images, split, limit, None if name_by_mllm else shots, seed)
    settings = rar_settings(
        preset,
        source=source,
        mode=mode,
        score=score,
        permutations=permutations,
        asking=asking,
        margin=margin,
        calibration=calibration,
        weight=weight,
    )
    further = read_names(names) if names else ()
    model = None if mllm is None else load_model(mllm, device=device)
    if dry_run:
        _show_plan(found, further, model, settings, name_by_mllm=name_by_mllm, json_wanted=json_wanted)
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        estimator = RAR(
            load_dual_encoder(encoder, device=device, dtype=dtype),
            model,
            settings=settings,
            k=k,
            out=out_folder,
            store=None if cache is None else cache / "features",
            cache=None if cache is None else cache / "replies.sqlite",
            budget=budget,
            allow_unpriced=allow_unpriced,
            concurrency=concurrency,
            prices=load_prices(prices) if prices else None,
            retry_failed=retry_failed,
            seed=seed,
            progress=progress,
        )
        summary = run_fit(
            estimator, found, names=further, name_by_mllm=name_by_mllm, source=images, mllm=mllm, dtype=dtype
        )
    _finish(summary, json_wanted=json_wanted)


def rar_settings(
    preset: str,
    *,
    source: str | None,
    mode: str | None,
    score: str | None,
    permutations: int,
    asking: str | None,
    margin: float | None,
    calibration: int | None,
    weight: float | None,
) -> RarSettings:
    """The options as the library's settings: a preset, and what was said beside it."""
    from fgvr.methods.rar import RarSettings
    from fgvr.methods.rar.pipeline import as_described, as_released

    made = {"as-described": as_described, "as-released": as_released}.get(str(preset), RarSettings)
    base: RarSettings = made()
    # Plain strings: the settings are digested and stored.
    said: dict[str, Any] = {"mode": mode and str(mode), "ask": score and str(score), "permutations": permutations}
    ranking = replace(base.ranking, **{key: value for key, value in said.items() if value is not None})
    retrieval = replace(base.retrieval, source=str(source)) if source else base.retrieval  # type: ignore[arg-type]
    given = {"asking": asking and str(asking), "margin": margin, "calibration": calibration, "weight": weight}
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return replace(base, ranking=ranking, retrieval=retrieval, **changed)


def read_names(file: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines and repeats do not count. Raises ``InputError``."""
    try:
        if file.stat().st_size > NAMES_LIMIT:
            raise InputError("the file of names is too large", remedy="One name a line, please.", file=str(file))
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the names cannot be read: {error}", remedy="Give a UTF-8 text file.", file=str(file)
        ) from error
    names = tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    if not names:
        raise InputError("the file holds no name", remedy="Write one name a line.", file=str(file))
    return names


def _shots(images: str, split: str | None, limit: int | None, shots: int | None, seed: int) -> Items:
    from fgvr.data import load_items, per_class

    found = first_items(load_items(images, split=split), limit)
    if shots is None:
        return found
    labelled = [item for item in found.items if item.label is not None]
    rest = tuple(item for item in found.items if item.label is None)  # the fit says why they are left out
    return replace(found, items=(*per_class(labelled, shots, seed=seed)[0], *rest))


def run_fit(
    estimator: RAR,
    found: Items | None,
    *,
    names: tuple[str, ...],
    name_by_mllm: bool,
    source: str | None,
    mllm: str | None,
    dtype: str,
) -> dict[str, Any]:
    """Fit, or find the finished fit; write what the other verbs need; returns the summary (JSON-like)."""
    from fgvr.runs import write_json
    from fgvr.types import Usage

    assert estimator.out is not None
    again = estimator.asking["retry_failed"]
    if not again and estimator.is_finished(found, names=names, name_by_mllm=name_by_mllm):
        known = read_summary(estimator.out)
        if known is not None and not known.get("stopped"):
            return {**known, "reused": known["asked"], "usage": asdict(Usage()), "was_finished": True}
    try:
        estimator.fit(found, names=names, name_by_mllm=name_by_mllm)
    except InputError as error:
        _explain_cap(estimator, error)
        raise
    summary = _summary(estimator, source=source, mllm=mllm, dtype=dtype)
    write_json(estimator.out / "summary.json", summary)
    return summary


def _explain_cap(estimator: RAR, error: InputError) -> None:
    """Photographs without a name because the cap allowed no call are the cap's doing, not the input's."""
    from fgvr.methods.rar.estimator import LEDGER
    from fgvr.runs import Ledger

    assert estimator.out is not None
    lines = Ledger(estimator.out / f"{LEDGER}.jsonl").records()
    if estimator.budget is not None and not any(line.get("status") in ("done", "failed") for line in lines):
        raise BudgetError(
            "the spending cap does not allow a single call", remedy="Raise --budget.", budget=estimator.budget
        ) from error


def _summary(estimator: RAR, *, source: str | None, mllm: str | None, dtype: str) -> dict[str, Any]:
    fit = estimator.last_fit
    assert fit is not None
    memory, rules = fit.recogniser.memory, fit.recogniser.rules
    place = None if mllm is None else str(Path(mllm).resolve()) if Path(mllm).is_dir() else mllm
    return {
        "run": str(estimator.out),
        "method": "rar",
        "images": None if source is None else str(Path(source).expanduser().absolute()),
        "classes": len(memory.names),
        "memory_images": len(memory.images),
        "memory_texts": len(memory.texts),
        "set_aside": tally(fit.set_aside),
        "set_aside_items": [asdict(aside) for aside in fit.set_aside],
        "k": fit.recogniser.retrieval.k,
        "rules": rules.to_dict(),
        "asked": fit.asked,
        "unanswered": fit.unanswered,
        "stopped": fit.stopped,
        "reused": fit.reused,
        "usage": asdict(fit.usage),
        "encoder": {"name": memory.encoder, "dtype": dtype, "fingerprint": memory.fingerprint},
        "mllm": place,
        "seed": estimator.seed,
        "was_finished": False,
    }


def _show_plan(
    found: Items | None,
    names: tuple[str, ...],
    model: Any,
    settings: RarSettings,
    *,
    name_by_mllm: bool,
    json_wanted: bool,
) -> None:
    """``--dry-run``: what would be kept and asked at most. Asks nothing, writes nothing."""
    from fgvr.methods.rar.pipeline import to_ask

    images = 0 if found is None else len(found.items)
    labels = set() if found is None else {item.label for item in found.items if item.label}
    calls = 0
    if model is not None:
        turns = 1 if settings.ranking.ask == "names" and model.local else settings.ranking.permutations
        calls = min(images, to_ask(settings, free=model.local)) * turns
        calls += images if name_by_mllm else 0
    plan = {"dry_run": True, "images": images, "classes": len(labels | set(names)), "calls_at_most": calls}
    if json_wanted:
        out_json(plan)
    else:
        out(pairs([(key.replace("_", " "), str(value)) for key, value in plan.items() if key != "dry_run"]))


def _finish(summary: dict[str, Any], *, json_wanted: bool) -> None:
    """Report page, summary, exit code."""
    from fgvr.cli.report import write_page
    from fgvr.types import SetAside

    page = write_page(Path(summary["run"]))
    show_set_aside(SetAside(**aside) for aside in summary["set_aside_items"])
    if json_wanted:
        out_json({**summary, "report": str(page)})
    else:
        note(_shown(summary))
        out(str(page))
    if summary["stopped"] == "budget":
        raise typer.Exit(3)


def _shown(summary: dict[str, Any]) -> str:
    usage, rules = summary["usage"], summary["rules"]
    done = "was finished already" if summary["was_finished"] else "done"
    rows = [
        ("fit", f"{done}: {printable(summary['run'])}"),
        ("memory", f"{count(summary['classes'])} classes, {count(summary['memory_images'])} images"),
        ("candidates", str(summary["k"])),
    ]
    if summary["mllm"] is not None:
        rows += [
            ("MLLM's weight", f"{rules['weight']:.2f} ({rules['weight_from']}, {summary['asked']} images asked)"),
            ("asked", _when(rules)),
            ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
            ("cost now", money(usage["cost"])),
        ]
        if summary["unanswered"]:
            rows.append(("no answer", f"about {summary['unanswered']} images; --retry-failed asks again"))
        if (cascade := rules["study"].get("cascade")) is not None:
            rows.append(
                (
                    "left-out images right",
                    f"{percent(cascade['never'])} by retrieval alone, {percent(cascade['always'])} asking about all",
                )
            )
    if summary["stopped"]:
        rows.append(("stopped", stop_reason(summary["stopped"])))
    rows.append(("next", f"fgvr predict {printable(summary['run'])} NEW_IMAGES"))
    return pairs(rows)


def _when(rules: dict[str, Any]) -> str:
    if rules["asking"] == "never" or rules["weight"] == 0:
        return "never: it does not help here" if rules["weight_from"] != "none" else "never"
    if rules["asking"] == "always":
        return "about every image"
    chosen = rules["study"].get("cascade", {}).get("chosen")
    about = "" if chosen is None else f", {percent(chosen['calls'])} of images like these"
    return f"where p1 - p2 < {rules['margin']:.2f}{about}"
