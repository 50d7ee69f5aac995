"""The curves of the student's study as one picture: a row a world, a column a figure. Plain SVG text."""

from __future__ import annotations

import math
from html import escape

from student_methods import EIGHT, ONE
from student_scores import FIGURES, TITLES, Scorer, estimate
from student_study import SHARES

COLOURS = {
    "direct MLLM": "#6b6b6b",
    "NeaR": "#c77d2b",
    "NeaR, chosen images and views": "#e3b27a",
    "near-lite, chosen images and views": "#b0873f",
    "nearest image, chosen images and views": "#8fb4d9",
    ONE: "#8cc5ae",
    EIGHT: "#4f9c80",
    "student": "#1b6e53",
}
"""What is drawn; the likeliest of several replies of the teacher is the teacher's level once more."""
WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 130, 160, 84, 34


def curves(scorer: Scorer, present: list[str]) -> str:
    """The picture."""
    width = LEFT + len(FIGURES) * (WIDTH + GAP)
    height = TOP + len(present) * (HEIGHT + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, method in enumerate(COLOURS):
        x, y = 10 + 300 * (place % 3), 10 + 16 * (place // 3)
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="4" fill="{COLOURS[method]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 6}">{escape(method)}</text>')
    for row, world in enumerate(present):
        top = TOP + row * (HEIGHT + GAP)
        parts.append(f'<text x="8" y="{top + HEIGHT / 2}">{escape(world)}</text>')
        for column, figure in enumerate(FIGURES):
            parts += panel(scorer, world, figure, LEFT + column * (WIDTH + GAP), top, first=row == 0)
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(scorer: Scorer, world: str, figure: str, left: float, top: float, *, first: bool) -> list[str]:
    """One world, one figure: lines of all methods over the share of calls, and the teacher as a dashed level."""
    lines = {
        method: [
            (share, estimate(sample, figure).value)
            for share in SHARES
            if (sample := scorer.sample(world, method, share)) is not None
        ]
        for method in COLOURS
    }
    lines = {method: points for method, points in lines.items() if points}
    values = [value for points in lines.values() for _, value in points]
    low, high = math.floor(min(values) / 10) * 10, math.ceil(max(values) / 10) * 10

    def at(share: float, value: float) -> tuple[float, float]:
        across = (math.log(share) - math.log(SHARES[0])) / (math.log(SHARES[-1]) - math.log(SHARES[0]))
        return left + across * WIDTH, top + HEIGHT * (1 - (value - low) / max(high - low, 1))

    parts = [f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>']
    if first:
        parts.append(f'<text x="{left}" y="{top - 8}" font-weight="bold">{TITLES[figure]}, %</text>')
    parts += [
        f'<text x="{left - 4}" y="{at(1, v)[1] + 4}" text-anchor="end" fill="#888">{v}</text>' for v in (low, high)
    ]
    for share in SHARES:
        x = at(share, low)[0]
        parts.append(f'<text x="{x}" y="{top + HEIGHT + 12}" text-anchor="middle" fill="#888">{share:.0%}</text>')
    teacher = [value for share, value in lines["direct MLLM"] if share == 1.0]
    if teacher:
        y = at(1.0, teacher[0])[1]
        parts.append(
            f'<line x1="{left}" x2="{left + WIDTH}" y1="{y}" y2="{y}" stroke="#6b6b6b" stroke-dasharray="4 3"/>'
        )
    for method, points in lines.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[method]}" stroke-width="2"/>')
    return parts
