"""EuroSAT, RGB (Helber et al., 2019): 27,000 satellite images of 64 x 64 pixels, 10 kinds of land use.

Layout: ``2750/<Class>/<Class>_<n>.jpg`` (or ``EuroSAT_RGB/`` in newer archives). There is no official division; CoOp's
is the one in use, and its file names ``2750/``. The folders' names are run together; the readable names are those CoOp
gives its prompts (``datasets/eurosat.py``).
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.agreement import count_problem
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import ClassName, Entry, assemble, first_present, list_folders, per_class_problems
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "eurosat"
TITLE = "EuroSAT"
MARKS = ("2750/AnnualCrop|EuroSAT_RGB/AnnualCrop", "2750/SeaLake|EuroSAT_RGB/SeaLake")
COUNTS = {"all": 27000}
PER_CLASS = {
    "AnnualCrop": 3000,
    "Forest": 3000,
    "HerbaceousVegetation": 3000,
    "Highway": 2500,
    "Industrial": 2500,
    "Pasture": 2000,
    "PermanentCrop": 2500,
    "Residential": 3000,
    "River": 2500,
    "SeaLake": 3000,
}
CLASSES = len(PER_CLASS)

NAMES = {
    "AnnualCrop": ("Annual Crop Land", "Annual Crop"),
    "Forest": ("Forest",),
    "HerbaceousVegetation": ("Herbaceous Vegetation Land", "Herbaceous Vegetation"),
    "Highway": ("Highway or Road", "Highway", "Road"),
    "Industrial": ("Industrial Buildings", "Industrial", "Industrial Area"),
    "Pasture": ("Pasture Land", "Pasture"),
    "PermanentCrop": ("Permanent Crop Land", "Permanent Crop"),
    "Residential": ("Residential Buildings", "Residential", "Residential Area"),
    "River": ("River",),
    "SeaLake": ("Sea or Lake", "Sea", "Lake"),
}
"""Folder to readable name (CoOp's), then what else counts as right."""


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """EuroSAT below ``folder``; ``split="official"`` gives all images without a split, ``coop`` CoOp's division."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    uneven = [] if other else per_class_problems(names, entries, PER_CLASS)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[_class_name(name) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.stated(NAME, other=other, test=None),
        problems=[*uneven, *count_problem(len(names), CLASSES)],
    )


def _class_name(folder: str) -> ClassName:
    name, *accepted = NAMES.get(folder, (folder,))
    return ClassName(name, folder, tuple(accepted))


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    images = first_present(folder, "2750", "EuroSAT_RGB") or folder
    return list_folders(folder, images, only=PER_CLASS)
