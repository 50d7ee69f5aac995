"""Sampled replies: transformers' own where greedy, the model's own probabilities where drawn."""

from __future__ import annotations

import copy
import logging
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from fgvr.errors import InputError, MllmError, RunError
from fgvr.mllm import Request
from fgvr.mllm.local import LocalMllm
from fgvr.training import rollout
from fgvr.training.rollout import Sampling, TransformersEngine, placeholders
from fgvr.training.sights import Sight, Sights
from tests.mllm.test_local import MODELS

from .test_sights import alone, asked, frozen
from .world import pictures

GREEDY = Sampling(temperature=0, max_tokens=8)
NEVER = 10**6
"""No token has this id: replies do not end."""


@pytest.fixture(scope="module", params=MODELS)
def mllm(request, base) -> LocalMllm:
    return frozen(base(request.param))


@pytest.fixture(scope="module")
def llava(base) -> LocalMllm:
    return frozen(base("llava"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Sight]:
    return asked(pictures(tmp_path_factory.mktemp("shown")))


def engine(mllm: LocalMllm) -> TransformersEngine:
    return TransformersEngine(mllm, Sights(mllm))


def ending(monkeypatch, mllm: LocalMllm, ends: list[int]) -> None:
    generation = copy.deepcopy(mllm._generation)
    generation.eos_token_id = ends
    monkeypatch.setattr(mllm, "_generation", generation)


def generated(mllm: LocalMllm, sight: Sight) -> tuple[int, ...]:
    """What transformers' ``generate`` writes, its end token included, without placeholders."""
    config = copy.deepcopy(mllm._generation)
    config.max_new_tokens, config.suppress_tokens = GREEDY.max_tokens, placeholders(mllm)
    inputs = mllm._inputs([Request("", sight.prompt, (sight.picture,))])
    with torch.no_grad():
        tokens = mllm.model.generate(**inputs, generation_config=config)[0, inputs["input_ids"].shape[1] :].tolist()
    ends = [place for place, token in enumerate(tokens) if token in mllm._ends]
    return tuple(tokens[: ends[0] + 1] if ends else tokens)


def test_greedy_replies_are_those_of_generate(mllm, rows, monkeypatch):
    logging.disable(logging.WARNING)
    write = engine(mllm)
    ending(monkeypatch, mllm, [NEVER])
    never = [generated(mllm, row) for row in rows]
    assert [one[0].tokens for one in write(rows, [1, 1, 1], GREEDY, 0)] == never
    assert not any(one[0].ended for one in write(rows, [1, 1, 1], GREEDY, 0))
    # An end that one reply meets early: it leaves the batch, and the others go on as if it had never been there.
    ending(monkeypatch, mllm, [3, never[0][1]])
    expected = [generated(mllm, row) for row in rows]
    assert len(expected[0]) <= 2
    found = write(rows, [2, 1, 3], GREEDY, 0)
    assert [len(one) for one in found] == [2, 1, 3]
    for replies, tokens in zip(found, expected, strict=True):
        assert {one.tokens for one in replies} == {tokens}
        assert {one.ended for one in replies} == {tokens[-1] in mllm._ends}
    for row, tokens in zip(rows, expected, strict=True):  # without padding
        assert write([row], [1], GREEDY, 0)[0][0].tokens == tokens


@pytest.mark.parametrize("leaving", [0.01, 0.25, 1.0])
def test_when_finished_replies_leave_changes_no_reply(llava, rows, monkeypatch, leaving):
    ending(monkeypatch, llava, [NEVER])
    never = [one[0].tokens for one in engine(llava)(rows, [1, 1, 1], GREEDY, 0)]
    ending(monkeypatch, llava, [never[0][1], never[1][3]])
    expected = [generated(llava, row) for row in rows]
    monkeypatch.setattr(rollout, "LEAVING", leaving)
    sizes = []
    real = llava.model.forward
    monkeypatch.setattr(llava.model, "forward", lambda *a, **k: sizes.append(len(k["input_ids"])) or real(*a, **k))
    found = engine(llava)(rows, [1, 1, 1], GREEDY, 0)
    assert [one[0].tokens for one in found] == expected
    assert (min(sizes) < 3) == (leaving < 1)


def test_prompts_of_models_without_padding_go_by_length(llava, rows, monkeypatch):
    expected = [one[0].tokens for one in engine(llava)(rows, [1, 1, 1], GREEDY, 0)]
    monkeypatch.setattr(rollout, "paddable", lambda _: False)
    masks = []
    real = llava.model.forward

    def forward(*given, **named):
        masks.append(named.get("attention_mask"))
        return real(*given, **named)

    monkeypatch.setattr(llava.model, "forward", forward)
    assert [one[0].tokens for one in engine(llava)(rows, [1, 1, 1], GREEDY, 0)] == expected
    assert all(mask is None or bool(mask.all()) for mask in masks)


def test_counts_and_groups(llava, rows):
    write = engine(llava)
    how = Sampling(max_tokens=3)
    assert [len(one) for one in write(rows, [2, 0, 5], how, 0)] == [2, 0, 5]
    assert write(rows, [0, 0, 0], how, 0) == [[], [], []]
    assert write([], [], how, 0) == []
    for batch, expected in ((1, [[0], [1], [2]]), (4, [[0, 1], [2]]), (5, [[0, 1], [2]]), (9, [[0, 1, 2]])):
        assert list(write._groups(rows, [2, 2, 5], batch)) == expected


def test_the_seed_decides(llava, rows):
    write, how = engine(llava), Sampling(max_tokens=6)
    before = torch.random.get_rng_state()
    first = write(rows, [3, 3, 3], how, 7)
    assert write(rows, [3, 3, 3], how, 7) == first
    assert write(rows, [3, 3, 3], how, 8) != first
    assert len({one.tokens for one in first[0]}) > 1
    assert torch.equal(before, torch.random.get_rng_state())


def probabilities(logits: torch.Tensor, ruled_out: list[int], temperature: float = 1.0, top_p: float = 1.0):
    """The distribution by its definition: the likeliest tokens until their mass reaches top-p, renormalised."""
    scores = logits.double().clone()
    scores[ruled_out] = -torch.inf
    p = (scores / temperature).softmax(0)
    kept, mass = [], 0.0
    for token in p.argsort(descending=True).tolist():
        if mass >= top_p:
            break
        kept.append(token)
        mass += float(p[token])
    nucleus = torch.zeros_like(p)
    nucleus[kept] = p[kept]
    return nucleus / nucleus.sum()


def assert_drawn_from(tokens: list[int], expected: torch.Tensor) -> None:
    counts = torch.zeros_like(expected)
    for token, count in Counter(tokens).items():
        counts[token] = count
    assert not bool(counts[expected == 0].any())
    usual = expected * len(tokens) >= 5
    rest = expected[~usual].sum() * len(tokens)
    seen, wanted = [*counts[usual].tolist()], [*(expected[usual] * len(tokens)).tolist()]
    if rest >= 1:
        seen, wanted = [*seen, float(counts[~usual].sum())], [*wanted, float(rest)]
    scale = sum(seen) / sum(wanted)
    assert chisquare(seen, [one * scale for one in wanted]).pvalue > 1e-3


@pytest.mark.parametrize(
    "how",
    [Sampling(1.0, 1.0, 2), Sampling(2.5, 1.0, 1), Sampling(1.0, 0.6, 1), Sampling(1.5, 0.8, 1)],
    ids=["plain", "hot", "nucleus", "both"],
)
def test_tokens_are_drawn_from_the_models_own_distribution(llava, rows, monkeypatch, how):
    ending(monkeypatch, llava, [NEVER])
    row, never = rows[0], placeholders(llava)
    replies = [one.tokens for one in engine(llava)([row], [4000], how, 1)[0]]
    logits = alone(llava, row, [])[-1]
    assert_drawn_from([one[0] for one in replies], probabilities(logits, never, how.temperature, how.top_p))
    if how.max_tokens > 1:
        (first, count), *_ = Counter(one[0] for one in replies).most_common(1)
        assert count > 300
        after = probabilities(alone(llava, row, [first])[-1], never, how.temperature, how.top_p)
        assert_drawn_from([one[1] for one in replies if one[0] == first], after)


def test_placeholders_are_never_sampled(mllm, rows):
    how = Sampling(temperature=1e6, top_p=1.0, max_tokens=4)
    drawn = {token for one in engine(mllm)(rows[:1], [300], how, 0)[0] for token in one.tokens}
    never, size = set(placeholders(mllm)), len(mllm.processor.tokenizer)
    assert never
    assert not drawn & never
    assert len(drawn) > 0.9 * (size - len(never))


def test_ends_and_texts(llava, rows, monkeypatch):
    how = Sampling(temperature=1e6, top_p=1.0, max_tokens=5)
    replies = engine(llava)(rows[:1], [200], how, 0)[0]
    tokenizer = llava.processor.tokenizer
    for one in replies:
        assert one.ended == (one.tokens[-1] == 3)
        assert one.ended or len(one.tokens) == 5
        assert 3 not in one.tokens[:-1]
        assert one.text == tokenizer.decode([t for t in one.tokens if t > 3])
    assert {one.ended for one in replies} == {True, False}


def test_out_of_memory_halves_prompts_and_then_replies(llava, rows, monkeypatch):
    expected = engine(llava)(rows, [3, 1, 2], GREEDY, 0)
    real, tried = rollout.written, []

    def short(mllm, sights, asked, counts, how):
        tried.append(list(counts))
        if sum(counts) > 2:
            raise torch.OutOfMemoryError("too much")
        return real(mllm, sights, asked, counts, how)

    monkeypatch.setattr(rollout, "written", short)
    assert engine(llava)(rows, [3, 1, 2], GREEDY, 0) == expected
    assert tried == [[3, 1, 2], [3], [1], [2], [1, 2], [1], [2]]

    def never(*given):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(rollout, "written", never)
    with pytest.raises(MllmError, match="fewer max_tokens"):
        engine(llava)(rows, [3, 1, 2], GREEDY, 0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_weights_that_are_no_numbers_are_an_error_of_their_own(base, rows, temperature):
    mllm = LocalMllm(str(base("llava")))
    with torch.no_grad():
        mllm.model.get_output_embeddings().weight[5] = float("nan")
    with pytest.raises(RunError, match="smaller learning rate"):
        engine(mllm)(rows, [1, 1, 1], Sampling(temperature, max_tokens=2), 0)


@pytest.mark.parametrize("how", [Sampling(-1.0), Sampling(top_p=0), Sampling(top_p=1.1), Sampling(max_tokens=0)])
def test_sampling_that_makes_no_sense(llava, rows, how):
    with pytest.raises(InputError, match="sampling"):
        engine(llava)(rows, [1, 1, 1], how, 0)
