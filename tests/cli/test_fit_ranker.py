"""``fgvr fit ranker`` on drawn pictures with the embedded models: data, adapter, resume, dry run, clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fgvr.cli.fit_ranker import ranker
from fgvr.errors import FgvrError, InputError, RunError
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from fgvr.mllm import load_mllm
from fgvr.runs import read_manifest
from fgvr.training import read_rows

app = typer.Typer()
app.command()(ranker)
SMALL = ("--mllm", "fieldguide", "--encoder", "fieldguide", "--neighbours", 6, "--k", 3, "--sets", 2, "--rank", 2)
FAST = ("--learning-rate", "1e-3", "--batch-size", 4, "--most-lists", 12)


def fgvr(*arguments: object):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, FgvrError):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for one in all_species()[:3]:
        (folder / one.name).mkdir()
        for seed in range(6):
            render(one, seed, size=64).image.save(folder / one.name / f"{seed}.png")
    (folder / all_species()[0].name / "bad.png").write_bytes(b"<html>")
    return folder


@pytest.fixture(scope="module")
def run(labelled, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = fgvr(labelled, "--out", folder, *SMALL, *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "adapter")
    assert "set aside 1" in result.stderr
    return folder


def test_the_data_and_the_adapter_are_there_and_load(run, labelled):
    rows = read_rows(run / "data.jsonl").rows
    assert 4 <= len(rows) <= 12
    assert [(row.id, row.answer) for row in read_rows(run / "sharegpt.json").rows] == [(r.id, r.answer) for r in rows]
    for row in rows:
        assert row.images[0].parent.name == row.meta["truth"] == row.meta["answer"][0]
    base, tuned = load_mllm("fieldguide"), load_mllm(f"local:{run / 'adapter'}")
    assert base.revision != tuned.revision
    lines = (run / "training" / "loss.jsonl").read_text().splitlines()
    assert len(lines) == -(-len(rows) // 4)
    assert str(labelled) not in (run / "adapter" / "README.md").read_text()


def test_a_finished_run_is_not_done_twice(run, labelled):
    before = (run / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    summary = json.loads(fgvr(labelled, "--out", run, *SMALL, *FAST, "--json").stdout)
    assert summary["was_finished"] is True
    assert (run / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError):
        fgvr(labelled, "--out", run, *SMALL, *FAST, "--seed", 1)
    assert read_manifest(run)["settings"]["settings"]["data"]["k"] == 3


def test_a_lost_adapter_is_made_anew_bit_for_bit(run, labelled):
    weights = run / "adapter" / "adapter_model.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    summary = json.loads(fgvr(labelled, "--out", run, *SMALL, *FAST, "--json").stdout)
    assert summary["was_finished"] is False
    assert summary["resumed_at"] == summary["steps"]
    assert weights.read_bytes() == before


def test_a_dry_run_counts_and_keeps_nothing(labelled, tmp_path, run):
    ahead = json.loads(fgvr(labelled, "--out", tmp_path / "dry", *SMALL, *FAST, "--dry-run", "--json").stdout)
    done = json.loads((run / "summary.json").read_text())
    for key in ("rows", "lists", "queries", "memory", "steps", "trainable"):
        assert ahead[key] == done[key]
    assert ahead["estimated_seconds"] > 0
    assert not (tmp_path / "dry").exists()
    assert "GiB, roughly" in fgvr(labelled, "--out", tmp_path / "dry", *SMALL, *FAST, "--dry-run").stderr


@pytest.mark.parametrize("variant", ["as-described", "as-released"])
def test_variants_and_questions(labelled, tmp_path, variant):
    extra = ("--variant", variant, "--question", "released", "--dry-run", "--json")
    ahead = json.loads(fgvr(labelled, "--out", tmp_path / "dry", *SMALL, *FAST, *extra).stdout)
    assert ahead["queries"] == (18 if variant == "as-released" else 9)


def test_unusable_input_is_a_clear_error(labelled, tmp_path):
    one = labelled / all_species()[0].name
    with pytest.raises(InputError, match="two classes"):
        fgvr(one, "--out", tmp_path / "a", *SMALL)
    recording = tmp_path / "replay.jsonl"
    recording.write_text('{"image": "a.png", "reply": "a tern"}\n')
    with pytest.raises(FgvrError):
        fgvr(labelled, "--out", tmp_path / "b", *SMALL[2:], "--mllm", f"replay:{recording}")
    with pytest.raises(InputError, match="target expression"):
        fgvr(labelled, "--out", tmp_path / "c", *SMALL, "--targets", "nothing")
