"""Training pictures: drawn once, held as bytes in memory, varied on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from fgvr.fieldguide.backgrounds import PLATE
from fgvr.fieldguide.render import render, sample_view, view_generator
from fgvr.fieldguide.species import Species

TRAIN_SEED = 1_000_000_000
"""First view seed of training pictures; ``fgvr fieldguide make`` stays below it, so no test picture is ever seen."""
SNAPSHOT_KINDS = 3
"""A background whose name has a length divisible by this is a snapshot: its writers chat."""


@dataclass(frozen=True)
class Pictures:
    """``pixels`` (N, S, S, 3) uint8, ``species`` (N,) int into the list drawn from, and what a writer sees."""

    pixels: np.ndarray
    species: np.ndarray
    poor: np.ndarray
    plate: np.ndarray
    snapshot: np.ndarray


def draw_pictures(species: Sequence[Species], *, per_species: int, size: int, workers: int, cache: Path) -> Pictures:
    """Draw ``per_species`` pictures of each, or read them from ``cache`` (.npy files named by what they hold)."""
    file = cache / f"pictures_{len(species)}x{per_species}_{size}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(workers) as pool:
            blocks = pool.map(_draw_species, species, [per_species] * len(species), [size] * len(species))
            np.save(file, np.concatenate(list(blocks)))
    seeds = range(TRAIN_SEED, TRAIN_SEED + per_species)
    views = [sample_view(one, view_generator(one, seed)) for one in species for seed in seeds]
    return Pictures(
        pixels=np.load(file, mmap_mode="r"),
        species=np.repeat(np.arange(len(species)), per_species),
        poor=np.array([view.difficulty == "poor" for view in views]),
        plate=np.array([view.background == PLATE for view in views]),
        snapshot=np.array([len(view.background) % SNAPSHOT_KINDS == 0 and view.background != PLATE for view in views]),
    )


def _draw_species(species: Species, count: int, size: int) -> np.ndarray:
    return np.stack([np.asarray(render(species, TRAIN_SEED + i, size=size).image) for i in range(count)])


def only(pictures: Pictures, species: Sequence[Species], kept: Sequence[Species]) -> tuple[Pictures, np.ndarray]:
    """The same pictures with species renumbered into ``kept``, and the rows (M,) that show one of them."""
    place = {one.key: i for i, one in enumerate(kept)}
    numbers = np.array([place.get(one.key, -1) for one in species])[pictures.species]
    renumbered = Pictures(pictures.pixels, numbers, pictures.poor, pictures.plate, pictures.snapshot)
    return renumbered, np.flatnonzero(numbers >= 0)


def batch_of(pictures: Pictures, chosen: np.ndarray, *, side: int, generator: torch.Generator) -> torch.Tensor:
    """(B, 3, side, side) float32 in [-1, 1]: half whole frames, half random crops; flips, light and colour jitter."""
    raw = torch.from_numpy(pictures.pixels[chosen])
    images = raw.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand((count, *shape), generator=generator) * (high - low) + low

    share = torch.where(uniform(0, 1) < 0.5, torch.ones(count), uniform(0.65, 1.0))
    flip = torch.where(uniform(0, 1) < 0.5, torch.ones(count), -torch.ones(count))
    room = 1 - share
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = share * flip, share
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-1, 1) * room, uniform(-1, 1) * room
    grid = functional.affine_grid(theta, [count, 3, side, side], align_corners=False)
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    gain, bias = uniform(0.85, 1.15, 3, 1, 1), uniform(-0.1, 0.1, 1, 1, 1)
    return (images * gain + bias).clamp_(-1, 1)
