"""A small antialiased drawing surface over Pillow: unit coordinates, splines, clipped patterns, soft shading.

Organisms are drawn in a unit square: x to the right, y down, both in [-1, 1], centred on the organism, which should
fill about 85 % of the square. The canvas is drawn ``OVERSAMPLE`` times larger than asked for and reduced once, at the
end, so every edge is smooth at any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

OVERSAMPLE = 3

Colour = tuple[int, int, int]
Points = np.ndarray
"""(N, 2) float, unit coordinates."""


def spline(points: Sequence[Sequence[float]] | Points, *, closed: bool = True, steps: int = 8) -> Points:
    """Catmull-Rom curve through ``points`` (N, 2); returns (N * steps, 2) (``closed``) or ((N-1) * steps + 1, 2)."""
    control = np.asarray(points, dtype=float)
    if closed:
        before, start, end, after = (np.roll(control, shift, axis=0) for shift in (1, 0, -1, -2))
    else:
        padded = np.vstack([2 * control[0] - control[1], control, 2 * control[-1] - control[-2]])
        before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (before, start, end, after))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.vstack([flat, control[-1]])


def ellipse(cx: float, cy: float, rx: float, ry: float, *, angle: float = 0.0, steps: int = 40) -> Points:
    """Outline of an ellipse, ``angle`` in degrees clockwise on screen; (steps, 2)."""
    phi = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    x, y = rx * np.cos(phi), ry * np.sin(phi)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=1)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``share`` of ``second`` in ``first``, both 0-255 RGB."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    r, g, bl = np.clip(np.rint(a + (b - a) * share), 0, 255).astype(int)
    return int(r), int(g), int(bl)


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """Towards black."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.25) -> Colour:
    """Towards white."""
    return mix(colour, (255, 255, 255), share)


class Canvas:
    """Transparent RGBA drawing surface of ``size`` x ``size`` final pixels in unit coordinates."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pixels = size * OVERSAMPLE
        self._image = Image.new("RGBA", (self._pixels, self._pixels), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Points | Sequence[Sequence[float]], fill: Colour, *, alpha: float = 1.0) -> None:
        """Filled polygon; ``alpha`` in [0, 1] blends over what is already drawn."""
        if alpha >= 1.0:
            self._draw.polygon(self._to_pixels(points), fill=(*fill, 255))
        else:
            self._blend(fill, self._mask(points), alpha)

    def ellipse(
        self, cx: float, cy: float, rx: float, ry: float, fill: Colour, *, angle: float = 0.0, alpha: float = 1.0
    ) -> None:
        """Filled ellipse, ``angle`` in degrees clockwise on screen."""
        self.polygon(ellipse(cx, cy, rx, ry, angle=angle), fill, alpha=alpha)

    def stroke(self, points: Points | Sequence[Sequence[float]], width: float, fill: Colour) -> None:
        """Polyline of ``width`` units with round joints and ends."""
        pixels = self._to_pixels(points)
        thick = max(1, round(width * self._pixels / 2))
        self._draw.line(pixels, fill=(*fill, 255), width=thick, joint="curve")
        if thick > 2:
            for x, y in (pixels[0], pixels[-1]):
                self._draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=(*fill, 255))

    @contextmanager
    def clipped(self, points: Points | Sequence[Sequence[float]]) -> Iterator[None]:
        """Everything drawn inside the block shows only inside the polygon ``points`` (patterns on a wing)."""
        outer, outer_draw = self._image, self._draw
        self._image = Image.new("RGBA", outer.size, (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)
        try:
            yield
        finally:
            layer = self._image
            layer.putalpha(ImageChops.multiply(layer.getchannel("A"), self._mask(points)))
            outer.alpha_composite(layer)
            self._image, self._draw = outer, outer_draw

    def shade(
        self,
        points: Points | Sequence[Sequence[float]],
        *,
        strength: float = 0.35,
        toward: tuple[float, float] = (0.3, 1.0),
    ) -> None:
        """Round a flat shape: darken it in direction ``toward`` and lighten the other side, inside ``points``."""
        outline = np.asarray(points, float)
        low, high = outline.min(axis=0), outline.max(axis=0)
        direction = np.asarray(toward, float) / np.hypot(*toward)
        axis = np.linspace(-1, 1, 64)
        grid_x, grid_y = np.meshgrid(axis, axis)
        slope = np.clip(grid_x * direction[0] + grid_y * direction[1], -1, 1)
        box = self._to_pixels([low, high])
        left, top, right, bottom = (int(v) for v in (*box[0], *box[1]))
        extent = (max(1, right - left), max(1, bottom - top))
        mask = self._mask(points).crop((left, top, left + extent[0], top + extent[1]))
        for sign, colour in ((1, (10, 12, 30)), (-1, (255, 252, 235))):
            share = np.clip(sign * slope, 0, 1) ** 1.5 * strength * 255
            ramp = Image.fromarray(share.astype(np.uint8)).resize(extent, Image.Resampling.BILINEAR)
            tone = Image.new("RGBA", extent, (*colour, 255))
            tone.putalpha(ImageChops.multiply(ramp, mask))
            self._image.alpha_composite(tone, (max(0, left), max(0, top)))

    def image(self) -> Image.Image:
        """The drawing, reduced to ``size`` x ``size``, RGBA."""
        return self._image.resize((self.size, self.size), Image.Resampling.BOX)

    def _to_pixels(self, points: Points | Sequence[Sequence[float]]) -> list[tuple[float, float]]:
        scaled = (np.asarray(points, float) + 1) * (self._pixels / 2)
        return list(map(tuple, scaled.tolist()))

    def _mask(self, points: Points | Sequence[Sequence[float]]) -> Image.Image:
        mask = Image.new("L", self._image.size, 0)
        ImageDraw.Draw(mask).polygon(self._to_pixels(points), fill=255)
        return mask

    def _blend(self, fill: Colour, mask: Image.Image, alpha: float) -> None:
        layer = Image.new("RGBA", self._image.size, (*fill, 255))
        layer.putalpha(mask.point([round(v * alpha) for v in range(256)]))
        self._image.alpha_composite(layer)


def soft_shadow(drawing: Image.Image, *, radius: float, opacity: float) -> Image.Image:
    """A blurred dark copy of a drawing's alpha channel, RGBA, for laying under it."""
    shadow = Image.new("RGBA", drawing.size, (15, 15, 25, 255))
    alpha = drawing.getchannel("A").filter(ImageFilter.GaussianBlur(radius))
    shadow.putalpha(alpha.point([round(v * opacity) for v in range(256)]))
    return shadow
