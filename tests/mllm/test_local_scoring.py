"""Option scores in mixed batches equal those of single questions; letters need the next token only."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgvr.mllm import Request, local_scoring
from fgvr.mllm.local import LocalMllm

from . import tiny_models
from .test_local import MODELS, slow_reference

PROMPTS = ("what bird", "what bird is this ?", "this is a large red bird please answer what bird is this ?")
NAMES = ("red warbler", "tern", "small blue grey gull", "puffin", "red", "large grey tern")


@pytest.fixture(scope="module", params=MODELS)
def mllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    return LocalMllm(str(MODELS[request.param](tmp_path_factory.mktemp(request.param))), batch_size=8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{index}.png" for index in range(3)]
    for index, (path, size) in enumerate(zip(paths, [(40, 40), (48, 24), (24, 48)], strict=True)):
        noise = np.random.default_rng(index).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return paths


def mixed(pictures: list[Path]) -> list[Request]:
    """Seven questions: prompts of three lengths, pictures of three shapes, one to six options in any order."""
    rng = np.random.default_rng(0)
    counts = (3, 1, 6, 2, 5, 4, 3)
    return [
        Request(
            str(index),
            PROMPTS[index % 3],
            (pictures[index % len(pictures)],),
            options=tuple(rng.permutation(NAMES)[:count].tolist()),
        )
        for index, count in enumerate(counts)
    ]


def one_by_one(mllm: LocalMllm, requests: list[Request]) -> list[tuple[float, ...]]:
    return [mllm.answer([request])[0].option_logprobs for request in requests]


@pytest.mark.parametrize("rows", [1, 3, 64], ids="rows={}".format)
def test_a_mixed_batch_scores_as_single_questions(
    mllm: LocalMllm, pictures: list[Path], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = mixed(pictures)
    alone = one_by_one(mllm, requests)
    monkeypatch.setattr(local_scoring, "_OPTION_ROWS", rows * len(requests))
    together = mllm.answer(requests)
    for request, reply, expected in zip(requests, together, alone, strict=True):
        assert reply.item_id == request.item_id
        assert reply.option_logprobs == pytest.approx(expected, abs=1e-4)
        assert len(reply.option_logprobs) == len(request.options)


def test_the_mixed_batch_is_one_prefill(mllm: LocalMllm, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    widths, forward = [], mllm.model.forward
    monkeypatch.setattr(
        mllm.model, "forward", lambda **inputs: widths.append(inputs["input_ids"].shape) or forward(**inputs)
    )
    requests = mixed(pictures)
    mllm.answer(requests)
    prefills = [shape for shape in widths if shape[1] > 8]
    assert [shape[0] for shape in prefills] == [len(requests)]
    assert len(widths) == 2  # seven times six options are fewer than 64 rows


def test_mixed_scores_equal_full_forward_passes(mllm: LocalMllm, pictures: list[Path]) -> None:
    requests = mixed(pictures)[:3]
    for request, reply in zip(requests, mllm.answer(requests), strict=True):
        assert reply.option_logprobs == pytest.approx(slow_reference(mllm, request).tolist(), abs=2e-3)


def letters(index: int, picture: Path, count: int) -> Request:
    return Request(f"l{index}", PROMPTS[index % 3], (picture,), options=tuple("ABCDE"[:count]))


@pytest.fixture(scope="module")
def lettered(tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    folder = tmp_path_factory.mktemp("lettered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_models, "WORDS", tiny_models.WORDS + " A B C D E")
        return LocalMllm(str(tiny_models.llava(folder)), batch_size=4)


def test_letters_are_the_next_token_of_one_pass(
    lettered: LocalMllm, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [letters(index, path, 3 + index % 3) for index, path in enumerate(pictures)]
    expected = []
    for request in requests:
        with torch.inference_mode():
            logits = lettered.model(**lettered._inputs([request])).logits[0, -1].double()
        ids = [lettered.processor.tokenizer.convert_tokens_to_ids(letter) for letter in request.options]
        expected.append(torch.log_softmax(logits[ids], dim=0).tolist())
    calls, forward = [], lettered.model.forward
    monkeypatch.setattr(lettered.model, "forward", lambda **inputs: calls.append(1) or forward(**inputs))
    for reply, wanted in zip(lettered.answer(requests), expected, strict=True):
        assert reply.option_logprobs == pytest.approx(wanted, abs=1e-4)
    assert len(calls) == 1


def test_letters_and_names_may_come_in_one_call(lettered: LocalMllm, pictures: list[Path]) -> None:
    requests = [
        each
        for pair in zip(mixed(pictures), map(letters, range(3), pictures, (2, 3, 4)), strict=False)
        for each in pair
    ]
    for request, reply in zip(requests, lettered.answer(requests), strict=True):
        assert reply.item_id == request.item_id
        assert reply.option_logprobs == pytest.approx(lettered.answer([request])[0].option_logprobs, abs=1e-4)


def test_a_model_that_is_not_paddable_gets_batches_of_one_length(
    lettered: LocalMllm, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_scoring, "PADDABLE", frozenset())
    requests = mixed(pictures)
    alone = one_by_one(lettered, requests)
    masks, forward = [], lettered.model.forward
    monkeypatch.setattr(
        lettered.model, "forward", lambda **inputs: masks.append(inputs.get("attention_mask")) or forward(**inputs)
    )
    replies = lettered.answer(requests)
    assert [reply.option_logprobs for reply in replies] == [pytest.approx(each, abs=1e-4) for each in alone]
    assert all(mask is None or bool(mask.all()) for mask in masks)


def test_text_only_questions_of_different_length(mllm: LocalMllm, pictures: list[Path]) -> None:
    requests = [Request(str(i), prompt, options=NAMES[: i + 2]) for i, prompt in enumerate(PROMPTS)]
    mllm.answer(mixed(pictures))  # Qwen-VL keeps the offsets of its last call
    for request, reply in zip(requests, mllm.answer(requests), strict=True):
        assert reply.option_logprobs == pytest.approx(mllm.answer([request])[0].option_logprobs, abs=1e-5)


def test_the_mean_divides_by_tokens_and_end(lettered: LocalMllm, pictures: list[Path]) -> None:
    request = Request("m", PROMPTS[0], (pictures[0],), options=NAMES[:3])
    total = np.array(lettered.answer([request])[0].option_logprobs)
    lettered.option_norm = "mean"
    mean = np.array(lettered.answer([request])[0].option_logprobs)
    lettered.option_norm = "sum"
    lengths = np.array([3, 2, 5])
    # Up to the constant that normalising over the options takes away.
    raw = mean * lengths
    differences = [
        (total[i] - total[j]) - (raw[i] - raw[j] + (lengths[i] - lengths[j]) * shift)
        for i, j in itertools.combinations(range(3), 2)
        for shift in [((total[0] - total[1]) - (raw[0] - raw[1])) / (lengths[0] - lengths[1])]
    ]
    assert differences == pytest.approx([0.0] * 3, abs=1e-4)
