"""Which data set a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvr.data.benchmarks import read_benchmark, recognise
from fgvr.data.benchmarks.recognise import guesses, locate, reader, readers
from fgvr.errors import ManifestError
from tests.data.benchmarks.miniature import MAKE, images, small
from tests.data.benchmarks.writing import text


def test_every_reader_is_found_by_its_file():
    known = readers()
    assert set(MAKE) < set(known)
    assert list(known) == sorted(known)
    for name, module in known.items():
        assert name == module.NAME
        assert module.MARKS
        assert all(not mark.startswith("/") for mark in module.MARKS)
        assert module.CLASSES > 1
        assert min(module.COUNTS.values()) > 0
        assert set(module.COUNTS) <= {"train", "val", "test", "all"}
    assert len({module.TITLE for module in known.values()}) == len(known)


@pytest.mark.parametrize("name", sorted(MAKE))
def test_a_copy_is_recognised_where_it_lies_and_one_folder_up(name: str, tmp_path: Path, monkeypatch):
    home = tmp_path / "data" / "archive"
    module = small(name, home, monkeypatch)
    assert recognise(home) == name
    assert locate(tmp_path / "data") == (name, home)
    assert recognise(tmp_path) is None
    found = read_benchmark(tmp_path / "data")
    assert (found.name, found.root) == (name, home)
    assert found == module.read(home)
    assert read_benchmark(str(home), name=name) == found


def test_nothing_is_recognised_in_a_folder_of_photographs(tmp_path: Path):
    images(tmp_path / "birds", ["a/1.jpg", "b/2.jpg"])
    assert recognise(tmp_path / "birds") is None
    assert recognise(tmp_path / "nowhere") is None
    assert guesses(tmp_path / "birds") == []
    with pytest.raises(ManifestError, match="no known data set") as caught:
        read_benchmark(tmp_path / "birds")
    assert "CUB-200-2011 (images.txt)" in caught.value.remedy


def test_a_copy_that_lacks_a_list_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    (tmp_path / "train_test_split.txt").unlink()
    assert recognise(tmp_path) is None
    assert guesses(tmp_path)[0].name == "cub200"
    with pytest.raises(ManifestError, match=r"but no train_test_split.txt: CUB-200-2011\?"):
        read_benchmark(tmp_path)
    with pytest.raises(ManifestError, match="a list of the data set is missing"):
        read_benchmark(tmp_path, name="cub200")


def test_folders_alone_suggest_nothing(tmp_path: Path):
    images(tmp_path / "images", ["1.jpg"])
    assert guesses(tmp_path) == []


def test_two_data_sets_in_one_folder_must_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path / "birds", monkeypatch)
    small("pets37", tmp_path / "pets", monkeypatch)
    assert recognise(tmp_path) is None
    with pytest.raises(ManifestError, match="several data sets") as caught:
        read_benchmark(tmp_path)
    assert "birds (cub200), pets (pets37)" in caught.value.remedy
    assert read_benchmark(tmp_path, name="pets37").root == tmp_path / "pets"


def test_the_more_particular_data_set_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    monkeypatch.setattr(reader("pets37"), "MARKS", ("images.txt",))
    assert recognise(tmp_path) == "cub200"


def test_unknown_names_and_places(tmp_path: Path):
    with pytest.raises(ManifestError, match="no data set is called 'fish'") as caught:
        read_benchmark(tmp_path, name="fish")
    assert "cub200" in caught.value.remedy
    with pytest.raises(ManifestError, match="no such folder"):
        read_benchmark(tmp_path / "gone")
    file = text(tmp_path, "a.txt", "b")
    with pytest.raises(ManifestError, match="no such folder"):
        read_benchmark(file)
