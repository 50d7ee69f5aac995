"""A tiny random model and a few rows about drawn noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fgvr.training import TrainingRow

ANSWERS = ("red warbler", "tern", "small blue grey gull")


def pictures(folder: Path) -> list[Path]:
    paths = []
    for index, (width, height) in enumerate([(40, 40), (48, 24), (24, 48)]):
        noise = np.random.default_rng(index).integers(0, 255, (height, width, 3), dtype=np.uint8)
        paths.append(folder / f"{index}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths


def training_rows(folder: Path, count: int = 8) -> list[TrainingRow]:
    """Rows of three lengths."""
    shown = pictures(folder)
    return [
        TrainingRow(f"r{i}", (shown[i % 3],), "what bird is this ?" + " please" * (i % 3), ANSWERS[i % 3])
        for i in range(count)
    ]
