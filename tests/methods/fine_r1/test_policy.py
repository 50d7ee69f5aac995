"""Reinforcement as a whole: it learns a rigged task, stops where nothing can be learned, and says so."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fgvr.errors import InputError, NoImagesError, RunError
from fgvr.methods.fine_r1 import policy, policy_parts, rollouts
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.monitor import MonitorSettings, Rule
from fgvr.methods.fine_r1.rewards import Reward
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.training.lora import trainable
from fgvr.training.rollout import Sampling
from tests.mllm import tiny_models

from .reinforced import KEEP_ALL, SETTINGS, Scripted, first_word, fresh, run, same, triplets_of, with_objective


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    return triplets_of(tmp_path_factory.mktemp("pictures"))


def lines(place: Path, name: str = "log.jsonl") -> list[dict]:
    return [json.loads(line) for line in (place / name).read_text().splitlines()]


def untouched(base: Path) -> dict[str, torch.Tensor]:
    return {name: weight.detach() for name, weight in trainable(fresh(base)[1]).items()}


def always(total: float, accuracy: float, form: float = 1.0):
    return lambda reply, truth, **_: Reward(total, accuracy, form, "" if accuracy else "wrong name")


SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param("dapo", marks=SLOW), "corrected", pytest.param("released", marks=SLOW)])
def test_reward_rises_on_a_task_that_can_be_learned(base, triplets, tmp_path, monkeypatch, name):
    """Two colours, two words: 30 steps, from chance among 35 words to most of the replies."""
    monkeypatch.setattr(rollouts, "reward", first_word)
    objectives = {
        "dapo": TapoSettings.intra_only(),
        "corrected": TapoSettings.tapo(),
        "released": TapoSettings.tapo("official_code"),
    }
    settings = replace(
        SETTINGS, epochs=30, rollout_batch=4, mini_rollout=4, update_batch=4, anchors=8, positives=8, micro_batch=64,
        sampling=Sampling(temperature=1.0, max_tokens=1), objective=objectives[name], dynamic=KEEP_ALL,
        checkpoint_every=0,
    )  # fmt: skip
    done, _ = run(base, triplets, tmp_path, settings=settings)
    logged = lines(tmp_path)
    assert (done.steps, done.finished, len(logged)) == (30, True, 30)
    early = sum(line["reward"] for line in logged[:3]) / 3
    assert early < 0.3
    assert done.last["reward"] > early + 0.5
    assert done.tokens == 30 * 64 == sum(line["tokens"] for line in logged)


def test_the_inter_class_term_tells_a_picture_from_its_negative(base, triplets, tmp_path, monkeypatch):
    """No advantage at all: what moves is the divergence, and it grows."""
    monkeypatch.setattr(rollouts, "reward", always(1.0, 1.0))
    base_of = replace(SETTINGS, epochs=4, dynamic=KEEP_ALL, checkpoint_every=0, learning_rate=5e-3)
    terms = {"eta1": 0.0, "eta2": 0.0, "applies_to": "all"}
    on = with_objective(base_of, gamma=1.0, **terms)
    run(base, triplets, tmp_path / "on", settings=on)
    figures = [line["kl"] for line in lines(tmp_path / "on")]
    assert sum(figures[-2:]) > 1.5 * sum(figures[:2]) > 0
    off = with_objective(base_of, gamma=0.0, **terms)
    _, weights = run(base, triplets, tmp_path / "off", settings=off, stop_at=2)
    assert same(weights, untouched(base))


@pytest.mark.parametrize(("total", "accuracy", "kind"), [(0.0, 0.0, "all_wrong"), (1.0, 1.0, "all_right")])
def test_a_constant_reward_changes_no_weight_and_stops_with_a_reason(
    base, triplets, tmp_path, monkeypatch, total, accuracy, kind
):
    monkeypatch.setattr(rollouts, "reward", always(total, accuracy))
    settings = replace(SETTINGS, weight_decay=0.1, dynamic=DynamicSampling(tries=2), sampling=Sampling(max_tokens=1))
    quiet = MonitorSettings(never_end=Rule(0.0, 0))
    done, weights = run(base, triplets, tmp_path, settings=settings, monitor=quiet)
    assert same(weights, untouched(base))
    assert (done.steps, done.finished) == (5, False)
    assert done.alarm is not None
    assert done.alarm.kind == kind
    assert done.alarm.message
    assert done.alarm.remedy
    logged = lines(tmp_path)
    assert [line["alarm"] is None for line in logged] == [True] * 4 + [False]
    assert {(line["filtered"], line["retries"], line["loss"], line["gradient"]) for line in logged} == {(1, 1, 0, 0)}
    assert {(line["kept"], line["advantage"]) for line in lines(tmp_path, "rollouts.jsonl")} == {(False, None)}
    assert (tmp_path / "checkpoints" / "step-00000005" / "checkpoint.json").exists()
    again, _ = run(base, triplets, tmp_path, settings=settings, monitor=quiet)
    assert again.alarm is not None  # going on after the alarm raises it again, at the next step
    assert (again.resumed_at, again.steps, again.alarm.kind) == (5, 6, kind)


def test_without_the_format_the_alarm_names_it(base, triplets, tmp_path):
    done, _ = run(base, triplets, tmp_path, monitor=MonitorSettings(never_end=Rule(0.0, 0)))
    assert done.alarm is not None
    assert "format" in done.alarm.message
    assert done.last["format"] == 0


def test_replies_that_never_end_stop_it(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", always(0.0, 0.0))
    mllm, model = fresh(base)
    generation = mllm._generation
    generation.eos_token_id = 10**6
    done = policy.train_policy(
        mllm, model, triplets, settings=replace(SETTINGS, epochs=8), folder=tmp_path, seed=5,
        monitor=MonitorSettings(all_wrong=Rule(0.0, 0), all_filtered=Rule(1.0, 0)),
    )  # fmt: skip
    assert done.alarm is not None
    assert done.alarm.kind == "never_end"
    assert done.last["ended"] == 0
    assert done.last["length"] == 2
    assert {line["ended"] for line in lines(tmp_path, "rollouts.jsonl")} == {False}


def test_replies_that_are_all_alike_are_warned_of(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", always(1.0, 1.0))
    watched = MonitorSettings(
        all_right=Rule(1.0, 0), never_end=Rule(0.0, 0), all_filtered=Rule(1.0, 0), duplicates=Rule(0.95, 2, stop=False)
    )
    done, _ = run(base, triplets, tmp_path, engine=Scripted(lambda *_: ("red", (10, 3))), monitor=watched)
    logged = lines(tmp_path)
    assert {line["duplicates"] for line in logged} == {1.0}
    assert [line["alarm"] and line["alarm"]["kind"] for line in logged[:3]] == [None, "duplicates", None]
    assert (done.finished, done.alarm) == (True, None)


def test_a_rate_that_is_far_too_large_ends_in_a_clear_error(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)
    settings = replace(SETTINGS, learning_rate=1e25, dynamic=KEEP_ALL, anchors=16, positives=16)
    with pytest.raises(RunError, match="not finite any more") as caught:
        run(base, triplets, tmp_path, settings=settings, monitor=MonitorSettings(never_end=Rule(0.0, 0)))
    assert "smaller learning rate" in str(caught.value)


def test_gradients_that_are_not_finite_are_not_stepped_on(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)
    real = policy.Update.__call__

    def broken(self, share, fixed):
        found = real(self, share, fixed)
        next(iter(trainable(self.model).values())).grad.fill_(float("inf"))
        return found

    monkeypatch.setattr(policy.Update, "__call__", broken)
    mllm, model = fresh(base)
    with pytest.raises(RunError, match="not finite"):
        policy.train_policy(
            mllm, model, triplets, settings=replace(SETTINGS, dynamic=KEEP_ALL), folder=tmp_path, seed=5
        )
    assert same({name: weight.detach() for name, weight in trainable(model).items()}, untouched(base))
    assert not (tmp_path / "checkpoints").exists()


def test_what_is_written_down(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)
    told = []
    script = Scripted(lambda picture, place: (picture.stem[:-1] if place < 1 else "tern", (10, 11 + place, 3)))
    done, weights = run(
        base, triplets, tmp_path, engine=script, live=lambda noted, at, total: told.append((dict(noted), at, total))
    )
    logged, replied = lines(tmp_path), lines(tmp_path, "rollouts.jsonl")
    assert [line["step"] for line in logged] == list(range(1, 9))
    names = {
        "reward", "accuracy", "format", "length", "ended", "loss", "policy", "kl", "entropy", "negative_entropy",
        "clipped", "filtered", "retries", "gradient", "rate", "tokens", "seconds", "generate_seconds", "update_seconds",
        "duplicates", "prompts",
    }  # fmt: skip
    assert names <= logged[0].keys()
    assert names | {"tokens_per_second", "seconds_a_step"} <= told[0][0].keys()
    assert [(at, total) for _, at, total in told] == [(i, 8) for i in range(1, 9)]
    assert (logged[0]["accuracy"], logged[0]["length"], logged[0]["ended"]) == (pytest.approx(1 / 3), 3, 1)
    assert len(replied) == 8 * 2 * 6
    assert {line["kept"] for line in replied} == {True}
    right = [line for line in replied if line["accuracy"]]
    # Two of six are right: (1 - 1/3) / (sqrt(4/15) + 1e-6)
    assert {round(line["advantage"], 4) for line in right} == {round((2 / 3) / (4 / 15) ** 0.5, 4)}
    assert {(line["source"], Path(line["image"]).stem == line["prompt_id"]) for line in right} == {
        ("anchor", True), ("positive", False)
    }  # fmt: skip
    assert done.tokens == sum(line["tokens"] for line in replied)
    assert not same(weights, untouched(base))


def test_every_prompt_is_seen_as_often_as_epochs_say(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)
    script = Scripted(lambda picture, place: (picture.stem[:-1] if place < 1 else "tern", (10, 3)))
    run(base, triplets, tmp_path, engine=script)
    seen = [name for asked in script.asked for name, _ in asked[::2]]
    assert sorted(seen) == sorted([one.id for one in triplets] * 4)


def test_pictures_that_cannot_be_read(base, triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(rollouts, "reward", first_word)
    script = Scripted(lambda picture, place: (picture.stem[:-1] if place < 1 else "tern", (10, 3)))
    gone = [replace(one, anchor=tmp_path / "gone.png") if one.id == "red1" else one for one in triplets]
    gone[0] = replace(gone[0], positive=tmp_path / "torn.png", negative=tmp_path / "lost.png")
    done, _ = run(base, gone, tmp_path / "run", engine=script)
    assert done.finished
    assert {one.id for one in done.set_aside} == {"gone.png", "torn.png", "lost.png"}
    assert all(one.reason for one in done.set_aside)
    with pytest.raises(NoImagesError, match="not one anchor"):
        run(base, [replace(one, anchor=tmp_path / "gone.png") for one in triplets], tmp_path / "none")


def test_what_cannot_begin(base, triplets, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no triplets"):
        run(base, [], tmp_path)
    with pytest.raises(InputError, match="make no sense"):
        run(base, triplets, tmp_path, settings=replace(SETTINGS, epochs=0))
    mllm, _ = fresh(base)
    with pytest.raises(InputError, match="no reference beside them"):
        policy.train_policy(mllm, mllm.model, triplets, settings=with_objective(kl_ref=0.1), folder=tmp_path)
    monkeypatch.setattr(policy_parts, "is_spread", lambda _: True)
    with pytest.raises(InputError, match="without FSDP"):
        run(base, triplets, tmp_path)


@pytest.mark.slow
def test_all_weights_can_be_trained_and_gradient_checkpointing_gives_the_same(base, triplets, tmp_path, monkeypatch):
    from fgvr.mllm.local import LocalMllm
    from fgvr.training import Lora, prepare_model

    monkeypatch.setattr(rollouts, "reward", first_word)
    script = Scripted(lambda picture, place: (picture.stem[:-1] if place < 1 else "tern", (10, 3)))
    found = []
    for checkpointing in (False, True):
        mllm = LocalMllm(str(base))
        model = prepare_model(mllm, Lora(full=True), seed=0)
        settings = replace(SETTINGS, learning_rate=1e-4, gradient_checkpointing=checkpointing, checkpoint_every=0)
        done = policy.train_policy(
            mllm, model, triplets, settings=settings, folder=tmp_path / str(checkpointing), engine=script, stop_at=2
        )
        assert done.steps == 2
        assert not model.training
        assert not model.is_gradient_checkpointing
        found.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
    begun = dict(LocalMllm(str(base)).model.named_parameters())
    moved = {name for name, weight in found[0].items() if not torch.equal(weight, begun[name])}
    assert any("vision_tower" in name for name in moved)
    assert any("language_model" in name for name in moved)
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=1e-3, atol=1e-4)
