"""The loop: hand-computed updates, invariance to micro-batches, bit-exact resume, real kills, real processes."""

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

from fgvr.errors import InputError, RunError
from fgvr.mllm.local import LocalMllm
from fgvr.training import Collator, Lora, TrainSettings, answer_nll, prepare_model, train
from fgvr.training.checkpoint import load_checkpoint
from fgvr.training.lora import trainable
from tests.mllm import tiny_models

from .world import training_rows

SETTINGS = TrainSettings(1e-2, epochs=2, batch_size=3, micro_batch=2, warmup=0.2, checkpoint_every=2)
"""Of 8 rows: three steps an epoch, the last one of two rows."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    return training_rows(tmp_path_factory.mktemp("pictures"))


def fresh(folder: Path, *, dropout: float = 0.0, full: bool = False):
    mllm = LocalMllm(str(folder))
    return prepare_model(mllm, Lora(rank=4, alpha=4, dropout=dropout, full=full), seed=0), Collator(mllm)


def run(folder: Path, rows, place: Path, *, settings=SETTINGS, dropout=0.0, full=False, **more):
    model, collate = fresh(folder, dropout=dropout, full=full)
    trained = train(model, rows, collate, settings=settings, folder=place, seed=5, **more)
    return trained, {name: weight.detach().clone() for name, weight in trainable(model).items()}, (model, collate)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_one_step_is_adamw_on_the_mean_over_answer_tokens(folder, rows, tmp_path):
    """Against a step written out by hand: gradient of the token mean, clipped, then AdamW's first update."""
    settings = replace(SETTINGS, epochs=1, batch_size=8, micro_batch=3, warmup=0, weight_decay=0.1, clip=0.5)
    _, found, _ = run(folder, rows, tmp_path, settings=settings)
    model, collate = fresh(folder)
    model.train()
    batch = collate(rows)
    (answer_nll(model, batch).sum() / batch.answer_tokens).backward()
    weights = trainable(model)
    norm = torch.stack([weight.grad.norm() for weight in weights.values()]).norm()
    assert norm > 0.5
    for name, weight in weights.items():
        gradient = weight.grad * 0.5 / norm
        expected = weight.detach() * (1 - 1e-2 * 0.1) - 1e-2 * gradient / (gradient.abs() + 1e-8)
        sure = gradient.abs() > 1e-6
        torch.testing.assert_close(found[name][sure], expected[sure], rtol=1e-4, atol=1e-5)
        assert sure.any() or "lora_A" in name  # B is zero, so A has no gradient yet


def test_the_result_does_not_depend_on_how_a_batch_is_cut(folder, rows, tmp_path):
    cuts = [replace(SETTINGS, micro_batch=micro) for micro in (1, 2, 3)]
    results = [run(folder, rows, tmp_path / str(cut.micro_batch), settings=cut)[1] for cut in cuts]
    for other in results[1:]:
        for name, weight in results[0].items():
            torch.testing.assert_close(weight, other[name], atol=2e-4, rtol=1e-3)


def test_training_learns_and_only_what_it_may(folder, rows, tmp_path):
    before = LocalMllm(str(folder)).model.state_dict()
    trained, _, (model, _) = run(folder, rows, tmp_path, settings=replace(SETTINGS, epochs=12, learning_rate=2e-2))
    lines = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 37))
    assert trained.loss < 0.5 * lines[0]["loss"]
    assert sum(line["answer_tokens"] for line in lines) == trained.answer_tokens
    base = {name.replace(".base_layer", ""): w for name, w in model.base_model.model.state_dict().items()}
    assert all(torch.equal(weight, base[name]) for name, weight in before.items())
    assert not model.training


def logged(place: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (place / "loss.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
def test_stopping_and_going_on_changes_no_bit(folder, rows, tmp_path, stop, full):
    _, whole, _ = run(folder, rows, tmp_path / "whole", dropout=0.3, full=full)
    first, part, _ = run(folder, rows, tmp_path / "two", dropout=0.3, full=full, stop_at=stop)
    assert (first.steps, first.finished) == (stop, False)
    assert not same(part, whole)
    second, rest, _ = run(folder, rows, tmp_path / "two", dropout=0.3, full=full)
    assert (second.resumed_at, second.steps, second.finished) == (stop, 6, True)
    assert same(rest, whole)
    assert logged(tmp_path / "whole") == logged(tmp_path / "two")
    third, again, _ = run(folder, rows, tmp_path / "two", dropout=0.3, full=full)
    assert third.resumed_at == 6
    assert same(again, whole)
    assert third.loss == second.loss


def test_dropout_and_seed_matter(folder, rows, tmp_path):
    _, plain, _ = run(folder, rows, tmp_path / "a")
    _, dropped, _ = run(folder, rows, tmp_path / "b", dropout=0.3)
    assert not same(plain, dropped)
    before = torch.random.get_rng_state()
    _, again, _ = run(folder, rows, tmp_path / "c", dropout=0.3)
    assert same(dropped, again)
    assert torch.equal(before, torch.random.get_rng_state())  # the caller's generator is left alone


def checkpoints(place: Path) -> list[Path]:
    return sorted((place / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("fault", ["no note", "cut state", "flipped bit", "no state", "note is no JSON", "no folder"])
def test_a_checkpoint_is_complete_or_ignored(folder, rows, tmp_path, fault):
    _, whole, _ = run(folder, rows, tmp_path / "whole")
    run(folder, rows, tmp_path / "hurt", stop_at=4)
    assert [place.name for place in checkpoints(tmp_path / "hurt")] == ["step-00000002", "step-00000004"]
    newest = checkpoints(tmp_path / "hurt")[-1]
    state, note = newest / "state.safetensors", newest / "checkpoint.json"
    data = bytearray(state.read_bytes())
    if fault == "no note":
        note.unlink()
    elif fault == "cut state":
        state.write_bytes(data[:-100])
    elif fault == "flipped bit":
        data[-1] ^= 1
        state.write_bytes(data)
    elif fault == "no state":
        state.unlink()
    elif fault == "note is no JSON":
        note.write_text("{")
    else:
        for file in (state, note):
            file.unlink()
        newest.rmdir()
    trained, rest, _ = run(folder, rows, tmp_path / "hurt")
    assert trained.resumed_at == 2
    assert same(rest, whole)


def test_another_training_is_refused(folder, rows, tmp_path):
    run(folder, rows, tmp_path, stop_at=2)
    for change in ({"settings": replace(SETTINGS, learning_rate=3e-3)}, {"key": "other base"}):
        with pytest.raises(RunError, match="another training"):
            run(folder, rows, tmp_path, **change)
    with pytest.raises(RunError, match="another training"):
        run(folder, rows[1:], tmp_path)


VICTIM = """
import logging, sys, torch
from pathlib import Path
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from tests.training.test_loop import SETTINGS, run
from tests.training.world import training_rows
from dataclasses import replace
folder, pictures, place = map(Path, sys.argv[1:])
settings = replace(SETTINGS, epochs=10, checkpoint_every=1)
run(folder, training_rows(pictures), place, settings=settings, dropout=0.3)
"""


def test_a_killed_training_goes_on_where_its_last_checkpoint_was(folder, tmp_path):
    (tmp_path / "pictures").mkdir()
    rows = training_rows(tmp_path / "pictures")
    arguments = [sys.executable, "-c", VICTIM, str(folder), str(tmp_path / "pictures"), str(tmp_path / "killed")]
    victim = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 200
        while len(checkpoints(tmp_path / "killed")) < 2 and time.monotonic() < deadline and victim.poll() is None:
            time.sleep(0.005)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    settings = replace(SETTINGS, epochs=10, checkpoint_every=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _, whole, _ = run(folder, rows, tmp_path / "whole", settings=settings, dropout=0.3)
        trained, rest, _ = run(folder, rows, tmp_path / "killed", settings=settings, dropout=0.3)
    finally:
        torch.set_num_threads(threads)
    assert 0 < trained.resumed_at < trained.steps == 30
    assert same(rest, whole)


def test_a_picture_that_goes_bad_in_the_middle_stops_nothing(folder, rows, tmp_path):
    gone = [replace(row, images=(tmp_path / "gone.png",)) if row.id in ("r2", "r5") else row for row in rows]
    trained, _, _ = run(folder, gone, tmp_path / "run")
    assert sorted(one.id for one in trained.set_aside) == ["r2", "r5"]
    assert trained.finished
    none = [replace(row, images=(tmp_path / "gone.png",)) for row in rows]
    trained, weights, _ = run(folder, none, tmp_path / "none")
    assert trained.answer_tokens == 0
    untouched = trainable(fresh(folder)[0])
    assert same(weights, {name: weight.detach() for name, weight in untouched.items()})


def test_an_objective_of_ones_own(folder, rows, tmp_path):
    seen = []

    def objective(model, batches, accelerator):
        seen.append(sum(len(batch.rows) for batch in batches))
        loss = sum(weight.square().sum() for weight in trainable(accelerator.unwrap_model(model)).values())
        accelerator.backward(loss)
        return {"loss": float(loss.detach()), "kl": 1.0}

    trained, _, _ = run(folder, rows, tmp_path, objective=objective)
    assert sorted(seen[:3]) == sorted(seen[3:]) == [2, 3, 3]
    lines = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert {line["kl"] for line in lines} == {1.0}
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert trained.finished


def test_a_loss_that_is_not_finite_stops_with_a_remedy(folder, rows, tmp_path):
    def objective(model, batches, accelerator):
        return {"loss": float("nan")}

    with pytest.raises(RunError, match="smaller learning rate"):
        run(folder, rows, tmp_path, objective=objective)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}, {"precision": "fp16"}]
)
def test_settings_that_make_no_sense(folder, rows, tmp_path, change):
    with pytest.raises(InputError):
        run(folder, rows, tmp_path, settings=replace(SETTINGS, **change))
    with pytest.raises(InputError, match="no usable training row"):
        run(folder, [], tmp_path)


def test_gradient_checkpointing_gives_the_same(folder, rows, tmp_path):
    _, plain, _ = run(folder, rows, tmp_path / "a")
    _, again, (model, _) = run(folder, rows, tmp_path / "b", settings=replace(SETTINGS, gradient_checkpointing=True))
    for name, weight in plain.items():
        torch.testing.assert_close(weight, again[name], atol=1e-5, rtol=1e-4)
    assert not model.is_gradient_checkpointing


def test_no_checkpoint_where_none_is_asked_for(folder, rows, tmp_path):
    run(folder, rows, tmp_path, settings=replace(SETTINGS, checkpoint_every=0))
    assert not checkpoints(tmp_path)
    model, _ = fresh(folder)
    assert load_checkpoint(tmp_path / "checkpoints", trainable(model), None, key="") is None


TWO_PROCESSES = """
import logging, sys, torch
from pathlib import Path
from safetensors.torch import save_file
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from tests.training.test_loop import SETTINGS, run
from tests.training.world import training_rows
folder, pictures, place = map(Path, sys.argv[1:])
_, weights, _ = run(folder, training_rows(pictures, 7), place)
if torch.distributed.get_rank() == 0:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, place / "weights.safetensors")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives(folder, tmp_path):
    from safetensors.torch import load_file

    (tmp_path / "pictures").mkdir()
    rows = training_rows(tmp_path / "pictures", 7)
    _, one, _ = run(folder, rows, tmp_path / "one")
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29541"]
    arguments = [str(tmp_path / "two.py"), str(folder), str(tmp_path / "pictures"), str(tmp_path / "two")]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "ACCELERATE_USE_CPU": "1"}
    subprocess.run([*launch, *arguments], cwd=root, env=environment, check=True, timeout=240)
    two = load_file(tmp_path / "two" / "weights.safetensors")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-4, rtol=1e-3)
