"""FGVC-Aircraft 2013b (Maji et al., 2013): 10,000 photographs of 100 variants, 70 families, 30 manufacturers.

Layout, below ``fgvc-aircraft-2013b/data``: ``images/0034309.jpg``; ``variants.txt``; ``images_variant_train.txt``,
``_val`` and ``_test`` with lines of image number, blank, variant (``_trainval`` holds train and val together); the same
lists for ``family`` and ``manufacturer``. CoOp reads these very lists, so its split is the official one.

A variant's listed name often lacks its maker ("707-320", "DC-10"). It is kept, being what papers score against, and the
name with the manufacturer ("Boeing 707-320") counts as right too. The lowest 20 rows of every photograph are a banner
with its copyright: the data set asks to cut it off, and an MLLM can read it.
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks.agreement import per_class_problem
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

NAME = "aircraft100"
TITLE = "FGVC-Aircraft"
MARKS = ("variants.txt", "images_variant_train.txt", "images_variant_val.txt", "images_variant_test.txt")
COUNTS = {"train": 3334, "val": 3333, "test": 3333}
CLASSES = 100
CLASSES_SHA256 = "e1c9e72060e63d526dce032008262a95f573b02e802be7be42f0cb6ccd5b4217"
"""Of the names in ``variants.txt``, one a line."""
PER_CLASS = {"train": (33, 34), "val": (33, 34), "test": (33, 34)}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """Aircraft variants below ``folder``, the ``data`` folder. Raises ``ManifestError``, ``NoImagesError``.

    The list holds no errors: ``original_names`` changes only which names count as further ones (none).
    """
    official_or_coop(split, TITLE)
    variants = [line for _, line in read_lines(require_file(folder, "variants.txt"))]
    labels = {variant: label for label, variant in enumerate(variants)}
    entries = []
    for part in COUNTS:
        file = require_file(folder, f"images_variant_{part}.txt")
        for image, variant in _pairs(file).items():
            if variant not in labels:
                raise damaged(file, f"image {image} is of {variant!r}, which is not in variants.txt")
            entries.append(Entry(f"images/{image}.jpg", labels[variant], part))
    makers = {} if original_names else _makers(folder, entries)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[ClassName(name, name, _with_maker(name, makers.get(labels[name]))) for name in variants],
        counts=COUNTS,
        original_names=original_names,
        notes=(
            f"Split: official (CoOp's is the same), which has {COUNTS['test']:,} test images. Classes: variants.",
            "The lowest 20 rows of each image are a banner with text; they were not cut off.",
        ),
        problems=[
            *class_list_problems(variants, count=CLASSES, sha256=CLASSES_SHA256),
            *per_class_problem(entries, PER_CLASS),
        ],
    )


def _pairs(file: Path) -> dict[str, str]:
    found = {}
    for number, line in read_lines(file):
        image, _, name = line.partition(" ")
        if not name.strip():
            raise damaged(file, "expected an image number and a name", line=number)
        found[image] = name.strip()
    return found


def _makers(folder: Path, entries: list[Entry]) -> dict[int, str]:
    """Manufacturer of each class, where the lists of manufacturers are there."""
    found: dict[str, str] = {}
    for part in ("trainval", "test"):
        file = folder / f"images_manufacturer_{part}.txt"
        if file.is_file():
            found.update(_pairs(file))
    images = ((entry.label, entry.image.rpartition("/")[2].removesuffix(".jpg")) for entry in entries)
    return {label: found[image] for label, image in images if image in found}


def _with_maker(variant: str, maker: str | None) -> tuple[str, ...]:
    if maker is None or variant.casefold().startswith(maker.split()[0].casefold()):
        return ()
    return (f"{maker} {variant}",)
