"""Oxford Flowers-102 (Nilsback and Zisserman, 2008): 8,189 photographs of 102 flowers.

Layout: ``jpg/image_00001.jpg`` to ``image_08189.jpg``; ``imagelabels.mat`` with ``labels`` (1 to 102, one an image);
``setid.mat`` with the image numbers of ``trnid``, ``valid`` and ``tstid``. Every class has 10 images in train and 10 in
val. Class names are not in the files: they are those of the data set's page (``names``).

CoOp's split tests on 2,463 other images, among them official training images: see ``coop``.
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks import coop, names
from fgvr.data.benchmarks.agreement import classes_of, coop_problem, per_class_problem
from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.benchmarks.layout import Entry, assemble, damaged, require_file
from fgvr.data.benchmarks.matfile import integers, read_mat
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "flowers102"
TITLE = "Oxford Flowers-102"
MARKS = ("imagelabels.mat", "setid.mat")
COUNTS = {"train": 1020, "val": 1020, "test": 6149}
CLASSES = 102
PER_CLASS = {"train": (10, 10), "val": (10, 10)}
VARIABLES = {"train": "trnid", "val": "valid", "test": "tstid"}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Flowers below ``folder``; ``split`` is ``official`` or ``coop``. Raises ``ManifestError``, ``NoImagesError``."""
    other = official_or_coop(split, TITLE)
    labels = _labels(require_file(folder, "imagelabels.mat"))
    official = _official(require_file(folder, "setid.mat"), labels)
    classes, _ = classes_of(names.LISTED[NAME], NAME)
    rows = coop.read_rows(folder, NAME) if other else []
    entries = coop.entries(rows, file=folder / coop.FILES[NAME].file) if other else official
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
        problems=[
            *per_class_problem(official, PER_CLASS),
            *coop_problem(rows, classes, NAME),
            *(_disagreement(entries, {entry.image: entry.label for entry in official}) if other else ()),
        ],
    )


def _labels(file: Path) -> list[int]:
    """(N) classes from 1, of images 1 to N."""
    labels = integers(read_mat(file, "labels")["labels"], file)
    if not all(1 <= label <= CLASSES for label in labels):
        raise damaged(file, f"its labels are not from 1 to {CLASSES}")
    return labels


def _official(file: Path, labels: list[int]) -> list[Entry]:
    found = read_mat(file, *VARIABLES.values())
    entries = []
    for part, variable in VARIABLES.items():
        for number in integers(found[variable], file):
            if not 1 <= number <= len(labels):
                raise damaged(file, f"image {number} of {variable} has no label")
            entries.append(Entry(f"jpg/image_{number:05d}.jpg", labels[number - 1] - 1, part))
    return entries


def _disagreement(entries: list[Entry], official: dict[str, int]) -> tuple[Problem, ...]:
    """A problem when CoOp's file gives images other classes than ``imagelabels.mat``."""
    wrong = [entry.image for entry in entries if official.get(entry.image, entry.label) != entry.label]
    if not wrong:
        return ()
    return (Problem("labels disagree", f"{len(wrong)} images have another class in CoOp's file, such as {wrong[0]}"),)
