"""Draws the flowers of the field guide: a large head seen from the front, on a stem with leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.canvas import Canvas, Colour, Points, darker, lighter, mix, spline
from fgvr.fieldguide.flowers_species import SPECIES
from fgvr.fieldguide.pigment import HUES, pigment
from fgvr.fieldguide.species import Morph, Species

__all__ = ["SPECIES", "draw"]

_LEAF_GREEN: Colour = (92, 138, 66)


@dataclass(frozen=True)
class _Form:
    """Shape that a whole genus shares."""

    length: float
    width: float
    """Half width of a petal at its broadest, in head radii, for five petals (or ``many``)."""
    centre: float
    """Radius of the centre."""
    tilt: float
    """Height of the head over its width: how far it faces up."""
    many: int = 12
    stamens: str = "none"


_FORMS = {
    "disc": _Form(0.66, 0.24, 0.21, 0.96, many=12, stamens="florets"),
    "rayed": _Form(0.66, 0.16, 0.21, 0.96, many=16, stamens="florets"),
    "cup": _Form(0.66, 0.72, 0.18, 0.92, stamens="ring"),
    "bowl": _Form(0.66, 0.54, 0.17, 0.92, stamens="ring"),
    "star": _Form(0.70, 0.34, 0.15, 0.92, stamens="long"),
    "lipped": _Form(0.62, 0.56, 0.14, 1.0),
    "trumpet": _Form(0.62, 0.46, 0.21, 0.80, stamens="throat"),
}
_COUNTS = {"five": 5, "six": 6, "eight": 8}
# Along and half-across coordinates of one side of a petal, from its base to its tip.
_SIDES = {
    "round": [(0.0, 0.22), (0.3, 0.62), (0.6, 0.95), (0.82, 0.92), (0.96, 0.5), (1.0, 0.0)],
    "pointed": [(0.0, 0.24), (0.25, 0.72), (0.48, 0.94), (0.72, 0.66), (0.92, 0.22), (1.1, 0.0)],
    "notched": [(0.0, 0.22), (0.3, 0.62), (0.62, 0.98), (0.88, 0.98), (1.05, 0.6), (0.98, 0.26), (0.74, 0.0)],
}
_SPOTS = {"long": [(0.42, 0.0), (0.6, 0.42), (0.66, -0.36)], "other": [(0.56, 0.0)]}


@dataclass(frozen=True)
class _Petal:
    """One petal's place: maps (along, across) in petal lengths and half widths to the canvas."""

    origin: tuple[float, float]
    angle: float
    length: float
    width: float
    tilt: float

    def place(self, local: Points | list[tuple[float, float]]) -> Points:
        points = np.asarray(local, float)
        along, across = points[:, 0] * self.length, points[:, 1] * self.width
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x = self.origin[0] + along * cos - across * sin
        y = self.origin[1] + (along * sin + across * cos) * self.tilt
        return np.stack([x, y], axis=1)


def draw(canvas: Canvas, species: Species, morph: Morph) -> None:
    """Draw one flower; ``morph.sex`` is its age: fresh (male), faded (female) or half open (juvenile)."""
    traits = species.attributes
    form = _FORMS[traits["flower form"]]
    lift = 0.1 if traits["flower form"] == "trumpet" else 0.0
    head = (float(morph.rng.normal(0, 0.03)), -0.24 - lift)
    _draw_stem(canvas, head, traits["leaf shape"], morph)
    if traits["flower form"] == "trumpet":
        _draw_tube(canvas, head, pigment(traits["petal colour"], morph), morph)
    for petal in _petals(form, head, species, morph):
        _draw_petal(canvas, petal, species, morph)
    _draw_centre(canvas, form, head, species, morph)


def _petals(form: _Form, head: tuple[float, float], species: Species, morph: Morph) -> list[_Petal]:
    """All petals, those that lie underneath first."""
    opened = {"male": 1.0, "female": 1.0, "juvenile": 0.88}[morph.sex]
    tilt = form.tilt * (0.9 if morph.sex == "juvenile" else 1.0) * float(np.clip(morph.proportions[0], 0.9, 1.08))
    droop = 0.09 if morph.sex == "female" else 0.05
    if species.attributes["flower form"] == "lipped":
        degrees = [(-122.0, 1.0), (-58.0, 1.0), (172.0, 0.95), (8.0, 0.95), (90.0, 1.16)]
        share = 1.0
    else:
        count = _COUNTS.get(species.attributes["petal count"], form.many)
        start = -90 + float(morph.rng.uniform(0, 360 / count))
        degrees = [(start + 360 * i / count, 1.0) for i in (*range(0, count, 2), *range(1, count, 2))]
        share = 1.0 if species.attributes["petal count"] == "many" else (5 / count) ** 0.8
    petals = []
    for degree, size in degrees:
        angle = np.radians(degree + morph.rng.normal(0, 50 * droop * share))
        length = min(form.length * opened * size * float(np.clip(1 + morph.rng.normal(0, droop), 0.86, 1.1)), 0.72)
        width = (
            form.width * share * size * form.length * float(morph.proportions[1]) * (0.92 + morph.rng.uniform(0, 0.14))
        )
        petals.append(_Petal(head, float(angle), length, width, tilt))
    return petals


def _draw_petal(canvas: Canvas, petal: _Petal, species: Species, morph: Morph) -> None:
    traits = species.attributes
    side = spline(_SIDES[traits["petal shape"]], closed=False, steps=5)
    outline = np.vstack([side, (side * (1, -1))[::-1]])
    # Light comes from the upper left: petals that face it are paler.
    facing = float(np.cos(petal.angle - np.radians(225)))
    colour = pigment(traits["petal colour"], morph)
    colour = lighter(colour, 0.14 * facing) if facing > 0 else darker(colour, -0.12 * facing)
    rim = darker(colour, 0.36)
    canvas.polygon(petal.place(outline * (1.015, 1.05) + (0.0, 0.0)), rim)
    inner = outline
    if traits["petal edge"] != "none":
        canvas.polygon(petal.place(outline), pigment(traits["petal edge"], morph))
        inner = outline * (0.83, 0.66)
    canvas.polygon(petal.place(inner), colour)
    fold = np.vstack([inner[: len(inner) // 2] * (0.98, 0.94), [(0.0, 0.0)]])
    canvas.polygon(petal.place(fold), darker(colour, 0.07))
    canvas.polygon(petal.place(inner * (0.62, 0.72)), mix(colour, rim, 0.16))
    vein = mix(colour, rim, 0.42)
    for across in (-0.42, 0.0, 0.42) if petal.width > 0.13 else (0.0,):
        reach = 0.66 if traits["petal shape"] == "notched" else 0.76
        path = spline([(0.1, 0.0), (0.4, across * 0.75), (reach, across)], closed=False, steps=4)
        canvas.stroke(petal.place(path), 0.012, vein)
    if traits["petal spots"] != "none":
        _draw_spots(canvas, petal, traits["flower form"], morph)


def _draw_spots(canvas: Canvas, petal: _Petal, form: str, morph: Morph) -> None:
    """Dark spots; a lily freckles its petals, the others carry one broad blotch each."""
    ink = mix(HUES["black"], HUES["brown"], 0.35) if form == "star" else HUES["black"]
    places = _SPOTS["long" if form == "star" else "other"]
    for point, (x, y) in zip(places, petal.place(places), strict=True):
        radius = (0.062 if form == "star" else 0.105) * (0.9 + 0.2 * morph.rng.random())
        stretch = 1.0 if point[1] else 1.25
        canvas.ellipse(x, y, radius * stretch, radius, ink, angle=float(np.degrees(petal.angle)))


def _draw_centre(canvas: Canvas, form: _Form, head: tuple[float, float], species: Species, morph: Morph) -> None:
    colour = pigment(species.attributes["centre colour"], morph)
    x, y = head
    radius = form.centre * float(np.clip(morph.proportions[2], 0.9, 1.12))
    ry = radius * form.tilt
    if form.stamens == "ring":
        _draw_stamens(canvas, head, radius, form.tilt, morph)
    elif form.stamens == "long":
        _draw_long_stamens(canvas, head, form, morph)
    canvas.ellipse(x, y + 0.015, radius * 1.07, ry * 1.07, darker(colour, 0.4))
    canvas.ellipse(x, y, radius, ry, colour)
    canvas.ellipse(x - radius * 0.2, y - ry * 0.22, radius * 0.62, ry * 0.6, lighter(colour, 0.13))
    if form.stamens == "throat":
        canvas.ellipse(x, y + ry * 0.12, radius * 0.42, ry * 0.42, darker(colour, 0.3))
        canvas.ellipse(x, y + ry * 0.05, radius * 0.16, ry * 0.2, lighter(colour, 0.3))
    elif form.stamens == "florets":
        _draw_florets(canvas, head, radius, form.tilt, colour)
    elif form.stamens == "ring":
        for angle in np.arange(6) * np.pi / 3 + float(morph.rng.uniform(0, 1)):
            tip = (x + 0.85 * radius * np.cos(angle), y + 0.85 * ry * np.sin(angle))
            canvas.stroke([(x, y), tip], 0.022, darker(colour, 0.25) if sum(colour) > 200 else lighter(colour, 0.25))
    elif form.stamens == "none":
        canvas.ellipse(x, y + ry * 0.45, radius * 0.3, ry * 0.34, (236, 150, 40))


def _draw_florets(canvas: Canvas, head: tuple[float, float], radius: float, tilt: float, colour: Colour) -> None:
    """Sunflower spiral of tiny florets."""
    index = np.arange(46)
    reach, turn = radius * 0.93 * np.sqrt((index + 0.5) / 46), index * 2.39996
    for i, (r, a) in enumerate(zip(reach, turn, strict=True)):
        tone = lighter(colour, 0.2) if i % 2 else darker(colour, 0.16)
        canvas.ellipse(head[0] + r * np.cos(a), head[1] + r * np.sin(a) * tilt, 0.017, 0.016, tone)


def _draw_stamens(canvas: Canvas, head: tuple[float, float], radius: float, tilt: float, morph: Morph) -> None:
    ink = (44, 32, 46)
    for angle in np.arange(0, 2 * np.pi, 2 * np.pi / 26):
        reach = radius * float(morph.rng.uniform(1.3, 1.6))
        x, y = head[0] + reach * np.cos(angle), head[1] + reach * np.sin(angle) * tilt
        canvas.stroke([head, (x, y)], 0.011, ink)
        canvas.ellipse(x, y, 0.019, 0.019, ink)


def _draw_long_stamens(canvas: Canvas, head: tuple[float, float], form: _Form, morph: Morph) -> None:
    for angle in np.arange(6) * np.pi / 3 + float(morph.rng.uniform(0, 1)):
        reach = form.length * float(morph.rng.uniform(0.36, 0.44))
        x, y = head[0] + reach * np.cos(angle), head[1] + reach * np.sin(angle) * form.tilt
        canvas.stroke([head, (x, y)], 0.02, (206, 214, 140))
        canvas.ellipse(x, y, 0.046, 0.022, (126, 62, 30), angle=float(np.degrees(angle)) + 90)


def _draw_tube(canvas: Canvas, head: tuple[float, float], colour: Colour, morph: Morph) -> None:
    """The tube of a trumpet flower, below its open face, and the calyx that holds it."""
    x, y = head
    half = 0.33 * float(morph.proportions[3])
    foot = 0.66
    tube = spline(
        [(x - half, y + 0.1), (x - half * 0.86, y + 0.6), (x - 0.12, foot), (x + 0.12, foot),
         (x + half * 0.86, y + 0.6), (x + half, y + 0.1)]
    )  # fmt: skip
    canvas.polygon(tube, darker(colour, 0.2))
    for share in (-0.6, -0.2, 0.2, 0.6):
        canvas.stroke([(x + half * share, y + 0.2), (x + half * share * 0.4, foot)], 0.018, darker(colour, 0.42))
    canvas.shade(tube, strength=0.45, toward=(1.0, 0.3))
    for side in (-1, 0, 1):
        sepal = [
            (x + side * 0.1 - 0.07, foot + 0.04),
            (x + side * 0.2, foot - 0.2),
            (x + side * 0.1 + 0.07, foot + 0.04),
        ]
        canvas.polygon(sepal, mix(_LEAF_GREEN, (40, 70, 30), 0.2 + 0.15 * side))


def _draw_stem(canvas: Canvas, head: tuple[float, float], leaf: str, morph: Morph) -> None:
    sway = float(np.clip(morph.rng.normal(0, 0.09), -0.2, 0.2))
    path = spline([head, (head[0] + sway * 0.3, 0.4), (sway, 0.9)], closed=False)
    green = mix(_LEAF_GREEN, (150, 140, 70), 0.2 if morph.sex == "female" else 0.0)
    canvas.stroke(path, 0.085, darker(green, 0.35))
    canvas.stroke(path - (0.012, 0.0), 0.05, green)
    for side, root in ((-1, 0.84), (1, 0.74)):
        rise = float(morph.rng.uniform(0.16, 0.4)) if leaf == "narrow" else float(morph.rng.uniform(0.0, 0.2))
        length = 0.66 * float(np.clip(morph.proportions[4], 0.85, 1.1))
        angle = -rise if side > 0 else np.pi + rise
        _draw_leaf(canvas, _Petal((sway * 0.8, root), float(angle), length, 0.0, 1.0), leaf, green)


def _draw_leaf(canvas: Canvas, place: _Petal, leaf: str, green: Colour) -> None:
    half = {"narrow": 0.075, "round": 0.19, "toothed": 0.17}[leaf]
    blade = _Petal(place.origin, place.angle, place.length, half, 1.0)
    along = np.linspace(0, 1, 15)
    across = np.sin(np.pi * along ** (0.62 if leaf == "round" else 0.85))
    if leaf == "toothed":
        across = across * np.where(np.arange(15) % 2, 1.15, 0.66)
    side = np.stack([along, across], axis=1)
    outline = blade.place(np.vstack([side, (side * (1, -1))[::-1]]))
    canvas.polygon(outline, green)
    canvas.polygon(blade.place(np.vstack([side, [(0.0, 0.0)]])), darker(green, 0.16))
    canvas.stroke(blade.place([(0.0, 0.0), (0.92, 0.0)]), 0.016, lighter(green, 0.3))
    for t in (0.25, 0.45, 0.65) if leaf != "narrow" else ():
        for end in (0.55, -0.55):
            canvas.stroke(blade.place([(t, 0.0), (t + 0.14, end)]), 0.01, lighter(green, 0.2))
