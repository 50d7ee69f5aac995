"""Small SVG charts as escaped markup. Colours come from the page's style sheet, so they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from fgvr.report.words import finite, share

Point = tuple[float, float]


def svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    """A chart that scales with its column and reads as one picture to a screen reader."""
    head = Markup('<svg class="chart" viewBox="0 0 {0} {1}" width="{0}" role="img" aria-label="{2}">')
    return head.format(width, height, label) + Markup("").join(parts) + Markup("</svg>")


def text(x: float, y: float, content: str, style: str = "tick", anchor: str = "start") -> Markup:
    """A label."""
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, style, anchor, content
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """A straight line."""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, style)


def circle(x: float, y: float, radius: float, style: str) -> Markup:
    """A dot."""
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" class="{}"/>').format(x, y, radius, style)


def polyline(points: Sequence[Point], style: str) -> Markup:
    """Joined points in chart coordinates."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline points="{}" class="{}"/>').format(joined, style)


def interval_chart(rows: Sequence[tuple[str, float, float, float, bool]], metric: str) -> Markup:
    """Dots with intervals on a common axis from 0 to 100 %: rows of (name, value, low, high, highlighted)."""
    width, left, right, step = 700, 250, 60, 30
    bottom = 14 + step * len(rows)
    scale = (width - left - right) / 1.0
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + tick * scale
        parts += [line(x, 8, x, bottom, "grid"), text(x, bottom + 16, f"{100 * tick:.0f} %", anchor="middle")]
    for number, (name, value, low, high, strong) in enumerate(rows):
        y = 8 + step * (number + 0.5)
        accent = "accent" if strong else "plain"
        label = name if len(name) <= 34 else name[:33] + "…"
        parts.append(text(left - 12, y + 4, label, "row strong" if strong else "row", "end"))
        if finite(low) and finite(high):
            parts.append(line(left + _unit(low) * scale, y, left + _unit(high) * scale, y, f"whisker {accent}"))
        parts.append(circle(left + _unit(value) * scale, y, 5, f"dot {accent}"))
        parts.append(text(width - 4, y + 4, share(value), "row strong" if strong else "row", "end"))
    return svg(width, bottom + 24, f"{metric} of each method, with intervals; the table gives the figures", parts)


def scatter_chart(points: Sequence[tuple[str, float, float]], label: str) -> Markup | None:
    """Named dots: (name, x, y) with x > 0 on a logarithmic axis, y in [0, 1]. ``None`` without a finite point.

    Names stand in a column to the right, each joined to its dot, since dots of one cost lie above each other.
    """
    kept = [point for point in points if finite(point[1]) and finite(point[2]) and point[1] > 0]
    if not kept:
        return None
    width, left, right, top, bottom = 700, 54, 240, 14, 34
    height = max(300, top + bottom + 18 * len(kept))
    first = math.floor(math.log10(min(x for _, x, _ in kept)))
    last = max(math.ceil(math.log10(max(x for _, x, _ in kept))), first + 1)
    low, high = (math.floor(10 * min(y for *_, y in kept)) / 10, math.ceil(10 * max(y for *_, y in kept)) / 10)
    if high - low < 0.05:  # all alike: one step of the scale, within it
        low, high = (low - 0.1, high) if high >= 1 else (low, low + 0.1)

    def place(x: float, y: float) -> Point:
        along = (math.log10(x) - first) / (last - first)
        return left + along * (width - left - right), top + (high - y) / (high - low) * (height - top - bottom)

    parts = []
    for step in range(round(10 * (high - low)) + 1):
        y = place(10.0**first, low + step / 10)[1]
        mark = f"{100 * (low + step / 10):.0f} %"
        parts += [line(left, y, width - right, y, "grid"), text(left - 6, y + 4, mark, anchor="end")]
    for power in range(first, last + 1):
        parts.append(text(place(10.0**power, low)[0], height - 10, f"{10**power:,}", anchor="middle"))
    ordered = sorted(kept, key=lambda point: -point[2])
    for (name, x, y), row in zip(ordered, spaced([place(x, y)[1] for _, x, y in ordered], 16, height - 6), strict=True):
        px, py = place(x, y)
        parts += [line(px + 5, py, width - right + 12, row, "grid"), circle(px, py, 4.5, "dot accent")]
        parts.append(text(width - right + 16, row + 4, name if len(name) <= 32 else name[:31] + "…"))
    return svg(width, height, label, parts)


def spaced(wanted: Sequence[float], gap: float, most: float) -> list[float]:
    """Ascending positions near the ``wanted`` ascending ones, at least ``gap`` apart, none past ``most``."""
    found: list[float] = []
    for position in wanted:
        found.append(max(position, found[-1] + gap) if found else position)
    for index in range(len(found) - 1, -1, -1):
        found[index] = min(found[index], most - gap * (len(found) - 1 - index))
    return found


def line_chart(
    points: Sequence[Point], label: str, *, height: int = 170, unit: bool = False, percent_x: bool = False
) -> Markup | None:
    """One curve; ``unit`` fixes the y axis to 0-100 %. ``None`` with fewer than two finite points."""
    points = thinned([(x, y) for x, y in points if finite(x) and finite(y)])
    if len(points) < 2:
        return None
    width, left, right, top, bottom = 300, 54, 14, 12, 30
    low, high = (0.0, 1.0) if unit else _padded([y for _, y in points])
    first, last = (0.0, 1.0) if percent_x else (points[0][0], points[-1][0])
    span = (last - first) or 1.0

    def place(x: float, y: float) -> Point:
        return (
            left + (x - first) / span * (width - left - right),
            top + (high - y) / (high - low) * (height - top - bottom),
        )

    parts = []
    for tick in (low, (low + high) / 2, high):
        y = place(first, tick)[1]
        parts += [
            line(left, y, width - right, y, "grid"),
            text(left - 6, y + 4, _tick(tick, unit), anchor="end"),
        ]
    for tick, anchor in ((first, "start"), (last, "end")):
        parts.append(text(place(tick, low)[0], height - 8, _tick(tick, percent_x), anchor=anchor))
    parts.append(polyline([place(x, y) for x, y in points], "curve"))
    parts.append(circle(*place(*points[-1]), 3.5, "dot accent"))
    return svg(width, height, label, parts)


def reliability_chart(bins: Sequence[tuple[float, float, int]]) -> Markup | None:
    """Accuracy over stated probability: bins of (confidence, accuracy, count); the area of a dot is its count."""
    bins = [b for b in bins if finite(b[0]) and finite(b[1]) and b[2] > 0]
    if not bins:
        return None
    width, height, left, right, top, bottom = 300, 260, 46, 14, 12, 30
    most = max(count for _, _, count in bins)

    def place(x: float, y: float) -> Point:
        return left + _unit(x) * (width - left - right), top + (1 - _unit(y)) * (height - top - bottom)

    parts = []
    for tick in (0.0, 0.5, 1.0):
        (x, y), anchor = place(tick, tick), {0.0: "start", 0.5: "middle", 1.0: "end"}[tick]
        parts += [line(left, y, width - right, y, "grid"), text(left - 6, y + 4, f"{100 * tick:.0f} %", anchor="end")]
        parts.append(text(x, height - 10, f"{100 * tick:.0f} %", anchor=anchor))
    parts.append(line(*place(0, 0), *place(1, 1), "diagonal"))
    parts.append(polyline([place(x, y) for x, y, _ in bins], "curve faint"))
    parts += [circle(*place(x, y), 2.5 + 7 * (count / most) ** 0.5, "dot accent soft") for x, y, count in bins]
    return svg(width, height, "Accuracy within each bin of stated probability; on the diagonal both are equal", parts)


def thinned(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most about ``most`` of the points, ends kept."""
    step = max(1, len(points) // most)
    return [*points[:-1:step], *points[-1:]]


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value)) if finite(value) else 0.0


def _padded(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or max(abs(high) * 0.1, 0.1)
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _tick(value: float, percent: bool) -> str:
    """At most seven characters, which is what the margin holds."""
    return f"{100 * value:.0f} %" if percent else f"{value:.{3 if abs(value) >= 0.1 else 2}g}"
