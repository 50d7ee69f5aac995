"""What a run takes: counts by hand, dynamic sampling against a slow simulation, memory against a real cache."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.methods.fine_r1.ahead import (
    GUESSED_LENGTH,
    MemoryAhead,
    Probe,
    ahead,
    cache_numbers,
    memory_ahead,
    prompts_a_step,
)
from fgvr.methods.fine_r1.dynamic import Collection, DynamicSampling, goes_on, taken
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.training.rollout import Sampling

SMALL = PolicySettings(
    epochs=2, rollout_batch=8, mini_rollout=4, update_batch=8, anchors=3, positives=2, dynamic=DynamicSampling(tries=5),
    sampling=Sampling(max_tokens=50, batch=10),
)  # fmt: skip
PROBE = Probe(replies=10, sampled_tokens=400, sampling_seconds=2.0, learned_tokens=200, learning_seconds=3.0)


def test_counts_by_hand():
    """20 triplets, 2 epochs, 8 a step: 5 steps; 5 replies a prompt of 40 tokens; 5 ms and 15 ms a token."""
    found = ahead(20, SMALL, probe=PROBE)
    assert (found.steps, found.prompts, found.learned_prompts, found.rollouts) == (5, 40, 40, 200)
    assert (found.length, found.measured, found.filtered) == (40.0, True, 0.0)
    assert (found.tokens, found.learned_tokens) == (8000, 8000)
    assert found.sampling_seconds == pytest.approx(40.0)
    assert found.learning_seconds == pytest.approx(120.0)
    assert found.seconds == pytest.approx(160.0)
    assert found.seconds_a_step == pytest.approx(32.0)
    assert found.epochs_seen == 2.0
    assert ahead(20, SMALL, probe=PROBE, processes=4).seconds == pytest.approx(40.0)


def test_filtered_prompts_are_asked_in_vain():
    found = ahead(20, SMALL, probe=PROBE, filtered=0.5)  # 2 of 4 kept: 4 mini rollouts of 4 for 8
    assert (found.prompts, found.learned_prompts) == (5 * 16, 5 * 8)
    assert found.sampling_seconds == pytest.approx(80.0)
    assert found.learning_seconds == pytest.approx(120.0)
    assert prompts_a_step(SMALL, filtered=0.9) == (20, 2)  # five tries and no more
    assert prompts_a_step(SMALL, filtered=1.0) == (20, 0)
    released = replace(SMALL, dynamic=DynamicSampling(tries=-1, when_none="keep_all"))
    assert prompts_a_step(released, filtered=1.0) == (8, 8)
    assert prompts_a_step(released, filtered=0.9) == (80, 8)
    assert ahead(20, SMALL, probe=replace(PROBE, filtered=0.5)) == found


@given(kept=st.integers(0, 8), mini=st.sampled_from([2, 4, 8]), wanted=st.integers(1, 40), tries=st.integers(1, 9))
def test_a_step_against_drawing_it_out(kept, mini, wanted, tries):
    """Mini rollouts one by one, each keeping the same number."""
    kept, rule = min(kept, mini), DynamicSampling(tries=tries)
    settings = replace(SMALL, rollout_batch=wanted, mini_rollout=mini, dynamic=rule)
    found = Collection(wanted=wanted)
    while goes_on(found, rule):
        scored = [(f"p{place}", [0.0, 1.0] if place < kept else [1.0]) for place in range(mini)]
        found, _ = taken(found, scored, rule)
    assert prompts_a_step(settings, filtered=1 - kept / mini) == (found.asked, len(found.kept))


def test_the_papers_setting():
    """4 shots of 452 classes, 10 epochs, 384 prompts a step: 1,808 triplets, 48 steps, 10 replies a prompt."""
    found = ahead(4 * 452, PolicySettings())
    assert (found.steps, found.rollouts) == (48, 48 * 384 * 10)
    assert (found.seconds, found.seconds_a_step, found.measured) == (None, None, False)
    assert found.length == GUESSED_LENGTH
    assert ahead(4, replace(SMALL, objective=TapoSettings.dapo())).rollouts == ahead(4, SMALL).rollouts


def test_length():
    assert ahead(20, SMALL).length == 50.0  # never beyond max_tokens
    assert ahead(20, SMALL, length=12.5, probe=PROBE).length == 12.5


def test_what_is_told():
    memory = MemoryAhead(2**30, 2**29, 0, 2**28, 0, 2**29, available=2**28)
    found = ahead(20, SMALL, probe=PROBE, memory=memory)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["steps"] == 5
    assert told["seconds"] == pytest.approx(160.0)
    assert told["memory"]["bytes"] == memory.bytes == 2 * 2**30
    assert told["problems"] == ["an estimated 1.0 GiB beside the weights (the update takes most), 0.2 GiB free"]
    assert dict(found.rows()) == {
        "triplets": "20", "steps": "5", "replies": "200 to 40 prompts", "tokens": "8 k, 40 a reply",
        "time": "3 min, 25 % of it sampling", "memory": "2.00 GiB, roughly",
    }  # fmt: skip
    plain = ahead(20, SMALL)
    assert plain.as_dict()["memory"] is None
    assert dict(plain.rows())["tokens"] == "10 k, 50 a reply (guessed)"


@pytest.mark.parametrize("options", [{"length": 0.0}, {"length": float("nan")}, {"filtered": 1.5}, {"processes": 0}])
def test_nonsense_is_refused(options):
    with pytest.raises(InputError):
        ahead(20, SMALL, **options)
    with pytest.raises(InputError):
        ahead(0, SMALL)
    with pytest.raises(InputError, match="timed nothing"):
        ahead(20, SMALL, probe=replace(PROBE, sampled_tokens=0))


@pytest.fixture(scope="module")
def mllm(tmp_path_factory):
    from fgvr.mllm.local import LocalMllm
    from tests.mllm.tiny_models import llava

    return LocalMllm(str(llava(tmp_path_factory.mktemp("tiny"))))


def test_the_cache_is_what_a_real_one_takes(mllm):
    import torch

    ids = torch.full((3, 7), 5)
    with torch.no_grad():
        cache = mllm.model.model.language_model(input_ids=ids, use_cache=True).past_key_values
    numbers = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert numbers == 3 * 7 * cache_numbers(mllm.model.config.get_text_config())


def test_memory_of_a_tuned_model(mllm):
    from fgvr.training import Lora, prepare_model
    from fgvr.training.lora import trainable

    model = prepare_model(mllm, Lora(rank=4), seed=0)
    found = memory_ahead(model, SMALL, prompt_tokens=30, vision_tokens=17)
    text = model.config.get_text_config()
    assert found.weights == sum(4 * one.numel() for one in model.parameters())
    assert found.moments == 12 * sum(one.numel() for one in trainable(model).values())
    assert found.cache == 10 * (30 + 50) * 4 * 2 * text.num_hidden_layers * text.num_key_value_heads * 8
    assert found.reference == 0
    wider = memory_ahead(model, replace(SMALL, micro_batch=8), prompt_tokens=30, vision_tokens=17)
    assert wider.activations == 2 * found.activations
    assert wider.cache == found.cache
    shorter = memory_ahead(model, SMALL, prompt_tokens=30, vision_tokens=17, reply_tokens=10)
    assert shorter.cache == found.cache / 2
    assert found.bytes == found.weights + found.needed
    assert np.isfinite(found.bytes)


def test_the_negative_with_gradient_doubles_the_graphs_and_a_reference_the_weights(mllm):
    from fgvr.training import Lora, prepare_model

    model = prepare_model(mllm, Lora(full=True), seed=0)
    released = replace(SMALL, objective=TapoSettings.tapo("official_code"))
    corrected = replace(SMALL, objective=TapoSettings.tapo("corrected"))
    one, two = (memory_ahead(model, each, prompt_tokens=30) for each in (released, corrected))
    assert two.activations == 2 * one.activations
    assert one.reference == 0
    held = replace(SMALL, objective=TapoSettings.tapo("official_code", kl_ref=0.1))
    assert memory_ahead(model, held, prompt_tokens=30).reference == one.weights
