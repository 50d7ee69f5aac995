"""How a student came about, as the page shows it: an account in words, the names against labels, who disagrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.report import charts
from fgvr.report.data import Disagreement, NameCurve
from fgvr.report.sheet import ITEM_CHARACTERS
from fgvr.report.thumbs import Thumbnails
from fgvr.report.words import finite, name_shown, probability, share, shown

DISAGREEMENTS_SHOWN = 60
CURVES_SHOWN = 6
ACCOUNT_SHOWN = 20


def account(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(what, sentence) pairs."""
    return [(shown(what, 60), shown(told, 400)) for what, told in rows[:ACCOUNT_SHOWN]]


def curves(found: Sequence[NameCurve]) -> dict[str, Any]:
    """A table of the stages, and a chart of the last one."""
    kept = found[:CURVES_SHOWN]
    rows = [
        (
            shown(one.stage, 40),
            one.names,
            one.images,
            f"{one.unseen:.0f}" if finite(one.unseen) else "",
            share(one.coverage),
        )
        for one in kept
    ]
    last = kept[-1] if kept else None
    words = (
        "Distinct names over images with a name"
        if last is None
        else f"Distinct names over images with a name, {last.stage}"
    )
    return {"rows": rows, "chart": None if last is None else charts.line_chart(last.points, words)}


def disagreements(found: Sequence[Disagreement], paths: Mapping[str, Path], thumbs: Thumbnails) -> list[dict[str, Any]]:
    """The images on which student and teacher differ, as they come."""
    return [
        {
            "item": shown(one.item_id, ITEM_CHARACTERS),
            "uri": thumbs.get(paths.get(one.item_id)),
            "teacher": name_shown(one.teacher),
            "student": name_shown(one.student),
            "percent": probability(one.probability),
        }
        for one in found[:DISAGREEMENTS_SHOWN]
    ]
