"""Draws the fish of the field guide: side view, facing right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.canvas import Canvas, Colour, Points, darker, lighter, mix, spline
from fgvr.fieldguide.fish_species import SPECIES
from fgvr.fieldguide.pigment import pigment
from fgvr.fieldguide.species import Morph, Species

__all__ = ["SPECIES", "draw"]

_Outline = list[tuple[float, float]]
_Pose = Callable[[_Outline | Points], Points]


@dataclass(frozen=True)
class _Form:
    """Shape that a whole genus shares; outlines run from the snout to the root of the tail."""

    back: _Outline
    belly: _Outline
    dorsal: _Outline
    anal: _Outline
    eye: tuple[float, float, float]
    tail_height: float


_FORMS = {
    "slender": _Form(
        back=[(0.9, 0.04), (0.68, -0.16), (0.3, -0.28), (-0.12, -0.23), (-0.48, -0.11)],
        belly=[(-0.48, 0.1), (-0.12, 0.22), (0.3, 0.27), (0.7, 0.17)],
        dorsal=[(0.46, -0.2), (0.36, -0.44), (0.08, -0.48), (-0.22, -0.46), (-0.44, -0.34), (-0.42, -0.1)],
        anal=[(-0.02, 0.18), (-0.08, 0.38), (-0.28, 0.38), (-0.4, 0.24), (-0.4, 0.08)],
        eye=(0.63, -0.04, 0.062),
        tail_height=0.36,
    ),
    "sturdy": _Form(
        back=[(0.9, 0.07), (0.66, -0.17), (0.28, -0.35), (-0.12, -0.25), (-0.48, -0.1)],
        belly=[(-0.48, 0.1), (-0.12, 0.25), (0.3, 0.32), (0.7, 0.22)],
        dorsal=[
            (0.42, -0.26),
            (0.34, -0.56),
            (0.06, -0.56),
            (-0.04, -0.42),
            (-0.14, -0.5),
            (-0.4, -0.32),
            (-0.38, -0.1),
        ],
        anal=[(-0.02, 0.2), (-0.1, 0.44), (-0.28, 0.36), (-0.38, 0.22), (-0.38, 0.08)],
        eye=(0.62, -0.03, 0.068),
        tail_height=0.38,
    ),
    "tall": _Form(
        back=[(0.78, 0.02), (0.56, -0.22), (0.24, -0.5), (-0.14, -0.42), (-0.42, -0.13)],
        belly=[(-0.42, 0.13), (-0.14, 0.42), (0.24, 0.5), (0.56, 0.26)],
        dorsal=[(0.3, -0.4), (0.12, -0.72), (-0.24, -0.9), (-0.5, -0.88), (-0.38, -0.5), (-0.38, -0.12)],
        anal=[(0.26, 0.42), (0.1, 0.72), (-0.24, 0.88), (-0.5, 0.86), (-0.36, 0.5), (-0.38, 0.12)],
        eye=(0.52, -0.06, 0.075),
        tail_height=0.38,
    ),
    "low": _Form(
        back=[(0.86, 0.04), (0.78, -0.14), (0.5, -0.25), (0.0, -0.17), (-0.48, -0.09)],
        belly=[(-0.48, 0.11), (0.0, 0.2), (0.44, 0.25), (0.78, 0.19)],
        dorsal=[
            (0.36, -0.18),
            (0.3, -0.46),
            (0.12, -0.46),
            (-0.02, -0.3),
            (-0.14, -0.42),
            (-0.44, -0.34),
            (-0.42, -0.08),
        ],
        anal=[(-0.04, 0.16), (-0.12, 0.32), (-0.36, 0.32), (-0.4, 0.08)],
        eye=(0.62, -0.15, 0.085),
        tail_height=0.3,
    ),
    "oval": _Form(
        back=[(0.8, 0.03), (0.6, -0.23), (0.24, -0.43), (-0.16, -0.35), (-0.46, -0.12)],
        belly=[(-0.46, 0.12), (-0.16, 0.35), (0.24, 0.42), (0.6, 0.26)],
        dorsal=[(0.4, -0.32), (0.28, -0.62), (0.0, -0.68), (-0.3, -0.66), (-0.46, -0.46), (-0.4, -0.12)],
        anal=[(0.02, 0.36), (-0.1, 0.62), (-0.32, 0.6), (-0.42, 0.36), (-0.38, 0.1)],
        eye=(0.55, -0.05, 0.075),
        tail_height=0.36,
    ),
}
# From the upper root of the tail around to the lower root: x in tail lengths, y in tail heights.
_TAILS = {
    "round": [(0.0, -0.28), (0.35, -0.72), (0.75, -0.78), (0.96, -0.42), (1.0, 0.0), (0.96, 0.42), (0.75, 0.78),
              (0.35, 0.72), (0.0, 0.28)],
    "forked": [(0.0, -0.28), (0.5, -0.74), (1.0, -1.16), (0.72, -0.5), (0.42, 0.0), (0.72, 0.5), (1.0, 1.16),
               (0.5, 0.74), (0.0, 0.28)],
    "lyre": [(0.0, -0.28), (0.22, -0.95), (0.6, -1.32), (1.02, -1.5), (0.66, -1.06), (0.52, -0.6), (0.5, 0.0),
             (0.52, 0.6), (0.66, 1.06), (1.02, 1.5), (0.6, 1.32), (0.22, 0.95), (0.0, 0.28)],
}  # fmt: skip


def draw(canvas: Canvas, species: Species, morph: Morph) -> None:
    """Draw one fish; juveniles are rounder with a bigger eye, females a little deeper and duller."""
    traits = species.attributes
    form = _FORMS[traits["body form"]]
    bend = float(morph.rng.normal(0, 0.045))
    depth = float(np.clip(morph.proportions[0], 0.9, 1.1)) * {"male": 1.0, "female": 1.04, "juvenile": 1.06}[morph.sex]
    if traits["body form"] == "tall":
        depth = min(depth, 1.05)

    def posed(points: _Outline | Points) -> Points:
        """Scale the depth and swing the rear of the body up or down."""
        moved = np.array(points, dtype=float)
        moved[:, 1] = moved[:, 1] * depth + bend * np.clip(0.2 - moved[:, 0], 0, None) ** 1.5
        return moved

    body_colour, fin = pigment(traits["body colour"], morph), pigment(traits["dorsal fin colour"], morph)
    rear = mix(body_colour, pigment(traits["belly colour"], morph), 0.35)
    _draw_tail(canvas, form, traits["tail shape"], posed, rear, morph)
    _draw_fin(canvas, posed(_spread(form.dorsal, morph)), fin)
    _draw_fin(canvas, posed(_spread(form.anal, morph)), rear)
    outline = spline(posed([*form.back, *form.belly]), steps=7)
    canvas.polygon(
        spline(posed(np.array([*form.back, *form.belly]) * (1.012, 1.03)), steps=7), darker(body_colour, 0.45)
    )
    with canvas.clipped(outline):
        _draw_coat(canvas, form, species, morph, posed)
    canvas.shade(outline, strength=0.3, toward=(0.0, 1.0))
    _draw_face(canvas, form, posed, body_colour, morph)
    _draw_pectoral(canvas, form, posed, rear, morph)


def _spread(fin: _Outline, morph: Morph) -> Points:
    """The fin raised or folded a little: its free edge moves towards or away from the body."""
    points = np.array(fin, dtype=float)
    base = points[[0, -1], 1].mean()
    raised = float(np.clip(morph.rng.normal(1.0, 0.09), 0.82, 1.1))
    points[1:-1, 1] = base + (points[1:-1, 1] - base) * raised
    return np.asarray(np.clip(points, -0.93, 0.93))


def _draw_fin(canvas: Canvas, points: Points, colour: Colour) -> None:
    """A fin with rays from its base to its free edge."""
    edge = spline(points, closed=False, steps=6)
    canvas.polygon(edge, darker(colour, 0.42))
    heart = edge.mean(axis=0)
    canvas.polygon(heart + (edge - heart) * 0.94, lighter(colour, 0.08))
    free = edge[5:-5:3]
    root = np.linspace(points[0], points[-1], len(free))
    for start, end in zip(root, free, strict=True):
        canvas.stroke([start, start + (end - start) * 0.93], 0.011, darker(colour, 0.26))


def _draw_tail(canvas: Canvas, form: _Form, shape: str, posed: _Pose, colour: Colour, morph: Morph) -> None:
    length, root = 0.44 * float(np.clip(morph.proportions[1], 0.93, 1.03)), min(x for x, _ in form.back) + 0.04
    height = form.tail_height * float(np.clip(morph.proportions[2], 0.9, 1.1))
    local = np.array(_TAILS[shape]) * (-length, height) + (root, 0.0)
    points = np.clip(posed(local), -0.94, 0.94)
    edge = spline(points, closed=False, steps=5)
    canvas.polygon(edge, darker(colour, 0.42))
    heart = edge.mean(axis=0)
    canvas.polygon(heart + (edge - heart) * (0.93, 0.92), colour)
    start = points[[0, -1]].mean(axis=0)
    for end in edge[4:-4:3]:
        canvas.stroke([start + (end - start) * 0.2, start + (end - start) * 0.88], 0.011, darker(colour, 0.25))


def _draw_coat(canvas: Canvas, form: _Form, species: Species, morph: Morph, posed: _Pose) -> None:
    """Everything painted on the flank: belly, scales, lines, bars and the spot before the tail."""
    traits = species.attributes
    body, belly = pigment(traits["body colour"], morph), pigment(traits["belly colour"], morph)
    deep = max(y for _, y in form.belly)
    canvas.polygon([(-1, -1), (1, -1), (1, 1), (-1, 1)], body)
    for level, share in ((0.3, 0.4), (0.42, 1.0)):
        flank = [(0.95, deep * level * 1.2), (0.5, deep * level), (0.0, deep * level), (-0.5, deep * level * 0.9)]
        canvas.polygon(
            np.vstack([posed(spline(flank, closed=False)), [(-1.0, 1.0), (1.0, 1.0)]]), mix(body, belly, share)
        )
    _draw_scales(canvas, form, body, posed)
    if traits["lines"] != "none":
        ink = pigment(traits["lines"], morph)
        for level in (-0.5, -0.02, 0.44):
            path = [(0.42, deep * level), (0.0, deep * level * 1.05), (-0.56, deep * level * 0.55)]
            canvas.stroke(posed(spline(path, closed=False)), 0.066 if deep < 0.4 else 0.09, ink)
    if traits["bars"] != "none":
        _draw_bars(canvas, deep, pigment(traits["bars"], morph), posed, morph)
    if traits["tail spot"] != "none":
        x, y = posed([(-0.33, -0.005)])[0]
        canvas.ellipse(x, y, 0.125, 0.12, lighter(body, 0.45))
        canvas.ellipse(x, y, 0.095, 0.09, pigment(traits["tail spot"], morph))


def _draw_bars(canvas: Canvas, deep: float, ink: Colour, posed: _Pose, morph: Morph) -> None:
    for x in (0.34, 0.08, -0.18, -0.41):
        shift = float(morph.rng.normal(0, 0.012))
        half = 0.058 * float(np.clip(morph.proportions[3], 0.9, 1.12))
        left = [(x + shift - half, -deep * 1.2), (x + shift - half - 0.03, 0.0), (x + shift - half * 0.5, deep * 0.9)]
        right = [(x + shift + half * 0.5, deep * 0.9), (x + shift + half - 0.03, 0.0), (x + shift + half, -deep * 1.2)]
        canvas.polygon(posed(np.vstack([spline(left, closed=False), spline(right, closed=False)])), ink)


def _draw_scales(canvas: Canvas, form: _Form, body: Colour, posed: _Pose) -> None:
    """Rows of small arcs on the back, finer towards the tail."""
    deep = max(y for _, y in form.belly)
    phi = np.linspace(-1.3, 1.3, 5)
    for row, level in enumerate(np.linspace(-0.8, 0.35, 5)):
        for x in np.arange(-0.44 + 0.05 * (row % 2), 0.42, 0.1):
            arc = np.stack([x - 0.045 * np.cos(phi), deep * level + 0.05 * np.sin(phi)], axis=1)
            canvas.stroke(posed(arc), 0.009, darker(body, 0.17))


def _draw_face(canvas: Canvas, form: _Form, posed: _Pose, body: Colour, morph: Morph) -> None:
    """Gill cover, mouth and eye."""
    ex, ey, radius = form.eye
    deep = max(y for _, y in form.belly)
    gill = [(ex - 0.14, ey - 0.1), (ex - 0.22, ey + 0.1), (ex - 0.13, min(ey + 0.26, deep * 0.8))]
    canvas.stroke(posed(spline(gill, closed=False)), 0.02, darker(body, 0.38))
    snout_x, snout_y = form.back[0]
    mouth = [(snout_x - 0.015, snout_y + 0.03), (snout_x - 0.08, snout_y + 0.055), (snout_x - 0.14, snout_y + 0.05)]
    canvas.stroke(posed(spline(mouth, closed=False)), 0.02, darker(body, 0.6))
    radius *= 1.2 if morph.sex == "juvenile" else float(np.clip(morph.proportions[4], 0.92, 1.1))
    x, y = posed([(ex, ey)])[0]
    canvas.ellipse(x, y, radius * 1.18, radius * 1.18, darker(body, 0.45))
    canvas.ellipse(x, y, radius, radius, (240, 220, 150))
    canvas.ellipse(x + 0.006, y, radius * 0.66, radius * 0.66, (18, 18, 24))
    canvas.ellipse(x + radius * 0.25, y - radius * 0.3, radius * 0.24, radius * 0.24, (255, 255, 255))


def _draw_pectoral(canvas: Canvas, form: _Form, posed: _Pose, colour: Colour, morph: Morph) -> None:
    x, y = form.eye[0] - 0.27, form.eye[1] + 0.15
    droop = float(morph.rng.normal(0.06, 0.05))
    fin = [
        (x, y - 0.03),
        (x - 0.12, y - 0.05 + droop),
        (x - 0.25, y + 0.02 + droop),
        (x - 0.2, y + 0.11 + droop),
        (x, y + 0.05),
    ]
    _draw_fin(canvas, posed(fin), lighter(colour, 0.12))
