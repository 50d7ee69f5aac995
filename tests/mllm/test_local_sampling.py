"""Several replies of a local model: each with the probability a slow reference gives it, and drawn as often."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fgvr.errors import MllmError
from fgvr.mllm import Parameters, Request, ResponseCache, ask_all
from fgvr.mllm.local import LocalMllm
from fgvr.mllm.local_sampling import chances, choose, draw, draw_halving
from fgvr.mllm.representations import image_token_id

from . import tiny_models
from .test_local import MODELS

END = 3
DRAWN = Parameters(max_tokens=6, temperature=1.0, seed=5, samples=6)


@pytest.fixture(scope="module", params=MODELS)
def mllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    logging.disable(logging.WARNING)
    return LocalMllm(str(MODELS[request.param](tmp_path_factory.mktemp(request.param))), batch_size=4)


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    return LocalMllm(str(tiny_models.llava(tmp_path_factory.mktemp("one"))), batch_size=4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny_models.noise_pictures(tmp_path_factory.mktemp("pictures"))


def ask(*images: Path, **more: Any) -> Request:
    return Request("i", "what bird is this ?", images, parameters=replace(DRAWN, **more))


def next_logprobs(mllm: LocalMllm, request: Request, before: list[int]) -> torch.Tensor:
    """(V,) float64 after the prompt and ``before``: one whole pass, no cache, as in training."""
    inputs, tail = mllm._inputs([request]), torch.tensor([before], dtype=torch.long)
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if key in inputs:
            more = tail if key == "input_ids" else torch.full_like(tail, key == "attention_mask")
            inputs[key] = torch.cat([inputs[key], more], dim=1)
    with torch.inference_mode():
        if not request.images and mllm.model.config.model_type.startswith("qwen"):
            inputs["position_ids"] = torch.arange(inputs["input_ids"].shape[1]).expand(3, 1, -1)
        logits = mllm.model(**inputs, use_cache=False).logits
    return torch.log_softmax(logits[0, -1].double(), dim=-1)


def tokens_of(mllm: LocalMllm, request: Request) -> list[list[int]]:
    parameters = request.parameters
    with torch.inference_mode():
        drawn = draw(
            mllm.model,
            mllm._inputs([request]),
            chances(parameters),
            temperature=parameters.temperature,
            ends=mllm._ends,
        )
    return [each.tokens for each in drawn]


def readable(mllm: LocalMllm, requests: list[Request]) -> Request:
    """The first whose replies hold no picture's token: a whole pass over such a reply would want that picture."""
    token = image_token_id(mllm)
    return next(one for one in requests if all(token not in tokens for tokens in tokens_of(mllm, one)))


@pytest.mark.parametrize(("seen", "temperature"), [(True, 2.5), (False, 1.0)], ids=["picture", "text only"])
def test_probabilities_are_the_models_at_temperature_one(
    mllm: LocalMllm, pictures: list[Path], seen: bool, temperature: float
) -> None:
    """Token by token, by whole passes: the probability of every reply, its end included, and the token drawn."""
    images = pictures[1:2] if seen else []
    request = readable(mllm, [ask(*images, temperature=temperature, samples=3, max_tokens=4, seed=s) for s in range(9)])
    mllm.answer([ask(pictures[0])])  # what a model keeps of another picture must not matter
    reply, uniform = mllm.answer([request])[0], chances(request.parameters)
    assert len(reply.samples) == 3
    for row, (tokens, sample) in enumerate(zip(tokens_of(mllm, request), reply.samples, strict=True)):
        total = 0.0
        for step, token in enumerate(tokens):
            logprobs = next_logprobs(mllm, request, tokens[:step])
            total += logprobs[token].item()
            share = torch.softmax(logprobs / temperature, dim=-1).cumsum(dim=-1)
            assert share[token] >= uniform[row, step] - 1e-3
            assert token == 0 or share[token - 1] <= uniform[row, step] + 1e-3
        assert sample.logprob == pytest.approx(total, abs=2e-3)
        assert sample.finish == ("stop" if tokens[-1] == END else "length")
        kept = tokens[:-1] if tokens[-1] == END else tokens
        assert sample.text == mllm.processor.tokenizer.decode(kept, skip_special_tokens=True).strip()


def test_the_reply_speaks_of_its_likeliest_sample(mllm: LocalMllm, pictures: list[Path]) -> None:
    request = ask(pictures[0], samples=8, max_tokens=3)
    reply, tokens = mllm.answer([request])[0], tokens_of(mllm, request)
    finished = [at for at, sample in enumerate(reply.samples) if sample.text and sample.finish == "stop"]
    pool = finished or [at for at, sample in enumerate(reply.samples) if sample.text]
    best = max(pool, key=lambda at: reply.samples[at].logprob or 0.0)
    assert (reply.text, reply.finish) == (reply.samples[best].text, reply.samples[best].finish)
    logprob = reply.samples[best].logprob
    assert logprob is not None
    assert reply.confidence == pytest.approx(np.exp(logprob / len(tokens[best])))
    assert reply.usage.output_tokens == sum(map(len, tokens))
    assert reply.usage.input_tokens == mllm.answer([replace(request, parameters=Parameters(1))])[0].usage.input_tokens
    assert reply.usage.calls == 1


def test_a_seed_decides_whatever_else_is_asked(mllm: LocalMllm, pictures: list[Path]) -> None:
    def three(at: int, seed: int = 5) -> Request:
        return replace(ask(pictures[at], samples=3, max_tokens=3, seed=seed), item_id=f"{at}-{seed}")

    requests = [three(0), three(1), three(0, seed=6)]
    alone = [mllm.answer([request])[0].samples for request in requests]
    greedy = Request("greedy", "what bird is this ?", (pictures[2],), parameters=Parameters(3))
    torch.manual_seed(99)
    together = mllm.answer([requests[2], greedy, *requests[:2], replace(requests[0], item_id="twin")])
    assert [reply.samples for reply in together] == [alone[2], (), *alone[:2], alone[0]]
    assert len(set(alone)) == 3
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(99)).item()


def test_replies_are_drawn_as_often_as_they_are_likely(llava: LocalMllm, pictures: list[Path]) -> None:
    """2,000 first tokens against the exact distribution: no top-k, no top-p (more than 50 tokens, all of weight)."""
    request = ask(pictures[0], samples=2000, max_tokens=1, temperature=3.0)
    counts = Counter(tokens[0] for tokens in tokens_of(llava, request))
    expected = torch.softmax(next_logprobs(llava, request, []) / 3.0, dim=-1).numpy()
    seen = np.array([counts[token] for token in range(len(expected))])
    assert seen.sum() == 2000
    # Chi square over tokens expected five times at least, the others joined; 3 standard deviations above its mean.
    common = expected * 2000 >= 5
    cells = [*zip(seen[common], 2000 * expected[common], strict=True)]
    cells += [(seen[~common].sum(), 2000 * expected[~common].sum())] if (~common).any() else []
    square = sum((got - due) ** 2 / max(due, 1e-9) for got, due in cells)
    assert square < (len(cells) - 1) + 3 * (2 * (len(cells) - 1)) ** 0.5


def test_no_token_is_out_of_reach_and_none_of_no_chance_is_drawn() -> None:
    logprobs = torch.log(torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]])).expand(5, -1)
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.999999, 1 - 2**-53], dtype=torch.float64)
    assert choose(logprobs, uniform, temperature=1.0).tolist() == [1, 1, 3, 3, 3]
    many = torch.log_softmax(torch.zeros(1, 60), dim=-1).expand(60, -1)
    middles = (torch.arange(60, dtype=torch.float64) + 0.5) / 60
    assert choose(many, middles, temperature=1.0).tolist() == list(range(60))


def test_scores_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(MllmError, match="not numbers"):
        choose(torch.full((1, 3), float("nan")), torch.zeros(1, dtype=torch.float64), temperature=1.0)


def test_the_picture_is_encoded_once(llava: LocalMllm, pictures: list[Path]) -> None:
    seen: list[int] = []
    vision = llava.model.model.vision_tower
    hook = vision.register_forward_hook(lambda module, args, output: seen.append(output.last_hidden_state.shape[0]))
    try:
        assert len(llava.answer([ask(pictures[0], samples=5)])[0].samples) == 5
    finally:
        hook.remove()
    assert seen == [1]


class Cramped:
    """A model with memory for so many replies at once: the error comes where more are taken on."""

    def __init__(self, model: Any, most: int) -> None:
        self.whole, self.most, self.passes = model, most, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def __call__(self, **inputs: Any) -> Any:
        rows = len(inputs["input_ids"])
        self.passes.append(rows)
        if rows > self.most:
            raise torch.OutOfMemoryError("no memory")
        return self.whole(**inputs)


def test_memory_for_fewer_replies_gives_the_same_replies(mllm: LocalMllm, pictures: list[Path]) -> None:
    request = ask(pictures[0], samples=7)
    arguments = {"temperature": 1.0, "ends": mllm._ends}
    with torch.inference_mode():
        inputs, uniform, cramped = mllm._inputs([request]), chances(request.parameters), Cramped(mllm.model, 2)
        whole = draw(mllm.model, inputs, uniform, **arguments)
        parts = draw_halving(cramped, inputs, uniform, **arguments)
        assert max(cramped.passes) > 2
        assert [each.tokens for each in parts] == [each.tokens for each in whole]
        for part, one in zip(parts, whole, strict=True):
            assert part.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def test_no_memory_for_one_reply_is_an_error_with_a_remedy(
    llava: LocalMllm, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llava, "model", Cramped(llava.model, 0))
    with pytest.raises(MllmError, match="out of memory") as caught:
        llava.answer([ask(pictures[0]), ask(pictures[1])])
    assert "max_side" in str(caught.value)


def test_seeded_samples_are_cached_and_unseeded_ones_are_not(
    llava: LocalMllm, pictures: list[Path], tmp_path: Path
) -> None:
    with ResponseCache(tmp_path / "c") as cache:
        first = ask_all([ask(pictures[0])], llava, cache=cache).replies["i"]
        again = ask_all([replace(ask(pictures[0]), item_id="j")], llava, cache=cache).replies["j"]
        assert (again.samples, again.text, again.cached) == (first.samples, first.text, True)
        ask_all([ask(pictures[0], seed=None)], llava, cache=cache)
        assert len(cache) == 1
