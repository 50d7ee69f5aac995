"""The drawn world on disk: deterministic, resumable, readable by the package's own loader."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgvr.data import load_items
from fgvr.errors import InputError
from fgvr.fieldguide.dataset import contact_sheet, make
from fgvr.fieldguide.guide import accepted_names, all_species

FEW = tuple(all_species()[i] for i in (0, 1, 50, 110))
SMALL = {"size": 48, "support_per_species": 2, "train_per_species": 1, "test_per_species": 2, "scenes": 3, "species": FEW}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def test_the_same_settings_give_the_same_bytes_whatever_the_workers(tmp_path):
    make(tmp_path / "one", workers=1, **SMALL)
    make(tmp_path / "two", workers=2, **SMALL)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_manifest_is_complete_and_loads(tmp_path):
    manifest = make(tmp_path, workers=1, **SMALL)
    written = rows(manifest)
    assert len(written) == len(FEW) * 5
    assert {row["split"] for row in written} == {"support", "train", "test"}
    for row in written:
        assert (tmp_path / row["image"]).is_file()
        assert 0 <= row["box"][0] < row["box"][2] <= row["width"]
    items = load_items(manifest, split="test").items
    assert len(items) == len(FEW) * 2
    first = next(item for item in items if item.label == FEW[0].name)
    assert set(accepted_names(FEW[0])) == {first.label, *first.accepted}


def test_splits_and_worlds_share_no_view(tmp_path):
    seeds = []
    for seed in (0, 1):
        written = rows(make(tmp_path / str(seed), workers=1, seed=seed, **SMALL))
        seeds += [(row["key"], row["view_seed"]) for row in written]
    assert len(seeds) == len(set(seeds))
    pictures = [digest for name, digest in digests(tmp_path).items() if name.endswith(".jpg")]
    assert len(pictures) == len(set(pictures))


def test_scenes_have_boxes_inside(tmp_path):
    make(tmp_path, workers=1, **SMALL)
    scenes = rows(tmp_path / "scenes.jsonl")
    assert len(scenes) == 3
    for scene in scenes:
        assert 2 <= len(scene["objects"]) <= 5
        for thing in scene["objects"]:
            x0, y0, x1, y1 = thing["box"]
            assert 0 <= x0 < x1 <= scene["width"]
            assert 0 <= y0 < y1 <= scene["height"]


def test_a_killed_make_is_completed_to_the_same_bytes(tmp_path):
    make(tmp_path / "whole", workers=1, **SMALL)
    code = (
        "import sys; from fgvr.fieldguide.dataset import make; from fgvr.fieldguide.guide import all_species;"
        "few = tuple(all_species()[i] for i in (0, 1, 50, 110));"
        "make(sys.argv[1], size=48, support_per_species=2, train_per_species=1, test_per_species=2, scenes=3,"
        "species=few, workers=1)"
    )
    broken = tmp_path / "broken"
    process = subprocess.Popen([sys.executable, "-c", code, str(broken)], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(broken.glob("images/*/*/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    make(broken, workers=1, **SMALL)
    whole = digests(tmp_path / "whole")
    assert {name: digest for name, digest in digests(broken).items() if name in whole} == whole
    assert all(name in whole or ".jpg" in name for name in digests(broken))


def test_a_complete_world_is_left_alone_and_a_foreign_folder_refused(tmp_path):
    manifest = make(tmp_path / "world", workers=1, **SMALL)
    stamp = manifest.stat().st_mtime_ns
    assert make(tmp_path / "world", workers=1, **SMALL) == manifest
    assert manifest.stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another drawn world"):
        make(tmp_path / "world", workers=1, seed=1, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="something else"):
        make(tmp_path / "mine", workers=1, **SMALL)
    for wrong in ({"seed": 5000}, {"scenes": -1}, {"support_per_species": 10_001}):
        with pytest.raises(InputError):
            make(tmp_path / "new", **{**SMALL, **wrong})


def test_a_plate_holds_every_species():
    plate = contact_sheet(FEW, columns=2, tile=60)
    assert plate.size == (2 * 63 + 3, 2 * 75 + 3)
