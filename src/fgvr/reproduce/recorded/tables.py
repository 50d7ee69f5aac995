"""Markdown tables and figures as the page prints them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fgvr.metrics import Interval
from fgvr.reproduce.recorded.material import IMAGE_ENCODER


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, first column to the left and the others to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def points(share: float | Interval, reference: float | None = None) -> str:
    """Per cent; with a reference "value (expected, difference)"."""
    value = 100 * float(share)
    if reference is None:
        return f"{value:.1f}"
    return f"{value:.1f} ({100 * reference:.1f}, {value - 100 * reference:+.1f})"


def under(encoder: str) -> str:
    """What stands under every table: whose features and whose sACC these are."""
    return f"*Image encoder: {IMAGE_ENCODER}. Sentence encoder of sACC and similarities: {encoder}.*"
