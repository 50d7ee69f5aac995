"""Stanford Cars (Krause et al., 2013): 16,185 photographs of 196 makes, models and years.

Layout: ``cars_train/00001.jpg``, ``cars_test/00001.jpg``; ``devkit/cars_meta.mat`` (``class_names``, year last),
``devkit/cars_train_annos.mat`` and ``cars_test_annos_withlabels.mat`` (beside ``devkit`` or in it): records
``annotations`` with ``fname`` and ``class`` from 1. ``devkit/cars_test_annos.mat`` has no classes and is not read.
The other edition holds all images in ``car_ims/000001.jpg`` and everything in ``cars_annos.mat``: ``class_names``, and
``annotations`` with ``relative_im_path``, ``class`` and ``test`` (1 for the same 8,041 test images).

1. *Same names.* Train and test both hold ``00001.jpg``: an image is known by folder and name here, and joining by
   name alone is refused (``leaks.by_file_name``).
2. *Shifted names.* FineR and its successors score the test split against the name of the class before
   (``names.shifted_names``); ``legacy_shift`` turns a ``Benchmark`` into that, for comparison with published figures.
3. *Years.* CoOp's list has the year first. The list behind the published tables writes "Ram CV" for "Ram C/V".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fgvr.data.benchmarks import coop, names
from fgvr.data.benchmarks.agreement import classes_of, coop_problem, count_problem
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import Entry, assemble, damaged, first_present, require_file
from fgvr.data.benchmarks.matfile import field, integers, read_mat, texts
from fgvr.data.benchmarks.wanted import official_or_coop
from fgvr.errors import InputError

NAME = "cars196"
TITLE = "Stanford Cars"
MARKS = ("devkit/cars_meta.mat|cars_annos.mat", "devkit/cars_train_annos.mat|car_ims")
COUNTS = {"train": 8144, "test": 8041}
CLASSES = 196
ONE_FILE = "cars_annos.mat"
LISTS = {
    "train": ("devkit/cars_train_annos.mat",),
    "test": ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat"),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Cars below ``folder``; ``split`` is ``official`` or ``coop``. Raises ``ManifestError``, ``NoImagesError``."""
    other = official_or_coop(split, TITLE)
    meta = require_file(folder, "devkit/cars_meta.mat", ONE_FILE)
    spelled = texts(read_mat(meta, "class_names")["class_names"], meta)
    classes, problems = classes_of(spelled, NAME)
    rows = coop.read_rows(folder, NAME) if other else []
    if other:
        entries = coop.entries(rows, file=folder / coop.FILES[NAME].file)
    elif meta.name == ONE_FILE:
        entries = _of_one_file(meta)
    else:
        entries = [entry for part in LISTS for entry in _listed(folder, part)]
    beyond = max(entry.label for entry in entries) + 1
    if beyond > len(classes):
        raise damaged(meta, f"it names {len(classes)} classes, but there is an image of class {beyond}")
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=classes,
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.notes(NAME) if other else coop.official_notes(NAME, COUNTS["test"]),
        problems=[*problems, *count_problem(len(classes), CLASSES), *coop_problem(rows, classes, NAME)],
    )


def legacy_shift(benchmark: Benchmark) -> Benchmark:
    """The test split scored as in FineR, E-FineR and FiNDR: each image against the name of the class before its own.

    No further name counts as right, as there. Training images keep their names: the discovery sets were not shifted.
    Raises ``InputError`` for another data set, whose names never were.
    """
    if benchmark.name != NAME:
        remedy = "Leave the shift away: it is a fault of FineR's reader of Stanford Cars."
        raise InputError(f"the published figures on {benchmark.title} are not shifted", remedy=remedy)
    shifted = dict(zip(benchmark.classes, names.shifted_names(benchmark.classes), strict=True))
    items = tuple(
        replace(item, label=shifted[item.label], accepted=()) if item.split == "test" and item.label else item
        for item in benchmark.items
    )
    note = "Legacy-shifted: test images carry the name of the class before their own, as in FineR's code."
    return replace(benchmark, items=items, notes=(*benchmark.notes, note))


def _listed(folder: Path, part: str) -> list[Entry]:
    file = require_file(folder, *LISTS[part])
    records = read_mat(file, "annotations")["annotations"]
    files, labels = texts(field(records, "fname", file), file), integers(field(records, "class", file), file)
    if len(files) != len(labels) or min(labels) < 1:
        raise damaged(file, "its files and classes do not belong together")
    place = first_present(folder, f"cars_{part}/cars_{part}", f"cars_{part}")  # a mirror has the folder twice
    images = place.relative_to(folder).as_posix() if place else f"cars_{part}"
    return [Entry(f"{images}/{name}", label - 1, part) for name, label in zip(files, labels, strict=True)]


def _of_one_file(file: Path) -> list[Entry]:
    records = read_mat(file, "annotations")["annotations"]
    images = texts(field(records, "relative_im_path", file), file)
    labels, flags = (integers(field(records, name, file), file) for name in ("class", "test"))
    if not len(images) == len(labels) == len(flags) or min(labels) < 1 or not {*flags} <= {0, 1}:
        raise damaged(file, "its files, classes and test flags do not belong together")
    rows = zip(images, labels, flags, strict=True)
    return [Entry(image, label - 1, "test" if flag else "train") for image, label, flag in rows]
