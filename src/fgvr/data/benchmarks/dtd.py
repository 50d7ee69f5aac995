"""Describable Textures (DTD r1.0.1; Cimpoi et al., CVPR 2014): 5,640 images, 47 textures.

Layout: ``images/<texture>/<file>.jpg``, ``labels/{train,val,test}<n>.txt`` with lines ``banded/banded_0002.jpg``. Ten
official divisions; the first is read, as papers that name none do. CoOp's split is another one (see ``coop``). The list
of names holds no errors; American spellings and nouns count as right too.
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
    read_lines,
    require_file,
)
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "dtd"
TITLE = "DTD"
MARKS = ("images", "labels/train1.txt")
COUNTS = {"train": 1880, "val": 1880, "test": 1880}
CLASSES = 47
CLASSES_SHA256 = "681d23b9cd3c2edec8ff7ea1fd6f5dd92f3b8d1dfb5a43fd0faee72a116c1130"
"""Of the names in alphabetical order, one a line."""

ACCEPTED = {
    "chequered": ("checkered",),
    "spiralled": ("spiraled",),
    "honeycombed": ("honeycomb",),
    "polka-dotted": ("polka dotted", "polka dot"),
    "zigzagged": ("zigzag",),
    "lacelike": ("lace-like",),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """DTD below ``folder``; ``split`` is ``official`` (the first of the ten divisions) or ``coop``."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[ClassName(name, name, ACCEPTED.get(name, ())) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.stated(NAME, other=other, test=COUNTS["test"]),
        problems=class_list_problems(names, count=CLASSES, sha256=CLASSES_SHA256),
    )


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    lists = [(part, require_file(folder, f"labels/{part}1.txt")) for part in ("train", "val", "test")]
    listed = [(image, part) for part, file in lists for image in _images(file)]
    names = sorted({image.partition("/")[0] for image, _ in listed})
    position = {name: index for index, name in enumerate(names)}
    return names, [Entry(f"images/{image}", position[image.partition("/")[0]], part) for image, part in listed]


def _images(file: Path) -> list[str]:
    lines = [*read_lines(file)]
    for number, line in lines:
        if line.count("/") != 1:
            raise damaged(file, "expected texture/file", line=number)
    return [line for _, line in lines]
