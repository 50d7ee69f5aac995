"""The student against its teacher: names of all test photographs at every share of calls; resumable.

    python scripts/student_study.py --shared DIR --work build/student [--jobs 2] [--only WORLD ...]
    python scripts/student_tables.py --work build/student

``DIR`` holds the photographs and recordings (docs/development.md). Every cell (world, draw, share, method) is a JSON
file under ``--work``; ``student_tables.py`` scores them and writes docs/results.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from student_methods import ABLATIONS, CURVE, EIGHT, LIKELIEST, ONE, named_best, student, told_the_truth
from student_worlds import DEV_POOL_SEED, DEV_TEST_SEED, World, drawn_world, photo_world, recorded_worlds

from fgvr.reproduce.recorded.material import RECORDINGS
from fgvr.runs import write_json

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
ABLATED = (0.1, 1.0)
DRAWS, ABLATED_DRAWS, PHOTO_SEEDS = 5, 3, 3
PHOTOS = ("pets37", "cub832", "grocery81")
BOUNDS = (
    "true labels for the whole pool",
    "the teacher's right labels only",
    "the teacher's usual name for each class",
)


@dataclass(frozen=True)
class Cell:
    """One method on one draw of one world at one share of the pool."""

    world: str
    draw: int
    method: str
    share: float

    def file(self, work: Path) -> Path:
        """Where its names are kept."""
        return work / "cells" / self.world / f"{self.draw}" / f"{self.method} {self.share:g}.json".replace("/", "-")


MORE = "drawn, eight crops"
"""The same draws with twice the crops; the curve of student and teacher only."""
DEVELOPED = "drawn, for development"
"""The pool and the test pictures that defaults were chosen on; one draw, the curve of student and teacher only."""
SEVERAL = ("drawn", MORE, DEVELOPED, "pets37", "cub832")
"""Worlds whose teacher says more than one name in a call: several drawn replies, or alternatives recorded with scores."""
SLOW = {"NeaR", "NeaR, chosen images and views"}
"""Rows that tune through a text tower: on photographs, whose tower is slow, with one seed."""
TOO_SLOW = ("student, prompt alone", 1.0)
"""With sixteen replies about every image there are 1,500 names to tune a text tower on."""
FEW = {"prompt alone": ("drawn",)}
"""Ablations that are too slow for the other worlds."""


def worlds() -> dict[str, int]:
    """Every world with its number of draws."""
    recorded = {f"{dataset}.{recorder}": 3 for dataset, recorder, _ in RECORDINGS}
    return {"drawn": DRAWS, MORE: DRAWS, DEVELOPED: 1, **dict.fromkeys(PHOTOS, PHOTO_SEEDS), **recorded}


@lru_cache(maxsize=1)
def load(name: str, draw: int, shared: Path, work: Path) -> World:
    """A world by name; thirds are the draws of a recording, seeds those of photographs."""
    if name == "drawn":
        return drawn_world(work, draw)
    if name == DEVELOPED:
        return drawn_world(work, draw, pool_seed=DEV_POOL_SEED, test_seed=DEV_TEST_SEED)
    if name == MORE:
        return drawn_world(work, draw, crops=8)
    if name in PHOTOS:
        return photo_world(name, shared, work)
    dataset, _, recorder = name.partition(".")
    return recorded_worlds(shared, dataset, recorder)[draw]


def draws_of(world: str, method: str) -> int:
    """How many draws of a world a method is run on."""
    if world in (MORE, DEVELOPED) and method not in ("student", ONE, EIGHT, LIKELIEST, "direct MLLM"):
        return 0
    if (world not in SEVERAL and method == ONE) or (world not in ("drawn", DEVELOPED) and method in (EIGHT, LIKELIEST)):
        return 0
    if method == "student, prompt alone":
        return 1
    if world == "drawn" and method.removeprefix("student, ") in ABLATIONS:
        return ABLATED_DRAWS
    return 1 if world in PHOTOS and method in SLOW else worlds().get(world, 1)


def cells(only: list[str]) -> Iterator[Cell]:
    """The curve first, then ablations and bounds."""
    chosen = {name: draws for name, draws in worlds().items() if not only or name in only}
    for name, draws in chosen.items():
        for draw in range(draws):
            for share in SHARES:
                yield from (Cell(name, draw, method, share) for method in CURVE if draw < draws_of(name, method))
    for name, draws in chosen.items():
        for draw in range(draws):
            if name in (MORE, DEVELOPED):
                continue
            yield from (Cell(name, draw, bound, 1.0) for bound in BOUNDS)
            for share in ABLATED:
                parts = [f"student, {part}" for part in ABLATIONS if name in FEW.get(part, (name,))]
                found = [part for part in parts if draw < draws_of(name, part)]
                yield from (Cell(name, draw, part, share) for part in found if (part, share) != TOO_SLOW)


def compute(cell: Cell, shared: Path, work: Path) -> None:
    """The cell's names, kept with the seconds they took; nothing is done twice."""
    file = cell.file(work)
    if file.exists():
        return
    torch.set_num_threads(1)
    world = load(cell.world, cell.draw, shared, work)
    calls = max(1, round(cell.share * len(world.pool.named)))
    part = cell.method.removeprefix("student, ")
    began = time.monotonic()
    if cell.method in CURVE:
        names = CURVE[cell.method].predict(world, calls, cell.share, cell.draw)
    elif cell.method == BOUNDS[2]:
        names = named_best(world)
    elif cell.method in BOUNDS:
        names = told_the_truth(world, only_right=cell.method == BOUNDS[1], seed=cell.draw)
    else:
        names = student(world, calls, ABLATIONS[part], seed=cell.draw)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"calls": calls, "seconds": time.monotonic() - began, "names": names})


def compute_draw(todo: list[Cell], shared: Path, work: Path) -> str:
    """All cells of one draw; a cell that fails is told, and the others go on."""
    for cell in todo:
        try:
            compute(cell, shared, work)
        except Exception as error:
            print(f"{cell}: {error!r}", flush=True)
    return f"{todo[0].world} {todo[0].draw}: {len(todo)} cells"


def main() -> None:
    """Compute all cells, draw by draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--curve", action="store_true", help="No ablations and no bounds.")
    options = parser.parse_args()
    todo: dict[tuple[str, int, bool], list[Cell]] = {}
    for cell in cells(options.only):
        if cell.method in CURVE or not options.curve:
            todo.setdefault((cell.world, cell.draw, cell.method in CURVE), []).append(cell)
    with ProcessPoolExecutor(options.jobs) as pool:
        for told in [pool.submit(compute_draw, some, options.shared, options.work) for some in todo.values()]:
            print(told.result(), flush=True)


if __name__ == "__main__":
    main()
