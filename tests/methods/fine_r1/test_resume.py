"""Stopped, killed or damaged, a training goes on bit for bit; two processes make the weights of one."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fgvr.errors import RunError
from fgvr.methods.fine_r1 import rollouts
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.monitor import MonitorSettings, Rule
from fgvr.training.rollout import Sampling
from tests.mllm import tiny_models

from .reinforced import SETTINGS, SILENT, first_word, run, same, triplets_of, with_objective

ROOT = Path(__file__).parents[3]
QUIET = replace(SILENT, all_wrong=Rule(0.0, 3, stop=False))
TRAINED = replace(
    SETTINGS, anchors=6, positives=6, rollout_batch=2, mini_rollout=1, sampling=Sampling(max_tokens=1, temperature=1.5),
    dynamic=DynamicSampling(tries=3),
)  # fmt: skip
"""Few groups are kept at first, so that the position in the order is no multiple of anything."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    return triplets_of(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def rigged(monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)


def trained(base, triplets, place, **more):
    settings = more.pop("settings", TRAINED)
    return run(base, triplets, place, **{"settings": settings, "monitor": QUIET, **more})


def logged(place: Path) -> list[dict]:
    found = [json.loads(line) for line in (place / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in found]


def checkpoints(place: Path) -> list[Path]:
    return sorted((place / "checkpoints").glob("step-*"))


def note(place: Path) -> dict:
    return json.loads((checkpoints(place)[-1] / "checkpoint.json").read_text())


def assert_alike(one: Path, other: Path) -> None:
    """Log, replies, weights and moments (by their digest), position, monitor."""
    assert logged(one) == logged(other)
    assert (one / "rollouts.jsonl").read_bytes() == (other / "rollouts.jsonl").read_bytes()
    assert note(one) == note(other)


@pytest.fixture(scope="module")
def whole(base, triplets, tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollouts, "reward", first_word)
        done, weights = trained(base, triplets, place, dropout=0.2)
    return place, done, weights


def test_the_world_is_worth_resuming_in(whole):
    place, done, _ = whole
    lines = logged(place)
    assert done.finished
    assert len({line["prompts"] for line in lines}) > 1  # steps read differently far
    assert any(line["filtered"] > 0 for line in lines)
    assert sum(line["gradient"] > 0 for line in lines) >= 3
    assert note(place)["extra"]["position"] == sum(line["prompts"] for line in lines)
    assert note(place)["extra"]["monitor"]["series"]["accuracy"]["recent"]


@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_stopping_and_going_on_changes_no_bit(base, triplets, whole, tmp_path, stop):
    first, part = trained(base, triplets, tmp_path, dropout=0.2, stop_at=stop)
    assert (first.steps, first.finished) == (stop, False)
    assert not same(part, whole[2])
    second, rest = trained(base, triplets, tmp_path, dropout=0.2)
    assert (second.resumed_at, second.steps, second.finished) == (stop, 8, True)
    assert same(rest, whole[2])
    assert second.tokens == whole[1].tokens
    assert_alike(whole[0], tmp_path)


def test_a_finished_training_is_not_done_again(base, triplets, whole, tmp_path):
    import shutil

    shutil.copytree(whole[0], tmp_path / "copy")
    done, weights = trained(base, triplets, tmp_path / "copy", dropout=0.2)
    assert (done.resumed_at, done.steps, done.finished) == (8, 8, True)
    assert same(weights, whole[2])
    assert done.last.keys() == whole[1].last.keys()
    assert_alike(whole[0], tmp_path / "copy")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(base, triplets, whole, tmp_path):
    trained(base, triplets, tmp_path, dropout=0.2, stop_at=5)
    assert [one.name for one in checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]
    state = checkpoints(tmp_path)[-1] / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-40])
    done, weights = trained(base, triplets, tmp_path, dropout=0.2)
    assert (done.resumed_at, done.steps) == (4, 8)
    assert same(weights, whole[2])
    assert_alike(whole[0], tmp_path)


def test_what_was_noted_after_the_last_checkpoint_is_cut(base, triplets, whole, tmp_path):
    """As a kill in the middle of a step leaves it: lines without a checkpoint, the last one torn."""
    sparse = replace(TRAINED, checkpoint_every=3)
    trained(base, triplets, tmp_path, dropout=0.2, stop_at=3, settings=sparse)
    lines = (whole[0] / "rollouts.jsonl").read_bytes().splitlines(keepends=True)
    with (tmp_path / "rollouts.jsonl").open("ab") as file:
        file.writelines(line for line in lines if json.loads(line)["step"] == 4)
        file.write(b'{"step":5,"try":0,"prom')
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"step":4,"reward":0.5}\n{"st')
    done, weights = trained(base, triplets, tmp_path, dropout=0.2, settings=sparse)
    assert done.resumed_at == 3
    assert same(weights, whole[2])
    assert_alike(whole[0], tmp_path)


def test_another_training_is_refused(base, triplets, tmp_path):
    trained(base, triplets, tmp_path, stop_at=1)
    changes = [
        {"settings": replace(TRAINED, learning_rate=1e-3)},
        {"settings": with_objective(TRAINED, gamma=0.5)},
        {"settings": replace(TRAINED, anchors=5)},
        {"settings": replace(TRAINED, sampling=Sampling(max_tokens=2))},
        {"key": "another base"},
        {"monitor": MonitorSettings()},
    ]
    for change in changes:
        with pytest.raises(RunError, match="another training"):
            trained(base, triplets, tmp_path, **change)
    with pytest.raises(RunError, match="another training"):
        trained(base, triplets[1:], tmp_path)
    done, _ = trained(base, triplets, tmp_path, settings=replace(TRAINED, micro_batch=3), stop_at=2)
    assert (done.resumed_at, done.steps) == (1, 2)  # memory is no part of the result


@pytest.mark.slow
def test_micro_batches_change_rounding_only(base, triplets, tmp_path):
    found = [
        trained(base, triplets, tmp_path / str(micro), settings=replace(TRAINED, micro_batch=micro), stop_at=2)[1]
        for micro in (2, 12)
    ]
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, atol=2e-4, rtol=1e-3)


VICTIM = """
import logging, sys, torch
from dataclasses import replace
from pathlib import Path
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from fgvr.methods.fine_r1 import rollouts
from tests.methods.fine_r1.reinforced import first_word, triplets_of
from tests.methods.fine_r1.test_resume import TRAINED, trained
rollouts.reward = first_word
base, pictures, place = map(Path, sys.argv[1:])
trained(base, triplets_of(pictures), place, settings=replace(TRAINED, epochs=8), dropout=0.2)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_where_its_last_checkpoint_was(base, tmp_path):
    pictures, place = tmp_path / "pictures", tmp_path / "killed"
    triplets = triplets_of(pictures)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", VICTIM, str(base), str(pictures), str(place)]
    victim = subprocess.Popen(arguments, cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 250
        while time.monotonic() < deadline and victim.poll() is None:
            if checkpoints(place) and checkpoints(place)[-1].name >= "step-00000003":
                break
            time.sleep(0.005)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    settings = replace(TRAINED, epochs=8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _, expected = trained(base, triplets, tmp_path / "whole", settings=settings, dropout=0.2)
        done, rest = trained(base, triplets, place, settings=settings, dropout=0.2)
    finally:
        torch.set_num_threads(threads)
    assert 2 <= done.resumed_at < done.steps == 16
    assert same(rest, expected)
    assert_alike(tmp_path / "whole", place)


LAUNCHED = """
import logging, sys, torch
from dataclasses import replace
from pathlib import Path
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from tests.methods.fine_r1.test_resume import with_script
base, pictures, place = map(Path, sys.argv[1:])
with_script(base, pictures, place)
torch.distributed.destroy_process_group()
"""


def with_script(base: Path, pictures: Path, place: Path) -> None:
    """A training whose replies do not depend on the process: three prompts at once, odd numbers of micro-batches."""
    from safetensors.torch import save_file

    from fgvr.training.distributed import is_main_process

    from .reinforced import Scripted

    rollouts.reward = first_word
    script = Scripted(
        lambda picture, i: (picture.stem[:-1] if i % 3 == 0 else "tern", (10 + i, *[11 + i] * (i % 4), 3))
    )
    triplets = triplets_of(pictures)
    triplets[0] = replace(triplets[0], negative=None)
    settings = with_objective(replace(SETTINGS, mini_rollout=3, rollout_batch=3, update_batch=2), gamma=0.2)
    done, weights = run(base, triplets, place, settings=settings, engine=script, monitor=QUIET)
    assert done.finished
    assert done.steps == 6
    if is_main_process():
        save_file({name: weight.contiguous() for name, weight in weights.items()}, place / "weights.safetensors")


@pytest.mark.slow
def test_two_processes_make_the_weights_of_one(base, tmp_path):
    pictures = tmp_path / "pictures"
    triplets_of(pictures)
    with_script(base, pictures, tmp_path / "one")
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(script)]
    done = subprocess.run(
        [*command, str(base), str(pictures), str(tmp_path / "two")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=5e-4, rtol=1e-3)
    assert (tmp_path / "one" / "rollouts.jsonl").read_bytes() == (tmp_path / "two" / "rollouts.jsonl").read_bytes()
    for single, double in zip(logged(tmp_path / "one"), logged(tmp_path / "two"), strict=True):
        assert {k: v for k, v in double.items() if k != "alarm"} == pytest.approx(
            {k: v for k, v in single.items() if k != "alarm"}, rel=1e-2, abs=1e-3
        )
