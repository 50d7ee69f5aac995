"""Does a faster variant of an encoder (bfloat16, float16) still see what float32 sees? Measured, then believed.

``load_encoder`` uses a reduced precision on a CPU only if this check passes: there it saves little or nothing on most
processors, and some build of torch may do it badly. Thresholds and figures travel with the result.

A choice (nearest picture, nearest name) agrees when it is the one of float32, or one that float32 ranks no more than
``TIE`` in cosine below it: a tenth of a logit at CLIP's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from fgvr.encoders.base import DualEncoder
from fgvr.errors import EncoderError

LEAST_COSINE = 0.995
LEAST_SHARE = 0.9
TIE = 1e-3
PICTURES, NAMES = 16, 32
PICTURE_SEED = 31


@dataclass(frozen=True)
class Agreement:
    """A fast variant against float32 on the same pictures and names."""

    least_cosine: float
    """Between the two features of one picture or name, the worst case."""
    largest_difference: float
    """Of one number of a feature."""
    same_picture: float
    """Share of pictures whose nearest other picture agrees."""
    same_name: float
    """Share of pictures whose nearest name agrees; 1 without names."""
    pictures: int
    names: int

    def failures(self) -> list[str]:
        """What missed its threshold, in words; empty when the check passes."""
        bounds = {
            "least cosine": (self.least_cosine, LEAST_COSINE),
            "same nearest picture": (self.same_picture, LEAST_SHARE),
            "same nearest name": (self.same_name, LEAST_SHARE),
        }
        # Written so that NaN fails.
        return [
            f"{name} {value:.4f} (at least {least})" for name, (value, least) in bounds.items() if not value >= least
        ]

    def as_dict(self) -> dict[str, Any]:
        """Figures, thresholds and verdict, JSON-like."""
        thresholds = {"least_cosine": LEAST_COSINE, "least_share": LEAST_SHARE, "tie": TIE}
        return asdict(self) | {"thresholds": thresholds, "passes": not self.failures()}


def agreement(
    exact: np.ndarray,
    fast: np.ndarray,
    *,
    exact_names: np.ndarray | None = None,
    fast_names: np.ndarray | None = None,
) -> Agreement:
    """Compare features (N, D) of pictures, and of names (C, D), unit norm, row by row."""
    cosines, differences = (exact * fast).sum(axis=1), np.abs(exact - fast)
    same_name, count = 1.0, 0
    if exact_names is not None and fast_names is not None and len(exact_names):
        same_name, count = _same_choice(exact @ exact_names.T, fast @ fast_names.T), len(exact_names)
        cosines = np.concatenate([cosines, (exact_names * fast_names).sum(axis=1)])
    others = np.where(np.eye(len(exact), dtype=bool), -np.inf, exact @ exact.T)
    fast_others = np.where(np.eye(len(fast), dtype=bool), -np.inf, fast @ fast.T)
    return Agreement(
        least_cosine=float(cosines.min()),
        largest_difference=float(differences.max()),
        same_picture=_same_choice(others, fast_others) if len(exact) > 1 else 1.0,
        same_name=same_name,
        pictures=len(exact),
        names=count,
    )


def compare_encoders(
    exact: DualEncoder, fast: DualEncoder, *, images: Sequence[Image.Image], names: Sequence[str] = ()
) -> Agreement:
    """``agreement`` of two encoders on RGB images and names."""
    texts = [f"a photo of a {name}." for name in names]
    return agreement(
        exact.encode_images(images),
        fast.encode_images(images),
        exact_names=exact.encode_texts(texts),
        fast_names=fast.encode_texts(texts),
    )


def require_agreement(exact: DualEncoder, fast: DualEncoder, *, dtype: str) -> Agreement:
    """The check on drawn pictures and names. Raises ``EncoderError`` with the figures that missed their threshold."""
    found = compare_encoders(exact, fast, images=check_pictures(exact.image_size), names=check_names())
    if failures := found.failures():
        raise EncoderError(
            f"{dtype} on this machine fails the accuracy check against float32",
            remedy="Use dtype float32 (the default on a CPU).",
            encoder=fast.name,
            missed="; ".join(failures),
            pictures=found.pictures,
        )
    return found


def check_pictures(side: int, *, count: int = PICTURES) -> list[Image.Image]:
    """Drawn pictures from all over the field guide, at the side the encoder sees."""
    from fgvr.fieldguide.guide import all_species
    from fgvr.fieldguide.render import render

    species = all_species()
    spread = range(0, len(species), max(1, len(species) // count))[:count]
    return [render(species[index], PICTURE_SEED, size=max(32, side)).image for index in spread]


def check_names(*, count: int = NAMES) -> list[str]:
    """Names of species from all over the field guide."""
    from fgvr.fieldguide.guide import all_species

    species = all_species()
    return [one.name for one in species[:: max(1, len(species) // count)][:count]]


def _same_choice(exact: np.ndarray, fast: np.ndarray) -> float:
    """Share of rows where the fast scores' best column is, by the exact scores, the best or tied with it."""
    rows = np.arange(len(exact))
    regret = exact.max(axis=1) - exact[rows, fast.argmax(axis=1)]
    return float((regret <= TIE).mean())
