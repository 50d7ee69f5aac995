"""The image preprocessing of CLIP and SigLIP without its overhead: resize, centre crop, then one look-up per pixel.

The PIL processors of ``transformers`` copy a picture four times between Pillow and numpy and rescale it in float64.
Here the same Pillow resize and the same crop are followed by a table of 256 normalised levels a channel, filled in by
the processor itself: the same values bit for bit. A processor counts as plain only if it gives exactly these values on
probe pictures; any other (native aspect ratios, padding, a bound on the longer side) goes its own way, and so would
one of a later ``transformers`` that computes something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

PROBES = ((1.0, 1.0), (1.33, 1.0), (1.0, 1.51), (3.1, 2.02), (0.6, 0.43))
"""(width, height) of the probe pictures, in sides of what the tower sees: square, wide, high, large, small."""


@dataclass(frozen=True)
class PlainPreprocessing:
    """Resize, centre crop and normalisation as numbers; made by ``plain_preprocessing``."""

    shortest: int | None
    """The shorter side is resized to this and the aspect kept; ``None``: resized to ``size``."""
    size: tuple[int, int] | None
    """(width, height)"""
    crop: tuple[int, int] | None
    """(width, height)"""
    resample: Image.Resampling
    levels: np.ndarray
    """(3, 256) float32: the normalised value of each level of each channel."""

    def prepare(self, image: Image.Image) -> np.ndarray:
        """RGB picture to what the tower will see of it, (H, W, 3) uint8."""
        size = self._resized(image.width, image.height)
        if size != image.size:
            image = image.resize(size, self.resample)
        if self.crop is not None and self.crop != image.size:
            left, top = (image.width - self.crop[0]) // 2, (image.height - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[0], top + self.crop[1]))
        return np.asarray(image)

    def pixel_values(self, prepared: Sequence[np.ndarray]) -> torch.Tensor:
        """(N, 3, H, W) float32, normalised, of pictures (H, W, 3) uint8."""
        import torch

        values = np.empty((len(prepared), 3, *prepared[0].shape[:2]), dtype=np.float32)
        for picture, pixels in zip(values, prepared, strict=True):
            for channel in range(3):
                np.take(self.levels[channel], pixels[..., channel], out=picture[channel], mode="clip")
        return torch.from_numpy(values)

    def pixel_values_on(self, device: torch.device, prepared: Sequence[np.ndarray]) -> torch.Tensor:
        """``pixel_values`` looked up on ``device``: only the bytes travel there, a quarter of the values."""
        import torch

        pixels = torch.from_numpy(np.stack(prepared)).to(device).permute(0, 3, 1, 2).int()
        levels = torch.from_numpy(self.levels).to(device)
        return torch.stack([levels[channel][pixels[:, channel]] for channel in range(3)], dim=1)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.shortest is None:
            assert self.size is not None
            return self.size
        # In this order of operations: another could round the other way.
        longer = int(self.shortest * max(width, height) / min(width, height))
        return (self.shortest, longer) if width <= height else (longer, self.shortest)


def plain_preprocessing(processor: Any) -> PlainPreprocessing | None:
    """The same preprocessing as a PIL image processor of ``transformers``, or ``None`` where it is of another kind."""
    settings = processor.to_dict()
    size, crop = _sides(settings.get("size")), _sides(settings.get("crop_size"))
    shortest = size.get("shortest_edge") if set(size) == {"shortest_edge"} else None
    exact = (size["width"], size["height"]) if set(size) == {"width", "height"} else None
    if not settings.get("do_resize") or (shortest is None) == (exact is None) or settings.get("do_pad"):
        return None
    cropped = (crop["width"], crop["height"]) if settings.get("do_center_crop") and len(crop) == 2 else None
    side = shortest or min(exact or (0,))
    if (cropped is None and exact is None) or max(cropped or (0,)) > side:
        return None  # pictures of different shapes; or the processor would add a black border
    levels = _levels(processor)
    if levels is None:
        return None
    plain = PlainPreprocessing(shortest, exact, cropped, Image.Resampling(settings["resample"]), levels)
    return plain if _agrees(plain, processor, side=side) else None


def _sides(size: Any) -> dict[str, int]:
    return {key: int(value) for key, value in dict(size or {}).items() if value}


def _levels(processor: Any) -> np.ndarray | None:
    """(3, 256) float32 by the processor's own arithmetic, on a strip of all grey levels that nothing resizes."""
    strip = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    values = _values(processor, strip, do_resize=False, do_center_crop=False)
    return None if values is None or values.shape != (3, 1, 256) else np.ascontiguousarray(values[:, 0])


def _values(processor: Any, pixels: np.ndarray, **options: bool) -> np.ndarray | None:
    try:
        inputs = processor(images=[Image.fromarray(pixels)], return_tensors="np", **options)
        values: np.ndarray = np.asarray(inputs["pixel_values"])
    except Exception:  # a processor of another kind may refuse the options in any way it likes
        return None
    return values[0] if set(inputs) == {"pixel_values"} and values.ndim == 4 and values.dtype == np.float32 else None


def _agrees(plain: PlainPreprocessing, processor: Any, *, side: int) -> bool:
    """Whether probe pictures of noise come out equal, bit for bit."""
    noise = np.random.default_rng(0)
    for across, down in PROBES:
        pixels = noise.integers(0, 256, (max(1, round(down * side)), max(1, round(across * side)), 3), dtype=np.uint8)
        expected = _values(processor, pixels)
        if expected is None:
            return False
        found = plain.pixel_values([plain.prepare(Image.fromarray(pixels))])[0].numpy()
        if not np.array_equal(found, expected):
            return False
    return True
