"""The readers of CUB, Cars, Dogs, Flowers, Pets and Aircraft on miniatures of the files as distributed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fgvr.data.benchmarks import aircraft, dogs, flowers
from fgvr.errors import FgvrError, InputError, ManifestError, NoImagesError
from tests.data.benchmarks.miniature import (
    CAR_TEST,
    MAKE,
    annotations,
    mat,
    small,
)
from tests.data.benchmarks.writing import jpeg, kinds, shown, text

EXPECTED = {
    "cub200": [
        ("images/021.Eastern_Towhee/Eastern_Towhee_0001_1.jpg", "Eastern Towhee", "train"),
        ("images/021.Eastern_Towhee/Eastern_Towhee_0002_2.jpg", "Eastern Towhee", "test"),
        ("images/141.Artic_Tern/Artic_Tern_0001_3.jpg", "Arctic Tern", "train"),
        ("images/141.Artic_Tern/Artic_Tern_0002_4.jpg", "Arctic Tern", "test"),
        ("images/141.Artic_Tern/Artic_Tern_0003_5.jpg", "Arctic Tern", "test"),
    ],
    "cars196": [
        ("cars_test/00001.jpg", "Ram C/V Cargo Van Minivan 2012", "test"),
        ("cars_test/00002.jpg", "AM General Hummer SUV 2000", "test"),
        ("cars_test/00003.jpg", "Audi S4 Sedan 2012", "test"),
        ("cars_train/00001.jpg", "AM General Hummer SUV 2000", "train"),
        ("cars_train/00002.jpg", "Audi S4 Sedan 2012", "train"),
        ("cars_train/00003.jpg", "Audi S4 Sedan 2007", "train"),
        ("cars_train/00004.jpg", "Ram C/V Cargo Van Minivan 2012", "train"),
    ],
    "dogs120": [
        ("Images/n02085620-Chihuahua/n02085620_2650.jpg", "Chihuahua", "test"),
        ("Images/n02085620-Chihuahua/n02085620_5927.jpg", "Chihuahua", "train"),
        ("Images/n02088238-basset/n02088238_10.jpg", "Basset Hound", "train"),
        ("Images/n02106662-German_shepherd/n02106662_7.jpg", "German Shepherd", "train"),
        ("Images/n02106662-German_shepherd/n02106662_9.jpg", "German Shepherd", "test"),
    ],
    "flowers102": [
        ("jpg/image_00001.jpg", "Passion Flower", "train"),
        ("jpg/image_00002.jpg", "Passion Flower", "val"),
        ("jpg/image_00003.jpg", "Passion Flower", "test"),
        ("jpg/image_00004.jpg", "Coltsfoot", "train"),
        ("jpg/image_00005.jpg", "Coltsfoot", "val"),
        ("jpg/image_00006.jpg", "Coltsfoot", "test"),
    ],
    "pets37": [
        ("images/Abyssinian_100.jpg", "Abyssinian", "train"),
        ("images/Abyssinian_2.jpg", "Abyssinian", "test"),
        ("images/american_bulldog_10.jpg", "American Bulldog", "train"),
        ("images/wheaten_terrier_1.jpg", "Soft-coated Wheaten Terrier", "train"),
        ("images/wheaten_terrier_9.jpg", "Soft-coated Wheaten Terrier", "test"),
    ],
    "aircraft100": [
        ("images/0056978.jpg", "F-16A/B", "val"),
        ("images/0450014.jpg", "F-16A/B", "test"),
        ("images/0481847.jpg", "DC-10", "train"),
        ("images/0698580.jpg", "DC-10", "test"),
        ("images/1025794.jpg", "707-320", "train"),
        ("images/1042824.jpg", "Boeing 717", "test"),
        ("images/1340192.jpg", "707-320", "val"),
    ],
}
LISTS = {
    "cub200": ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"),
    "cars196": ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"),
    "dogs120": ("train_list.mat", "test_list.mat"),
    "flowers102": ("imagelabels.mat", "setid.mat"),
    "pets37": ("annotations/trainval.txt", "annotations/test.txt"),
    "aircraft100": ("variants.txt", "images_variant_train.txt", "images_variant_test.txt"),
}
NAMES = sorted(MAKE)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_copy_is_read_without_a_complaint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = small(name, tmp_path, monkeypatch).read(tmp_path)
    assert shown(found) == EXPECTED[name]
    assert (found.name, found.split, found.problems, found.set_aside) == (name, "official", (), ())
    assert {item.label for item in found.items} <= set(found.classes)
    assert all(item.path.is_file() and item.label not in item.accepted for item in found.items)
    assert any("test images" in note for note in found.notes)


@pytest.mark.parametrize("name", NAMES)
def test_the_published_counts_are_those_of_the_data_sets(name: str):
    module = MAKE[name][0]
    published = {
        "cub200": (11_788, 200),
        "cars196": (16_185, 196),
        "dogs120": (20_580, 120),
        "flowers102": (8_189, 102),
        "pets37": (7_349, 37),
        "aircraft100": (10_000, 100),
    }
    assert (sum(module.COUNTS.values()), module.CLASSES) == published[name]


def test_bounds_a_class_agree_with_the_counts():
    for module in (dogs, flowers, aircraft):
        for split, (low, high) in module.PER_CLASS.items():
            assert low * module.CLASSES <= module.COUNTS[split] <= high * module.CLASSES


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_images_or_classes_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small(name, tmp_path, monkeypatch)
    monkeypatch.setattr(module, "COUNTS", {**module.COUNTS, "test": 99})
    found = module.read(tmp_path)
    assert kinds(found) == ["wrong count"]
    assert "99 expected" in found.problems[0].detail
    assert found.problems[0].serious


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_image_is_set_aside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small(name, tmp_path, monkeypatch)
    whole = module.read(tmp_path)
    (tmp_path / whole.items[-1].id).unlink()
    found = module.read(tmp_path)
    assert found.items == whole.items[:-1]
    assert [(aside.id, aside.reason) for aside in found.set_aside] == [(whole.items[-1].id, "missing")]
    assert kinds(found) == ["missing images"]


@pytest.mark.parametrize("name", NAMES)
def test_no_image_at_all_is_an_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small(name, tmp_path, monkeypatch)
    for item in module.read(tmp_path).items:
        (tmp_path / item.id).unlink()
    with pytest.raises(NoImagesError, match="no usable image"):
        module.read(tmp_path)


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in LISTS.items() for file in files])
@pytest.mark.parametrize("content", [None, b"", b"\x00\xffnonsense\x00", b"nonsense", b"7 \n", "folder"])
def test_a_damaged_list_names_itself(
    name: str, file: str, content: bytes | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = small(name, tmp_path, monkeypatch)
    (tmp_path / file).unlink()
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    elif content == "folder":
        (tmp_path / file).mkdir()
    with pytest.raises(ManifestError) as caught:
        module.read(tmp_path)
    assert caught.value.remedy
    if file not in ("variants.txt", "images.txt", "classes.txt"):  # these may read well and fail against the others
        assert Path(file).name in str(caught.value.context)


@pytest.mark.parametrize(("name", "file"), [(n, f) for n, files in LISTS.items() for f in files if f.endswith("mat")])
def test_a_matlab_file_cut_off_anywhere_is_no_traceback(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = small(name, tmp_path, monkeypatch)
    data = (tmp_path / file).read_bytes()
    random = np.random.default_rng(3)
    broken = [data[:end] for end in range(0, len(data), max(1, len(data) // 20))]
    for _ in range(25):
        changed = bytearray(data)
        for position in random.integers(0, len(data), 3):
            changed[position] = random.integers(256)
        broken.append(bytes(changed))
    for content in broken:
        (tmp_path / file).write_bytes(content)
        with suppress(FgvrError):  # anything else would be a traceback
            module.read(tmp_path)


@pytest.mark.parametrize(("name", "file"), [(n, f) for n, files in LISTS.items() for f in files if f.endswith("txt")])
def test_a_list_with_changed_bytes_is_no_traceback(name: str, file: str, tmp_path: Path, monkeypatch):
    module = small(name, tmp_path, monkeypatch)
    data = (tmp_path / file).read_bytes()
    random = np.random.default_rng(5)
    for _ in range(40):
        changed = bytearray(data)
        for position in random.integers(0, len(data), 4):
            changed[position] = random.choice([0, 10, 13, 32, 47, 46, 57, 133, 200, random.integers(256)])
        (tmp_path / file).write_bytes(bytes(changed))
        with suppress(FgvrError):
            module.read(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_original_names_are_those_published_figures_were_computed_with(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = small(name, tmp_path, monkeypatch)
    corrected, original = module.read(tmp_path), module.read(tmp_path, original_names=True)
    differ = {(old, new) for old, new in zip(original.classes, corrected.classes, strict=True) if old != new}
    expected = {
        "cub200": {("Artic Tern", "Arctic Tern")},
        "cars196": {("Ram CV Cargo Van Minivan 2012", "Ram C/V Cargo Van Minivan 2012")},
        "dogs120": {("Chihuaha", "Chihuahua"), ("German Shepard", "German Shepherd")},
        "flowers102": {
            ("Colt'S Foot", "Coltsfoot"),
            ("Barbeton Daisy", "Barberton Daisy"),
            ("Globe-Flower", "Globe Flower"),
        },
        "pets37": {("Wheaten Terrier", "Soft-coated Wheaten Terrier")},
        "aircraft100": set(),
    }
    assert differ == expected[name]
    assert [item.id for item in original.items] == [item.id for item in corrected.items]
    for item in original.items:
        assert item.label in original.classes


@pytest.mark.parametrize("name", ["cub200", "dogs120"])
def test_data_sets_without_a_coop_split_say_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small(name, tmp_path, monkeypatch)
    with pytest.raises(InputError, match="no split called 'coop'"):
        module.read(tmp_path, split="coop")


# --- hostile lists ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hostile", ["../../../outside.jpg", "/etc/hostname", "021.Eastern_Towhee/../../../outside.jpg"]
)
def test_a_path_that_leads_out_is_set_aside(hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "outside.jpg").write_bytes(jpeg())
    home = tmp_path / "data" / "CUB_200_2011"
    module = small("cub200", home, monkeypatch)
    lines = (home / "images.txt").read_text().splitlines()
    text(home, "images.txt", f"1 {hostile}", *lines[1:])
    found = module.read(home)
    assert len(found.items) == 4
    assert [aside.reason for aside in found.set_aside] in (["outside root"], ["missing"])
    assert all(item.path.resolve().is_relative_to(home.resolve()) for item in found.items)


def test_a_link_out_of_the_folder_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "outside.jpg").write_bytes(jpeg())
    home = tmp_path / "pets"
    module = small("pets37", home, monkeypatch)
    victim = home / "images" / "Abyssinian_100.jpg"
    victim.unlink()
    victim.symlink_to(tmp_path / "outside.jpg")
    found = module.read(home)
    assert [(aside.id, aside.reason) for aside in found.set_aside] == [("images/Abyssinian_100.jpg", "outside root")]
    assert kinds(found) == ["outside root"]


def test_names_of_mat_files_that_lead_out_are_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "cars"
    module = small("cars196", home, monkeypatch)
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    rows = (("../../secret.jpg", 1), ("/etc/passwd", 2), *CAR_TEST[2:])
    mat(home / "cars_test_annos_withlabels.mat", annotations=annotations(rows))
    found = module.read(home)
    assert [aside.reason for aside in found.set_aside if aside.reason == "outside root"]
    assert [item.id for item in found.items if item.split == "test"] == ["cars_test/00003.jpg"]
