"""Oxford-IIIT Pets (Parkhi et al., 2012): 7,349 listed photographs of 25 dog and 12 cat breeds.

Layout: ``images/Abyssinian_100.jpg``; ``annotations/trainval.txt`` and ``test.txt`` with lines "image class species
breed" (class 1 to 37, species 1 cat 2 dog), ``annotations/list.txt`` with both and a heading of ``#`` lines. The split
called trainval is ``train`` here. Boxes and trimaps are not read.

Known of the archive: it holds 41 photographs that no list names, and three ``.mat`` files among the images; some files
called ``.jpg`` are GIF (``Abyssinian_34``, ``Egyptian_Mau_139``, ``_145``, ``_167``, ``_177``, ``_191``) or PNG
(``Abyssinian_5``, ``Egyptian_Mau_14``, ``_156``, ``_186``), and ``beagle_116`` and ``chihuahua_121`` hold stray bytes
(tensorflow/models issue 2194). Files are read by content here, so the former need no care.
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.agreement import classes_of, coop_problem, count_problem, folder_problem
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import Entry, assemble, damaged, read_lines, require_file
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "pets37"
TITLE = "Oxford-IIIT Pets"
MARKS = ("annotations/trainval.txt", "annotations/test.txt")
COUNTS = {"train": 3680, "test": 3669}
CLASSES = 37
LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Pets below ``folder``; ``split`` is ``official`` or ``coop``. Raises ``ManifestError``, ``NoImagesError``."""
    other = official_or_coop(split, TITLE)
    official = [entry for part, name in LISTS.items() for entry in _listed(require_file(folder, name), part)]
    spelled = _breeds(official, folder / LISTS["train"])
    classes, problems = classes_of(spelled, NAME)
    rows = coop.read_rows(folder, NAME) if other else []
    entries = coop.entries(rows, file=folder / coop.FILES[NAME].file) if other else official
    if any(entry.label >= len(spelled) for entry in entries):
        raise damaged(folder / coop.FILES[NAME].file, f"it has more classes than the {len(spelled)} of the lists")
    placed = [(spelled[entry.label], _breed(entry)) for entry in entries]
    agreement = (*count_problem(len(classes), CLASSES), *folder_problem(placed), *coop_problem(rows, classes, NAME))
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=classes,
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.notes(NAME) if other else (*coop.official_notes(NAME, COUNTS["test"]), "train is its trainval."),
        problems=[*problems, *agreement],
    )


def _listed(file: Path, part: str) -> list[Entry]:
    entries = []
    for number, line in read_lines(file):
        if line.startswith("#"):
            continue
        match line.split():
            case [image, label, _, _] if label.isascii() and label.isdigit() and int(label) > 0:
                entries.append(Entry(f"images/{image}.jpg", int(label) - 1, part))
            case _:
                raise damaged(file, "expected image, class, species and breed", line=number)
    if not entries:
        raise damaged(file, "it names no image")
    return entries


def _breeds(entries: list[Entry], file: Path) -> list[str]:
    """(C) the breed in the file name of each class's first image."""
    first: dict[int, str] = {}
    for entry in entries:
        first.setdefault(entry.label, _breed(entry))
    if {*first} != {*range(len(first))}:
        raise damaged(file, "its classes do not run from 1")
    return [first[label] for label in range(len(first))]


def _breed(entry: Entry) -> str:
    return entry.image.rpartition("/")[2].rpartition("_")[0]
