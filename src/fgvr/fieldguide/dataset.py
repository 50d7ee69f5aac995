"""Writes the field guide as an ordinary folder of pictures, and draws arrays of pictures for training code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fgvr.fieldguide.guide import all_species, split_seen_unseen
from fgvr.fieldguide.render import render, render_scene
from fgvr.fieldguide.sheet import contact_sheet
from fgvr.fieldguide.species import Species

__all__ = ["SPLITS", "SPLIT_SPAN", "contact_sheet", "draw_arrays", "make", "split_seeds"]

SPLITS = ("support", "train", "test")
SPLIT_SPAN = 1_000_000
"""View seeds that each split of each dataset seed has to itself."""
JPEG_QUALITY = 92
SCENE_SIZE_FACTOR = 2
_BATCH = 16

Job = TypeVar("Job")
Result = TypeVar("Result")
Row = dict[str, Any]

README = """# Field guide pictures

Drawn pictures of invented species; every file here follows from the seed (`seed` {seed}, `size` {size}).

- `images/support/`, `images/train/`, `images/test/`: one folder per species, `<key>_<nnnn>.jpg`. The splits share no
  picture: support is for enrolling a species from a few pictures, train is an extra pool, test is for measuring.
- `manifest.jsonl`: one row per picture with its path (`image`), `split`, `label` (common name), `species` (key),
  `scientific`, `genus`, `super_category`, `synonyms`, `attributes`, `box` (x0, y0, x1, y1 in pixels, tight around what
  is visible), `width`, `height`, `seen` (false: held out of training by the fixed split), `sex`, `background`,
  `difficulty` (`clear` or `poor`) and `view_seed`.
- `species.json`: the catalogue.
- `scenes/` and `scenes.jsonl`: pictures of two to five organisms with `objects` (`label`, `key`, `box`).
"""


@dataclass(frozen=True)
class _PictureJob:
    root: str
    species: Species
    seen: bool
    split: str
    view_seeds: range
    size: int


@dataclass(frozen=True)
class _SceneJob:
    root: str
    index: int
    specimens: tuple[tuple[Species, int], ...]
    seed: int
    size: int


@dataclass(frozen=True)
class _ArrayJob:
    species: Species
    view_seeds: range
    size: int


def split_seeds(split: str, count: int, *, seed: int = 0) -> range:
    """The view seeds of the first ``count`` pictures of a split; no two splits, nor two dataset seeds, share any."""
    if not 0 <= count <= SPLIT_SPAN:
        raise ValueError(f"a split holds 0 to {SPLIT_SPAN} pictures per species, not {count}")
    if seed < 0:
        raise ValueError(f"seed must not be negative: {seed}")
    first = (seed * (len(SPLITS) + 1) + SPLITS.index(split)) * SPLIT_SPAN
    return range(first, first + count)


def make(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    size: int = 192,
    support_per_species: int = 3,
    train_per_species: int = 0,
    test_per_species: int = 10,
    scenes: int = 24,
    species: Sequence[Species] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the dataset to ``directory`` and return its path.

    The folder appears complete or not at all. One that is not empty is refused, unless ``overwrite`` is set and it is
    an earlier dataset. The bytes depend on the arguments but not on ``workers`` (default: every core).
    """
    target = Path(directory)
    _check_target(target, overwrite=overwrite)
    chosen = tuple(all_species() if species is None else species)
    counts = dict(zip(SPLITS, (support_per_species, train_per_species, test_per_species), strict=True))
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        rows = _pictures(building, chosen, counts, seed=seed, size=size, workers=workers)
        scene_jobs = _scene_jobs(building, chosen, scenes, seed=seed, size=size)
        scene_rows = list(_parallel(_write_scene, scene_jobs, workers))
        _write_lines(building / "manifest.jsonl", rows)
        _write_lines(building / "scenes.jsonl", scene_rows)
        catalogue = json.dumps([asdict(one) for one in chosen], indent=2, ensure_ascii=False)
        (building / "species.json").write_text(catalogue + "\n", encoding="utf-8")
        (building / "README.md").write_text(README.format(seed=seed, size=size), encoding="utf-8")
        building.chmod(0o755)  # mkdtemp makes it private
        if target.exists() and any(target.iterdir()):
            shutil.rmtree(target)
        building.replace(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return target


def draw_arrays(
    species_list: Sequence[Species], *, per_species: int, first_seed: int, size: int, workers: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (N, size, size, 3) and labels (N,), the index in ``species_list``; species after species.

    View seeds are ``first_seed`` onward for every species; ``split_seeds`` says which ones a dataset uses.
    """
    seeds = range(first_seed, first_seed + per_species)
    jobs = [
        _ArrayJob(one, seeds[start : start + _BATCH], size)
        for one in species_list
        for start in range(0, per_species, _BATCH)
    ]
    pictures = np.empty((len(species_list) * per_species, size, size, 3), np.uint8)
    filled = 0
    for block in _parallel(_draw_block, jobs, workers):
        pictures[filled : filled + len(block)] = block
        filled += len(block)
    return pictures, np.repeat(np.arange(len(species_list), dtype=np.int64), per_species)


def _check_target(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise NotADirectoryError(f"{target} is a file")
    if any(target.iterdir()):
        if not overwrite:
            raise FileExistsError(f"{target} is not empty")
        # Never delete a folder that this module did not write.
        if not (target / "manifest.jsonl").is_file() or not (target / "species.json").is_file():
            raise FileExistsError(f"{target} is not empty and holds no earlier dataset")


def _parallel(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None) -> Iterator[Result]:
    """Results in the order of ``jobs``; in this process when one worker is enough."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count <= 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(count) as pool:
        yield from pool.map(function, jobs)


def _pictures(
    root: Path, species: Sequence[Species], counts: dict[str, int], *, seed: int, size: int, workers: int | None
) -> list[Row]:
    unseen = {one.key for one in split_seen_unseen()[1]}
    jobs = [
        _PictureJob(str(root), one, one.key not in unseen, split, split_seeds(split, counts[split], seed=seed), size)
        for split in SPLITS
        if counts[split]
        for one in species
    ]
    return [row for rows in _parallel(_write_pictures, jobs, workers) for row in rows]


def _write_pictures(job: _PictureJob) -> list[Row]:
    one = job.species
    folder = Path("images", job.split, one.key)
    (Path(job.root) / folder).mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for number, view_seed in enumerate(job.view_seeds):
        picture = render(one, view_seed, size=job.size)
        path = folder / f"{one.key}_{number:04d}.jpg"
        picture.image.save(Path(job.root) / path, quality=JPEG_QUALITY)
        rows.append({
            "image": path.as_posix(), "split": job.split, "label": one.name, "species": one.key,
            "scientific": one.scientific, "genus": one.genus, "super_category": one.super_category,
            "synonyms": list(one.synonyms), "attributes": one.attributes, "box": list(picture.box),
            "width": job.size, "height": job.size, "seen": job.seen, "sex": picture.view.sex,
            "background": picture.view.background, "difficulty": picture.view.difficulty, "view_seed": view_seed,
        })  # fmt: skip
    return rows


def _scene_jobs(root: Path, species: Sequence[Species], count: int, *, seed: int, size: int) -> list[_SceneJob]:
    """Scenes of one super-category each (fish do not sit among flowers), categories in turn."""
    if count:
        (root / "scenes").mkdir()
    groups: dict[str, list[Species]] = {}
    for one in species:
        groups.setdefault(one.super_category, []).append(one)
    first = (seed * (len(SPLITS) + 1) + len(SPLITS)) * SPLIT_SPAN  # the span after the last split's
    jobs = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        group = list(groups.values())[index % len(groups)]
        chosen = rng.integers(len(group), size=int(rng.integers(2, 6)))
        specimens = tuple((group[int(which)], first + index * 5 + place) for place, which in enumerate(chosen))
        jobs.append(_SceneJob(str(root), index, specimens, first + index, size * SCENE_SIZE_FACTOR))
    return jobs


def _write_scene(job: _SceneJob) -> Row:
    scene = render_scene(job.specimens, job.seed, size=job.size)
    path = Path("scenes", f"scene_{job.index:04d}.jpg")
    scene.image.save(Path(job.root) / path, quality=JPEG_QUALITY)
    objects = [
        {"label": one.name, "key": one.key, "box": list(box)}
        for one, box in zip(scene.species, scene.boxes, strict=True)
    ]
    return {
        "image": path.as_posix(), "width": job.size, "height": job.size, "background": scene.background,
        "objects": objects,
    }  # fmt: skip


def _draw_block(job: _ArrayJob) -> NDArray[np.uint8]:
    return np.stack([np.asarray(render(job.species, seed, size=job.size).image) for seed in job.view_seeds])


def _write_lines(path: Path, rows: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
