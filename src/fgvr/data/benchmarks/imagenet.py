"""ImageNet, ILSVRC 2012 (Russakovsky et al., IJCV 2015): 1,000 classes, 1,281,167 training, 50,000 validation images.

The labels of the test images were never published: papers report on the validation images, and they are the split
``test`` here, as CoOp has it (``official`` and ``coop`` are the same).

Layouts read: ``train/n01440764/*.JPEG`` and ``val/`` below the folder, its ``images/`` or ``ILSVRC/Data/CLS-LOC/``.
Validation images lie in synset folders, or flat beside one of: ``LOC_val_solution.csv`` (Kaggle), or the development
kit's ``ILSVRC2012_validation_ground_truth.txt`` with ``meta.mat``. Folders are listed, no image is opened.

1. *Order.* Classes are numbered by sorted synset, as everywhere. The development kit's ``ILSVRC2012_ID`` is another
   order: its numbers are translated through ``meta.mat``, never used as they are.
2. *Names* come from ``LOC_synset_mapping.txt`` (WordNet's lemmas; the first is the name, the others are accepted),
   ``classnames.txt`` (CoOp's copy of CLIP's list; preferred, being made for prompts) or ``meta.mat``.
3. *Shared names.* WordNet calls two classes "crane", two "maillot", two "cardigan" but for the capital; CLIP's list
   holds "missile" and "sunglasses" twice. Such a class takes the name in ``CORRECTED``, else its next lemma that no
   other class has. The flag for original names leaves them shared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.benchmarks.layout import (
    ClassName,
    Entry,
    assemble,
    class_list_problems,
    damaged,
    file_names,
    first_present,
    list_folders,
    read_lines,
    require_file,
)
from fgvr.data.benchmarks.matfile import field, integers, read_mat, texts
from fgvr.data.benchmarks.wanted import official_or_coop
from fgvr.errors import ManifestError

NAME = "imagenet"
TITLE = "ImageNet (ILSVRC 2012)"
COUNTS = {"train": 1281167, "test": 50000}
CLASSES = 1000
CLASSES_SHA256 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
"""Of the synsets in order, one a line."""

CORRECTED = {
    "n02012849": "crane (bird)",
    "n03126707": "construction crane",
    "n04008634": "projectile",
    "n04355933": "sunglass",
}
"""Names for classes that would share one and have no lemma of their own."""

_IMAGES = ("", "images", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
_FIRST = ("train/n01440764", "val/n01440764", "val/ILSVRC2012_val_00000001.JPEG")
MARKS = ("|".join(f"{below}/{first}".lstrip("/") for below in _IMAGES for first in _FIRST),)
_DEVKITS = ("", "ILSVRC2012_devkit_t12/data", "ILSVRC2012_devkit_t12", "devkit/data", "data")
_PARTS = {"train": "train", "val": "test"}
_SYNSET = re.compile(r"n\d{8}")


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """ImageNet below ``folder``; ``split`` is ``official`` or ``coop``. A missing ``train`` or ``val`` is a problem.

    Raises ``ManifestError`` when neither part is there, or no list of names, or no labels for flat validation images.
    """
    official_or_coop(split, TITLE)
    images = _images(folder)
    curated, lemmas = _curated(folder), _lemmas(folder)
    synsets = sorted({*curated, *lemmas})
    if not synsets:
        require_file(folder, "LOC_synset_mapping.txt", "classnames.txt")
    position = {synset: index for index, synset in enumerate(synsets)}
    parts = {part: images / part for part in _PARTS if (images / part).is_dir()}
    entries = [
        *(_in_folders(folder, parts["train"], position, "train") if "train" in parts else ()),
        *(_validation(folder, parts["val"], position) if "val" in parts else ()),
    ]
    counts = {named: COUNTS[named] for part, named in _PARTS.items() if part in parts}
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=class_names(synsets, curated, lemmas),
        counts=counts,
        original_names=original_names,
        notes=("Test images are ILSVRC's 50,000 validation images; the labels of its test were never published.",),
        problems=[
            *class_list_problems(synsets, count=CLASSES, sha256=CLASSES_SHA256),
            *_part_problems(parts, position),
        ],
    )


# --- names ------------------------------------------------------------------------------------------------------------


def class_names(
    synsets: Sequence[str], curated: Mapping[str, str], lemmas: Mapping[str, tuple[str, ...]]
) -> list[ClassName]:
    """A name no other class has, where one can be found, for each synset; ``listed`` is the file's own first name."""
    candidates = [[*dict.fromkeys((*([curated[s]] if s in curated else []), *lemmas.get(s, ())))] for s in synsets]
    bearers = Counter(key for names in candidates for key in {name.casefold() for name in names})
    shared = _repeated(names[0] for names in candidates)
    named = [
        CORRECTED.get(synset, names[0]) if names[0].casefold() in shared else names[0]
        for synset, names in zip(synsets, candidates, strict=True)
    ]
    still = _repeated(named)
    found = []
    for name, names in zip(named, candidates, strict=True):
        own = (other for other in names[1:] if bearers[other.casefold()] == 1)
        unique = next(own, name) if name.casefold() in still else name
        found.append(ClassName(unique, names[0], tuple(names[1:])))
    return found


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(name.casefold() for name in names).items() if count > 1}


def _curated(folder: Path) -> dict[str, str]:
    """CoOp's ``classnames.txt``: ``n01440764 tench``."""
    file = first_present(folder, "classnames.txt")
    return {} if file is None else dict(_synset_lines(file))


def _lemmas(folder: Path) -> dict[str, tuple[str, ...]]:
    """``LOC_synset_mapping.txt`` (``n01440764 tench, Tinca tinca``), else the words of ``meta.mat``."""
    file = first_present(folder, "LOC_synset_mapping.txt")
    if file is not None:
        return {synset: _split_lemmas(rest) for synset, rest in _synset_lines(file)}
    kit = _devkit_file(folder, "meta.mat")
    return {} if kit is None else {synset: _split_lemmas(text) for synset, text in _meta(kit).values()}


def _synset_lines(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in read_lines(file):
        synset, _, rest = line.partition(" ")
        if not _SYNSET.fullmatch(synset) or not rest.strip():
            raise damaged(file, "expected lines 'n01440764 name'", line=number)
        yield synset, rest.strip()


def _split_lemmas(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lemma.strip() for lemma in text.split(",") if lemma.strip()))


def _meta(file: Path) -> dict[int, tuple[str, str]]:
    """``meta.mat``: ``ILSVRC2012_ID`` to (synset, comma-separated lemmas) of the 1,000 leaves."""
    struct = read_mat(file, "synsets")["synsets"]
    ids, children = (integers(field(struct, name, file), file) for name in ("ILSVRC2012_ID", "num_children"))
    synsets, lemmas = (texts(field(struct, name, file), file) for name in ("WNID", "words"))
    if not len(ids) == len(children) == len(synsets) == len(lemmas) or not all(map(_SYNSET.fullmatch, synsets)):
        raise damaged(file, "not the development kit's list")
    rows = zip(ids, children, synsets, lemmas, strict=True)
    return {number: (synset, text) for number, below, synset, text in rows if below == 0}


# --- images -----------------------------------------------------------------------------------------------------------


def _images(folder: Path) -> Path:
    for below in _IMAGES:
        if any((folder / below / part).is_dir() for part in ("train", "val")):
            return folder / below
    raise ManifestError(
        "neither train nor val of ImageNet is here", remedy="Name the folder that holds them.", folder=str(folder)
    )


def _in_folders(folder: Path, images: Path, position: Mapping[str, int], split: str) -> list[Entry]:
    names, entries = list_folders(folder, images, only=position, split=split)
    return [Entry(entry.image, position[names[entry.label]], split) for entry in entries]


def _validation(folder: Path, images: Path, position: Mapping[str, int]) -> list[Entry]:
    flat = file_names(images)
    if not flat:
        return _in_folders(folder, images, position, "test")
    solution = first_present(folder, "LOC_val_solution.csv")
    synset_of = _solution(solution) if solution is not None else _ground_truth(folder)
    below = images.relative_to(folder).as_posix()
    unknown = next((name for name in flat if synset_of.get(name.partition(".")[0]) not in position), None)
    if unknown is not None:
        raise ManifestError(
            "a validation image has no label", remedy="Name lists and images must be of ILSVRC 2012.", image=unknown
        )
    return [Entry(f"{below}/{name}", position[synset_of[name.partition(".")[0]]], "test") for name in flat]


def _solution(file: Path) -> dict[str, str]:
    """Kaggle's ``ILSVRC2012_val_00048981,n03995372 85 1 499 272``: image name to synset."""
    found = {}
    for number, line in [*read_lines(file)][1:]:
        name, _, boxes = line.partition(",")
        synset = boxes.strip().strip('"').partition(" ")[0]
        if not _SYNSET.fullmatch(synset):
            raise damaged(file, "expected 'image,synset box ...'", line=number)
        found[name] = synset
    return found


def _ground_truth(folder: Path) -> dict[str, str]:
    """The development kit's labels: line n is the ``ILSVRC2012_ID`` of ``ILSVRC2012_val_<n>.JPEG``."""
    truth, meta = (_devkit_file(folder, name) for name in ("ILSVRC2012_validation_ground_truth.txt", "meta.mat"))
    if truth is None or meta is None:
        raise ManifestError(
            "the validation images lie flat and their labels are missing",
            remedy="Add LOC_val_solution.csv, or the development kit's ground truth and meta.mat.",
            folder=str(folder),
        )
    synsets = {number: synset for number, (synset, _) in _meta(meta).items()}
    found = {}
    for number, line in read_lines(truth):
        if not line.isascii() or not line.isdigit() or int(line) not in synsets:
            raise damaged(truth, "expected one ILSVRC2012_ID a line", line=number)
        found[f"ILSVRC2012_val_{number:08d}"] = synsets[int(line)]
    return found


def _devkit_file(folder: Path, name: str) -> Path | None:
    return first_present(folder, *(f"{below}/{name}" if below else name for below in _DEVKITS))


def _part_problems(parts: Mapping[str, Path], position: Mapping[str, int]) -> Iterator[Problem]:
    for part in _PARTS:
        if part not in parts:
            yield Problem("missing split", f"there is no {part} folder", serious=part == "val")
    for part, images in parts.items():
        strange = [name for name in file_names(images, folders=True) if name not in position]
        if strange:
            yield Problem("unknown class folder", f"{part}: {len(strange)}, such as {strange[0]!r}")
