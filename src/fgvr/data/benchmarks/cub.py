"""CUB-200-2011 (Wah et al., 2011): 11,788 photographs of 200 birds.

Layout, below ``CUB_200_2011``: ``images/001.Black_footed_Albatross/*.jpg``; ``images.txt`` (image number, path),
``image_class_labels.txt`` (image number, class from 1), ``train_test_split.txt`` (image number, 1 for training),
``classes.txt`` (class, folder). Boxes, parts and attributes are not read.

The names are corrected ("Artic Tern", lost apostrophes); ``original_names`` gives FineR's list, which the published
tables were computed with (see ``names``). The 600 images that FineR and its successors discover classes with lie in
this test split: a method scored on it has seen part of it (``leaks.in_split`` tells).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fgvr.data.benchmarks.agreement import classes_of, count_problem, folder_problem
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import Entry, assemble, damaged, read_lines, require_file
from fgvr.data.benchmarks.wanted import official_only

NAME = "cub200"
TITLE = "CUB-200-2011"
MARKS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
COUNTS = {"train": 5994, "test": 5794}
CLASSES = 200


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """CUB below ``folder``. Raises ``ManifestError`` when a list is missing or damaged, ``NoImagesError`` for none."""
    official_only(split, TITLE)
    spelled = _numbered(require_file(folder, "classes.txt"))
    if [*spelled] != [*range(1, len(spelled) + 1)]:
        raise damaged(folder / "classes.txt", "its numbers do not run from 1")
    entries = _entries(folder, len(spelled))
    folders = [*spelled.values()]
    classes, problems = classes_of(folders, NAME)
    placed = [(folders[entry.label], entry.image.split("/")[1]) for entry in entries]
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=classes,
        counts=COUNTS,
        original_names=original_names,
        notes=(f"Split: official, which has {COUNTS['test']:,} test images.",),
        problems=[*problems, *count_problem(len(classes), CLASSES), *folder_problem(placed)],
    )


def _entries(folder: Path, classes: int) -> list[Entry]:
    images = _numbered(require_file(folder, "images.txt"))
    labels = _values(require_file(folder, "image_class_labels.txt"), images, range(1, classes + 1))
    training = _values(require_file(folder, "train_test_split.txt"), images, range(2))
    return [
        Entry(f"images/{image}", labels[number] - 1, "train" if training[number] else "test")
        for number, image in images.items()
    ]


def _numbered(file: Path) -> dict[int, str]:
    """Lines "number text"."""
    found: dict[int, str] = {}
    for line, content in read_lines(file):
        number, _, text = content.partition(" ")
        if not (number.isascii() and number.isdigit() and text.strip()) or int(number) in found:
            raise damaged(file, "expected a new number and a text", line=line)
        found[int(number)] = text.strip()
    return found


def _values(file: Path, images: Mapping[int, str], allowed: range) -> dict[int, int]:
    """Lines "image number value"; every image has one."""
    found = {number: int(text) if text.isascii() and text.isdigit() else -1 for number, text in _numbered(file).items()}
    wrong = next((number for number, value in found.items() if value not in allowed), None)
    if wrong is not None:
        raise damaged(file, f"image {wrong} has no value from {allowed[0]} to {allowed[-1]}")
    if found.keys() != images.keys():
        raise damaged(file, f"it names {len(found)} images, images.txt {len(images)}, or others")
    return found
