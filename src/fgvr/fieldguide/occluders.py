"""Things between the camera and the organism: a leaf, a grass blade or a twig, slid in from outside the frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from fgvr.fieldguide.canvas import Colour, mix

OCCLUDERS = ("leaf", "blade", "twig")
_SUPERSAMPLE = 2
_STEPS = 7

Outline = NDArray[np.float64]
"""(N, 2) polygon in shares of the frame's side, its tip (or its edge) at the origin and its mass towards +y."""
Part = tuple[Outline, Colour]


def occlude(
    frame: Image.Image, alpha: Image.Image, kind: str, most: float, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Lay an occluder over ``frame`` that hides at most the share ``most`` of the organism with this ``alpha``.

    Returns the new frame and what stays visible of ``alpha``.
    """
    parts = _parts(kind, rng)
    box = alpha.getbbox() or (0, 0, *alpha.size)
    centre = np.array([box[0] + box[2], box[1] + box[3]]) / (2 * alpha.width)
    turn = rng.uniform(0, 2 * np.pi)
    near, far = -0.6, 1.0
    # Bisection on how far the occluder stays away: hiding grows as it slides in, for all three shapes nearly so.
    small = alpha.resize((64, 64), Image.Resampling.BOX)
    for _ in range(_STEPS):
        middle = (near + far) / 2
        if _hidden(small, _cover(parts, centre, turn, middle, 64)) > most:
            near = middle
        else:
            far = middle
    layer = _paint(parts, centre, turn, far, frame.width)
    layer = layer.filter(ImageFilter.GaussianBlur(0.005 * frame.width))
    cover = layer.getchannel("A")
    frame = frame.copy()
    frame.paste(layer.convert("RGB"), (0, 0), cover)
    return frame, ImageChops.multiply(alpha, ImageChops.invert(cover))


def _hidden(alpha: Image.Image, cover: Image.Image) -> float:
    total = ImageStat.Stat(alpha).sum[0]
    return float(ImageStat.Stat(ImageChops.multiply(alpha, cover)).sum[0] / max(total, 1.0))


def _parts(kind: str, rng: np.random.Generator) -> list[Part]:
    green: Colour = (int(rng.integers(46, 120)), int(rng.integers(96, 150)), int(rng.integers(36, 72)))
    if kind == "leaf":
        return _leaf(rng.uniform(0.45, 0.7), rng.uniform(0.11, 0.18), green)
    t = np.linspace(-1.6, 1.6, 25)
    bend = rng.uniform(-0.12, 0.12) * t**2
    if kind == "blade":
        width = rng.uniform(0.03, 0.06) * (1.25 - np.abs(t) / 1.7)
        return [
            (_ribbon(t, bend, width), green),
            (_ribbon(t, bend + width * 0.35, width * 0.12), mix(green, (20, 40, 10), 0.3)),
        ]
    brown: Colour = (int(rng.integers(80, 120)), int(rng.integers(60, 84)), int(rng.integers(40, 60)))
    parts: list[Part] = [(_ribbon(t, bend, np.full_like(t, rng.uniform(0.016, 0.028))), brown)]
    for place in rng.uniform(-0.7, 0.7, 3):
        parts += [
            (_turned(outline, rng.uniform(0.6, 2.4)) + np.array([place, 0.02]), colour)
            for outline, colour in _leaf(0.17, 0.04, green)
        ]
    return parts


def _ribbon(x: Outline, y: Outline, width: Outline) -> Outline:
    return np.stack([np.r_[x, x[::-1]], np.r_[y, (y + width)[::-1]]], axis=1)


def _leaf(length: float, half_width: float, colour: Colour) -> list[Part]:
    t = np.linspace(0, 1, 13)
    half = np.sin(np.pi * t**0.8) * half_width
    blade = np.stack([np.r_[half, -half[::-1]], np.r_[t, t[::-1]] * length], axis=1)
    shaded = np.stack([np.r_[half, 0 * half], np.r_[t, t[::-1]] * length], axis=1)
    return [(blade, colour), (shaded, mix(colour, (16, 30, 10), 0.22))]


def _turned(points: Outline, angle: float) -> Outline:
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Outline = points @ np.array([[cos, sin], [-sin, cos]])
    return turned


def _place(outline: Outline, centre: Outline, turn: float, away: float, side: int) -> list[tuple[float, float]]:
    pixels = (_turned(outline + np.array([0.0, away]), turn) + centre) * side
    return [(float(x), float(y)) for x, y in pixels]


def _cover(parts: list[Part], centre: Outline, turn: float, away: float, side: int) -> Image.Image:
    cover = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(cover)
    for outline, _ in parts:
        draw.polygon(_place(outline, centre, turn, away, side), fill=255)
    return cover


def _paint(parts: list[Part], centre: Outline, turn: float, away: float, side: int) -> Image.Image:
    """The occluder, RGBA; transparent pixels keep its main colour, so blurred edges do not darken."""
    large = side * _SUPERSAMPLE
    layer = Image.new("RGBA", (large, large), (*parts[0][1], 0))
    draw = ImageDraw.Draw(layer)
    for outline, colour in parts:
        draw.polygon(_place(outline, centre, turn, away, large), fill=(*colour, 255))
    return layer.resize((side, side), Image.Resampling.BOX)
