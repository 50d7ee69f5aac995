"""The six data sets in miniature: the files as distributed, in the same places and the same nesting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fgvr.data.benchmarks import aircraft, cars, cub, dogs, flowers, pets
from fgvr.data.benchmarks.layout import list_digest
from tests.data.benchmarks.writing import jpeg, text


def images(root: Path, names: Iterable[str]) -> None:
    """One small JPEG per relative path, no two with the same bytes."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(shade=23 * number))


def cell(texts: Sequence[str], *, column: bool = False) -> np.ndarray:
    """A MATLAB cell array of strings."""
    array = np.empty((1, len(texts)), dtype=object)
    array[0, :] = list(texts)
    return array.T if column else array


def mat(file: Path, **variables: np.ndarray) -> Path:
    """A MATLAB 5 file."""
    from scipy.io import savemat

    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, variables, do_compression=True)
    return file


def annotations(rows: Sequence[tuple[str, int]], *, labelled: bool = True) -> np.ndarray:
    """Stanford Cars' struct array: four corners of a box, class, file name, each a 1 x 1 array."""
    names = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", *(["class"] if labelled else []), "fname"]
    records = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for index, (file, label) in enumerate(rows):
        box = [np.array([[value]], dtype=np.uint16) for value in (39, 116, 569, 375)]
        values = [*box, *([np.array([[label]], dtype=np.uint8)] if labelled else []), file]
        records[0, index] = tuple(values)
    return records


CUB = (
    ("021.Eastern_Towhee/Eastern_Towhee_0001_1.jpg", 1, 1),
    ("021.Eastern_Towhee/Eastern_Towhee_0002_2.jpg", 1, 0),
    ("141.Artic_Tern/Artic_Tern_0001_3.jpg", 2, 1),
    ("141.Artic_Tern/Artic_Tern_0002_4.jpg", 2, 0),
    ("141.Artic_Tern/Artic_Tern_0003_5.jpg", 2, 0),
)
"""(path, class, is training)."""


def make_cub(root: Path) -> Path:
    images(root / "images", [path for path, _, _ in CUB])
    text(root, "classes.txt", "1 021.Eastern_Towhee", "2 141.Artic_Tern")
    text(root, "images.txt", *(f"{n} {path}" for n, (path, _, _) in enumerate(CUB, 1)))
    text(root, "image_class_labels.txt", *(f"{n} {label}" for n, (_, label, _) in enumerate(CUB, 1)))
    text(root, "train_test_split.txt", *(f"{n} {flag}" for n, (_, _, flag) in enumerate(CUB, 1)))
    text(root, "bounding_boxes.txt", *(f"{n} 60.0 27.0 325.0 304.0" for n in range(1, 6)))
    return root


CAR_CLASSES = (
    "AM General Hummer SUV 2000",
    "Audi S4 Sedan 2012",
    "Audi S4 Sedan 2007",
    "Ram C/V Cargo Van Minivan 2012",
)
CAR_TRAIN = (("00001.jpg", 1), ("00002.jpg", 2), ("00003.jpg", 3), ("00004.jpg", 4))
CAR_TEST = (("00001.jpg", 4), ("00002.jpg", 1), ("00003.jpg", 2))


def make_cars(root: Path) -> Path:
    images(root, [*(f"cars_train/{name}" for name, _ in CAR_TRAIN), *(f"cars_test/{name}" for name, _ in CAR_TEST)])
    mat(root / "devkit" / "cars_meta.mat", class_names=cell(CAR_CLASSES))
    mat(root / "devkit" / "cars_train_annos.mat", annotations=annotations(CAR_TRAIN))
    mat(root / "devkit" / "cars_test_annos.mat", annotations=annotations(CAR_TEST, labelled=False))
    mat(root / "cars_test_annos_withlabels.mat", annotations=annotations(CAR_TEST))
    return root


DOG_TRAIN = (
    ("n02085620-Chihuahua/n02085620_5927.jpg", 1),
    ("n02088238-basset/n02088238_10.jpg", 2),
    ("n02106662-German_shepherd/n02106662_7.jpg", 3),
)
DOG_TEST = (("n02085620-Chihuahua/n02085620_2650.jpg", 1), ("n02106662-German_shepherd/n02106662_9.jpg", 3))


def dog_list(file: Path, rows: Sequence[tuple[str, int]]) -> Path:
    return mat(
        file,
        file_list=cell([name for name, _ in rows], column=True),
        annotation_list=cell([name.removesuffix(".jpg") for name, _ in rows], column=True),
        labels=np.array([[label] for _, label in rows], dtype=np.uint8),
    )


def make_dogs(root: Path) -> Path:
    images(root / "Images", [name for name, _ in (*DOG_TRAIN, *DOG_TEST)])
    dog_list(root / "train_list.mat", DOG_TRAIN)
    dog_list(root / "test_list.mat", DOG_TEST)
    dog_list(root / "file_list.mat", [*DOG_TRAIN, *DOG_TEST])
    return root


FLOWER_LABELS = (77, 77, 77, 12, 12, 12)
FLOWER_SETS = {"trnid": (1, 4), "valid": (2, 5), "tstid": (6, 3)}


def flower_sets(file: Path, **sets: Sequence[int]) -> Path:
    return mat(file, **{name: np.array([numbers], dtype=np.uint16) for name, numbers in sets.items()})


def make_flowers(root: Path) -> Path:
    images(root / "jpg", [f"image_{number:05d}.jpg" for number in range(1, 7)])
    mat(root / "imagelabels.mat", labels=np.array([FLOWER_LABELS], dtype=np.uint8))
    flower_sets(root / "setid.mat", **FLOWER_SETS)
    return root


PET_TRAIN = ("Abyssinian_100 1 1 1", "american_bulldog_10 2 2 1", "wheaten_terrier_1 3 2 2")
PET_TEST = ("Abyssinian_2 1 1 1", "wheaten_terrier_9 3 2 2")


def make_pets(root: Path) -> Path:
    images(root / "images", [f"{line.split()[0]}.jpg" for line in (*PET_TRAIN, *PET_TEST)])
    (root / "images" / "Abyssinian_100.mat").write_bytes(b"not an image")
    text(root, "annotations/trainval.txt", *PET_TRAIN)
    text(root, "annotations/test.txt", *PET_TEST)
    text(root, "annotations/list.txt", "#Image CLASS-ID SPECIES BREED ID", *PET_TRAIN, *PET_TEST)
    return root


PLANES = {
    "train": ("1025794 707-320", "0481847 DC-10"),
    "val": ("1340192 707-320", "0056978 F-16A/B"),
    "test": ("0698580 DC-10", "0450014 F-16A/B", "1042824 Boeing 717"),
}
MAKERS = {"707-320": "Boeing", "DC-10": "McDonnell Douglas", "F-16A/B": "Lockheed Martin", "Boeing 717": "Boeing"}


def make_aircraft(root: Path) -> Path:
    lines = [line for part in PLANES.values() for line in part]
    images(root / "images", [f"{line.split()[0]}.jpg" for line in lines])
    text(root, "variants.txt", *MAKERS)
    for part, listed in PLANES.items():
        text(root, f"images_variant_{part}.txt", *listed)
    text(root, "images_variant_trainval.txt", *PLANES["train"], *PLANES["val"])
    makers = {part: [_made(line) for line in listed] for part, listed in PLANES.items()}
    text(root, "images_manufacturer_trainval.txt", *makers["train"], *makers["val"])
    text(root, "images_manufacturer_test.txt", *makers["test"])
    return root


def _made(line: str) -> str:
    image, _, variant = line.partition(" ")
    return f"{image} {MAKERS[variant]}"


MAKE = {
    "cub200": (cub, make_cub, {"train": 2, "test": 3}, 2, None),
    "cars196": (cars, make_cars, {"train": 4, "test": 3}, 4, None),
    "dogs120": (dogs, make_dogs, {"train": 3, "test": 2}, 3, {"train": (1, 1)}),
    "flowers102": (flowers, make_flowers, {"train": 2, "val": 2, "test": 2}, 102, {"train": (1, 1), "val": (1, 1)}),
    "pets37": (pets, make_pets, {"train": 3, "test": 2}, 3, None),
    "aircraft100": (aircraft, make_aircraft, {"train": 2, "val": 2, "test": 3}, 4, {"train": (1, 1), "val": (1, 1)}),
}
"""Short name to (reader, maker, counts, classes, images a class) of the miniature."""


def small(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Make data set ``name`` in ``root`` and let its reader expect that many images; returns the reader."""
    from fgvr.data.benchmarks import checksums

    module, make, counts, classes, per_class = MAKE[name]
    monkeypatch.setattr(module, "COUNTS", counts)
    monkeypatch.setattr(module, "CLASSES", classes)
    if module is aircraft:
        monkeypatch.setattr(module, "CLASSES_SHA256", list_digest(MAKERS))
    if per_class is not None:
        monkeypatch.setattr(module, "PER_CLASS", per_class)
    monkeypatch.setattr(checksums, "LISTS", {})
    root.mkdir(parents=True, exist_ok=True)
    make(root)
    return module
