"""Stanford Cars: two editions, file names that train and test share, years, shifted names, CoOp's numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fgvr.data.benchmarks import cars, read_benchmark
from fgvr.errors import ManifestError
from tests.data.benchmarks.miniature import CAR_CLASSES, cell, images, mat, small
from tests.data.benchmarks.writing import coop_split, kinds, shown


def test_cars_labels_may_lie_in_the_devkit_and_images_one_folder_deeper(tmp_path: Path, monkeypatch):
    module = small("cars196", tmp_path, monkeypatch)
    shutil.move(tmp_path / "cars_test_annos_withlabels.mat", tmp_path / "devkit")
    shutil.move(tmp_path / "cars_train", tmp_path / "moved")
    (tmp_path / "cars_train").mkdir()
    shutil.move(tmp_path / "moved", tmp_path / "cars_train" / "cars_train")
    found = module.read(tmp_path)
    assert found.problems == ()
    assert next(item.id for item in found.items if item.split == "train") == "cars_train/cars_train/00001.jpg"


def test_cars_without_labels_of_the_test_images_name_the_file_that_is_missing(tmp_path: Path, monkeypatch):
    module = small("cars196", tmp_path, monkeypatch)
    (tmp_path / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(ManifestError, match="cars_test_annos_withlabels"):
        module.read(tmp_path)
    shutil.copy(tmp_path / "devkit" / "cars_test_annos.mat", tmp_path / "cars_test_annos_withlabels.mat")
    with pytest.raises(ManifestError, match="no field 'class'"):
        module.read(tmp_path)


def one_file(root: Path, rows: list[tuple[str, int, int]]) -> Path:
    """The other edition of Stanford Cars: one folder of images, one file of lists."""
    names = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    records = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for index, (image, label, test) in enumerate(rows):
        numbers = [np.array([[value]], dtype=np.uint16) for value in (112, 7, 853, 717, label, test)]
        records[0, index] = (image, *numbers)
    return mat(root / "cars_annos.mat", annotations=records, class_names=cell(CAR_CLASSES))


def test_cars_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [("car_ims/000001.jpg", 1, 0), ("car_ims/000002.jpg", 3, 1), ("car_ims/000003.jpg", 4, 0)]
    images(tmp_path, [image for image, _, _ in rows])
    one_file(tmp_path, rows)
    monkeypatch.setattr(cars, "COUNTS", {"train": 2, "test": 1})
    monkeypatch.setattr(cars, "CLASSES", 4)
    found = read_benchmark(tmp_path)
    assert shown(found) == [
        ("car_ims/000001.jpg", "AM General Hummer SUV 2000", "train"),
        ("car_ims/000002.jpg", "Audi S4 Sedan 2007", "test"),
        ("car_ims/000003.jpg", "Ram C/V Cargo Van Minivan 2012", "train"),
    ]
    assert (found.name, found.problems) == ("cars196", ())
    one_file(tmp_path, [(image, label, 2) for image, label, _ in rows])
    with pytest.raises(ManifestError, match="test flags"):
        cars.read(tmp_path)


def test_cars_share_file_names_but_no_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = small("cars196", tmp_path, monkeypatch).read(tmp_path)
    train, test = ({i.id for i in found.items if i.split == part} for part in ("train", "test"))
    assert not train & test
    assert {i.rpartition("/")[2] for i in train} & {i.rpartition("/")[2] for i in test}


def test_a_car_may_go_without_its_year_unless_two_classes_differ_by_it(tmp_path: Path, monkeypatch):
    accepted = {item.label: item.accepted for item in small("cars196", tmp_path, monkeypatch).read(tmp_path).items}
    assert "AM General Hummer SUV" in accepted["AM General Hummer SUV 2000"]
    assert "Audi S4 Sedan" not in accepted["Audi S4 Sedan 2012"] + accepted["Audi S4 Sedan 2007"]


def test_legacy_shift_scores_test_images_against_the_class_before(tmp_path: Path, monkeypatch):
    plain = small("cars196", tmp_path, monkeypatch).read(tmp_path)
    shifted = cars.legacy_shift(plain)
    assert {item.id: item.label for item in shifted.items if item.split == "test"} == {
        "cars_test/00001.jpg": "Audi S4 Sedan 2007",
        "cars_test/00002.jpg": "Ram C/V Cargo Van Minivan 2012",  # the first class: Python reads -1 as the last
        "cars_test/00003.jpg": "AM General Hummer SUV 2000",
    }
    assert all(item.accepted == () for item in shifted.items if item.split == "test")
    train = [item for item in plain.items if item.split == "train"]
    assert [item for item in shifted.items if item.split == "train"] == train
    assert any("Legacy-shifted" in note for note in shifted.notes)


def test_cars_coop_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cars196", tmp_path, monkeypatch)
    rows = {
        "train": [("cars_train/00001.jpg", 0, "2000 AM General Hummer SUV")],
        "val": [("cars_train/00002.jpg", 1, "2012 Audi S4 Sedan")],
        "test": [("cars_test/00001.jpg", 3, "2012 Ram C/V Cargo Van Minivan")],
    }
    coop_split(tmp_path, "split_zhou_StanfordCars.json", **rows)
    found = module.read(tmp_path, split="coop")
    assert [(item.label, item.split) for item in found.items] == [
        ("Ram C/V Cargo Van Minivan 2012", "test"),
        ("AM General Hummer SUV 2000", "train"),
        ("Audi S4 Sedan 2012", "val"),
    ]
    assert (found.split, kinds(found)) == ("coop", ["wrong count"] * 3)


def test_coop_class_numbers_that_are_off_by_one_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cars196", tmp_path, monkeypatch)
    coop_split(
        tmp_path,
        "split_zhou_StanfordCars.json",
        train=[("cars_train/00001.jpg", 1, "2000 AM General Hummer SUV")],
        test=[("cars_test/00003.jpg", 2, "2012 Audi S4 Sedan")],
    )
    (problem,) = (each for each in module.read(tmp_path, split="coop").problems if each.kind == "labels disagree")
    assert problem.detail.startswith("2 classes: class 1 is '2000 AM General Hummer SUV' there")


def test_pets_coop_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("pets37", tmp_path, monkeypatch)
    coop_split(
        tmp_path,
        "split_zhou_OxfordPets.json",
        train=[("Abyssinian_100.jpg", 0, "abyssinian")],
        val=[("american_bulldog_10.jpg", 1, "american_bulldog")],
        test=[("wheaten_terrier_9.jpg", 2, "wheaten_terrier")],
    )
    found = module.read(tmp_path, split="coop")
    assert shown(found) == [
        ("images/Abyssinian_100.jpg", "Abyssinian", "train"),
        ("images/american_bulldog_10.jpg", "American Bulldog", "val"),
        ("images/wheaten_terrier_9.jpg", "Soft-coated Wheaten Terrier", "test"),
    ]
    assert set(kinds(found)) == {"wrong count"}
    coop_split(tmp_path, "split_zhou_OxfordPets.json", test=[("Abyssinian_2.jpg", 1, "abyssinian")])
    assert {"labels disagree", "labels disagree with folders"} <= set(kinds(module.read(tmp_path, split="coop")))
    coop_split(tmp_path, "split_zhou_OxfordPets.json", test=[("pug_2.jpg", 30, "pug")])
    with pytest.raises(ManifestError, match="more classes than the 3"):
        module.read(tmp_path, split="coop")
