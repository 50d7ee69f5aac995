"""Draws one butterfly spread flat and seen from above, head up, from its attributes and its genus's wing shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.butterflies_species import SPECIES
from fgvr.fieldguide.canvas import Canvas, Colour, Points, darker, ellipse, lighter, mix, spline
from fgvr.fieldguide.species import Morph, Species

__all__ = ["SPECIES", "draw"]

PALETTE: dict[str, Colour] = {
    "black": (40, 34, 38),
    "white": (246, 242, 230),
    "brown": (124, 90, 62),
    "chestnut": (164, 84, 42),
    "red": (208, 48, 40),
    "orange": (236, 140, 46),
    "yellow": (246, 214, 84),
    "blue": (62, 118, 196),
    "purple": (132, 76, 160),
    "buff": (228, 200, 150),
}

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plan:
    """Right wings of a genus, from the root outwards and round; x away from the body, y down."""

    fore: Outline
    hind: Outline
    body: tuple[float, float]
    """Half-width of the thorax and the abdomen's length."""
    club: float = 0.022
    """Radius of the antenna's club."""


_BROAD_HIND: Outline = (
    (0.04, 0.0), (0.3, -0.04), (0.62, 0.06), (0.7, 0.28), (0.62, 0.52), (0.42, 0.68), (0.2, 0.66), (0.05, 0.4)
)  # fmt: skip

PLANS: dict[str, Plan] = {
    "Swallowtail": Plan(
        (
            (0.04, -0.18), (0.3, -0.52), (0.7, -0.76), (0.9, -0.74), (0.86, -0.48),
            (0.74, -0.12), (0.4, 0.08), (0.06, 0.06),
        ),
        ((0.04, 0.0), (0.3, 0.0), (0.6, 0.1), (0.66, 0.3), (0.58, 0.5), (0.4, 0.62), (0.18, 0.56), (0.05, 0.34)),
        (0.06, 0.5),
    ),
    "Emperor": Plan(
        (
            (0.04, -0.16), (0.3, -0.5), (0.66, -0.72), (0.9, -0.66), (0.84, -0.42),
            (0.8, -0.1), (0.42, 0.08), (0.06, 0.06),
        ),
        _BROAD_HIND,
        (0.065, 0.46),
    ),
    "Admiral": Plan(
        (
            (0.04, -0.16), (0.32, -0.5), (0.7, -0.68), (0.88, -0.58), (0.78, -0.36),
            (0.8, -0.08), (0.42, 0.1), (0.06, 0.06),
        ),
        _BROAD_HIND,
        (0.065, 0.44),
    ),
    "Satyr": Plan(
        (
            (0.04, -0.16), (0.28, -0.5), (0.6, -0.68), (0.82, -0.56), (0.86, -0.3),
            (0.76, -0.04), (0.42, 0.1), (0.06, 0.06),
        ),
        ((0.04, 0.0), (0.3, -0.02), (0.62, 0.08), (0.74, 0.32), (0.64, 0.58), (0.4, 0.72), (0.18, 0.66), (0.05, 0.4)),
        (0.055, 0.46),
        0.016,
    ),
    "Ringlet": Plan(
        (
            (0.04, -0.16), (0.26, -0.46), (0.56, -0.64), (0.78, -0.56), (0.86, -0.32),
            (0.76, -0.06), (0.42, 0.1), (0.06, 0.06),
        ),
        ((0.04, 0.0), (0.3, -0.02), (0.6, 0.06), (0.73, 0.3), (0.66, 0.54), (0.42, 0.68), (0.18, 0.64), (0.05, 0.4)),
        (0.055, 0.44),
        0.016,
    ),
    "Skipper": Plan(
        (
            (0.05, -0.16), (0.3, -0.4), (0.64, -0.62), (0.88, -0.64), (0.78, -0.36),
            (0.6, -0.06), (0.36, 0.08), (0.06, 0.08),
        ),
        ((0.05, 0.02), (0.28, 0.0), (0.54, 0.08), (0.6, 0.28), (0.5, 0.46), (0.3, 0.54), (0.14, 0.5), (0.06, 0.34)),
        (0.115, 0.56),
        0.03,
    ),
    "Hairstreak": Plan(
        (
            (0.04, -0.16), (0.28, -0.48), (0.6, -0.7), (0.8, -0.66), (0.8, -0.4),
            (0.7, -0.08), (0.4, 0.08), (0.06, 0.06),
        ),
        ((0.04, 0.0), (0.28, 0.0), (0.54, 0.08), (0.62, 0.28), (0.58, 0.5), (0.42, 0.6), (0.18, 0.54), (0.05, 0.34)),
        (0.065, 0.42),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Coat:
    """Colours of one individual after sex, wear and tint."""

    morph: Morph

    def __call__(self, name: str) -> Colour:
        base = np.asarray(PALETTE[name], float)
        fade = {"male": 0.0, "female": 0.16, "juvenile": 0.22}[self.morph.sex]
        worn = base + (0.9 * float(base.mean()) + 14 - base) * fade
        r, g, b = np.clip(worn * self.morph.tint, 0, 255).astype(int)
        return int(r), int(g), int(b)


def _turned(points: Points, degrees: float) -> Points:
    """Rotated about the wing's root at the thorax."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    root = np.array([0.04, 0.0])
    turned: Points = (points - root) @ np.array([[cos, sin], [-sin, cos]]) + root
    return turned


def _wings(plan: Plan, morph: Morph) -> tuple[Points, Points]:
    """Control points of the individual's right forewing and hindwing; a female's are rounder and broader."""
    p = morph.proportions
    rounder = {"male": 1.0, "female": 1.06, "juvenile": 0.96}[morph.sex]
    fore = np.asarray(plan.fore) * np.array([p[0], p[1] * rounder])
    hind = np.asarray(plan.hind) * np.array([p[2] * rounder, p[3]])
    hind[:, 0] *= min(1.0, 0.98 * fore[:, 0].max() / hind[:, 0].max())
    spread = float(morph.rng.normal(0, 5))
    return _turned(fore, spread), _turned(hind, spread * 0.6 + float(morph.rng.normal(0, 3)))


def _fit(wings: tuple[Points, Points], reach: float) -> tuple[float, float]:
    """Scale and vertical shift that fill the square; ``reach`` is how far tails hang below the hindwing."""
    both = np.vstack(wings)
    top, bottom = min(float(both[:, 1].min()), -0.66), float(both[:, 1].max()) + reach
    half = max(float(both[:, 0].max()), (bottom - top) / 2)
    return 0.86 / half, -(top + bottom) / 2


def _inset(control: Points, share: float) -> Points:
    """The wing shrunk towards its root side: what a border leaves free."""
    shrunk: Points = control[0] + (control - control[0]) * (1 - share) + np.array([0.0, 0.012])
    return shrunk


def _veins(control: Points) -> list[Points]:
    """Curves fanning from the root to the outer margin."""
    root = control[0] * 0.6 + control[-1] * 0.4
    margin = spline(control[2:-1], closed=False, steps=4)
    return [spline([root, (root + end) / 2 + np.array([0.0, 0.015]), end], closed=False) for end in margin[1:-1:3]]


def _eyespot(canvas: Canvas, centre: Points, radius: float) -> None:
    x, y = float(centre[0]), float(centre[1])
    for share, colour in ((1.0, (244, 206, 96)), (0.72, (30, 26, 34)), (0.34, (150, 196, 236))):
        canvas.ellipse(x, y, radius * share, radius * share, colour)


def _band(control: Points, at: float, width: float) -> Points:
    """Strip across the wing at ``at`` of the way from the root to the margin, along the margin's shape."""
    outer = _inset(control, 1 - at - width)[1:]
    inner = _inset(control, 1 - at)[1:]
    return np.vstack([spline(outer, closed=False, steps=5), spline(inner[::-1], closed=False, steps=5)])


def _both(canvas: Canvas, outline: Points, fill: Colour) -> None:
    """The polygon and its mirror image."""
    canvas.polygon(outline, fill)
    canvas.polygon(outline * (-1, 1), fill)


def _tails(canvas: Canvas, hind: Points, kind: str, fill: Colour) -> None:
    length = {"none": 0.0, "short": 0.13, "long": 0.32}[kind]
    if not length:
        return
    outer, inner = hind[4] * 0.25 + hind[5] * 0.75, hind[5] * 0.6 + hind[6] * 0.4
    swell = 0.055 if kind == "long" else 0.035
    up, middle, tip = np.array([0, -0.06]), np.array([0.03, length * 0.6]), np.array([0.06, length])
    neck, side, below = np.array([0.03, 0.0]), np.array([swell, -0.01]), np.array([0.0, 0.05])
    root = (outer + inner) / 2
    right = [outer + up, root + middle + neck, root + tip + side, root + tip + below]
    left = [root + tip - side, root + middle - neck, inner + up]
    _both(canvas, spline(np.vstack([*right, *left])), fill)


def _wing(canvas: Canvas, control: Points, ground: Colour, attributes: dict[str, str], coat: Coat, fore: bool) -> None:
    """One pair of wings with border, band, tip, veins and spots; drawn once and mirrored inside one clip."""
    outline = spline(control)
    border = attributes["border colour"]
    rim = coat(border) if border != "none" else darker(ground, 0.3)
    canvas_outline = np.vstack([outline, outline[:1], outline[:1] * (-1, 1), outline[::-1] * (-1, 1)])
    with canvas.clipped(canvas_outline):
        _both(canvas, outline, rim)
        _both(canvas, spline(_inset(control, 0.17 if border != "none" else 0.05)), ground)
        _both(canvas, spline(_inset(control, 0.66)), mix(ground, darker(ground, 0.45), 0.7))
        if attributes["band colour"] != "none":
            _both(canvas, _band(control, 0.48, 0.2), coat(attributes["band colour"]))
        if fore and attributes["wing tip colour"] != "none":
            apex_x, apex_y = (float(v) for v in control[3] * 0.86)
            _both(canvas, ellipse(apex_x, apex_y, 0.26, 0.16, angle=58), coat(attributes["wing tip colour"]))
        dark = attributes["veins"] == "dark"
        ink = (44, 34, 34) if dark else darker(ground, 0.3)
        for vein in _veins(control):
            for side in (1, -1):
                canvas.stroke(vein * (side, 1), 0.034 if dark else 0.01, ink)
        if border in ("black", "brown", "blue"):
            for dot in spline(_inset(control, 0.075)[3:-1], closed=False, steps=3)[::2]:
                _both(canvas, ellipse(float(dot[0]), float(dot[1]), 0.018, 0.018, steps=10), lighter(rim, 0.75))
    canvas.shade(canvas_outline, strength=0.2, toward=(0.0, 1.0))


def _spots(canvas: Canvas, fore: Points, hind: Points, eyespots: str) -> None:
    """One pair lies on the forewings, the second on the hindwings."""
    pairs = {"none": [], "one pair": [(fore, 0.115)], "two pairs": [(fore, 0.115), (hind, 0.125)]}[eyespots]
    for control, radius in pairs:
        centre = control.mean(axis=0) * 0.42 + (control[3] if control is fore else control[4]) * 0.58
        for side in (1, -1):
            _eyespot(canvas, centre * (side, 1), radius)


def _body(canvas: Canvas, plan: Plan, scale: float, shift: float, morph: Morph) -> None:
    """Antennae, abdomen with rings, furry thorax, head and eyes."""
    width, length = plan.body
    width *= float(morph.proportions[4]) * scale
    ink: Colour = (52, 42, 40)
    fur: Colour = (92, 72, 58)

    def place(points: list[tuple[float, float]]) -> Points:
        placed: Points = (np.asarray(points) + np.array([0.0, shift])) * scale
        return placed

    lean = 0.26 * float(morph.proportions[6])
    for side in (1, -1):
        tip = (side * lean, -0.64 * float(morph.proportions[5]))
        feeler = place([(side * 0.02, -0.26), (side * lean * 0.4, -0.44), tip])
        canvas.stroke(spline(feeler, closed=False), 0.018, ink)
        club_x, club_y = (float(v) for v in feeler[-1])
        canvas.ellipse(club_x, club_y, plan.club, plan.club * 1.5, ink, angle=side * 30)
    top, end = place([(0, 0.02), (0, length * float(morph.proportions[7]))])[:, 1]
    rows = [(0.0, top), (0.75, top + 0.04), (0.72, (top + end) / 2), (0.2, end), (-0.2, end), (-0.72, (top + end) / 2)]
    abdomen = spline([(x * width, y) for x, y in [*rows, (-0.75, top + 0.04)]])
    canvas.polygon(abdomen, ink)
    for share in np.linspace(0.25, 0.85, 5):
        y, half = top + (end - top) * share, width * (0.72 - 0.45 * share**2)
        canvas.stroke([(-half, y), (half, y)], 0.012, lighter(fur, 0.25))
    centre, head = place([(0, -0.08), (0, -0.26)])[:, 1]
    canvas.ellipse(0, centre, width * 1.15, 0.16 * scale, fur)
    canvas.ellipse(-width * 0.3, centre - 0.04, width * 0.45, 0.09 * scale, lighter(fur, 0.2))
    canvas.ellipse(0, head, width * 0.85, 0.06 * scale, ink)
    for side in (1, -1):
        canvas.ellipse(side * width * 0.7, head - 0.01, 0.026, 0.03, (24, 20, 22))


def draw(canvas: Canvas, species: Species, morph: Morph) -> None:
    """One individual of ``species``; see :class:`fgvr.fieldguide.species.Draw`."""
    attributes, plan, coat = species.attributes, PLANS[species.genus], Coat(morph)
    wings = _wings(plan, morph)
    scale, shift = _fit(wings, {"none": 0.0, "short": 0.06, "long": 0.26}[attributes["tail"]])
    fore, hind = ((wing + np.array([0.0, shift])) * scale for wing in wings)
    ground = coat(attributes["hindwing colour"])
    border = attributes["border colour"]
    _tails(canvas, hind, attributes["tail"], coat(border) if border != "none" else darker(ground, 0.3))
    _wing(canvas, hind, ground, attributes, coat, fore=False)
    _wing(canvas, fore, coat(attributes["forewing colour"]), attributes, coat, fore=True)
    _spots(canvas, fore, hind, attributes["eyespots"])
    _body(canvas, plan, scale, shift, morph)
