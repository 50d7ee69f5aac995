"""CoOp's split files: what they give, what is damaged, and that they are never mixed with the official lists."""

from __future__ import annotations

import json

import pytest

from fgvr.data.benchmarks import coop, dtd
from fgvr.errors import ManifestError
from tests.data.benchmarks.writing import coop_split, images, kinds, shown, text

FILE = "split_zhou_DescribableTextures.json"
ROWS = {
    "train": [("banded/banded_0001.jpg", 0, "banded")],
    "val": [("zigzagged/zigzagged_0001.jpg", 1, "zigzagged")],
    "test": [("banded/banded_0002.jpg", 0, "banded"), ("zigzagged/zigzagged_0002.jpg", 1, "zigzagged")],
}


def test_rows_carry_folder_label_and_split(tmp_path):
    coop_split(tmp_path, FILE, **ROWS)
    rows = coop.read_rows(tmp_path, "dtd")
    assert [(row.image, row.label, row.listed, row.split) for row in rows] == [
        ("images/banded/banded_0001.jpg", 0, "banded", "train"),
        ("images/zigzagged/zigzagged_0001.jpg", 1, "zigzagged", "val"),
        ("images/banded/banded_0002.jpg", 0, "banded", "test"),
        ("images/zigzagged/zigzagged_0002.jpg", 1, "zigzagged", "test"),
    ]
    assert rows[0].folder == "images/banded"
    keys, entries = coop.by_folder(tmp_path, "dtd")
    assert keys == ["banded", "zigzagged"]
    assert [entry.label for entry in entries] == [0, 1, 0, 1]


def test_a_data_set_without_an_image_folder_keeps_its_paths(tmp_path):
    coop_split(tmp_path, "split_zhou_StanfordCars.json", test=[("cars_test/00001.jpg", 195, "2012 smart fortwo")])
    (row,) = coop.read_rows(tmp_path, "cars196")
    assert (row.image, row.label, row.split) == ("cars_test/00001.jpg", 195, "test")


@pytest.mark.parametrize("name", sorted(coop.FILES))
def test_the_table_holds_the_published_sizes(name: str):
    """Sums are the sizes of the data sets, from their own papers; an error in one number shows here."""
    sizes = {
        "caltech101": 8677 - 435,  # without Faces_easy
        "pets37": 7349,
        "cars196": 16185,
        "flowers102": 8189,
        "food101": 101_000,
        "sun397": 39_700,
        "dtd": 5640,
        "eurosat": 27_000,
        "ucf101": 13_320,
    }
    known = coop.FILES[name]
    assert sum(known.counts.values()) == sizes[name]
    assert list(known.counts) == ["train", "val", "test"]


def test_the_two_flower_tests_are_told_apart():
    assert coop.FILES["flowers102"].test == 2463
    (which, warning) = coop.notes("flowers102")
    assert "2,463" in which
    assert "never compare" in warning
    official = " ".join(coop.official_notes("flowers102", 6149))
    assert "6,149" in official
    assert "2,463" in official
    assert "never compare" in official
    assert len(coop.notes("pets37")) == 1  # CoOp keeps the official test list there
    assert {name for name, known in coop.FILES.items() if known.own_test} == {"flowers102", "dtd", "food101"}
    assert "none is official" in coop.official_notes("eurosat", None)[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no lists called train"),
        (json.dumps({"train": [], "test": []}), "no lists called train"),
        (json.dumps({"train": [], "val": [], "test": {}}), "no lists called train"),
        (json.dumps({"train": [["a.jpg", 0]], "val": [], "test": []}), "row 1 of train"),
        (json.dumps({"train": [], "val": [["a.jpg", "0", "x"]], "test": []}), "row 1 of val"),
        (json.dumps({"train": [["a.jpg", True, "x"]], "val": [], "test": []}), "row 1 of train"),
        (json.dumps({"train": [["", 0, "x"]], "val": [], "test": []}), "row 1 of train"),
        (json.dumps({"train": [["a.jpg", 47, "x"]], "val": [], "test": []}), "class number 47 of 47"),
        (json.dumps({"train": [["a.jpg", -1, "x"]], "val": [], "test": []}), "class number -1"),
        (json.dumps({"train": [["a/1.jpg", 0, "x"]], "val": [], "test": [["a/2.jpg", 0, "y"]]}), "'x' and 'y'"),
        (json.dumps({"train": [["a/1.jpg", 0, "x"]], "val": [], "test": [["b/2.jpg", 0, "x"]]}), "lies in"),
        (json.dumps({"train": [["b/1.jpg", 1, "x"]], "val": [], "test": []}), "no image"),
        (json.dumps({"train": [], "val": [], "test": []}), "no image"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content: str, said: str):
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ManifestError) as raised:
        coop.by_folder(tmp_path, "dtd")
    assert said in str(raised.value)
    assert FILE in str(raised.value)
    assert raised.value.remedy


def test_a_missing_file_and_a_data_set_without_one_are_told(tmp_path):
    with pytest.raises(ManifestError, match=r"split_zhou_Food101\.json"):
        coop.read_rows(tmp_path, "food101")
    with pytest.raises(ManifestError, match="CoOp has no split"):
        coop.read_rows(tmp_path, "cub200")


def test_rows_that_lead_out_are_set_aside_and_told(tmp_path):
    root = tmp_path / "dtd"
    images(root, ["images/banded/banded_0001.jpg"])
    images(tmp_path, ["secret.jpg"])
    text(root, "labels/train1.txt", "banded/banded_0001.jpg")
    coop_split(
        root,
        FILE,
        train=[("banded/banded_0001.jpg", 0, "banded")],
        test=[("../../secret.jpg", 1, "secret"), ("/etc/passwd", 2, "passwords")],
    )
    found = dtd.read(root, split="coop")
    assert shown(found) == [("images/banded/banded_0001.jpg", "banded", "train")]
    assert sorted((aside.reason, aside.id) for aside in found.set_aside) == [
        ("missing", "images/etc/passwd"),
        ("outside root", "images/../../secret.jpg"),
    ]
    assert {"missing images", "outside root", "wrong count"} <= set(kinds(found))
