"""Do this machine's numbers agree with those the embedded encoder gave where it was made?

A few drawn pictures, checksums of their pixels, their features and a tolerance lie beside the weights
(``models/parity.json``, written by ``scripts/write_encoder_parity.py``). Other pixels mean another Pillow or numpy;
other features of the same pixels mean another torch, ``transformers``, processor, or damaged weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from fgvr.errors import EncoderError
from fgvr.fieldguide.guide import all_species, by_key
from fgvr.fieldguide.render import render

FILE = Path(__file__).parent / "models" / "parity.json"
FORMAT = 1
TOLERANCE = 5e-4
"""Largest difference of one number of a unit vector: far above what threads and batches change in float32 (1e-5), a
tenth of what another resize filter does (a test holds both)."""
SIZE, VIEW_SEED, PICTURES = 120, 901_000_000, 8
"""The size is none that the encoder sees, so that its resize is part of the comparison."""


class EncodesImages(Protocol):
    """All that is needed of an encoder."""

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB images to (N, D) float32, unit norm."""
        ...


@dataclass(frozen=True)
class Parity:
    """Stored and found, compared."""

    difference: float
    """Largest, of one number of a feature."""
    tolerance: float
    pictures: int
    redrawn: int
    """Pictures whose pixels came out as they were when the file was written."""

    @property
    def holds(self) -> bool:
        """Same pixels, same features."""
        return self.redrawn == self.pictures and self.difference <= self.tolerance


def reference(encoder: EncodesImages, *, weights_sha256: str, made_with: dict[str, Any]) -> dict[str, Any]:
    """What ``FILE`` holds: pictures from all over the guide with their features, by this encoder on this machine."""
    species = all_species()
    chosen = [species[index] for index in range(0, len(species), len(species) // PICTURES)][:PICTURES]
    images = [render(one, VIEW_SEED, size=SIZE).image for one in chosen]
    features = encoder.encode_images(images)
    rows = [
        {"species": one.key, "pixels": _pixels(image), "feature": [round(float(value), 7) for value in feature]}
        for one, image, feature in zip(chosen, images, features, strict=True)
    ]
    fixed = {"format": FORMAT, "tolerance": TOLERANCE, "size": SIZE, "view_seed": VIEW_SEED}
    return fixed | {"weights_sha256": weights_sha256, "made_with": made_with, "pictures": rows}


def compare(encoder: EncodesImages, *, weights_sha256: str, file: Path = FILE) -> Parity:
    """Draw and encode the stored pictures again.

    Raises ``EncoderError`` when the file is missing, damaged, or was written for other weights.
    """
    try:
        stored = json.loads(file.read_bytes())
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']}")
        rows, view_seed, size = stored["pictures"], int(stored["view_seed"]), int(stored["size"])
        expected = np.array([row["feature"] for row in rows], dtype=np.float32)
        images = [render(by_key(row["species"]), view_seed, size=size).image for row in rows]
        redrawn = sum(_pixels(image) == row["pixels"] for image, row in zip(images, rows, strict=True))
        tolerance, weights = float(stored["tolerance"]), stored["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EncoderError(
            f"the stored features cannot be read: {error!r}", remedy="Reinstall fgvr.", file=str(file)
        ) from error
    if weights != weights_sha256:
        raise EncoderError(
            "the embedded encoder's weights are not those that belong to this version",
            remedy="Reinstall fgvr; after training: python scripts/write_encoder_parity.py.",
            expected=str(weights)[:16],
            found=weights_sha256[:16],
        )
    found = encoder.encode_images(images)
    if found.shape != expected.shape:
        raise EncoderError(f"features of shape {found.shape}", remedy="Reinstall fgvr.", expected=expected.shape)
    difference = float(np.abs(found - expected).max())
    return Parity(difference if np.isfinite(difference) else float("inf"), tolerance, len(rows), redrawn)


def _pixels(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
