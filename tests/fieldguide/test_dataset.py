"""The drawn world on disk: deterministic, resumable, readable by the package's own loader."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgvr.data import load_items
from fgvr.errors import InputError
from fgvr.fieldguide.dataset import (
    EVALUATION_SEEDS,
    SCENE_SEEDS,
    SEED_STRIDE,
    SPLIT_SEEDS,
    Plan,
    contact_sheet,
    make,
)
from fgvr.fieldguide.guide import accepted_names, all_species, by_key, split_seen_unseen
from fgvr.fieldguide.plate import PAPER
from fgvr.fieldguide.render import render
from fgvr.fieldguide.training.pictures import TRAIN_SEED

FEW = tuple(all_species()[i] for i in (0, 1, 50, 110))
SMALL = {
    "size": 48,
    "support_per_species": 2,
    "train_per_species": 1,
    "test_per_species": 2,
    "scenes": 3,
    "species": FEW,
}


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
    assert process.returncode == -signal.SIGKILL
    assert not (broken / "manifest.jsonl").exists(), "a folder without its manifest is incomplete"
    make(broken, workers=1, **SMALL)
    left = {name: digest for name, digest in digests(broken).items() if ".tmp-" not in name}
    assert left == digests(tmp_path / "whole")


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


def test_the_same_folder_is_completed_when_a_picture_is_lost(tmp_path):
    manifest = make(tmp_path, workers=1, **SMALL)
    whole = digests(tmp_path)
    (tmp_path / rows(manifest)[3]["image"]).unlink()
    told: list[tuple[int, int]] = []
    make(tmp_path, workers=1, progress=lambda done, total: told.append((done, total)), **SMALL)
    assert digests(tmp_path) == whole
    assert told == [(done, len(FEW) + 3) for done in range(1, len(FEW) + 4)]


def test_rows_say_how_to_draw_the_picture_again_and_what_it_shows(tmp_path):
    written = rows(make(tmp_path, workers=1, **SMALL))
    seen = {one.key for one in split_seen_unseen()[0]}
    for row in written[::4]:
        drawn = render(by_key(row["key"]), row["view_seed"], size=48)
        assert row["box"] == [int(v) for v in drawn.box]
        assert (row["sex"], row["background"]) == (drawn.view.sex, drawn.view.background)
        assert row["difficulty"] == drawn.view.difficulty
        assert row["attributes"] == by_key(row["key"]).attributes
        assert row["seen"] == (row["key"] in seen)
        with Image.open(tmp_path / row["image"]) as image:
            assert image.size == (row["width"], row["height"]) == (48, 48)
            assert {layer[1:3] for layer in image.layer} == {(1, 1)}, "colour is not subsampled"
            difference = np.abs(np.asarray(image, float) - np.asarray(drawn.image, float)).mean()
        assert difference < 4


def test_folders_read_as_classes_give_the_common_names(tmp_path):
    make(tmp_path, workers=1, **SMALL)
    items = load_items(tmp_path / "images" / "support").items
    assert sorted({item.label for item in items}) == sorted(one.name for one in FEW)
    catalogue = json.loads((tmp_path / "species.json").read_text(encoding="utf-8"))
    assert [entry["key"] for entry in catalogue] == [one.key for one in FEW]


def test_no_view_seed_of_any_world_reaches_those_of_training():
    last = Plan(4_499, 48, 10_000, 160_000, 20_000, 2_000, ("a",))
    last.check()
    seeds = [last.view_seeds(split) for split in ("support", "train", "test")] + [last.scene_seeds(1_999)]
    assert max(seed[-1] for seed in seeds) < EVALUATION_SEEDS < TRAIN_SEED
    assert min(seed.start for seed in seeds) == 4_499 * SEED_STRIDE
    spans = [*SPLIT_SEEDS.values(), SCENE_SEEDS]
    assert not any({*one} & {*other} for one, other in combinations(spans, 2))
    assert all(span.start >= 0 and span.stop <= SEED_STRIDE for span in spans)


def test_a_plate_shows_every_species_with_its_name():
    columns, tile = 2, 64
    plate = np.asarray(contact_sheet(FEW, columns=columns, tile=tile), int)
    rows_of_tiles = np.array_split(plate, 2)
    for block in (half for row in rows_of_tiles for half in np.array_split(row, columns, axis=1)):
        inked = np.abs(block - np.array(PAPER)).sum(2) > 60
        assert inked[: tile // 2 + 8].mean() > 0.1, "the organism"
        assert inked[tile + 4 :].mean() > 0.01, "its name"
    assert not np.array_equal(plate, np.asarray(contact_sheet(FEW, columns=columns, tile=tile, seed=1)))
    with pytest.raises(ValueError, match="a species"):
        contact_sheet([])
