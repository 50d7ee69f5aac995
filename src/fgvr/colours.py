"""Any of Pillow's modes to plain RGB, in bounded memory.

Transparency is composited on white; 16-bit grey is scaled to 8 bits, not clipped. Work goes strip by strip: several
copies of a whole 120-megapixel picture, some of them in double precision, would be gigabytes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

STRIP_PIXELS = 4_000_000


def to_rgb(image: Image.Image) -> Image.Image:
    """An RGB picture that shares no memory and no file with ``image``; see the module docstring."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    deep = image.mode.startswith("I") or image.mode == "F"
    strips = _strips(image)
    extremes = [_extremes(image.crop(strip)) for strip in strips] if deep else [(0.0, 0.0)]
    low, high = min(one for one, _ in extremes), max(one for _, one in extremes)
    target = Image.new("RGB", image.size)
    for strip in strips:
        part = image.crop(strip) if len(strips) > 1 else image
        target.paste(_deep_to_rgb(part, low, high) if deep else _shallow_to_rgb(part), strip[:2])
    return target


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    return [(0, top, width, min(height, top + rows)) for top in range(0, height, rows)]


def _shallow_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _extremes(image: Image.Image) -> tuple[float, float]:
    pixels = _finite(np.asarray(image))
    return float(pixels.min()), float(pixels.max())


def _finite(pixels: np.ndarray) -> np.ndarray:
    return np.nan_to_num(pixels.astype(np.float64), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _deep_to_rgb(image: Image.Image, low: float, high: float) -> Image.Image:
    """Deep grey: [0, 1] floats times 255, [0, 65535] integers over 257, anything else stretched from [low, high]."""
    pixels = np.asarray(image)
    values = _finite(pixels)
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        values *= 255
    elif pixels.dtype.kind == "f" and low >= 0 and high <= 255:
        pass
    elif low >= 0 and high <= 65535:
        values /= 257
    else:
        values = (values - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
