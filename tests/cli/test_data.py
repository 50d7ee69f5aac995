"""``fgvr data check`` and ``fgvr data export`` on miniatures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fgvr.cli.main import app
from fgvr.data import load_items
from fgvr.data.benchmarks import read_benchmark
from tests.data.benchmarks.miniature import images, small
from tests.data.benchmarks.writing import jpeg
from tests.data.test_hugging_face import embedded


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *(str(argument) for argument in arguments)])


def test_check_of_a_whole_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    result = run("check", tmp_path)
    assert result.exit_code == 0, result.output
    assert "CUB-200-2011 (cub200)" in result.stdout
    assert "test        3         3        2" in result.stdout
    assert re.search(r"^Arctic Tern +Artic Tern$", result.stdout, re.MULTILINE)
    assert "nothing wrong" in result.stderr


def test_check_of_a_copy_with_something_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    (tmp_path / "images" / "141.Artic_Tern" / "Artic_Tern_0001_3.jpg").unlink()
    result = run("check", tmp_path)
    assert result.exit_code == 1
    assert "WRONG: missing images: 1 of 5 listed images are not there" in result.stderr
    assert "set aside 1 (missing: 1)" in result.stderr


def test_check_of_half_a_copy_says_what_it_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path, monkeypatch)
    (tmp_path / "train_test_split.txt").unlink()
    result = run("check", tmp_path)
    assert result.exit_code == 2
    assert "but no train_test_split.txt: CUB-200-2011?" in result.stderr
    assert run("check", tmp_path, "--name", "cub200").exit_code == 1


@pytest.mark.parametrize("arguments", [["gone"], [".", "--name", "fish"], [".", "--split", "zhou"]])
def test_check_of_what_is_not_there(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert run("check", *arguments).exit_code == 2


def test_check_of_an_empty_folder(tmp_path: Path):
    assert run("check", tmp_path).exit_code == 2


def test_check_of_photographs(tmp_path: Path):
    images(tmp_path, ["red_fox/1.jpg", "stoat/2.jpg"])
    result = run("check", tmp_path)
    assert result.exit_code == 0, result.output
    assert "folder of images, one folder a class" in result.stdout
    assert "expected" not in result.stdout
    (tmp_path / "stoat" / "2.jpg").write_bytes((tmp_path / "red_fox" / "1.jpg").read_bytes())
    assert run("check", tmp_path).exit_code == 1
    result = run("check", tmp_path, "--no-hashes")
    assert result.exit_code == 0
    assert "not opened" in result.stdout


def test_check_of_a_support_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cub200", tmp_path / "birds", monkeypatch)
    names = tmp_path / "support.txt"
    names.write_text("141.Artic_Tern/Artic_Tern_0003_5.jpg\n\n")
    result = run("check", tmp_path / "birds", "--support", names)
    assert result.exit_code == 1
    assert "WRONG: support in test split: 1 of 1 are test images" in result.stderr
    recording = tmp_path / "replies.jsonl"
    recording.write_text(json.dumps({"image": "140.Artic_Tern_Artic_Tern_0001_3.jpg", "reply": "a tern"}) + "\n")
    assert run("check", tmp_path / "birds", "--support", recording).exit_code == 0
    images(tmp_path / "folder", ["Artic_Tern_0002_4.jpg"])
    assert run("check", tmp_path / "birds", "--support", tmp_path / "folder").exit_code == 1
    names.write_text("\n")
    assert run("check", tmp_path / "birds", "--support", names).exit_code == 2
    assert run("check", tmp_path / "birds", "--support", tmp_path / "gone.txt").exit_code == 2


def test_check_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cars196", tmp_path, monkeypatch)
    result = run("check", tmp_path, "--json", "--no-hashes")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["name"] == "cars196"
    assert summary["splits"][1] == {"split": "test", "images": 3, "expected": 3, "classes": 3}
    assert [problem["kind"] for problem in summary["problems"]] == ["same file name in two splits"]
    assert (summary["ok"], summary["pictures_opened"]) == (True, False)


def test_names_from_files_cannot_rewrite_the_terminal(tmp_path: Path):
    images(tmp_path, ["a\x1b[2J/1.jpg", "b/2.jpg"])
    (tmp_path / "b" / "2.jpg").write_bytes((tmp_path / "a\x1b[2J" / "1.jpg").read_bytes())
    result = run("check", tmp_path)
    assert "\x1b" not in result.output


def test_export_is_read_by_every_other_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("dogs120", tmp_path, monkeypatch)
    result = run("export", tmp_path, "--out", tmp_path / "dogs.jsonl")
    assert result.exit_code == 0, result.output
    assert "5 images of Stanford Dogs in 3 classes" in result.stdout
    assert load_items(tmp_path / "dogs.jsonl").items == read_benchmark(tmp_path).items
    result = run("export", tmp_path, "--out", tmp_path / "dogs.jsonl", "--part", "test", "--original-names")
    assert result.exit_code == 0
    items = load_items(tmp_path / "dogs.jsonl").items
    assert {(item.label, item.split) for item in items} == {("Chihuaha", "test"), ("German Shepard", "test")}
    assert all("Chihuahua" in item.accepted for item in items if item.label == "Chihuaha")


def test_export_elsewhere_would_name_pictures_no_verb_may_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("dogs120", tmp_path / "dogs", monkeypatch)
    result = run("export", tmp_path / "dogs", "--out", tmp_path / "work" / "dogs.jsonl")
    assert result.exit_code == 2
    assert "Write it into" in result.stderr
    assert not (tmp_path / "work" / "dogs.jsonl").exists()


def test_export_takes_pictures_out_of_parquet(tmp_path: Path):
    embedded(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", [(jpeg(n), n % 3) for n in range(5)])
    result = run("export", tmp_path / "hub", "--out", tmp_path / "out" / "three.jsonl")
    assert result.exit_code == 0, result.output
    items = load_items(tmp_path / "out" / "three.jsonl").items
    assert len(items) == 5
    assert {item.split for item in items} == {"train"}
    assert len({item.label for item in items}) == 3


def test_export_of_shifted_cars_and_of_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("cars196", tmp_path / "cars", monkeypatch)
    small("dogs120", tmp_path / "dogs", monkeypatch)
    result = run("export", tmp_path / "cars", "--out", tmp_path / "shifted.jsonl", "--part", "test", "--legacy-shift")
    assert result.exit_code == 0, result.output
    assert "Legacy-shifted" in result.stderr
    labels = [item.label for item in load_items(tmp_path / "shifted.jsonl").items]
    assert labels == ["Audi S4 Sedan 2007", "Ram C/V Cargo Van Minivan 2012", "AM General Hummer SUV 2000"]
    assert run("export", tmp_path / "dogs", "--out", tmp_path / "d.jsonl", "--legacy-shift").exit_code == 2


def test_export_of_a_part_that_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small("dogs120", tmp_path, monkeypatch)
    result = run("export", tmp_path, "--out", tmp_path / "dogs.jsonl", "--part", "val")
    assert result.exit_code == 2
    assert "There are: test, train." in result.stderr
    assert not (tmp_path / "dogs.jsonl").exists()
