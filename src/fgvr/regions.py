"""One object out of a picture of many: crop around its box, resize, blur what is not the object (RAR, section 3.2).

The paper crops "based on bounding box coordinates", resizes "to a fixed proportion" and blurs "the non-target areas
surrounding the objects of interest"; its appendix adds an "adaptive crop scale". Neither the values nor any detection
code were published: Table 12 (CLIP alone, LVIS, given boxes) is the only guide, and the defaults are read from it.

1. *Window.* A square of side scale x max(width, height) about the box's centre, shifted inside the picture; where it is
   larger than the picture, the picture's edge pixels are repeated.
2. *Scale by area.* 2.6 for small boxes, 1.6 for medium, 1.0 for large ones (COCO's bounds, 32 x 32 and 96 x 96 pixels):
   near the best column of Table 12's AP_s, AP_m and AP_l rows with blur. The area is the box's, width x height: a
   mask's area is not given to who has only boxes.
3. *Blur.* Everything outside the box, Gaussian, sigma 0.03 of the window's side, after resizing as in the paper's order
   of words (Pillow's Gaussian: three box blurs). The box itself, rounded outwards to whole pixels, is left untouched.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageFilter

from fgvr.errors import InputError

Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

_SMALLEST_WINDOW = 1.0
"""Pixels: a box of less is looked at as the pixel it lies in."""


@dataclass(frozen=True)
class CropPolicy:
    """How boxes become pictures. Raises ``InputError`` for values that make no crop."""

    small: float = 2.6
    """Side of the window in longer sides of the box, for boxes of less than ``medium_from`` square pixels."""
    medium: float = 1.6
    large: float = 1.0
    """For boxes of ``large_from`` square pixels or more."""
    medium_from: float = 32.0**2
    large_from: float = 96.0**2
    blur_sigma: float = 0.03
    """Standard deviation of the blur in sides of the window; 0 switches it off."""
    side: int = 224
    """Of the crop, in pixels."""

    def __post_init__(self) -> None:
        scales = (self.small, self.medium, self.large)
        if not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise InputError("a crop scale must be above 0", remedy="1.0 is the box itself.", scales=scales)
        if not math.isfinite(self.blur_sigma) or not 0 <= self.blur_sigma <= 1:
            raise InputError("blur_sigma is a share of the window's side, from 0 to 1", blur_sigma=self.blur_sigma)
        if self.side < 1 or not 0 <= self.medium_from <= self.large_from:
            raise InputError("a crop needs a side of 1 or more, and areas in order", **asdict(self))

    def scale(self, area: float) -> float:
        """The scale for a box of ``area`` square pixels."""
        if area < self.medium_from:
            return self.small
        return self.medium if area < self.large_from else self.large

    @property
    def digest(self) -> str:
        """Of all settings and of ``VERSION``: equal digests make equal crops."""
        return hashlib.sha256(json.dumps([VERSION, asdict(self)], sort_keys=True).encode()).hexdigest()[:16]


VERSION = 1
"""Raised when the same policy makes other crops."""


def uniform_policy(
    scale: float, *, blur_sigma: float = CropPolicy.blur_sigma, side: int = CropPolicy.side
) -> CropPolicy:
    """One scale for boxes of every size: a column of Table 12."""
    return CropPolicy(small=scale, medium=scale, large=scale, blur_sigma=blur_sigma, side=side)


def crop_window(box: Corners, size: tuple[int, int], *, scale: float) -> Corners:
    """The square window around a box, in pixels of the picture; part of it may lie outside.

    Args:
        box: x0, y0, x1, y1, not empty.
        size: (width, height) of the picture.
        scale: side of the window in longer sides of the box.

    Along an axis on which the window fits into the picture it lies inside; on which it does not, it covers the picture.
    """
    x0, y0, x1, y1 = box
    side = max(_SMALLEST_WINDOW, scale * max(x1 - x0, y1 - y0))
    left = _shifted((x0 + x1 - side) / 2, side, size[0])
    top = _shifted((y0 + y1 - side) / 2, side, size[1])
    return left, top, left + side, top + side


def crop(
    image: Image.Image, box: Corners, policy: CropPolicy = CropPolicy(), *, area: float | None = None
) -> Image.Image:
    """The object of a box: cropped, resized, the rest blurred; RGB, ``policy.side`` square.

    ``box`` lies inside the picture and is not empty. ``area``: what chooses the scale, in square pixels, where that is
    not the box's own (of a box that was clipped, or given in pixels of a larger copy).
    """
    x0, y0, x1, y1 = box
    scale = policy.scale((x1 - x0) * (y1 - y0) if area is None else area)
    window = crop_window(box, image.size, scale=scale)
    resized = _resized(image, window, policy.side)
    return resized if policy.blur_sigma == 0 else blur_outside(resized, _in_window(box, window, policy.side), policy)


def blur_outside(image: Image.Image, box: tuple[int, int, int, int], policy: CropPolicy) -> Image.Image:
    """The picture blurred but for ``box`` (whole pixels); sigma is ``policy.blur_sigma`` of the picture's width."""
    if box == (0, 0, *image.size):
        return image
    blurred = image.filter(ImageFilter.GaussianBlur(policy.blur_sigma * image.width))
    blurred.paste(image.crop(box), box)
    return blurred


def _shifted(start: float, side: float, length: int) -> float:
    """``start`` of the window moved as little as needed: inside the picture, or over all of it."""
    low, high = sorted((0.0, length - side))
    return min(max(start, low), high)


def _in_window(box: Corners, window: Corners, side: int) -> tuple[int, int, int, int]:
    """A box in pixels of the resized window, rounded outwards and clipped to it."""
    left, top, right, _ = window
    factor = side / (right - left)
    start = [max(0, math.floor(edge * factor + 1e-6)) for edge in (box[0] - left, box[1] - top)]
    end = [min(side, math.ceil(edge * factor - 1e-6)) for edge in (box[2] - left, box[3] - top)]
    return start[0], start[1], max(end[0], start[0] + 1), max(end[1], start[1] + 1)


def _resized(image: Image.Image, window: Corners, side: int) -> Image.Image:
    """The window at ``side`` x ``side`` pixels.

    Only what is inside the picture is resized, then its edges are repeated: padding first would cost memory of the
    window's size, which a long thin picture can make a hundred times that of the picture.
    """
    left, top, right, bottom = window
    factor = side / (right - left)
    seen = (max(0.0, left), max(0.0, top), min(float(image.width), right), min(float(image.height), bottom))
    columns = _span(seen[0] - left, seen[2] - left, factor, side)
    rows = _span(seen[1] - top, seen[3] - top, factor, side)
    size = (columns[1] - columns[0], rows[1] - rows[0])
    visible = image.resize(size, Image.Resampling.BICUBIC, box=seen)
    if size == (side, side):
        return visible
    margins = ((rows[0], side - rows[1]), (columns[0], side - columns[1]), (0, 0))
    return Image.fromarray(np.pad(np.asarray(visible), margins, mode="edge"))


def _span(start: float, end: float, factor: float, side: int) -> tuple[int, int]:
    """First and one past the last pixel, at least one of them."""
    first = min(side - 1, max(0, round(start * factor)))
    return first, min(side, max(first + 1, round(end * factor)))
