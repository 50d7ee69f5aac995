"""What a run is asked: the released recipe, and what LoRA and frozen parts make of it."""

from __future__ import annotations

import pytest

from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.settings import RATES, FineR1Settings, Teaching, sft_settings, trained_weights
from fgvr.mllm import ScriptedMllm
from fgvr.training import VISION, VISION_AND_CONNECTOR
from fgvr.training.settings import steps_in_all
from fgvr.training.targets import LANGUAGE_AND_CONNECTOR, LANGUAGE_LINEAR


def test_the_released_recipe():
    sft = sft_settings()
    assert (sft.learning_rate, sft.epochs, sft.batch_size, sft.weight_decay, sft.schedule) == (
        5e-6, 10, 64, 0.1, "cosine",
    )  # fmt: skip
    assert steps_in_all(404, sft) == 70
    assert round(sft.warmup * 70) == 6
    policy = PolicySettings()
    assert (policy.learning_rate, policy.rollout_batch, policy.mini_rollout, policy.update_batch) == (
        1e-6, 384, 128, 128,
    )  # fmt: skip
    assert (policy.anchors, policy.positives, policy.sampling.temperature, policy.sampling.top_p) == (5, 5, 1.0, 0.99)
    assert PolicySettings(epochs=10).steps(1808) == 48
    assert RATES["lora"] == {"sft": 5e-5, "reinforce": 1e-5}


def test_what_is_trained():
    assert trained_weights(full=False).targets == LANGUAGE_LINEAR
    assert trained_weights(full=False, frozen="vision").targets == LANGUAGE_AND_CONNECTOR
    frozen = {
        kind: trained_weights(full=True, frozen=kind).frozen for kind in ("vision+connector", "vision", "nothing")
    }
    assert frozen == {"vision+connector": VISION_AND_CONNECTOR, "vision": VISION, "nothing": None}


@pytest.mark.parametrize(("thinking", "thinks"), [("full", True), ("short", True), ("none", False)])
def test_one_wording_in_all_stages(thinking, thinks):
    settings = FineR1Settings(style="short", thinking=thinking, policy=PolicySettings(style="paper"))
    assert (settings.reinforced().style, settings.reinforced().thinking) == ("short", thinks)


def test_a_teacher_is_known_by_name(tmp_path):
    told = Teaching(teacher=ScriptedMllm(lambda _: "x"), file=tmp_path / "r.json").as_dict()
    assert told["file"] == "r.json"
    assert told["teacher"].startswith("scripted")
    assert Teaching().as_dict()["teacher"] is None
