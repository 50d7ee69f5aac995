"""Food-101 (Bossard et al., ECCV 2014): 101,000 images, 101 dishes, 750 for training and 250 for testing each.

Layout: ``images/<dish>/<number>.jpg``; ``meta/classes.txt`` (``apple_pie``), ``meta/labels.txt`` (``Apple pie``, line
by line the same), ``meta/train.txt`` and ``meta/test.txt`` (``apple_pie/1005649``). The training images are noisy by
design, the test images were cleaned. CoOp's split mixes the two (see ``coop``).
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import (
    ClassName,
    Entry,
    assemble,
    class_list_problems,
    damaged,
    first_present,
    read_lines,
    require_file,
    words,
)
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "food101"
TITLE = "Food-101"
MARKS = ("images", "meta/classes.txt")
COUNTS = {"train": 75750, "test": 25250}
CLASSES = 101
CLASSES_SHA256 = "efe7060c0e6aa88c98d3ad9532240013747f6b2179d45e1f750527890437c59d"
"""Of the class folders in alphabetical order, one a line."""

CORRECTED = {"cup_cakes": "Cupcakes"}
ACCEPTED = {
    "beef_tartare": ("Steak tartare",),
    "cannoli": ("Cannolo",),
    "chicken_quesadilla": ("Quesadilla",),
    "clam_chowder": ("New England clam chowder",),
    "creme_brulee": ("Crème brûlée",),
    "cup_cakes": ("Cupcake",),
    "donuts": ("Doughnuts", "Donut", "Doughnut"),
    "escargots": ("Escargot",),
    "french_fries": ("Fries", "Chips"),
    "fried_calamari": ("Calamari",),
    "gyoza": ("Potstickers",),
    "hamburger": ("Burger",),
    "hummus": ("Houmous",),
    "lasagna": ("Lasagne",),
    "lobster_roll_sandwich": ("Lobster roll",),
    "macaroni_and_cheese": ("Mac and cheese",),
    "macarons": ("French macarons", "Macaron"),
    "omelette": ("Omelet",),
    "panna_cotta": ("Pannacotta",),
    "peking_duck": ("Beijing duck",),
    "seaweed_salad": ("Wakame salad",),
    "spaghetti_bolognese": ("Spaghetti alla bolognese",),
    "spaghetti_carbonara": ("Spaghetti alla carbonara",),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Food-101 below ``folder``; ``split`` is ``official`` or ``coop``."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    labels = _labels(folder)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[_class_name(name, labels) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.stated(NAME, other=other, test=COUNTS["test"]),
        problems=class_list_problems(sorted(names), count=CLASSES, sha256=CLASSES_SHA256),
    )


def _class_name(folder: str, labels: dict[str, str]) -> ClassName:
    listed = labels.get(folder, words(folder).capitalize())
    return ClassName(CORRECTED.get(folder, listed), listed, ACCEPTED.get(folder, ()))


def _labels(folder: Path) -> dict[str, str]:
    """Readable name of each class folder; empty where the two lists are not there (a CoOp folder may lack them)."""
    files = [first_present(folder, f"meta/{name}.txt") for name in ("classes", "labels")]
    classes, labels = ([line for _, line in read_lines(file)] if file else [] for file in files)
    if files[1] is not None and len(classes) != len(labels):
        raise damaged(files[1], f"{len(labels)} labels for {len(classes)} classes")
    return dict(zip(classes, labels, strict=False))


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    names = [line for _, line in read_lines(require_file(folder, "meta/classes.txt"))]
    position = {name: index for index, name in enumerate(names)}
    entries = []
    for part in ("train", "test"):
        file = require_file(folder, f"meta/{part}.txt")
        for number, line in read_lines(file):
            dish = line.rpartition("/")[0]
            if dish not in position:
                raise damaged(file, f"{dish!r} is no class of meta/classes.txt", line=number)
            entries.append(Entry(f"images/{line}.jpg", position[dish], part))
    return names, entries
