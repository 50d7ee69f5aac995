"""An examination in a run folder, and what it would still take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.console import Progress, tally
from fgvr.cli.examine_input import Material

if TYPE_CHECKING:
    from fgvr.encoders.base import DualEncoder
    from fgvr.methods.fine_r1.evaluation import Examined
    from fgvr.methods.fine_r1.exam import Wording
    from fgvr.metrics.semantic import TextEncoder
    from fgvr.mllm import Estimate
    from fgvr.mllm.base import Mllm


def run(
    about: Material,
    model: Mllm,
    wording: Wording,
    folder: Path,
    *,
    seen: tuple[str, ...] | None,
    texts: TextEncoder | None,
    beside: Sequence[DualEncoder],
    store: Path | None,
    unit: str,
    blank: bool,
    budget: float | None,
    replies: Path | None,
    asking: dict[str, Any],
) -> tuple[list[Examined], dict[str, Any]]:
    """Ask in a run folder and write its files; returns the rows, the model's first, and the summary (JSON-like)."""
    from fgvr.methods.fine_r1.contrastive import contrastive_rows
    from fgvr.methods.fine_r1.evaluation import examine as examine_model
    from fgvr.methods.fine_r1.evaluation_record import RESULT, write_examined
    from fgvr.methods.fine_r1.parts import CLOSED, OPEN
    from fgvr.mllm import Budget, ResponseCache, spent_in
    from fgvr.multiple_choice.asking import write_blank
    from fgvr.runs import RunFolder

    wanted = {
        "method": "examine",
        "mllm": {"name": model.name, "revision": model.revision},
        "asked": {**asdict(wording), "blank": blank},
        "questions": about.described(),
    }
    with RunFolder.create_or_resume(folder, settings=wanted, command="examine") as opened, Progress() as bar:
        kept = None if replies is None else ResponseCache(replies)
        spent = sum(spent_in(opened.ledger(part)) for part in (CLOSED, OPEN))
        same: dict[str, Any] = {
            "closed": about.closed,
            "open_items": about.items,
            "seen": seen,
            "super_category": about.super_category,
            "sentences": texts,
            "unit": unit,
            "seed": wording.seed,
            "source": about.source,
        }
        shape = {**vars(wording), "blank": write_blank(opened.path / "blank.png") if blank else None}
        try:
            first = examine_model(
                model,
                **{**same, **shape},
                texts=about.texts,
                hashes=about.hashes,
                notes=about.notes,
                ledgers=opened.ledger,
                cache=kept,
                budget=None if budget is None else Budget(budget, spent=spent),
                progress=lambda done, total, _usage: bar("ask", done, total),
                **asking,
            )
        finally:
            if kept is not None:
                kept.close()
        others = contrastive_rows(beside, **same, names=about.names, store=store or opened.path / "features")
        rows = [first, *others]
        more = _account(first, about, sum(spent_in(opened.ledger(part)) for part in (CLOSED, OPEN)))
        write_examined(opened.path, rows, more=more)
        opened.record(images=list(about.origin), usage=asdict(first.usage))
    baselines = [one.as_dict() for one in others]
    return rows, {**first.as_dict(), "baselines": baselines, **more, "result": str(folder / RESULT)}


def _account(first: Examined, about: Material, spent: float) -> dict[str, Any]:
    answers = first.answers.values()
    return {
        "source": asdict(about.source) if about.source else None,
        "set_aside": tally((*about.set_aside, *first.set_aside)),
        "failed": sum(len(one.failures) for one in answers),
        "not_asked": sum(len(one.not_asked) for one in answers),
        "reused": sum(one.reused for one in answers),
        "usage": asdict(first.usage),
        "spent_in_run": spent,
    }


def ahead(
    about: Material,
    model: Mllm,
    wording: Wording,
    folder: Path,
    replies: Path | None,
    asking: dict[str, Any],
    *,
    blank: bool,
) -> tuple[Estimate, int]:
    """What asking would still take, and how many answers are known. Asks nothing, writes nothing into the run."""
    import tempfile

    from fgvr.methods.fine_r1.exam import exam_requests
    from fgvr.mllm import ResponseCache, estimate, plan
    from fgvr.multiple_choice.asking import write_blank
    from fgvr.runs import Ledger

    store = ResponseCache(replies) if replies is not None and replies.exists() else None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            grey = write_blank(Path(scratch) / "blank.png") if blank else None
            requests = exam_requests(
                replace(wording, blank=grey),
                closed=about.closed,
                open_items=about.items,
                super_category=about.super_category,
                texts=about.texts,
                hashes=about.hashes,
            )
            found = [
                plan(
                    each,
                    model,
                    ledger=Ledger(folder / f"{part}.jsonl"),
                    cache=store,
                    retry_failed=asking["retry_failed"],
                )
                for part, each in requests.items()
            ]
            todo = [request for one in found for request, _ in one.leaders]
            left = estimate(todo, model, prices=asking["prices"], concurrency=asking["concurrency"])
    finally:
        if store is not None:
            store.close()
    return left, sum(len(one.known) for one in found)
