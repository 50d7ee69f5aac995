"""Draws the beetles of the field guide: from above, head up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.beetles_species import SPECIES
from fgvr.fieldguide.canvas import Canvas, Colour, Points, darker, ellipse, lighter, spline
from fgvr.fieldguide.pigment import pigment
from fgvr.fieldguide.species import Morph, Species

__all__ = ["SPECIES", "draw"]


@dataclass(frozen=True)
class _Form:
    """Shape that a whole genus shares. The right half of each outline, from front to back; the left is its mirror."""

    elytra: tuple[tuple[float, float], ...]
    pronotum: tuple[tuple[float, float], ...]
    head: tuple[float, float]
    """Centre (down the axis) and radius."""
    reach: float
    """How far the legs stand out."""
    ridges: int
    snout: float = 0.0


_FORMS = {
    "round": _Form(
        elytra=((0.0, -0.36), (0.36, -0.32), (0.6, -0.02), (0.56, 0.34), (0.3, 0.64), (0.0, 0.74)),
        pronotum=((0.0, -0.62), (0.26, -0.58), (0.42, -0.36), (0.3, -0.26), (0.0, -0.24)),
        head=(-0.66, 0.17),
        reach=0.8,
        ridges=0,
    ),
    "long": _Form(
        elytra=((0.0, -0.26), (0.27, -0.26), (0.31, 0.05), (0.27, 0.5), (0.14, 0.8), (0.0, 0.86)),
        pronotum=((0.0, -0.56), (0.19, -0.54), (0.27, -0.4), (0.21, -0.24), (0.0, -0.22)),
        head=(-0.64, 0.15),
        reach=0.72,
        ridges=2,
    ),
    "broad": _Form(
        elytra=((0.0, -0.28), (0.36, -0.28), (0.46, 0.1), (0.44, 0.5), (0.24, 0.76), (0.0, 0.8)),
        pronotum=((0.0, -0.6), (0.24, -0.56), (0.4, -0.34), (0.36, -0.24), (0.0, -0.22)),
        head=(-0.64, 0.16),
        reach=0.76,
        ridges=3,
    ),
    "waisted": _Form(
        elytra=((0.0, -0.14), (0.2, -0.16), (0.38, 0.12), (0.36, 0.5), (0.16, 0.78), (0.0, 0.84)),
        pronotum=((0.0, -0.54), (0.22, -0.52), (0.28, -0.36), (0.17, -0.14), (0.0, -0.12)),
        head=(-0.62, 0.15),
        reach=0.8,
        ridges=3,
    ),
    "snouted": _Form(
        elytra=((0.0, -0.2), (0.24, -0.2), (0.44, 0.16), (0.4, 0.52), (0.2, 0.76), (0.0, 0.8)),
        pronotum=((0.0, -0.5), (0.16, -0.48), (0.27, -0.3), (0.22, -0.16), (0.0, -0.14)),
        head=(-0.52, 0.12),
        reach=0.7,
        ridges=2,
        snout=0.36,
    ),
}

_SPOTS: dict[str, tuple[tuple[float, float], ...]] = {
    # (share of the half width, share of the length of the elytra); a spot at 0 lies on the seam
    "none": (),
    "two": ((0.52, 0.45),),
    "four": ((0.52, 0.28), (0.5, 0.68)),
    "seven": ((0.0, 0.1), (0.62, 0.22), (0.4, 0.48), (0.55, 0.74)),
}


def draw(canvas: Canvas, species: Species, morph: Morph) -> None:
    """Legs, antennae, horn and head first, then the pronotum, then the elytra with their pattern and gloss."""
    form = _FORMS[species.attributes["body form"]]
    width, length = morph.proportions[0], morph.proportions[1]
    if morph.sex == "juvenile":
        width *= 1.05
    elytra = _mirrored(form.elytra, width, length)
    pronotum = _mirrored(form.pronotum, width, length)
    _legs(canvas, species, form, morph)
    _head(canvas, species, form, morph)
    shell = pigment(species.attributes["pronotum colour"], morph)
    canvas.polygon(pronotum, darker(shell, 0.4))
    canvas.polygon(pronotum * [0.93, 1] + [0, 0.012], shell)
    canvas.shade(pronotum, strength=0.35)
    _elytra(canvas, species, form, morph, elytra)


def _mirrored(half: Sequence[tuple[float, float]], width: float, length: float) -> Points:
    right = np.asarray(half, float) * [width, length]
    left = right[-2:0:-1] * [-1, 1]
    return spline(np.vstack([right, left]), steps=6)


def _legs(canvas: Canvas, species: Species, form: _Form, morph: Morph) -> None:
    colour = pigment(species.attributes["leg colour"], morph)
    for root, knee, foot in ((-0.38, -0.5, -0.72), (-0.08, -0.02, 0.16), (0.2, 0.42, 0.74)):
        for side in (-1, 1):
            bend = morph.rng.normal(0, 0.05, 2)
            reach = form.reach * morph.proportions[2]
            joints = [(side * 0.16, root), (side * reach * 0.72, knee + bend[0]), (side * reach, foot + bend[1])]
            canvas.stroke(joints[:2], 0.085, darker(colour, 0.15))
            canvas.stroke(joints[1:], 0.06, colour)


def _head(canvas: Canvas, species: Species, form: _Form, morph: Morph) -> None:
    colour = darker(pigment(species.attributes["pronotum colour"], morph), 0.35)
    y, radius = form.head
    _antennae(canvas, species, form, morph)
    if form.snout:
        canvas.stroke([(0, y), (0.02, y - form.snout * morph.proportions[4])], 0.1, colour)
    if species.attributes["horn"] == "long":
        horn = spline([(0, y), (0.03, y - 0.2), (0.1, y - 0.34), (0.02, y - 0.4)], closed=False)
        canvas.stroke(horn, 0.1, darker(colour, 0.2))
    canvas.ellipse(0, y, radius * 1.1, radius, colour)
    for side in (-1, 1):
        canvas.ellipse(side * radius * 0.85, y - 0.02, 0.05, 0.06, (18, 18, 22))
        canvas.ellipse(side * radius * 0.8, y - 0.045, 0.016, 0.016, (235, 235, 240))


def _antennae(canvas: Canvas, species: Species, form: _Form, morph: Morph) -> None:
    y, radius = form.head
    long = species.attributes["antennae"] == "long"
    tip = (0.86, 0.3) if long else (0.36, -0.92)
    for side in (-1, 1):
        wave = morph.rng.normal(0, 0.04, 2)
        bow = (side * (0.62 if long else 0.24), (-0.72 if long else -0.8) + wave[0])
        end = (side * tip[0] + wave[1], tip[1] + wave[0])
        curve = spline([(side * radius * 0.6, y - radius * 0.5), bow, end], closed=False)
        canvas.stroke(curve, 0.04, (38, 32, 30))
        if not long:
            canvas.ellipse(*end, 0.05, 0.035, (38, 32, 30))


def _elytra(canvas: Canvas, species: Species, form: _Form, morph: Morph, outline: Points) -> None:
    colour = pigment(species.attributes["elytra colour"], morph)
    canvas.polygon(outline, darker(colour, 0.45))
    inner = outline * [0.95, 0.98] + [0, 0.006]
    canvas.polygon(inner, colour)
    top, bottom, half = outline[:, 1].min(), outline[:, 1].max(), outline[:, 0].max()
    with canvas.clipped(inner):
        for ridge in range(form.ridges):
            x = half * (ridge + 1) / (form.ridges + 1)
            for side in (-1, 1):
                line = [(side * x * 0.9, top), (side * x, (top + bottom) / 2), (side * x * 0.6, bottom)]
                canvas.stroke(spline(line, closed=False), 0.016, darker(colour, 0.2))
        _band(canvas, species, morph, (top, bottom))
        _spots(canvas, species, morph, (top, bottom), half)
    canvas.stroke([(0, top + 0.02), (0, bottom - 0.01)], 0.022, darker(colour, 0.5))
    canvas.shade(outline, strength=0.4)
    _gloss(canvas, colour, top, half)


def _band(canvas: Canvas, species: Species, morph: Morph, span: tuple[float, float]) -> None:
    if species.attributes["band"] == "none":
        return
    middle = span[0] + 0.5 * (span[1] - span[0])
    wave = morph.rng.normal(0, 0.015, 3)
    upper = [(-1, middle - 0.1 + wave[0]), (0, middle - 0.13), (1, middle - 0.1 + wave[1])]
    lower = [(1, middle + 0.1 + wave[2]), (0, middle + 0.12), (-1, middle + 0.1)]
    canvas.polygon(upper + lower, pigment(species.attributes["band"], morph))


def _spots(canvas: Canvas, species: Species, morph: Morph, span: tuple[float, float], half: float) -> None:
    places = _SPOTS[species.attributes["spot count"]]
    if not places:
        return
    colour = pigment(species.attributes["spot colour"], morph)
    size = (0.17 if len(places) == 1 else 0.135 if len(places) == 2 else 0.11) * morph.proportions[5]
    for across, along in places:
        jitter = morph.rng.normal(0, 0.012, 2)
        y = span[0] + along * (span[1] - span[0]) + jitter[1]
        for side in (-1, 1) if across else (1,):
            canvas.polygon(ellipse(side * (across * half + jitter[0]), y, size, size * 0.95), colour)


def _gloss(canvas: Canvas, colour: Colour, top: float, half: float) -> None:
    shine = lighter(colour, 0.75)
    canvas.ellipse(-half * 0.45, top + 0.22, half * 0.16, 0.13, shine, angle=20, alpha=0.45)
    canvas.ellipse(half * 0.5, top + 0.3, half * 0.1, 0.1, shine, angle=-20, alpha=0.3)
