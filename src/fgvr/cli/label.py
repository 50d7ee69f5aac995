"""``fgvr label``: an MLLM names every image."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable, show_set_aside, tally
from fgvr.cli.inputs import (
    content_hashes,
    cost_ahead,
    estimate_rows,
    first_items,
    load_model,
    prompt_options,
    start_afresh,
)
from fgvr.cli.tables import count, money, pairs

if TYPE_CHECKING:
    from fgvr.naming.labelling import Labelled
    from fgvr.runs import Ledger, RunFolder
    from fgvr.types import ImageItem, NamedImage, Prediction, SetAside

LEDGER = "ledger"
COLUMNS = ("image", "name", "scientific", "alternatives", "confidence", "status", "model", "reply", "note")
SEEN_SIDE = 224
"""Pictures are decoded once before they are sent, small: is there a picture at all?"""


def label(
    images: o.Images,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    mllm: o.MllmName,
    prompt: o.Prompt = "paper",
    split: o.Split = None,
    limit: o.Limit = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    json_wanted: o.Json = False,
) -> None:
    """Name every image with an MLLM.

    Writes RUN/labels.jsonl (which replay:RUN/labels.jsonl plays back), labels.csv and predictions.jsonl.
    """
    from fgvr.data import load_items
    from fgvr.mllm import load_prices

    question = prompt_options(prompt)
    found = first_items(load_items(images, split=split), limit)
    price_table = load_prices(prices) if prices else None
    model = load_model(mllm, device=device)
    replies = None if cache is None else cache / "replies.sqlite"
    asking: dict[str, Any] = {"concurrency": concurrency, "prices": price_table, "retry_failed": retry_failed}
    if dry_run:
        ledger = out_folder / f"{LEDGER}.jsonl"
        show_estimate(
            cost_ahead(found.items, model, ledger=ledger, cache=replies, prompt=question, **asking),
            json_wanted=json_wanted,
        )
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    summary = run_labelling(
        found.items,
        model,
        out_folder,
        question=question,
        source=images,
        aside=found.set_aside,
        budget=budget,
        replies=replies,
        asking={**asking, "allow_unpriced": allow_unpriced},
    )
    if json_wanted:
        out_json(summary)
    else:
        note(_shown(summary))
        out(summary["labels"])
    if summary["stopped"] == "budget":
        raise typer.Exit(3)
    if not summary["answered"]:
        raise typer.Exit(1)


def run_labelling(
    items: Sequence[ImageItem],
    model: Any,
    folder: Path,
    *,
    question: dict[str, Any],
    source: str,
    aside: Sequence[SetAside],
    budget: float | None,
    replies: Path | None,
    asking: dict[str, Any],
) -> dict[str, Any]:
    """Label in a run folder and write its files; returns the summary (JSON-like)."""
    from fgvr.mllm import Budget, ResponseCache, spent_in
    from fgvr.naming.labelling import label_images
    from fgvr.runs import RunFolder

    settings = {
        "method": "label",
        "mllm": {"name": model.name, "revision": model.revision},
        "prompt": question["text"] or question["prompt"],
    }
    with RunFolder.create_or_resume(folder, settings=settings, command="label", force=False) as run, Progress() as bar:
        ledger = run.ledger(LEDGER)
        good, hashes, bad = readable(items, ledger, bar)
        store = None if replies is None else ResponseCache(replies)
        try:
            labelled = label_images(
                good,
                model,
                hashes=hashes,
                ledger=ledger,
                cache=store,
                budget=None if budget is None else Budget(budget, spent=spent_in(ledger)),
                progress=lambda done, total, _usage: bar("label", done, total),
                **question,
                **asking,
            )
        finally:
            if store is not None:
                store.close()
        summary = _summary(labelled, (*aside, *bad), folder, spent_in(ledger))
        _write(run, labelled, (*aside, *bad), summary, source)
    show_set_aside((*aside, *bad))
    return summary


def readable(
    items: Sequence[ImageItem], ledger: Ledger, progress: Progress
) -> tuple[list[ImageItem], list[str], list[SetAside]]:
    """The images that can be decoded, their hashes, and the others.

    Nothing is paid for a broken file. What the ledger knows was readable when it was asked about.
    """
    from fgvr.images import decode_all, require_some
    from fgvr.types import SetAside

    asked = ledger.latest()
    new = [item for item in items if item.id not in asked]
    bad: list[SetAside] = []
    for done, (_, outcome) in enumerate(decode_all(new, side=SEEN_SIDE), start=1):
        if isinstance(outcome, SetAside):
            bad.append(outcome)
        progress("read", done, len(new))
    broken = {aside.id for aside in bad}
    good = [item for item in items if item.id not in broken]
    require_some(good, set_aside=bad)
    return good, content_hashes(good), bad


def show_estimate(found: tuple[Any, int], *, json_wanted: bool) -> None:
    """A dry run's result on standard output."""
    ahead, known = found
    if json_wanted:
        out_json(estimate_rows(ahead, known))
        return
    rows = [
        ("answered already", count(known)),
        ("calls", count(ahead.calls)),
        ("input tokens", f"about {count(ahead.input_tokens)}"),
        ("output tokens", f"about {count(ahead.output_tokens)}"),
        ("cost", f"about {money(ahead.cost)}, at most {money(ahead.cost_at_most)}"),
        ("time", f"about {ahead.seconds:.0f} s for the calls"),
    ]
    out(pairs(rows))
    note("dry run: nothing was asked. Files that turn out unreadable are set aside and cost nothing.")


def to_predictions(labelled: Labelled) -> list[Prediction]:
    """Answers as predictions: a refusal is ``unknown``; items without any reply are left out, never wrong."""
    from fgvr.types import Prediction

    found = []
    for named in labelled.named:
        if named.status == "unanswered":
            continue
        stated = named.confidence
        if stated is None:
            stated = labelled.answers.replies[named.item_id].confidence
        chance = 1.0 if stated is None else stated
        if named.name is None:
            found.append(Prediction(named.item_id, "unknown", 0.0, unknown=True))
        else:
            found.append(Prediction(named.item_id, named.name, chance, ((named.name, chance),)))
    return found


def _summary(labelled: Labelled, aside: Sequence[SetAside], folder: Path, spent: float) -> dict[str, Any]:
    answers = labelled.answers
    statuses = Counter(named.status for named in labelled.named)
    total = replace(labelled.usage) + answers.saved
    return {
        "images": len(labelled.named) + len(aside),
        "answered": len(answers.replies),
        "named": statuses["named"],
        "distinct_names": len({named.name for named in labelled.named if named.name}),
        "statuses": dict(sorted(statuses.items())),
        "doubtful": dict(Counter(named.note for named in labelled.named if named.note)),
        "failed": len(answers.failures),
        "not_asked": len(answers.not_asked),
        "why_failed": dict(Counter(answers.failures.values()).most_common(5)),
        "set_aside": tally(aside),
        "stopped": answers.stopped,
        "reused": answers.reused,
        "usage": asdict(labelled.usage),
        "usage_in_all": asdict(total),
        "spent_in_run": spent,
        "category": labelled.category,
        "labels": str(folder / "labels.jsonl"),
    }


def _write(run: RunFolder, labelled: Labelled, aside: Sequence[SetAside], summary: dict[str, Any], source: str) -> None:
    from fgvr.data import csv_bytes, write_predictions
    from fgvr.runs import write_bytes, write_json, write_text

    rows = [_row(named, labelled) for named in labelled.named if named.status != "unanswered"]
    write_text(run.path / "labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_bytes(run.path / "labels.csv", csv_bytes(COLUMNS, map(_cells, rows)))
    write_predictions(run.path / "predictions.jsonl", to_predictions(labelled))
    write_json(run.path / "set_aside.json", [asdict(one) for one in aside])
    left = [{"image": item, "reason": why} for item, why in labelled.answers.failures.items()]
    left += [{"image": item, "reason": f"not asked: {summary['stopped']}"} for item in labelled.answers.not_asked]
    write_text(run.path / "unanswered.jsonl", "".join(json.dumps(row) + "\n" for row in left))
    write_json(run.path / "summary.json", summary)
    run.record(images=str(Path(source).expanduser().absolute()), usage=summary["usage_in_all"])


def _row(named: NamedImage, labelled: Labelled) -> dict[str, Any]:
    return {
        "image": named.item_id,
        "name": named.name,
        "scientific": named.scientific,
        "alternatives": list(named.alternatives),
        "confidence": named.confidence,
        "status": named.status,
        "model": labelled.answers.replies[named.item_id].model,
        "reply": labelled.answers.replies[named.item_id].text,
        "note": named.note,
    }


def _cells(row: dict[str, Any]) -> list[Any]:
    """A row for people: alternatives in one cell, the reply in one line and without hidden characters."""
    from fgvr.labels.normalise import without_hidden

    plain = {**row, "alternatives": "; ".join(row["alternatives"]), "reply": without_hidden(row["reply"])}
    return [plain[column] for column in COLUMNS]


def _shown(summary: dict[str, Any]) -> str:
    usage = summary["usage"]
    statuses = ", ".join(f"{status} {number}" for status, number in summary["statuses"].items())
    rows = [
        ("images", f"{summary['images']} ({statuses})"),
        ("distinct names", count(summary["distinct_names"])),
        ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
        ("tokens now", f"{count(usage['input_tokens'])} in, {count(usage['output_tokens'])} out"),
        ("cost now", money(usage["cost"])),
        ("spent in this run", money(summary["spent_in_run"])),
    ]
    if summary["doubtful"]:
        why = "; ".join(f"{note} ({number})" for note, number in summary["doubtful"].items())
        rows.append(("second look", f"{why}: see the column note of labels.csv"))
    if summary["failed"]:
        why = "; ".join(f"{printable(text)} ({number})" for text, number in summary["why_failed"].items())
        rows.append(("failed", f"{summary['failed']}: {why}. --retry-failed asks again."))
    if summary["not_asked"]:
        rows.append(("not asked", f"{summary['not_asked']}: {stop_reason(summary['stopped'])}"))
    return pairs(rows)


def stop_reason(stopped: str | None) -> str:
    """Why a run ended early, and how to go on."""
    if stopped == "budget":
        return "the spending cap stopped the run; run again with a higher --budget to go on where it stopped"
    return f"stopped by the {stopped}; run the same command again to go on" if stopped else "the run was stopped"
