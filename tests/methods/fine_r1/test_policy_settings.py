"""The settings of reinforcement: what makes no sense is refused, what decides the weights is in the digest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fgvr.errors import InputError
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.policy_log import means, run_key
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.training.rollout import Sampling

from .reinforced import triplets_of

NAN = float("nan")


def test_the_defaults_are_those_of_the_release():
    one = PolicySettings()
    one.check()
    assert (one.rollout_batch, one.mini_rollout, one.update_batch, one.replies) == (384, 128, 128, (5, 5))
    assert (one.learning_rate, one.weight_decay, one.clip, one.schedule) == (1e-6, 1e-2, 1.0, "constant")
    assert one.sampling == Sampling(1.0, 0.99, 2048)
    assert one.steps(1808) == 48  # 10 epochs of 1,808 rows, 384 a step, the last one in part


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"rollout_batch": 0},
        {"mini_rollout": 0},
        {"update_batch": 0},
        {"micro_batch": 0},
        {"learning_rate": 0.0},
        {"learning_rate": NAN},
        {"learning_rate": float("inf")},
        {"anchors": 1, "positives": 0},
        {"anchors": -1, "positives": 5},
        {"anchors": 6, "positives": -1},
        {"weight_decay": -0.1},
        {"clip": -1.0},
        {"checkpoint_every": -1},
        {"warmup_steps": -1},
        {"precision": "fp16"},
        {"schedule": "steps"},
        {"rule": "kind"},
        {"style": "long"},
        {"sampling": Sampling(top_p=0.0)},
        {"objective": TapoSettings(gamma=-1.0)},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(change):
    with pytest.raises(InputError):
        replace(PolicySettings(), **change).check()


@pytest.mark.parametrize("intra", [True, False])
def test_without_intra_class_augmentation_the_anchor_has_all_replies(intra):
    one = replace(PolicySettings(anchors=8, positives=2), objective=TapoSettings.dapo(intra=intra))
    assert one.replies == ((8, 2) if intra else (10, 0))


def test_the_digest_knows_what_decides_the_weights(tmp_path):
    triplets, one = triplets_of(tmp_path), PolicySettings()

    def key(settings=one, rows=triplets, seed=0, base="a") -> str:
        return run_key(rows, settings, seed=seed, key=base)

    for same in ({"checkpoint_every": 1}, {"micro_batch": 1}, {"gradient_checkpointing": True}):
        assert key(replace(one, **same)) == key()
    changes = [
        {"learning_rate": 2e-6}, {"epochs": 3}, {"anchors": 4}, {"rule": "official"}, {"thinking": False},
        {"objective": TapoSettings.dapo()}, {"dynamic": DynamicSampling(tries=3)}, {"sampling": Sampling(0.5)},
        {"precision": "bf16"}, {"warmup_steps": 1},
    ]  # fmt: skip
    others = [key(replace(one, **change)) for change in changes]
    others += [key(seed=1), key(base="b"), key(rows=triplets[:-1]), key(rows=triplets[::-1])]
    first, *rest = triplets
    for change in ({"negative": None}, {"positive": None}, {"category": "tern"}, {"accepted": ("rouge",)}):
        others.append(key(rows=[replace(first, **change), *rest]))
    assert len({key(), *others}) == 1 + len(others)
    moved = [replace(one, anchor=tmp_path / "elsewhere" / one.anchor.name) for one in triplets]
    assert key(rows=moved) == key()


def test_means_are_over_the_lines_that_have_a_figure():
    lines = [{"step": 1, "kl": 1.0, "alarm": None}, {"step": 2, "kl": 3.0, "loss": 0.5, "alarm": {"kind": "x"}}]
    assert means(lines) == {"kl": 2.0, "loss": 0.5}
    assert means([]) == {}
