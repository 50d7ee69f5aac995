"""What the readers share: listed images are found without leaving the folder, and what is wrong is told."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data.benchmarks import layout
from fgvr.data.benchmarks.layout import ClassName, Entry, Finder, assemble
from fgvr.data.paths import Fault, Found, Place
from fgvr.errors import ManifestError, NoImagesError
from tests.data.benchmarks.writing import images, kinds, shown, text

CLASSES = [
    ClassName("indoor church", "church indoor", ("church",)),
    ClassName("outdoor church", "church outdoor", ("church",)),
    ClassName("harbor", "harbor", ("harbour", "harbor")),
]


def built(folder, entries, **changed):
    settings = {
        "name": "x",
        "title": "X",
        "split": "official",
        "classes": CLASSES,
        "counts": {"train": 1, "test": 2},
        "original_names": False,
    }
    return assemble(folder, entries, **{**settings, **changed})


def test_names_further_names_and_original_names(tmp_path):
    images(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    entries = [Entry("c.jpg", 2, "test"), Entry("a.jpg", 0, "train"), Entry("b.jpg", 1, "test")]
    found = built(tmp_path, entries)
    assert shown(found) == [
        ("a.jpg", "indoor church", "train"),
        ("b.jpg", "outdoor church", "test"),
        ("c.jpg", "harbor", "test"),
    ]
    # "church" would be right for the wrong one of two classes
    assert [item.accepted for item in found.items] == [("church indoor",), ("church outdoor",), ("harbour",)]
    assert found.classes == ("indoor church", "outdoor church", "harbor")
    assert found.problems == ()
    original = built(tmp_path, entries, original_names=True)
    assert original.classes == ("church indoor", "church outdoor", "harbor")
    assert original.items[0].accepted == ("indoor church",)
    assert found.notes[0] != original.notes[0]


def test_counts_missing_images_and_double_listing_are_problems(tmp_path):
    images(tmp_path, ["a.jpg", "b.jpg"])
    entries = [
        Entry("a.jpg", 0, "train"),
        Entry("a.jpg", 0, "test"),
        Entry("b.jpg", 1, "test"),
        Entry("b.jpg", 1, "test"),
        Entry("gone.jpg", 1, "test"),
    ]
    found = built(tmp_path, entries)
    assert shown(found) == [("a.jpg", "indoor church", "train"), ("b.jpg", "outdoor church", "test")]
    assert kinds(found) == ["wrong count", "in two splits", "missing images"]
    assert "test: 4 images listed, 2 expected" in found.problems[0].detail
    assert "a.jpg" in found.problems[1].detail
    assert [aside.reason for aside in found.set_aside] == ["duplicate", "duplicate", "missing"]


def test_not_one_image_is_an_error(tmp_path):
    with pytest.raises(NoImagesError, match="missing: 1"):
        built(tmp_path, [Entry("gone.jpg", 0, "test")])


def test_two_classes_of_one_name_are_told(tmp_path):
    images(tmp_path, ["a.jpg"])
    found = built(
        tmp_path, [Entry("a.jpg", 0, "train")], classes=[ClassName("crane", "crane")] * 2, counts={"train": 1}
    )
    (problem,) = found.problems
    assert (problem.kind, problem.serious) == ("two classes share a name", False)


def test_links_inside_are_followed_and_links_out_are_not(tmp_path):
    root = tmp_path / "root"
    images(root, ["real/a.jpg"])
    images(tmp_path, ["elsewhere/b.jpg"])
    os.symlink(root / "real", root / "linked")
    os.symlink(tmp_path / "elsewhere", root / "away")
    os.symlink(root / "real" / "a.jpg", root / "real" / "link.jpg")
    os.symlink(tmp_path / "elsewhere" / "b.jpg", root / "real" / "out.jpg")
    finder = Finder(root)
    for name in ("real/a.jpg", "linked/a.jpg", "real/link.jpg"):
        found = finder.find(name)
        assert isinstance(found, Found)
        assert found.path.read_bytes() == (root / "real/a.jpg").read_bytes()
    for name in ("away/b.jpg", "real/out.jpg", "../elsewhere/b.jpg", "real/../../elsewhere/b.jpg"):
        found = finder.find(name)
        assert isinstance(found, Fault)
        assert found.reason == "outside root"


def test_names_that_differ_in_capitals_only_are_one_where_there_is_one(tmp_path):
    images(tmp_path, ["frames/v_HandstandPushups_g01.jpg", "frames/A.jpg", "frames/a.JPG", "b.JPEG"])
    finder = Finder(tmp_path)
    assert finder.find("frames/v_HandStandPushups_g01.jpg").id == "frames/v_HandstandPushups_g01.jpg"
    assert finder.find("b.jpeg").id == "b.JPEG"
    assert finder.find("frames/A.jpg").id == "frames/A.jpg"
    ambiguous, elsewhere = finder.find("frames/a.jpg"), finder.find("Frames/A.jpg")
    assert isinstance(ambiguous, Fault)
    assert isinstance(elsewhere, Fault)


PARTS = st.sampled_from(["real", "linked", "away", "..", ".", "", "a.jpg", "link.jpg", "out.jpg", "b.jpg", "root", "x"])


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=5).map("/".join))
def test_the_quick_finder_agrees_with_the_careful_one(name: str):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        images(root, ["real/a.jpg"])
        images(Path(folder), ["elsewhere/b.jpg"])
        os.symlink(root / "real", root / "linked")
        os.symlink(Path(folder) / "elsewhere", root / "away")
        os.symlink(root / "real" / "a.jpg", root / "real" / "link.jpg")
        os.symlink(Path(folder) / "elsewhere" / "b.jpg", root / "real" / "out.jpg")
        slow = Place(root).resolve(name, base=Place(root).root, must_exist=True)
        quick = Finder(root).find(name)
    assert type(quick) is type(slow)
    if isinstance(quick, Found) and isinstance(slow, Found):
        assert os.path.realpath(quick.path) == os.path.realpath(slow.path)


def test_lists_are_read_whatever_ends_their_lines(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa b\r\n\r\n c \rd")
    assert [*layout.read_lines(tmp_path / "list.txt")] == [(1, "a b"), (3, "c"), (4, "d")]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\x89PNG\0\0"])
def test_a_list_that_is_empty_or_no_text_is_damaged(tmp_path, content: bytes):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ManifestError, match="damaged") as raised:
        layout.read_lines(tmp_path / "list.txt")
    assert "list.txt" in str(raised.value)


def test_a_missing_list_is_named_with_its_usual_place(tmp_path):
    with pytest.raises(ManifestError, match=r"usual/a\.txt"):
        layout.require_file(tmp_path, "usual/a.txt", "a.txt")
    text(tmp_path, "a.txt", "x")
    assert layout.require_file(tmp_path, "usual/a.txt", "a.txt") == tmp_path / "a.txt"


def test_class_list_problems():
    entries = ["banded", "blotchy"]
    digest = layout.list_digest(entries)
    assert layout.class_list_problems(entries, count=2, sha256=digest) == []
    assert layout.class_list_problems(entries, count=3, sha256=digest)[0].kind == "wrong count"
    assert layout.class_list_problems(["banded", "bloched"], count=2, sha256=digest)[0].kind == "wrong checksum"
