from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fgvr.cli.fewshot_study import held_out_items, parse_shots
from fgvr.errors import InputError
from fgvr.types import ImageItem

from .conftest import World
from .world import SPECIES, done, fgvr

NAMES = {species.name for species in SPECIES}


def manifest(world: World, folder: Path, *, tested: tuple[int, ...] = (4, 5), copied: bool = False) -> Path:
    """The world's photographs with two test photographs a species."""
    rows = []
    for picture in sorted(world.photographs.rglob("*.png")):
        split = "test" if int(picture.stem) in tested else "train"
        row = {
            "image": picture.relative_to(world.photographs).as_posix(),
            "label": picture.parent.name.replace("_", " "),
        }
        rows.append({**row, "split": split})
    place = folder / "photographs"
    shutil.copytree(world.photographs, place)
    if copied:
        first = next(row for row in rows if row["split"] == "train")
        shutil.copy(place / first["image"], place / "copy.png")
        rows.append({"image": "copy.png", "label": first["label"], "split": "test"})
    file = place / "manifest.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_tables_without_an_mllm(world: World, tmp_path: Path):
    run = tmp_path / "run"
    options = ("--shots", "1,2,9", "--draws", 2, "--studies", "--seed", 3)
    result = done("fewshot", manifest(world, tmp_path), "--encoder", world.encoder, "--out", run, *options)
    found = json.loads((run / "results.json").read_text())
    assert {row["shots"] for row in found["rows"]} == {1, 2, 9}
    assert {row["method"] for row in found["rows"]} >= {"CLIP+KNN (1-NN, as in the paper)", "image + text fusion"}
    assert all(row["mllm_calls"] == 0 for row in found["rows"])
    assert all(row["short_classes"] == (4 if row["shots"] == 9 else 0) for row in found["rows"])
    assert [row["shots"] for row in found["as_released"]] == [1, 2, 9]
    assert found["top5_of_top10"]
    assert found["k_study"]
    text = "\n".join(found["protocol"])
    assert "4 classes, 16 training and 8 test photographs" in text
    assert "2 nested draws from seed 3" in text
    page = (run / "results.md").read_text()
    for row in (*found["rows"], *found["as_released"]):
        assert f"| {row['method']} | {row['shots']} |" in page
    assert "CLIP zero-shot text" in result.stdout
    assert "4 classes have fewer than 9 training photographs" in result.stderr


def test_an_mllm_ranks_and_is_not_asked_twice(world: World, tmp_path: Path):
    """The recording answers with names, not with lists: a name is no order of all candidates, but it goes first."""
    options = ("--shots", "2", "--draws", 1, "--json", "--mllm", f"replay:{world.recording}")
    asked = ("fewshot", manifest(world, tmp_path), "--encoder", world.encoder, "--out", tmp_path / "run", *options)
    first = json.loads(done(*asked).stdout)
    rows = {row["method"]: row for row in first["rows"]}
    assert {"retrieve + rank", "retrieve + rank, as described", "retrieve + rank, fused"} <= rows.keys()
    assert rows["retrieve + rank"]["mllm_calls"] == 8
    assert rows["retrieve + rank, fused"]["mllm_calls"] == 16, "8 test and 8 memory photographs"
    assert rows["retrieve + rank"]["upper_bound"] == 1.0
    lines = (tmp_path / "run" / "ranks.jsonl").read_text()
    assert json.loads(done(*asked).stdout) == first
    assert (tmp_path / "run" / "ranks.jsonl").read_text() == lines, "everything was known"


def test_photographs_without_splits_are_held_out(world: World, tmp_path: Path):
    run = tmp_path / "run"
    asked = (
        "fewshot",
        world.photographs,
        "--encoder",
        world.encoder,
        "--out",
        run,
        "--shots",
        "all",
        "--held-out",
        0.5,
    )
    done(*asked)
    found = json.loads((run / "results.json").read_text())
    assert {(row["shots"], row["draws"], row["interval"]) for row in found["rows"]} == {("all", 1, None)}
    assert any("50.0 % of each class held out" in line for line in found["protocol"])
    assert "12 training and 12 test" in found["protocol"][0]
    missing = fgvr(*asked[:-2], "--force")
    assert missing.exit_code == 2, "without --held-out there must be splits"


def test_a_test_photograph_in_training_stops_the_table(world: World, tmp_path: Path):
    file = manifest(world, tmp_path, copied=True)
    asked = ("fewshot", file, "--encoder", world.encoder, "--out", tmp_path / "run", "--shots", "1", "--draws", 1)
    result = fgvr(*asked)
    assert result.exit_code == 1
    assert "also in the training split" in result.stderr
    assert not (tmp_path / "run" / "results.json").exists()
    assert "optimistic" in done(*asked, "--allow-leaks").stderr


def test_classes_without_training_photographs_are_left_out_and_told_of(world: World, tmp_path: Path):
    file = manifest(world, tmp_path)
    gone = sorted(NAMES)[0]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [row for row in rows if row["label"] != gone or row["split"] == "test"]
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    done("fewshot", file, "--encoder", world.encoder, "--out", tmp_path / "run", "--shots", "1", "--draws", 1)
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "2 test photographs of classes without a training photograph were left out" in found["protocol"]


def test_shots_are_read():
    assert parse_shots("1, 4,all,4") == (1, 4, 0)
    for wrong in ("", "0", "-1", "one", "1,,2"):
        with pytest.raises(InputError, match="numbers of shots"):
            parse_shots(wrong)


def test_holding_out_leaves_something_to_learn_from():
    items = [
        ImageItem(f"{label}{n}", Path(f"{label}{n}"), label)
        for label, many in (("a", 5), ("b", 1))
        for n in range(many)
    ]
    train, test = held_out_items([*items, ImageItem("x", Path("x"))], 0.95, 0)
    assert (len(train), len(test)) == (2, 4)
    assert {item.label for item in train} == {"a", "b"}
