"""Charts of a reinforcement run: its course over the steps, and accuracy against the length of the reasoning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from fgvr.methods.fine_r1.lengths import Bin, Lengths
from fgvr.report.charts import circle, line, line_chart, polyline, svg, text

COURSE = (
    ("reward", "Reward", "mean of all replies", False),
    ("accuracy", "Accuracy", "share of replies whose name is right", True),
    ("format", "Format", "share of replies in the asked form", True),
    ("length", "Length", "mean tokens a reply", False),
    ("ended", "Ended", "share of replies that came to an end", True),
    ("kl", "Inter-class term", "KL against the negative picture, a token", False),
    ("entropy", "Entropy", "of the next token, mean", False),
    ("filtered", "Filtered", "share of prompts not learned from", True),
    ("clipped", "Clipped", "share of tokens clipped, in [0, 1]", False),
)
"""Name in the log, title, what it is, and whether the axis is fixed to 0-100 %."""


def course_charts(rows: Sequence[Mapping[str, float]]) -> list[tuple[str, str, Markup]]:
    """(title, what it is, chart) of every figure of ``COURSE`` that at least two steps tell.

    ``rows``: one mapping a step, in order, with ``step`` and the names of the log.
    """
    charts = []
    for key, title, words, unit in COURSE:
        points = [(float(row["step"]), float(row[key])) for row in rows if key in row]
        chart = line_chart(points, f"{title} by step; the table gives the figures", unit=unit)
        if chart is not None:
            charts.append((title, words, chart))
    return charts


def length_chart(lengths: Lengths, *, label: str = "Accuracy by length of the reply") -> Markup | None:
    """Accuracy over length with intervals; the area of a dot is its count. ``None`` with fewer than two bins."""
    bins = lengths.bins
    if len(bins) < 2:
        return None
    width, height, left, right, top, bottom = 620, 270, 54, 24, 14, 44
    first, last = bins[0].mean, bins[-1].mean
    most = max(one.n for one in bins)

    def place(length: float, accuracy: float) -> tuple[float, float]:
        along = 16 + (length - first) / ((last - first) or 1.0) * (width - left - right - 32)
        return left + along, top + (1 - accuracy) * (height - top - bottom)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = place(first, tick)[1]
        parts += [line(left, y, width - right, y, "grid"), text(left - 6, y + 4, f"{100 * tick:.0f} %", anchor="end")]
    for one in _apart(bins, lambda one: place(one.mean, 0)[0], gap=34):
        parts.append(text(place(one.mean, 0)[0], height - 24, f"{one.mean:.0f}", anchor="middle"))
    parts.append(text((left + width - right) / 2, height - 6, f"{lengths.unit} a reply", anchor="middle"))
    for one in bins:
        found = one.accuracy
        parts.append(line(*place(one.mean, found.low), *place(one.mean, found.high), "whisker accent"))
    parts.append(polyline([place(one.mean, one.accuracy.value) for one in bins], "curve faint"))
    for one in bins:
        parts.append(circle(*place(one.mean, one.accuracy.value), 2.5 + 5 * (one.n / most) ** 0.5, "dot accent"))
    return svg(width, height, label, parts)


def _apart(bins: Sequence[Bin], at: Callable[[Bin], float], *, gap: float) -> list[Bin]:
    """Those whose labels do not run into the one before."""
    kept: list[Bin] = []
    for one in bins:
        if not kept or at(one) - at(kept[-1]) >= gap:
            kept.append(one)
    return kept
