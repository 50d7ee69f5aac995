"""CoOp's fixed splits (Zhou et al., "Learning to prompt for vision-language models", IJCV 2022): ``split_zhou_*.json``.

Each file holds ``{"train": [[path, label, class name], ...], "val": [...], "test": [...]}`` with paths relative to the
data set's image folder and labels from 0. Where a data set has an official test list CoOp keeps it and takes val out of
train (pets, cars, SUN397, UCF-101, aircraft). For Caltech-101 and EuroSAT there is no official list. **For Flowers-102,
DTD and Food-101 CoOp drew its own test list although there is an official one** (code: ``datasets/oxford_flowers.py``,
``dtd.py``, ``food101.py``): a figure on one must not stand beside a figure on the other, and official training images
lie in CoOp's test list. For ImageNet there is no file: the validation images serve as test.

Counts: the paper's table of data sets (appendix); each row's sum is the number of images of the data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.data.benchmarks.layout import Entry, damaged, read_text
from fgvr.errors import ManifestError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CoopSplit:
    """What is known of one data set's file."""

    file: str
    images: str
    """The folder its paths start from, below the data set's own."""
    train: int
    val: int
    test: int
    classes: int
    own_test: bool = False
    """CoOp's test list is not the official one, though there is one."""

    @property
    def counts(self) -> dict[str, int]:
        """Images expected in each split."""
        return {"train": self.train, "val": self.val, "test": self.test}


FILES: Mapping[str, CoopSplit] = {
    "caltech101": CoopSplit("split_zhou_Caltech101.json", "101_ObjectCategories", 4128, 1649, 2465, 100),
    "pets37": CoopSplit("split_zhou_OxfordPets.json", "images", 2944, 736, 3669, 37),
    "cars196": CoopSplit("split_zhou_StanfordCars.json", "", 6509, 1635, 8041, 196),
    "flowers102": CoopSplit("split_zhou_OxfordFlowers.json", "jpg", 4093, 1633, 2463, 102, own_test=True),
    "food101": CoopSplit("split_zhou_Food101.json", "images", 50500, 20200, 30300, 101, own_test=True),
    "sun397": CoopSplit("split_zhou_SUN397.json", "SUN397", 15880, 3970, 19850, 397),
    "dtd": CoopSplit("split_zhou_DescribableTextures.json", "images", 2820, 1128, 1692, 47, own_test=True),
    "eurosat": CoopSplit("split_zhou_EuroSAT.json", "2750", 13500, 5400, 8100, 10),
    "ucf101": CoopSplit("split_zhou_UCF101.json", "UCF-101-midframes", 7639, 1898, 3783, 101),
}
"""By the reader's ``NAME``. FGVC-Aircraft has no file: CoOp reads the official variant lists."""


@dataclass(frozen=True)
class CoopRow:
    """One image of a split file."""

    image: str
    """Relative to the data set's folder."""
    label: int
    """CoOp's class number, from 0."""
    listed: str
    """CoOp's class name."""
    split: str

    @property
    def folder(self) -> str:
        """The image's folder, relative to the data set's folder."""
        return self.image.rpartition("/")[0]


def read_rows(folder: Path, name: str) -> list[CoopRow]:
    """The rows of data set ``name``'s file in ``folder``, train first.

    Raises ``ManifestError`` when the file is missing or damaged: rows that are no (path, label, name), class numbers
    out of range, one class number with two names.
    """
    known = FILES.get(name)
    if known is None:
        raise ManifestError("CoOp has no split of this data set", remedy="Use split='official'.", dataset=name)
    file = folder / known.file
    if not file.is_file():
        raise ManifestError(
            "the CoOp split of this data set is missing",
            remedy="Put CoOp's file beside the images (its DATASETS.md names the place), or use split='official'.",
            file=str(file),
        )
    try:
        lists = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"not JSON: {error}") from error
    if not isinstance(lists, dict) or any(not isinstance(lists.get(split), list) for split in SPLITS):
        raise damaged(file, "it has no lists called train, val and test")
    rows = [_row(row, known, split, file, n) for split in SPLITS for n, row in enumerate(lists[split], start=1)]
    _check_names(rows, file)
    return rows


def entries(rows: list[CoopRow], *, file: Path) -> list[Entry]:
    """Rows as ``Entry``, with CoOp's class numbers. Raises ``ManifestError`` when the lists are empty."""
    if not rows:
        raise damaged(file, "it names no image")
    return [Entry(row.image, row.label, row.split) for row in rows]


def by_folder(folder: Path, name: str) -> tuple[list[str], list[Entry]]:
    """Class folders in CoOp's order, below the image folder, and the entries; for data sets with a folder a class.

    Raises ``ManifestError`` as ``read_rows`` does, and when a class has two folders or no image.
    """
    rows, file = read_rows(folder, name), folder / FILES[name].file
    listed = entries(rows, file=file)
    folders: dict[int, str] = {}
    for row in rows:
        if folders.setdefault(row.label, row.folder) != row.folder:
            raise damaged(file, f"class number {row.label} lies in {folders[row.label]!r} and in {row.folder!r}")
    if {*folders} != {*range(len(folders))}:
        raise damaged(file, "a class number has no image")
    return [folders[label].removeprefix(FILES[name].images + "/") for label in sorted(folders)], listed


def notes(name: str) -> tuple[str, ...]:
    """What a figure on CoOp's split must state."""
    known = FILES[name]
    which = f"Split: CoOp's ({known.file}), which has {known.test:,} test images."
    mixed = "CoOp's test list is not the official one: never compare a figure on one with a figure on the other."
    return (which, mixed) if known.own_test else (which,)


def official_notes(name: str, test: int | None) -> tuple[str, ...]:
    """What a figure on the official split must state; ``test``: size of the official test list, if there is one."""
    if test is None:
        return ("Split: none is official; draw one, or use CoOp's.",)
    which = f"Split: official, which has {test:,} test images."
    known = FILES.get(name)
    if known is None or not known.own_test:
        return (which,)
    return (which, f"CoOp tests on another list ({known.test:,} images): never compare a figure on one with the other.")


def stated(name: str, *, other: bool, test: int | None) -> tuple[str, ...]:
    """``notes`` where CoOp's split was asked for (``other``), ``official_notes`` where not."""
    return notes(name) if other else official_notes(name, test)


def _row(row: Any, known: CoopSplit, split: str, file: Path, number: int) -> CoopRow:
    match row:
        case [str(path), int(label), str(listed)] if path and not isinstance(label, bool):
            if not 0 <= label < known.classes:
                raise damaged(file, f"row {number} of {split}: class number {label} of {known.classes}")
            image = path.replace("\\", "/").lstrip("/")
            return CoopRow(f"{known.images}/{image}" if known.images else image, label, listed, split)
    raise damaged(file, f"row {number} of {split} is not [path, class number, class name]")


def _check_names(rows: list[CoopRow], file: Path) -> None:
    names: dict[int, str] = {}
    for row in rows:
        if names.setdefault(row.label, row.listed) != row.listed:
            raise damaged(file, f"class number {row.label} is called {names[row.label]!r} and {row.listed!r}")
