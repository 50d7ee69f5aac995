"""``fgvr memory`` on drawn pictures and a tiny encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fgvr.cli.memory import app
from fgvr.encoders import load_encoder, text_classifier
from fgvr.errors import FgvrError
from fgvr.memory import Memory, nearest
from fgvr.memory.hnsw import Hnsw, index_path, open_searcher
from tests.encoders.tiny import save


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.stdout


def told(*arguments: object) -> dict:
    return json.loads(done(*arguments, "--json"))


def refused(*arguments: object) -> FgvrError:
    error = run(*arguments).exception
    assert isinstance(error, FgvrError)
    assert error.remedy
    return error


@pytest.fixture(scope="module")
def started(world, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of three of the four species, in RUN/memory."""
    folder = tmp_path_factory.mktemp("memory")
    shutil.copytree(world.photographs, folder / "photographs")
    last = sorted((folder / "photographs").iterdir())[-1]
    last.rename(folder / last.name)
    summary = told("add", folder / "run", folder / "photographs", "--encoder", world.encoder)
    assert (summary["added"], summary["new_classes"], summary["texts_added"]) == (18, 3, 3)
    return folder


@pytest.fixture
def memory(started: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(started, tmp_path / "copy"))


def newcomer(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name not in ("photographs", "run"))


def test_a_new_class_is_added_without_training(memory: Path):
    new = newcomer(memory)
    name = new.name.replace("_", " ")
    text = done("add", memory / "run", new, "--name", name)
    assert "added" in text
    held = Memory.load(memory / "run" / "memory", verify=True)
    assert held.names[3] == name
    assert held.counts("image").tolist() == [6, 6, 6, 6]
    assert held.counts("text").tolist() == [1, 1, 1, 1]
    assert held.images.sources[-1] == str(sorted(new.iterdir())[-1])
    summary = told("add", memory / "run", new, "--name", name)
    assert (summary["added"], summary["already_there"], summary["version"]) == (0, 6, held.version)


def test_the_rows_are_the_encoders(memory: Path):
    held = Memory.load(memory / "run" / "memory")
    encoder = load_encoder(held.encoder)
    held.check_encoder(encoder)
    np.testing.assert_allclose(held.texts.vectors, text_classifier(encoder, held.names), atol=1e-6)
    assert held.images.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_show(memory: Path):
    summary = told("show", memory / "run")
    assert summary["images"] == 18
    assert list(summary["names"].values()) == [{"images": 6, "texts": 1}] * 3
    assert summary == told("show", memory / "run" / "memory")
    text = done("show", memory / "run")
    assert all(name in text for name in summary["names"])
    assert "dimensions" in text


def test_remove_all_or_none(memory: Path):
    names = list(told("show", memory / "run")["names"])
    assert "no class of this name" in str(refused("remove", memory / "run", names[0], "Nobody"))
    assert list(told("show", memory / "run")["names"]) == names
    summary = told("remove", memory / "run", names[0], names[2])
    assert (summary["images_removed"], summary["texts_removed"], summary["classes"]) == (12, 2, 1)
    assert list(told("show", memory / "run")["names"]) == [names[1]]


def test_rename_embeds_the_new_name(memory: Path):
    names = list(told("show", memory / "run")["names"])
    assert told("rename", memory / "run", names[1], "Lesser Known Bird")["texts_embedded"] == 1
    held = Memory.load(memory / "run" / "memory")
    assert held.names == (names[0], "Lesser Known Bird", names[2])
    expected = text_classifier(load_encoder(held.encoder), ["Lesser Known Bird"])
    np.testing.assert_allclose(held.texts.vectors[held.texts.labels == 1], expected, atol=1e-6)
    assert "already has a class" in str(refused("rename", memory / "run", names[0], names[2]))


def test_index_prints_its_recall_and_is_followed(memory: Path):
    pytest.importorskip("faiss")
    summary = told("index", memory / "run", "--k", 3)
    assert summary["rows"] == 18
    assert summary["recall"] == 1.0
    folder = memory / "run" / "memory"
    result = run("index", folder)
    assert "recall@5 1.000 against exact search (18 queries)" in result.stderr
    held = Memory.load(folder)
    held.remove(held.names[0])
    held.save(folder)
    searcher = open_searcher(folder, held.images)
    assert isinstance(searcher, Hnsw)
    found, _ = searcher.search(held.images.vectors, 2)
    np.testing.assert_array_equal(found, nearest(held.images.vectors, held.images.vectors, k=2)[0])
    index_path(folder).unlink()
    assert not isinstance(open_searcher(folder, held.images), Hnsw)


def test_images_without_a_label_are_set_aside(memory: Path, tmp_path: Path):
    new = newcomer(memory)
    pictures = sorted(new.iterdir())
    rows = [{"path": pictures[0].name, "label": "Some Bird"}, {"path": pictures[1].name}]
    (new / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = told("add", memory / "run", new / "list.jsonl")
    assert (summary["added"], summary["set_aside"]) == (1, {"no label": 1})
    assert "or give --name" in str(refused("add", memory / "run", new))
    (new.parent / "more").mkdir()
    new.rename(new.parent / "more" / "Some_Other_Bird")  # one folder named after its class will do
    summary = told("add", memory / "run", memory / "more")
    assert (summary["added"], summary["new_classes"]) == (6, 1)


def test_what_is_wrong_is_said_before_anything_is_written(world, memory: Path, tmp_path: Path):
    folder = memory / "run" / "memory"
    before = content(folder)
    other = save("clip", tmp_path / "other", seed=5)
    assert "no memory in this folder" in str(refused("show", tmp_path / "nowhere"))
    assert "no memory here yet" in str(refused("add", tmp_path / "nowhere", memory / "photographs"))
    assert not (tmp_path / "nowhere").exists()
    assert "holds one {}" in str(refused("rename", memory / "run", first(folder), "New", "--template", "a photo"))
    for how, message in (
        (("--encoder", other), "another encoder"),
        (("--dtype", "bfloat16"), "other weights, preprocessing or precision"),
    ):
        assert message in str(refused("add", memory / "run", newcomer(memory), "--name", "X", *how))
    assert content(folder) == before


def first(folder: Path) -> str:
    return Memory.load(folder).names[0]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
