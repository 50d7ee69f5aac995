"""What of an image is encoded: the whole (``plain``), or a deterministic augmentation of it (``crop:3``).

Caching V augmented views once replaces re-decoding and re-encoding every image in every epoch (random resized crop and
flip, as CoOp trains). CoOp's area scale (0.08, 1) removes the details fine-grained classes differ in; the default
here is (0.5, 1), and another minimum is part of the view's name: ``crop:3@0.08``.
"""

from __future__ import annotations

import hashlib
import math
import random

from PIL import Image

PLAIN = "plain"
MIN_SCALE = 0.5
ASPECT = (3 / 4, 4 / 3)


def crop_views(count: int, *, min_scale: float = MIN_SCALE) -> tuple[str, ...]:
    """Names of ``count`` augmented views; ``min_scale`` in (0, 1] is the least share of the area kept."""
    if not 0 < min_scale <= 1:
        raise ValueError("min_scale must be in (0, 1]")
    suffix = "" if min_scale == MIN_SCALE else f"@{min_scale:g}"
    return tuple(f"crop:{index}{suffix}" for index in range(count))


def render_view(image: Image.Image, view: str, *, sha256: str, side: int) -> Image.Image:
    """The named view of an RGB image: itself, or a (side, side) crop with perhaps a flip, seeded by content and name.

    Raises ``ValueError`` for a view that does not exist.
    """
    if view == PLAIN:
        return image
    min_scale = _min_scale(view)
    seed = hashlib.sha256(f"{sha256}|{view}".encode()).digest()
    draw = random.Random(int.from_bytes(seed[:8], "big"))
    box = _crop_box(image.width, image.height, draw, min_scale=min_scale)
    cropped = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else cropped


def _min_scale(view: str) -> float:
    kind, _, rest = view.partition(":")
    index, _, scale = rest.partition("@")
    if kind != "crop" or not index.isdecimal():
        raise ValueError(f"no such view: {view!r} (plain, crop:INDEX or crop:INDEX@MIN_SCALE)")
    return float(scale) if scale else MIN_SCALE


def _crop_box(width: int, height: int, draw: random.Random, *, min_scale: float) -> tuple[int, int, int, int]:
    """Random resized crop as torchvision draws it: area uniform, aspect log-uniform, ten tries, then all of it."""
    for _ in range(10):
        area = width * height * draw.uniform(min_scale, 1.0)
        aspect = math.exp(draw.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        crop_width, crop_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left, top = draw.randint(0, width - crop_width), draw.randint(0, height - crop_height)
            return left, top, left + crop_width, top + crop_height
    return 0, 0, width, height
