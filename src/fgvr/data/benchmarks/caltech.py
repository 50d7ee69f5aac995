"""Caltech-101 (Fei-Fei et al., 2004): 8,677 images of 101 kinds of object.

Layout: ``101_ObjectCategories/<category>/image_0001.jpg``. There is no official division. Handled as stated here:

1. ``BACKGROUND_Google`` is clutter, not a class: never read (the archive has 102 folders).
2. ``Faces_easy`` shows the people of ``Faces`` cropped. ``split="official"`` keeps it, as the authors count 101; CoOp
   leaves it out (``datasets/caltech101.py``), so ``split="coop"`` has 100 classes and 8,242 images.
3. Names are those of the folders, with plurals, underscores and "lilly" corrected.
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
    file_names,
    first_present,
    list_folders,
    words,
)
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "caltech101"
TITLE = "Caltech-101"
MARKS = ("101_ObjectCategories",)
COUNTS = {"all": 8677}
CLASSES = 101
CLASSES_SHA256 = "221ee8f768ef04fd3fbd6304b7a5fe0da9830df9d80be860d438136f882dddcc"
"""Of the folders in alphabetical order without ``BACKGROUND_Google``, one a line."""
CLUTTER = "BACKGROUND_Google"

CORRECTED = {
    "Faces": "face",
    "Faces_easy": "cropped face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
    "cougar_body": "body of a cougar",
    "cougar_face": "face of a cougar",
    "crocodile_head": "head of a crocodile",
    "flamingo_head": "head of a flamingo",
    "water_lilly": "water lily",
    "rhino": "rhinoceros",
    "sea_horse": "seahorse",
    "wild_cat": "wildcat",
    "garfield": "Garfield",
    "snoopy": "Snoopy",
    "joshua_tree": "Joshua tree",
    "windsor_chair": "Windsor chair",
    "hawksbill": "hawksbill turtle",
}
ACCEPTED = {
    "Faces": ("human face",),
    "Motorbikes": ("motorcycle",),
    "airplanes": ("aeroplane", "plane"),
    "binocular": ("binoculars",),
    "car_side": ("car",),
    "cellphone": ("cell phone", "mobile phone"),
    "dalmatian": ("Dalmatian dog",),
    "dollar_bill": ("dollar", "banknote"),
    "gramophone": ("phonograph",),
    "hawksbill": ("hawksbill sea turtle",),
    "headphone": ("headphones",),
    "inline_skate": ("rollerblade", "roller blade"),
    "laptop": ("laptop computer",),
    "lotus": ("lotus flower",),
    "panda": ("giant panda",),
    "platypus": ("duck-billed platypus",),
    "pyramid": ("Egyptian pyramid",),
    "revolver": ("handgun",),
    "soccer_ball": ("football",),
    "watch": ("wristwatch", "wrist watch"),
    "wrench": ("spanner",),
    "yin_yang": ("yin and yang", "taijitu"),
    "buddha": ("Buddha statue",),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Caltech-101 below ``folder``; ``split="official"`` gives all images without a split, ``coop`` CoOp's division."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    left_out = f"{CLUTTER} and Faces_easy are left out." if other else f"{CLUTTER} is not a class."
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[ClassName(CORRECTED.get(name, words(name)), words(name), ACCEPTED.get(name, ())) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=(*coop.stated(NAME, other=other, test=None), left_out),
        problems=[] if other else class_list_problems(names, count=CLASSES, sha256=CLASSES_SHA256),
    )


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    images = first_present(folder, "101_ObjectCategories", "caltech101/101_ObjectCategories") or folder
    return list_folders(folder, images, only={*file_names(images, folders=True)} - {CLUTTER})
