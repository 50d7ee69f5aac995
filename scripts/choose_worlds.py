"""Pools of pictures to choose from: a natural one, where some species are common and pictures come in bursts, and an even one."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from embedded_results import draw_one
from PIL import Image

from fgvr.encoders import FeatureStore, load_encoder
from fgvr.fieldguide.guide import all_species
from fgvr.mllm import load_mllm
from fgvr.naming.labelling import label_images
from fgvr.runs import Ledger
from fgvr.types import ImageItem, NamedImage

BURST, MOST_COPIES, SAME_BYTES = 0.3, 5, 0.1
"""Share of pictures that are bursts; copies beside the first, 1 to so many; share of copies that are the very same file."""


@dataclass(frozen=True)
class Study:
    """How much is drawn and tried."""

    pool_seed: int = 250_000_000
    test_seed: int = 260_000_000
    budgets: tuple[int, ...] = (50, 100, 136, 200, 300, 408, 600)
    seeds: int = 5
    distinct: int = 1200
    """Different pictures of a natural pool."""
    collection: int = 24
    """Pictures a species that even pools are drawn from."""
    even: int = 12
    test: int = 10


QUICK = Study(
    pool_seed=930_000_000,
    test_seed=940_000_000,
    budgets=(50, 136, 408),
    seeds=2,
    distinct=600,
    collection=5,
    even=4,
    test=3,
)


@dataclass(frozen=True)
class Pool:
    """Pictures one may have named, and what the MLLM would say of each."""

    features: np.ndarray
    """(N, D)"""
    hashes: tuple[str, ...]
    named: tuple[NamedImage, ...]
    keys: np.ndarray
    """(N,) true species; for the page only."""

    def part(self, rows: np.ndarray) -> Pool:
        """Some of the rows."""
        hashes, named = tuple(self.hashes[row] for row in rows), tuple(self.named[row] for row in rows)
        return Pool(self.features[rows], hashes, named, self.keys[rows])


def encoded_and_named(items: list[ImageItem], work: Path, name: str) -> Pool:
    """Features and the MLLM's names of all pictures, in one thread; both kept in ``work``."""
    torch.set_num_threads(1)
    table = FeatureStore(work / "features").features(items, load_encoder("fieldguide"))
    mllm, ledger = load_mllm("fieldguide", batch_size=64), Ledger(work / f"replies_{name}.jsonl", sync=False)
    named = label_images(table.items, mllm, hashes=table.hashes, ledger=ledger).named
    return Pool(np.asarray(table.features), table.hashes, named, np.array([item.label for item in items]))


@dataclass(frozen=True)
class Copy:
    """A near-duplicate: what is done to which picture."""

    source: Path
    path: Path
    margin: tuple[float, float, float, float]
    """Cut off at left, top, right, bottom, as shares of the side; all zero with ``quality`` 0: the same bytes."""
    quality: int
    """Of the JPEG."""


def zipf_counts(total: int, species: int, *, seed: int) -> np.ndarray:
    """Pictures of each species, (species,) int64: proportional to 1 / rank, at least one each; ranks by ``seed``."""
    ranks = 1 + np.random.default_rng(seed).permutation(species)
    shares = (1 / ranks) / (1 / ranks).sum()
    return np.maximum(1, np.round(total * shares)).astype(np.int64)


def natural_pool(folder: Path, first_seed: int, *, seed: int, distinct: int) -> list[ImageItem]:
    """About ``distinct`` pictures, Zipf-distributed over the species, and the near-duplicates of their bursts."""
    folder.mkdir(parents=True, exist_ok=True)
    species = all_species()
    counts = zipf_counts(distinct, len(species), seed=seed)
    rng = np.random.default_rng([seed, 1])
    drawn, copies, items = [], [], []
    for one, count in zip(species, counts, strict=True):
        for i in range(count):
            path = folder / f"{one.key}_{i:03d}.jpg"
            drawn.append((one.key, first_seed + i, path))
            burst = [_copy(path, number, rng) for number in range(_copies(rng))]
            copies += burst
            items += [ImageItem(f"{folder.name}/{p.name}", p, label=one.key) for p in (path, *(c.path for c in burst))]
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw_one, [row for row in drawn if not row[2].exists()], chunksize=32))
        list(pool.map(save_copy, [copy for copy in copies if not copy.path.exists()], chunksize=32))
    return items


def _copies(rng: np.random.Generator) -> int:
    """Further pictures of one burst."""
    return int(rng.integers(1, MOST_COPIES + 1)) if rng.random() < BURST else 0


def _copy(source: Path, number: int, rng: np.random.Generator) -> Copy:
    """The very same bytes, or up to 4 % cut off at each side and encoded again."""
    path = source.with_name(f"{source.stem}_{number + 1}.jpg")
    left, top, right, bottom = (float(share) for share in rng.uniform(0, 0.04, size=4))
    quality = int(rng.integers(60, 93))
    if rng.random() < SAME_BYTES:
        return Copy(source, path, (0, 0, 0, 0), 0)
    return Copy(source, path, (left, top, right, bottom), quality)


def save_copy(copy: Copy) -> None:
    """Write one near-duplicate, whole or not at all."""
    data = copy.source.read_bytes()
    if copy.quality:
        with Image.open(copy.source) as picture:
            side = picture.width
            left, top, right, bottom = copy.margin
            box = (left * side, top * side, (1 - right) * side, (1 - bottom) * side)
            cut = picture.resize((side, side), Image.Resampling.BICUBIC, box=box)
        buffer = io.BytesIO()
        cut.save(buffer, format="JPEG", quality=copy.quality)
        data = buffer.getvalue()
    part = copy.path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(copy.path)


def even_part(keys: np.ndarray, per_species: int, *, seed: int) -> np.ndarray:
    """Rows with ``per_species`` pictures of every species, drawn by ``seed``; ascending."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(keys == key))[:per_species] for key in sorted(set(keys))]
    return np.sort(np.concatenate(rows))
