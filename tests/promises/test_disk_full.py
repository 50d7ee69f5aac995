"""A full disk is a clear error, nothing half-written is believed, and with space again the same command finishes.

A real file system that is really full: a small tmpfs in a mount namespace of its own (``full_disk.py``), filled but for
0, 1, 2, ... pages, so that every write of a command is the one that fails at some point. Where namespaces are not to be
had the kernel's limits on files are tested in ``tests/runs``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fgvr.data import read_predictions
from tests.cli.world import done
from tests.promises.commands import environment

DRIVER = Path(__file__).with_name("full_disk.py")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


def has_namespaces() -> bool:
    tried = [*UNSHARE, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(tried, capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason="needs mount namespaces")


def on_full_disks(place: Path, step: int, *command: object, prepared: object = "") -> list[dict[str, Any]]:
    """What the driver saw, one entry for each amount of space; the last is the first success."""
    arguments = [*UNSHARE, sys.executable, DRIVER, place, step, prepared, *command]
    root = str(Path(__file__).parents[2])
    env = environment()
    env["PYTHONPATH"] += f":{root}"
    ran = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, env=env, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


def assert_clear(seen: list[dict[str, Any]]) -> None:
    """Every failure was an error of ours that names the cause, every second run succeeded, no litter is left."""
    assert len(seen) > 1
    for one in seen[:-1]:
        first = one["first"]
        assert (first["code"], first["through"]) == (1, ""), (one["spare"], first)
        assert first["err"].startswith(("error: ", "set aside")) or "\nerror: " in first["err"], first
        assert "No space left" in first["err"] or "only part" in first["err"] or "disk is full" in first["err"], first
        assert "space" in first["err"].split("->")[-1], first
        assert one["second"] == {**one["second"], "code": 0, "through": ""}, (one["spare"], one["second"])
        assert not [name for name in one["left"] if ".tmp-" in name]
    assert seen[-1]["first"]["code"] == 0


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@needs_namespaces
def test_labelling_on_a_full_disk(world, tmp_path: Path) -> None:
    """Ledger, manifest, tables and summary."""
    ask = ("--mllm", f"replay:{world.recording}")
    done("label", world.photographs, "--out", tmp_path / "good", *ask)
    seen = on_full_disks(tmp_path / "disk", 2, "label", world.photographs, "--out", "PLACE/run", *ask)
    assert_clear(seen)
    for one in seen:
        run = Path(one["out"]) / "run"
        assert lines(run / "labels.jsonl") == lines(tmp_path / "good" / "labels.jsonl")
        answers = [line["item"] for line in lines(run / "ledger.jsonl")]
        assert len(answers) == len(set(answers)) == 24  # nothing was asked twice


@needs_namespaces
def test_the_response_cache_on_a_full_disk(world, tmp_path: Path) -> None:
    ask = ("--mllm", f"replay:{world.recording}", "--cache", "PLACE/cache")
    done("label", world.photographs, "--out", tmp_path / "good", *ask[:2])
    seen = on_full_disks(tmp_path / "disk", 8, "label", world.photographs, "--out", "PLACE/run", *ask)
    assert_clear(seen)
    for one in seen:
        assert lines(Path(one["out"]) / "run" / "labels.jsonl") == lines(tmp_path / "good" / "labels.jsonl")


@needs_namespaces
def test_fitting_on_a_full_disk(world, fitted: Path, tmp_path: Path) -> None:
    """Feature shards, hash memo, ledger, checkpoint, classifier, report."""
    command = world.fit("PLACE/run", "--support", 12)
    seen = on_full_disks(tmp_path / "disk", 40, *command)
    assert_clear(seen)
    good = (fitted / "classifier" / "classifier.safetensors").read_bytes()
    for one in seen:
        run = Path(one["out"]) / "run"
        assert (run / "classifier" / "classifier.safetensors").read_bytes() == good
        assert (run / "report.html").read_text().rstrip().endswith("</html>")


@needs_namespaces
@pytest.mark.slow
def test_fitting_on_a_full_disk_at_every_page(world, fitted: Path, tmp_path: Path) -> None:
    seen = on_full_disks(tmp_path / "disk", 1, *world.fit("PLACE/run", "--support", 12))
    assert_clear(seen)
    good = (fitted / "classifier" / "classifier.safetensors").read_bytes()
    assert all(
        (Path(one["out"]) / "run" / "classifier" / "classifier.safetensors").read_bytes() == good for one in seen
    )


@needs_namespaces
@pytest.mark.parametrize("suffix", ["csv", *(pytest.param(s, marks=pytest.mark.slow) for s in ("jsonl", "parquet"))])
def test_prediction_files_on_a_full_disk(world, fitted: Path, tmp_path: Path, suffix: str) -> None:
    done("predict", fitted, world.photographs, "--out", tmp_path / f"good.{suffix}")
    command = ("predict", fitted, world.photographs, "--out", f"PLACE/p.{suffix}")
    seen = on_full_disks(tmp_path / "disk", 2, *command)
    assert_clear(seen)
    for one in seen:
        assert read_predictions(Path(one["out"]) / f"p.{suffix}") == read_predictions(tmp_path / f"good.{suffix}")
    assert f"p.{suffix}" not in seen[0]["left"]


@needs_namespaces
def test_a_report_on_a_full_disk_leaves_the_old_page(fitted: Path, tmp_path: Path) -> None:
    seen = on_full_disks(tmp_path / "disk", 25, "report", fitted, "--out", "PLACE/page.html")
    assert_clear(seen)
    assert "page.html" not in seen[0]["left"]
    assert all((Path(one["out"]) / "page.html").read_text().rstrip().endswith("</html>") for one in seen)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_is_full_is_a_clear_error(world, fitted: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "fgvr", "predict", str(fitted), str(world.photographs)]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert ran.returncode == 1
    assert "error: " in ran.stderr
    assert "No space left" in ran.stderr
    assert "Traceback" not in ran.stderr
