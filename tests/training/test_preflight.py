"""Preflight: what it counts is what training then does, and it changes nothing."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from fgvr.errors import InputError
from fgvr.mllm.local import LocalMllm
from fgvr.training import Collator, Lora, TrainSettings, preflight, prepare_model, train
from fgvr.training.lora import trainable
from tests.mllm import tiny_models

from .world import training_rows

SETTINGS = TrainSettings(1e-2, epochs=2, batch_size=3, micro_batch=2, precision="no")


@pytest.fixture(scope="module")
def mllm(tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    logging.disable(logging.WARNING)
    return LocalMllm(str(tiny_models.llava(tmp_path_factory.mktemp("llava"))))


@pytest.fixture(scope="module")
def model(mllm):
    return prepare_model(mllm, Lora(rank=4), seed=0)


def test_the_counts_are_those_of_the_training(mllm, model, tmp_path):
    rows = training_rows(tmp_path)
    bad = replace(rows[0], id="bad", images=(tmp_path / "gone.png",))
    before = {name: weight.detach().clone() for name, weight in trainable(model).items()}
    ahead = preflight(model, [bad, *rows], Collator(mllm), settings=SETTINGS)
    assert all(torch.equal(weight, before[name]) for name, weight in trainable(model).items())
    assert all(weight.grad is None for weight in model.parameters())
    assert ahead.rows == tuple(rows)
    assert [(one.id, one.reason) for one in ahead.set_aside] == [("bad", "missing")]
    # Two blocks of seven linear layers: rank x (in + out) each, by hand.
    layers = {"q": (32, 32), "k": (32, 16), "v": (32, 16), "o": (32, 32), "gate": (32, 48), "up": (32, 48)}
    by_hand = 2 * 4 * sum(map(sum, [*layers.values(), (48, 32)]))
    assert ahead.trainable == by_hand
    assert ahead.optimiser_bytes == 12 * by_hand
    assert ahead.weights_bytes == 4 * ahead.parameters
    assert ahead.seconds == pytest.approx(ahead.steps * ahead.seconds_per_step)
    assert ahead.bytes == ahead.weights_bytes + ahead.optimiser_bytes + ahead.activation_bytes
    trained = train(model, ahead.rows, Collator(mllm), settings=SETTINGS, folder=tmp_path / "run", seed=0)
    assert trained.steps == ahead.steps == 6


def test_time_may_be_unknown_and_memory_follows_the_settings(mllm, model, tmp_path):
    rows = training_rows(tmp_path)
    plain = preflight(model, rows, Collator(mllm), settings=SETTINGS, timed_steps=0)
    assert plain.seconds is None
    lean = preflight(
        model, rows, Collator(mllm), settings=replace(SETTINGS, gradient_checkpointing=True), timed_steps=0
    )
    thin = preflight(model, rows, Collator(mllm), settings=replace(SETTINGS, micro_batch=1), timed_steps=0)
    assert lean.activation_bytes < plain.activation_bytes
    assert thin.activation_bytes < plain.activation_bytes


def test_no_usable_row_is_an_error_before_anything_is_trained(mllm, model, tmp_path):
    rows = [replace(row, images=(tmp_path / "gone.png",)) for row in training_rows(tmp_path)]
    with pytest.raises(InputError, match="missing: 8"):
        preflight(model, rows, Collator(mllm), settings=SETTINGS)
    few = training_rows(tmp_path, 2)
    with pytest.raises(InputError, match="too long"):
        preflight(model, few, Collator(mllm, max_tokens=3), settings=SETTINGS)
