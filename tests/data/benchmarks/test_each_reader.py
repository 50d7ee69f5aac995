"""What is particular to each of the six data sets, on miniatures of the files as distributed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fgvr.data.benchmarks import aircraft, cars, cub, dogs, flowers, pets
from fgvr.errors import FgvrError, ManifestError
from tests.data.benchmarks.miniature import (
    DOG_TEST,
    DOG_TRAIN,
    FLOWER_SETS,
    cell,
    dog_list,
    flower_sets,
    mat,
    small,
)
from tests.data.benchmarks.writing import coop_split, kinds, shown, text


def test_cub_labels_that_are_off_by_one_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cub200", tmp_path, monkeypatch)
    text(tmp_path, "image_class_labels.txt", *(f"{n} 2" for n in range(1, 6)))
    (problem,) = module.read(tmp_path).problems
    assert problem.kind == "labels disagree with folders"
    assert problem.detail.startswith("2 of 5 images")


def test_cub_class_list_in_another_order_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cub200", tmp_path, monkeypatch)
    text(tmp_path, "classes.txt", "1 141.Artic_Tern", "2 021.Eastern_Towhee")
    assert kinds(module.read(tmp_path)) == ["classes out of order", "labels disagree with folders"]


def test_a_class_that_is_no_bird_keeps_its_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cub200", tmp_path, monkeypatch)
    text(tmp_path, "classes.txt", "1 001.Red_Bicycle", "2 141.Artic_Tern")
    found = module.read(tmp_path)
    assert found.classes == ("Red Bicycle", "Arctic Tern")
    assert "unknown classes" in kinds(found)


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        ("image_class_labels.txt", [f"{n} 3" for n in range(1, 6)]),
        ("image_class_labels.txt", [f"{n} 1" for n in range(1, 5)]),
        ("image_class_labels.txt", [f"{n} -1" for n in range(1, 6)]),
        ("train_test_split.txt", [f"{n} 2" for n in range(1, 6)]),
        ("train_test_split.txt", [f"{n} 1" for n in range(2, 7)]),
        ("images.txt", ["1 a/b.jpg", "1 a/c.jpg"]),
        ("images.txt", ["1"]),
        ("classes.txt", ["0 a", "1 b"]),
    ],
)
def test_cub_lists_that_do_not_fit_each_other(file: str, lines: list[str], tmp_path: Path, monkeypatch):
    module = small("cub200", tmp_path, monkeypatch)
    text(tmp_path, file, *lines)
    with pytest.raises(ManifestError):
        module.read(tmp_path)


def test_cub_paths_without_a_class_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cub200", tmp_path, monkeypatch)
    text(tmp_path, "images.txt", *(f"{n} Towhee_{n}.jpg" for n in range(1, 6)))
    with pytest.raises(FgvrError):
        module.read(tmp_path)


def test_dogs_images_may_be_unpacked_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("dogs120", tmp_path, monkeypatch)
    shutil.move(tmp_path / "Images", tmp_path / "moved")
    (tmp_path / "images").mkdir()
    shutil.move(tmp_path / "moved", tmp_path / "images" / "Images")
    found = module.read(tmp_path)
    assert found.problems == ()
    assert found.items[0].id == "images/Images/n02085620-Chihuahua/n02085620_2650.jpg"


def test_dogs_with_labels_of_another_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("dogs120", tmp_path, monkeypatch)
    dog_list(tmp_path / "test_list.mat", [(DOG_TEST[0][0], 2), (DOG_TEST[1][0], 3)])
    assert kinds(module.read(tmp_path)) == ["labels disagree with folders"]


def test_dogs_train_classes_of_unequal_size_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("dogs120", tmp_path, monkeypatch)
    dog_list(tmp_path / "train_list.mat", [*DOG_TRAIN, DOG_TEST[0]])
    assert kinds(module.read(tmp_path)) == ["wrong count in classes", "wrong count", "in two splits"]


@pytest.mark.parametrize("rows", [[("a.jpg", 1)], [("a/b.jpg", 0)], [("a/b.jpg", 1), ("c/d.jpg", 5)]])
def test_dogs_lists_that_make_no_sense(rows: list[tuple[str, int]], tmp_path: Path, monkeypatch):
    module = small("dogs120", tmp_path, monkeypatch)
    dog_list(tmp_path / "train_list.mat", rows)
    with pytest.raises(ManifestError):
        module.read(tmp_path)


def test_flowers_in_two_sets_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("flowers102", tmp_path, monkeypatch)
    flower_sets(tmp_path / "setid.mat", **{**FLOWER_SETS, "tstid": (6, 3, 1)})
    assert kinds(module.read(tmp_path)) == ["wrong count", "in two splits"]


@pytest.mark.parametrize("sets", [{"trnid": (0, 4)}, {"tstid": (7,)}])
def test_flowers_without_a_label_damage_the_list(sets: dict[str, tuple[int, ...]], tmp_path: Path, monkeypatch):
    module = small("flowers102", tmp_path, monkeypatch)
    flower_sets(tmp_path / "setid.mat", **{**FLOWER_SETS, **sets})
    with pytest.raises(ManifestError, match="has no label"):
        module.read(tmp_path)


def test_flowers_coop_split_and_its_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("flowers102", tmp_path, monkeypatch)
    rows = {"train": [("image_00001.jpg", 76, "passion flower")], "test": [("image_00004.jpg", 11, "colts foot")]}
    coop_split(tmp_path, "split_zhou_OxfordFlowers.json", **rows)
    found = module.read(tmp_path, split="coop")
    assert shown(found) == [
        ("jpg/image_00001.jpg", "Passion Flower", "train"),
        ("jpg/image_00004.jpg", "Coltsfoot", "test"),
    ]
    assert any("never compare" in note for note in found.notes)
    rows["test"] = [("image_00004.jpg", 12, "king protea")]
    coop_split(tmp_path, "split_zhou_OxfordFlowers.json", **rows)
    assert "labels disagree" in kinds(module.read(tmp_path, split="coop"))


def test_pets_headings_are_skipped_and_odd_lines_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("pets37", tmp_path, monkeypatch)
    text(tmp_path, "annotations/test.txt", "#Image CLASS-ID", "Abyssinian_2 1 1 1", "wheaten_terrier_9 3 2 2")
    assert module.read(tmp_path).problems == ()
    text(tmp_path, "annotations/test.txt", "Abyssinian_2 1 1 1", "wheaten_terrier_9 three 2 2")
    with pytest.raises(ManifestError, match="line=2"):
        module.read(tmp_path)


def test_pets_with_a_class_gone_missing_damage_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("pets37", tmp_path, monkeypatch)
    text(tmp_path, "annotations/trainval.txt", "Abyssinian_100 1 1 1")
    with pytest.raises(ManifestError, match="do not run from 1"):
        module.read(tmp_path)


def test_mat_files_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("cars196", tmp_path, monkeypatch)
    meta = tmp_path / "devkit" / "cars_meta.mat"
    meta.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(64))
    with pytest.raises(ManifestError, match=r"7\.3"):
        module.read(tmp_path)
    mat(meta, names=cell(["a"]))
    with pytest.raises(ManifestError, match="no variable 'class_names'"):
        module.read(tmp_path)
    mat(meta, class_names=np.array([[1, 2, 3]]))
    with pytest.raises(ManifestError, match="something else"):
        module.read(tmp_path)
    deep = np.array([["a"]])
    for _ in range(12):
        outer = np.empty((1, 1), dtype=object)
        outer[0, 0] = deep
        deep = outer
    mat(meta, class_names=deep)
    with pytest.raises(ManifestError, match="nested too deep"):
        module.read(tmp_path)
    mat(meta, class_names=cell(["AM General Hummer SUV 2000"]))
    with pytest.raises(ManifestError, match="class 4"):
        module.read(tmp_path)


@pytest.mark.parametrize("odd", [1.5, float("nan"), float("inf"), 1j])
def test_labels_that_are_no_whole_numbers(odd: complex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small("flowers102", tmp_path, monkeypatch)
    mat(tmp_path / "imagelabels.mat", labels=np.array([[1, 2, 3, 4, 5, odd]]))
    with pytest.raises(ManifestError, match="something else"):
        module.read(tmp_path)


def test_readers_say_what_they_read():
    for module in (cub, cars, dogs, flowers, pets, aircraft):
        assert module.MARKS
        assert module.read.__doc__
