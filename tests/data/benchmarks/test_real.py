"""The readers' names and guards against material outside the repository: real file names, folders and photographs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from fgvr.data import load_items
from fgvr.data.benchmarks import names, pets
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.check import check
from fgvr.data.benchmarks.leaks import whereabouts
from tests.data.benchmarks.writing import kinds, text

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED"),
]


@pytest.fixture(scope="module")
def shared() -> Path:
    return Path(os.environ["FGVR_SHARED"]) / "data"


def rows(shared: Path, dataset: str) -> list[dict[str, str]]:
    file = shared / "vectors" / "clip_vitb16_support" / f"{dataset}_rows.csv"
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


@pytest.mark.parametrize("dataset", sorted(names.LISTED))
def test_our_order_of_classes_is_that_of_the_published_features(shared: Path, dataset: str):
    for row in rows(shared, dataset):
        found = names.find_listed(row["class_dir"], dataset)
        assert names.LISTED[dataset].index(str(found)) == int(row["class_id"]), row


def test_every_species_of_real_bird_file_names_is_known(shared: Path):
    files = sorted(path.stem for path in (shared / "photos" / "cub832" / "images").rglob("*.jpg"))
    found = {names.find_listed(stem.rsplit("_", 2)[0], "cub200") for stem in files}
    assert len(files) == 832
    assert None not in found
    assert len(found) == 195


def test_discovery_images_are_placed_by_their_names(shared: Path):
    """Those of the 832 photographs that are discovery images are found among them, whatever came before the name."""
    items = load_items(shared / "photos" / "cub832" / "images", labels="none").items
    birds = Benchmark("cub200", "CUB-200-2011", shared, "official", items, ())
    discovery = [row["file"] for row in rows(shared, "cub200")]
    joined = list(csv.DictReader((shared / "photos" / "cub832" / "rar_join.csv").read_text().splitlines()))
    found = whereabouts(discovery, birds)
    assert set(found.by_split["all"]) == {discovery[int(row["rar_row"])] for row in joined}
    assert len(found.by_split["all"]) + len(found.unknown) == 600


def test_pets_in_their_own_layout(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """370 real photographs under their real names: 9 of each breed in trainval, 1 in test."""
    photographs = sorted((shared / "photos" / "pets37" / "images").rglob("*.jpg"), key=lambda p: p.stem.casefold())
    breeds = sorted({path.stem.rpartition("_")[0] for path in photographs}, key=str.casefold)
    (tmp_path / "images").mkdir()
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for index, path in enumerate(photographs):
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
        number = breeds.index(path.stem.rpartition("_")[0]) + 1
        lists["test" if index % 10 == 0 else "trainval"].append(f"{path.stem} {number} 1 1")
    for name, lines in lists.items():
        text(tmp_path, f"annotations/{name}.txt", *lines)
    found = pets.read(tmp_path)
    assert len(found.items) == 370
    assert found.classes == names.class_names("pets37")
    assert kinds(found) == ["wrong count", "wrong count"]
    monkeypatch.setattr(pets, "COUNTS", {"train": 333, "test": 37})
    report = check(tmp_path)
    assert report.problems == ()
    assert report.classes == 37


@pytest.mark.parametrize("folder", ["grocery81", "cub832", "coco52"])
def test_other_photographs_are_described(shared: Path, folder: str):
    report = check(shared / "photos" / folder)
    assert report.name is None
    assert sum(row.images for row in report.splits) > 50
    assert not any(problem.kind == "unreadable images" for problem in report.problems)
