"""Stanford Dogs (Khosla et al., 2011): 20,580 ImageNet photographs of 120 breeds.

Layout: ``Images/n02085620-Chihuahua/n02085620_10074.jpg``; ``train_list.mat`` and ``test_list.mat``, each with a cell
array ``file_list`` of paths below ``Images`` and ``labels`` from 1; ``file_list.mat`` holds both together and is not
needed. Every class has 100 training images. Boxes are not read.

The folders' names are right apart from "Pekinese", "EntleBucher" and "bull_mastiff"; ``original_names`` gives the list
behind the published tables, which adds errors of its own ("Chihuaha", "German Shepard"). All images are ImageNet's: an
encoder or MLLM trained on ImageNet has seen them.
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks.agreement import classes_of, count_problem, folder_problem, per_class_problem
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import Entry, assemble, damaged, first_present, require_file
from fgvr.data.benchmarks.matfile import integers, read_mat, texts
from fgvr.data.benchmarks.wanted import official_only

NAME = "dogs120"
TITLE = "Stanford Dogs"
MARKS = ("train_list.mat", "test_list.mat")
COUNTS = {"train": 12000, "test": 8580}
CLASSES = 120
PER_CLASS = {"train": (100, 100)}
PLACES = ("Images", "images/Images", "images")
"""Where the photographs are: as in the archive, and as mirrors unpack it."""


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Stanford Dogs below ``folder``. Raises ``ManifestError`` (a list is missing or damaged), ``NoImagesError``."""
    official_only(split, TITLE)
    place = first_present(folder, *PLACES)
    images = place.relative_to(folder).as_posix() if place else PLACES[0]
    entries = [entry for part in COUNTS for entry in _listed(require_file(folder, f"{part}_list.mat"), images, part)]
    spelled = _folders(entries, folder / "train_list.mat")
    classes, problems = classes_of(spelled, NAME)
    placed = [(spelled[entry.label], _folder(entry)) for entry in entries]
    agreement = (*count_problem(len(classes), CLASSES), *per_class_problem(entries, PER_CLASS), *folder_problem(placed))
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=classes,
        counts=COUNTS,
        original_names=original_names,
        notes=(f"Split: official, which has {COUNTS['test']:,} test images.", "The images are ImageNet's."),
        problems=[*problems, *agreement],
    )


def _listed(file: Path, images: str, part: str) -> list[Entry]:
    found = read_mat(file, "file_list", "labels")
    files, labels = texts(found["file_list"], file), integers(found["labels"], file)
    if len(files) != len(labels) or min(labels) < 1 or any(name.count("/") != 1 for name in files):
        raise damaged(file, "its files and labels do not belong together")
    return [Entry(f"{images}/{name}", label - 1, part) for name, label in zip(files, labels, strict=True)]


def _folders(entries: list[Entry], file: Path) -> list[str]:
    """(C) the folder of each class: that of its first image."""
    first: dict[int, str] = {}
    for entry in entries:
        first.setdefault(entry.label, _folder(entry))
    if {*first} != {*range(len(first))}:
        raise damaged(file, "its labels do not run from 1")
    return [first[label] for label in range(len(first))]


def _folder(entry: Entry) -> str:
    return entry.image.split("/")[-2]
