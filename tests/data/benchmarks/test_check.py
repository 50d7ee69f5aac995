"""``check``: published data sets beside what they should be, and anyone's own photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fgvr.data.benchmarks import checksums
from fgvr.data.benchmarks.check import Report, SplitCount, check
from fgvr.data.benchmarks.recognise import readers
from fgvr.data.benchmarks.support import Support, read_support
from fgvr.errors import InputError, ManifestError, NoImagesError
from tests.data.benchmarks.miniature import MAKE, images, small
from tests.data.benchmarks.writing import coop_split, jpeg, text


def told(report: Report) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.serious) for problem in report.problems]


@pytest.mark.parametrize("name", sorted(MAKE))
def test_a_whole_copy_has_nothing_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = small(name, tmp_path / "data", monkeypatch)
    report = check(tmp_path)
    shared = [("same file name in two splits", False)] if name == "cars196" else []
    assert told(report) == shared
    assert (report.name, report.title, report.root) == (name, module.TITLE, tmp_path / "data")
    assert {row.split: row.images for row in report.splits} == module.COUNTS
    assert all(row.images == row.expected and row.classes for row in report.splits)
    assert report.classes == report.expected_classes == module.CLASSES
    assert (report.opened, report.set_aside, report.serious) == (True, (), ())
    assert all(old != new for old, new in report.corrected)


def test_corrected_names_are_shown_beside_the_original_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("dogs120", tmp_path, monkeypatch)
    assert check(tmp_path).corrected == (("Chihuaha", "Chihuahua"), ("German Shepard", "German Shepherd"))


def test_images_that_no_list_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("pets37", tmp_path, monkeypatch)
    (tmp_path / "images" / "Birman_3.jpg").write_bytes(jpeg(200))
    report = check(tmp_path)
    assert told(report) == [("unlisted images", False)]
    assert report.problems[0].detail == "1 image in no list, such as images/Birman_3.jpg"


def test_a_missing_image_is_not_also_unlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("pets37", tmp_path, monkeypatch)
    (tmp_path / "images" / "Abyssinian_100.jpg").unlink()
    report = check(tmp_path)
    assert told(report) == [("missing images", True)]
    assert report.splits[0] == SplitCount("train", 2, 3, 2)


def test_the_same_picture_in_train_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("pets37", tmp_path, monkeypatch)
    shutil.copy(tmp_path / "images" / "Abyssinian_100.jpg", tmp_path / "images" / "Abyssinian_2.jpg")
    report = check(tmp_path)
    assert told(report) == [("same picture in two splits", True)]
    assert told(check(tmp_path, hashes=False)) == []
    assert not check(tmp_path, hashes=False).opened


def test_broken_pictures_are_told_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("pets37", tmp_path, monkeypatch)
    (tmp_path / "images" / "Abyssinian_100.jpg").write_bytes(b"")
    (tmp_path / "images" / "Abyssinian_2.jpg").write_bytes(b"GIF89a nonsense")
    report = check(tmp_path)
    assert told(report) == [("unreadable images", True)]
    assert "empty: 1" in report.problems[0].detail
    assert {aside.id for aside in report.set_aside} == {"images/Abyssinian_100.jpg", "images/Abyssinian_2.jpg"}


def test_a_damaged_list_is_a_problem_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("flowers102", tmp_path, monkeypatch)
    (tmp_path / "setid.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    report = check(tmp_path)
    assert told(report) == [("unreadable list", True)]
    assert "setid.mat" in report.problems[0].detail
    assert (report.name, report.splits) == ("flowers102", ())


def test_a_copy_without_images_is_a_problem_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("flowers102", tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "jpg")
    assert told(check(tmp_path)) == [("no images", True)]


def test_published_checksums_of_lists_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    published = dict(checksums.LISTS)
    small("flowers102", tmp_path, monkeypatch)
    monkeypatch.setattr(checksums, "LISTS", published)
    (tmp_path / "102flowers.tgz").write_bytes(b"half an archive")
    report = check(tmp_path)
    assert told(report) == [("wrong checksum", True), ("wrong checksum", True), ("wrong checksum", False)]
    assert [problem.detail.split()[0] for problem in report.problems] == ["imagelabels.mat", "setid.mat", "archive"]
    # hand-computed: the MD5 of "abc" is the example of RFC 1321
    (tmp_path / "setid.mat").write_bytes(b"abc")
    monkeypatch.setattr(checksums, "LISTS", {"flowers102": {"setid.mat": "900150983cd24fb0d6963f7d28e17f72"}})
    assert checksums.list_problems("flowers102", tmp_path) == ()
    assert checksums.list_problems("cub200", tmp_path) == ()


def test_the_tables_of_checksums_are_of_known_data_sets():
    for table in (checksums.LISTS, checksums.ARCHIVES):
        assert set(table) <= set(readers())
        for name, sums in table.items():
            assert all(len(value) == 32 and int(value, 16) >= 0 for value in sums.values()), name


def test_the_archive_of_birds_lies_beside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path / "CUB_200_2011", monkeypatch)
    (tmp_path / "CUB_200_2011.tgz").write_bytes(b"half an archive")
    assert told(check(tmp_path)) == [("wrong checksum", False)]


def test_coop_counts_are_expected_where_its_split_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("flowers102", tmp_path, monkeypatch)
    rows = {"train": [("image_00001.jpg", 76, "passion flower")], "test": [("image_00006.jpg", 11, "colts foot")]}
    coop_split(tmp_path, "split_zhou_OxfordFlowers.json", **rows)
    report = check(tmp_path, split="coop")
    assert {row.split: (row.images, row.expected) for row in report.splits} == {
        "train": (1, 4093),
        "val": (0, 1633),
        "test": (1, 2463),
    }
    assert ("wrong count", True) in told(report)


def test_a_split_a_data_set_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    with pytest.raises(InputError, match="no split called 'coop'"):
        check(tmp_path, split="coop")


def test_a_named_data_set_that_is_not_there_is_a_problem(tmp_path: Path):
    images(tmp_path, ["1.jpg"])
    report = check(tmp_path, name="cub200")
    assert told(report) == [("unreadable list", True)]
    assert "classes.txt" in report.problems[0].detail


def test_support_images_that_are_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    support = ["140.Artic_Tern/140.Artic_Tern_Artic_Tern_0002_4.jpg", "Artic_Tern_0001_3.jpg", "Gull_1.jpg"]
    report = check(tmp_path, support=Support(tuple(support)))
    assert told(report) == [("support in test split", True), ("support not found", False)]
    assert report.problems[0].detail == f"1 of 3 are test images, such as {support[0]}"
    assert told(check(tmp_path, support=Support((support[1],)))) == []


def test_support_pictures_under_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    birds, mine = tmp_path / "birds", tmp_path / "mine"
    small("cub200", birds, monkeypatch)
    mine.mkdir()
    shutil.copy(birds / "images" / "141.Artic_Tern" / "Artic_Tern_0002_4.jpg", mine / "tern.jpg")
    shutil.copy(birds / "images" / "141.Artic_Tern" / "Artic_Tern_0001_3.jpg", mine / "learnt.jpg")
    (mine / "broken.jpg").write_bytes(b"")
    support = read_support(mine)
    assert set(support.names) == {"tern.jpg", "learnt.jpg", "broken.jpg"}
    expected = [("support in test split by content", True), ("support not found", False)]
    report = check(birds, support=support)
    assert told(report) == expected
    assert "1 of 3 have the bytes of a test image: tern.jpg is images/141.Artic" in report.problems[0].detail
    assert told(check(birds, support=support, hashes=False)) == expected[1:]
    manifest = text(mine, "mine.csv", "image", "tern.jpg", "gone.jpg")
    assert told(check(birds, support=read_support(manifest))) == expected


def test_support_of_ones_own_photographs(tmp_path: Path):
    images(tmp_path, ["train/fox/1.jpg", "test/fox/2.jpg"])
    report = check(tmp_path, support=Support(("train/fox/1.jpg", "test/fox/2.jpg")))
    assert told(report) == [("support in test split", True)]


def test_several_data_sets_are_not_taken_for_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path / "birds", monkeypatch)
    small("pets37", tmp_path / "pets", monkeypatch)
    with pytest.raises(ManifestError, match="several data sets"):
        check(tmp_path)
    shutil.rmtree(tmp_path / "pets")
    (tmp_path / "birds" / "classes.txt").unlink()
    with pytest.raises(ManifestError, match=r"but no classes.txt: CUB-200-2011\?"):
        check(tmp_path)


def test_half_a_data_set_is_not_taken_for_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    (tmp_path / "train_test_split.txt").unlink()
    with pytest.raises(ManifestError, match=r"CUB-200-2011\?"):
        check(tmp_path)


# --- other photographs ------------------------------------------------------------------------------------------------


def test_photographs_without_labels(tmp_path: Path):
    images(tmp_path, ["1.jpg", "2.jpg", "3.jpg"])
    (tmp_path / "4.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    (tmp_path / "5.jpg").write_bytes(b"")
    report = check(tmp_path)
    assert (report.name, report.title) == (None, "folder of images without labels")
    assert report.splits == (SplitCount("all", 5, None, 0),)
    assert told(report) == [("unreadable images", False), ("same picture twice", False)]
    assert [aside.reason for aside in report.set_aside] == ["empty"]
    assert report.serious == ()
    assert report.notes == ("No labels: names can be found, but not scored.",)


def test_classes_two_folders_down_are_hinted_at(tmp_path: Path):
    images(tmp_path, ["pictures/fox/1.jpg", "pictures/stoat/2.jpg"])
    report = check(tmp_path)
    assert report.title == "folder of images without labels"
    assert "They lie in 2 folders" in report.notes[1]
    assert check(tmp_path / "pictures").title == "folder of images, one folder a class"


def test_folders_of_classes(tmp_path: Path):
    images(tmp_path, ["red_fox/1.jpg", "red_fox/2.jpg", "stoat/1.jpg"])
    (tmp_path / "stoat" / "9.jpg").write_bytes((tmp_path / "red_fox" / "1.jpg").read_bytes())
    report = check(tmp_path)
    assert report.title == "folder of images, one folder a class"
    assert (report.classes, report.splits[0].images) == (2, 4)
    assert told(report) == [("same picture in two classes", True)]
    assert report.notes == ("Images a class: 2 to 2.",)


def test_folders_of_splits(tmp_path: Path):
    images(tmp_path, ["train/fox/1.jpg", "train/stoat/2.jpg", "test/fox/1.jpg", "test/hare/3.jpg"])
    (tmp_path / "val").mkdir()
    report = check(tmp_path)
    assert report.title == "folders of splits (train, val, test)"
    assert report.splits == (SplitCount("test", 2, None, 2), SplitCount("train", 2, None, 2))
    assert told(report) == [
        ("empty split", True),
        ("classes only in test", False),
        ("same file name in two splits", False),
    ]
    (tmp_path / "test" / "fox" / "1.jpg").write_bytes((tmp_path / "train" / "fox" / "1.jpg").read_bytes())
    assert ("same picture in two splits", True) in told(check(tmp_path))


def test_a_manifest(tmp_path: Path):
    images(tmp_path, ["a.jpg", "b.jpg"])
    manifest = text(tmp_path, "list.csv", "image,label,split", "a.jpg,fox,train", "b.jpg,stoat,test", "../c.jpg,x,test")
    report = check(manifest)
    assert report.title == "manifest of images"
    assert {row.split: row.images for row in report.splits} == {"test": 1, "train": 1}
    assert [aside.reason for aside in report.set_aside] == ["outside root"]


def test_not_one_readable_picture_is_serious(tmp_path: Path):
    (tmp_path / "1.jpg").write_bytes(b"")
    report = check(tmp_path)
    assert told(report) == [("unreadable images", True)]
    assert told(check(tmp_path, hashes=False)) == []


def test_nothing_there_is_an_error(tmp_path: Path):
    with pytest.raises(NoImagesError):
        check(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(NoImagesError):
        check(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        check(tmp_path / "gone")


def test_progress_is_told(tmp_path: Path):
    images(tmp_path, ["1.jpg", "2.jpg"])
    steps: list[tuple[str, int, int]] = []
    check(tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [("open pictures", 1, 2), ("open pictures", 2, 2)]
