"""What the verbs that fit a classifier share: finding a finished fit, its summary, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fgvr.cli.console import note, out, out_json, show_set_aside
from fgvr.errors import BudgetError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fgvr.data import Items
    from fgvr.methods.near import NeaR
    from fgvr.methods.student import Student
    from fgvr.runs import RunFolder

LEDGER = "labels"
"""Of the first question, in a run folder."""


def finished(
    estimator: NeaR | Student,
    chosen: Items,
    *,
    command: str = "fit near",
    digest: Callable[[RunFolder], str] | None = None,
) -> dict[str, Any] | None:
    """The summary of the very same fit when it is complete, so that nothing is computed again.

    ``digest``: what the fit was made from; by default the settings of its run.
    """
    from fgvr.runs import RunFolder, settings_digest

    assert estimator.out is not None
    if not (estimator.out / "summary.json").exists() or estimator.asking["retry_failed"]:
        return None
    settings = estimator.run_settings(chosen.items)
    with RunFolder.create_or_resume(estimator.out, settings=settings, command=command) as run:
        if not run.is_done("fit", settings_digest(run.manifest["settings"]) if digest is None else digest(run)):
            return None
    summary = read_summary(estimator.out)
    return summary if summary is not None and not summary.get("stopped") else None


def read_summary(folder: Path) -> dict[str, Any] | None:
    """``summary.json`` of a run, or ``None`` when it is missing or damaged."""
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


def explain_cap(estimator: NeaR | Student, error: InputError) -> None:
    """A fit that could not begin because the cap allowed no call is the cap's doing, not the input's."""
    from fgvr.runs import Ledger

    assert estimator.out is not None
    lines = Ledger(estimator.out / f"{LEDGER}.jsonl").records()
    if estimator.budget is not None and not any(line.get("status") in ("done", "failed") for line in lines):
        raise BudgetError(
            "the spending cap does not allow a single call",
            remedy="Raise --budget; --dry-run tells what the whole run would cost.",
            budget=estimator.budget,
        ) from error


def finish(summary: dict[str, Any], words: str, *, json_wanted: bool) -> None:
    """Report page; the summary, in ``words`` or as JSON; exit code."""
    from fgvr.cli.report import write_page
    from fgvr.types import SetAside

    page = write_page(Path(summary["run"]))
    show_set_aside(SetAside(**aside) for aside in summary["set_aside_items"])
    if json_wanted:
        out_json({**summary, "report": str(page)})
    else:
        note(words)
        out(str(page))
    if summary["stopped"] == "budget":
        raise typer.Exit(3)
