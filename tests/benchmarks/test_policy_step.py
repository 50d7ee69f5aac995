"""The benchmark of a policy step times what it says: whole steps, in parts, of a model of the shape it names."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from benchmarks.policy_loop import Sizes, Took, drawn_rewards, each_alone, ours
from benchmarks.policy_model import SHAPES, SPECIAL, config_of, save_model, tokenizer_of, triplets_in
from benchmarks.policy_smoke_gpu import operations
from benchmarks.policy_step import HEADER, Way, cells, measure, report

from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.tapo import TapoSettings
from fgvr.mllm.local import LocalMllm
from fgvr.training.rollout import Sampling
from fgvr.training.sights import Sight, Sights

SIZES = Sizes(prompts=1, replies=2, tokens=3, micro=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), SHAPES["tiny"])


@pytest.mark.parametrize("name", ["tiny", "3b"])
def test_the_weights_of_a_shape_are_those_of_its_language_model(name: str) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    shape = SHAPES[name]
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(shape, {one: 4 + i for i, one in enumerate(SPECIAL)}))
    layers = [one for key, one in model.named_parameters() if "language_model.layers" in key and one.ndim == 2]
    head = model.get_output_embeddings().weight
    assert sum(one.numel() for one in layers) + head.numel() == shape.weights
    assert (head is model.get_input_embeddings().weight) == shape.tied


def test_a_prompt_has_the_picture_tokens_of_the_shape(source: Path, tmp_path: Path) -> None:
    shape = SHAPES["tiny"]
    (triplet,) = triplets_in(tmp_path, 1, side=shape.side)
    mllm = LocalMllm(str(source), device="cpu")
    inputs, (length,) = Sights(mllm).inputs([Sight(train_prompt(triplet.question, style="short"), triplet.anchor)])
    picture = tokenizer_of(shape).convert_tokens_to_ids("<|image_pad|>")
    assert int((inputs["input_ids"] == picture).sum()) == shape.picture_tokens < length


def test_a_step_generates_all_tokens_and_its_parts_add_up(source: Path, tmp_path: Path) -> None:
    triplets = triplets_in(tmp_path, 1, side=SHAPES["tiny"].side)
    ticks = iter(range(1000))
    found = {}
    for name, objective in {"dapo": TapoSettings.dapo(), "released": TapoSettings.tapo("official_code")}.items():
        step = ours(
            source, triplets, SIZES, tmp_path / name, objective=objective, clock=lambda: float(next(ticks))
        )  # fmt: skip
        found[name] = step()
        assert found[name].tokens == SIZES.generated
    # One clock tick at each beginning and end: the step, the replies, and one pass of scores.
    for took in found.values():
        assert (took.seconds, took.generate, took.score, took.update) == (5.0, 1.0, 1.0, 3.0)


def test_replies_that_may_end_are_shorter(source: Path, tmp_path: Path) -> None:
    triplets = triplets_in(tmp_path, 1, side=SHAPES["tiny"].side)
    sizes = Sizes(prompts=1, replies=4, tokens=12, micro=4)
    step = ours(source, triplets, sizes, tmp_path / "run", objective=TapoSettings.dapo(), ends=1024)
    assert 4 <= step().tokens < sizes.generated


def test_prompts_for_every_reply_are_regrouped() -> None:
    def engine(asked, counts, how, seed):  # type: ignore[no-untyped-def]
        assert set(counts) == {1}
        return [[(sight, place)] for place, sight in enumerate(asked)]

    found = each_alone(engine)(["a", "b", "c"], [2, 0, 1], Sampling(), 0)
    assert found == [[("a", 0), ("a", 1)], [], [("c", 2)]]


def test_every_other_reward_is_one_of_a_right_answer() -> None:
    reward = drawn_rewards()
    assert [reward("x", "y").accuracy for _ in range(4)] == [1.0, 0.0, 1.0, 0.0]


def test_rounds_turn_the_order_and_leave_out_the_first_step() -> None:
    called: list[str] = []

    def way(name: str) -> Way:
        def step() -> Took:
            called.append(name)
            return Took(2.0, 1.0, 0.25, 100)

        return Way(name, "LoRA", step)

    ways = [way("a"), way("b")]
    measure(ways, repeats=2)
    assert called == ["a", "b", "a", "b", "b", "a"]
    assert [len(one.took) for one in ways] == [2, 2]


def test_a_row_is_medians_for_a_token_and_ratios() -> None:
    def way(label: str, *seconds: float) -> Way:
        return Way(label, "LoRA", lambda: Took(0, 0, 0, 1), [Took(one, one / 2, one / 8, 1000) for one in seconds])

    dapo, tapo = way("DAPO", 1.0, 2.0, 9.0), way("TAPO, corrected", 3.0, 3.0, 3.0)
    row = cells(tapo, (None, dapo))
    assert row == ["TAPO, corrected", "LoRA", "3.00", "1,500", "375", "1,125", "3,000", "", "1.50"]
    text = report([dapo, tapo], [], SIZES, repeats=3)
    assert f"| {' | '.join(HEADER)} |" in text.replace(" | against TRL | against DAPO", "")
    assert "| TAPO, corrected | LoRA | 3.00 |" in text


def test_operations_are_those_counted_by_hand() -> None:
    shape, sizes = SHAPES["tiny"], Sizes(prompts=1, replies=2, tokens=3, micro=2)
    written = 2 * (2 * 10 + 6)
    assert operations(shape, sizes, prompt=10, full=True) == shape.weights * (written + 2 * 6 * 26)
    assert operations(shape, sizes, prompt=10, full=False) == shape.weights * (written + 2 * 4 * 26)
    assert math.isclose(shape.weights, 4.2e6, rel_tol=0.2)
