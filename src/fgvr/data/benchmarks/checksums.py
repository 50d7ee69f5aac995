"""Published checksums of the data sets' lists and archives, compared with what lies in a folder.

Only sums that the data set or a widely used reader publishes stand here; a list without one is checked by its counts
and by its agreement with the others. MD5 is what was published: it finds damage and mix-ups, not forgery.

Sources: torchvision's ``flowers102.py``, ``stanford_cars.py``, ``oxford_iiit_pet.py``, ``caltech.py``, ``dtd.py``,
``eurosat.py``, ``food101.py``, ``imagenet.py`` and ``sun397.py``; for Stanford Dogs, FGVC-Aircraft and CUB readers
descended from torchvision's, the same in several of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fgvr.data.benchmarks.base import Problem

LISTS: dict[str, dict[str, str]] = {
    "cars196": {
        "cars_test_annos_withlabels.mat": "b0a2b23655a3edd16d84508592a98d10",
        "devkit/cars_test_annos_withlabels.mat": "b0a2b23655a3edd16d84508592a98d10",
    },
    "dogs120": {
        "train_list.mat": "d37f459eacccfa4d299373dffba9648d",
        "test_list.mat": "66f60c285efbc3ce2fb7893bd26c6b80",
        "file_list.mat": "ce0676c9520e4b7e1d43221cd9c647b0",
    },
    "flowers102": {
        "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
        "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
    },
}
"""Short name to relative path to MD5."""

ARCHIVES: dict[str, dict[str, str]] = {
    "caltech101": {"101_ObjectCategories.tar.gz": "b224c7392d521a49829488ab0f1120d9"},
    "dtd": {"../dtd-r1.0.1.tar.gz": "fff73e5086ae6bdbea199a49dfb8a4c1"},
    "eurosat": {"EuroSAT.zip": "c8fa014336c82ac7804f0398fcb19387"},
    "food101": {"../food-101.tar.gz": "85eeb15f3717b99a5da872d97d918f87"},
    "imagenet": {
        "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
        "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
    },
    "sun397": {"SUN397.tar.gz": "8ca2778205c41d23104230ba66911c7a"},
    "aircraft100": {"../../fgvc-aircraft-2013b.tar.gz": "d4acdd33327262359767eeaa97a4f732"},
    "cars196": {
        "cars_train.tgz": "065e5b463ae28d29e77c1b4b166cfe61",
        "cars_test.tgz": "4ce7ebf6a94d07f1952d94dd34c4d501",
        "car_devkit.tgz": "c3b158d763b6e2245038c8ad08e45376",
    },
    "cub200": {"../CUB_200_2011.tgz": "97eceeb196236b17998738112f37df78"},
    "dogs120": {"images.tar": "1bb1f2a596ae7057f99d7d75860002ef", "lists.tar": "edbb9f16854ec66506b5f09b583e0656"},
    "flowers102": {"102flowers.tgz": "52808999861908f626f3c1f4e79d11fa"},
    "pets37": {
        "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
        "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
    },
}
"""Short name to MD5 by path from the data set's folder, where the archive lies if it was unpacked in place."""


def list_problems(name: str, folder: Path) -> tuple[Problem, ...]:
    """A problem for each list of data set ``name`` in ``folder`` that is not the published one; absent ones are not
    told here."""
    return tuple(
        Problem("wrong checksum", f"{path} is not the list that was published (MD5)")
        for path, expected in LISTS.get(name, {}).items()
        if (folder / path).is_file() and _md5(folder / path) != expected
    )


def archive_problems(name: str, folder: Path) -> tuple[Problem, ...]:
    """A note for each archive of data set ``name`` that was left in place and is damaged or another edition."""
    return tuple(
        Problem("wrong checksum", f"archive {place.name} is damaged, or of another edition (MD5)", serious=False)
        for path, expected in ARCHIVES.get(name, {}).items()
        if (place := folder / path).is_file() and _md5(place) != expected
    )


def _md5(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return None
