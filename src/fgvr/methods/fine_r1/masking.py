"""The picture with random patches blackened, PAPO's stand-in for a negative (Wang et al., "Perception-aware policy
optimization", 2025); the released Fine-R1 code falls back on it without a word where ``image_aug`` is missing.

1. *Size.* PAPO masks what its processor is given, at most 1,003,520 pixels in Fine-R1's settings. A larger picture is
   shrunk to that first: patches of 14 pixels of a large photograph would be gone once the model shrinks it.
2. *When.* PAPO draws the patches anew at each step, here once, by seed and id: the file can be looked at.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from fgvr.images import decode
from fgvr.methods.fine_r1.class_names import rank
from fgvr.runs import write_bytes

MAX_PIXELS = 1_003_520


def blackened(picture: np.ndarray, *, patch: int = 14, share: float = 0.6, seed: int = 0) -> np.ndarray:
    """A copy of ``picture`` (H, W, 3) uint8 with each ``patch`` x ``patch`` square black by chance ``share``.

    Squares are laid from the upper left corner and cut off at the other edges.
    """
    height, width = picture.shape[:2]
    black = np.random.default_rng(seed).random((math.ceil(height / patch), math.ceil(width / patch))) < share
    mask = np.repeat(np.repeat(black, patch, axis=0), patch, axis=1)[:height, :width]
    return np.where(mask[..., None], 0, picture).astype(np.uint8)


def write_masked(path: Path, folder: Path, *, id: str, patch: int = 14, share: float = 0.6, seed: int = 0) -> Path:
    """Write the masked picture as PNG below ``folder``, named after what it was made of and how; kept if it is there.

    Raises ``ImageError`` when ``path`` cannot be read, ``RunError`` when the file cannot be written.
    """
    decoded = decode(path)
    made_of = f"{decoded.sha256} {id} {patch} {share} {seed}".encode("utf-8", "surrogatepass")
    target = folder / f"{hashlib.sha256(made_of).hexdigest()[:32]}.png"
    if not target.is_file():
        masked = blackened(np.asarray(_fitted(decoded.image)), patch=patch, share=share, seed=rank(seed, id))
        buffer = io.BytesIO()
        Image.fromarray(masked).save(buffer, "PNG")
        write_bytes(target, buffer.getvalue())
    return target


def _fitted(image: Image.Image) -> Image.Image:
    scale = math.sqrt(MAX_PIXELS / (image.width * image.height))
    if scale >= 1:
        return image
    size = max(1, math.floor(image.width * scale)), max(1, math.floor(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)
