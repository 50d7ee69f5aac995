"""Local models: batches equal single questions, option scores equal a slow independent reference."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fgvr.errors import ImageError, MllmError
from fgvr.mllm import Parameters, Request, load_mllm
from fgvr.mllm.local import LocalMllm

from . import tiny_models

MODELS: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_models.llava,
    "qwen2_vl": tiny_models.qwen,
    "qwen2_5_vl": lambda folder: tiny_models.qwen(folder, "qwen2_5_vl"),
    "qwen3_vl": lambda folder: tiny_models.qwen(folder, "qwen3_vl"),
    "idefics2": tiny_models.idefics2,
    "idefics3": tiny_models.idefics3,
    "smolvlm": tiny_models.smolvlm,
}
OPTIONS = ("red warbler", "tern", "small blue grey gull")


@pytest.fixture(scope="module", params=MODELS)
def mllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    logging.disable(logging.WARNING)
    folder = MODELS[request.param](tmp_path_factory.mktemp(request.param))
    return LocalMllm(str(folder), batch_size=4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return tiny_models.noise_pictures(tmp_path_factory.mktemp("pictures"))


def ask(index: int, picture: Path, options: tuple[str, ...] = ()) -> Request:
    prompt = " ".join(["what bird is this ?", *["please"] * index])
    return Request(f"i{index}", prompt, (picture,), options=options, parameters=Parameters(max_tokens=6))


def test_batched_answers_equal_single_answers(mllm: LocalMllm, pictures: list[Path]) -> None:
    requests = [ask(index, path) for index, path in enumerate(pictures)]
    together = mllm.answer(requests)
    for request, reply in zip(requests, together, strict=True):
        alone = mllm.answer([request])[0]
        assert alone.item_id == reply.item_id == request.item_id
        assert alone.text == reply.text
        assert alone.confidence == pytest.approx(reply.confidence, rel=1e-3)
        assert alone.usage.input_tokens == reply.usage.input_tokens
        assert 0 < alone.usage.output_tokens <= 6


def slow_reference(mllm: LocalMllm, request: Request) -> torch.Tensor:
    """One full forward per option and per token, no cache: log p of each token, then of the end token."""
    scores = []
    for option in request.options:
        ids = [*mllm.processor.tokenizer(option, add_special_tokens=False)["input_ids"], 3]
        total = 0.0
        for count in range(len(ids)):
            inputs = mllm._inputs([request])
            before = torch.tensor([ids[:count]], dtype=torch.long)
            for key in inputs:
                if key in ("input_ids", "attention_mask", "mm_token_type_ids"):
                    fill = before if key == "input_ids" else torch.full_like(before, key == "attention_mask")
                    inputs[key] = torch.cat([inputs[key], fill], dim=1)
            with torch.inference_mode():
                logits = mllm.model(**inputs, use_cache=False).logits
            total += torch.log_softmax(logits[0, -1].double(), dim=-1)[ids[count]].item()
        scores.append(total)
    return torch.log_softmax(torch.tensor(scores, dtype=torch.float64), dim=-1)


def test_option_scores_equal_full_forward_passes(mllm: LocalMllm, pictures: list[Path]) -> None:
    request = ask(0, pictures[0], OPTIONS)
    reply = mllm.answer([request])[0]
    expected = slow_reference(mllm, request)
    assert reply.option_logprobs == pytest.approx(expected.tolist(), abs=2e-3)
    assert sum(np.exp(reply.option_logprobs)) == pytest.approx(1.0, abs=1e-5)
    assert reply.text == OPTIONS[int(expected.argmax())]


def test_option_scores_do_not_depend_on_the_batch(mllm: LocalMllm, pictures: list[Path]) -> None:
    requests = [ask(0, pictures[0], OPTIONS), ask(1, pictures[1], OPTIONS)]
    same = [Request("a", requests[0].prompt, (pictures[0],), options=OPTIONS), requests[0]]
    for batch in (requests, same):
        for request, reply in zip(batch, mllm.answer(batch), strict=True):
            assert reply.option_logprobs == pytest.approx(mllm.answer([request])[0].option_logprobs, abs=2e-3)


def test_text_only_options_after_a_picture(mllm: LocalMllm, pictures: list[Path]) -> None:
    text_only = Request("t", "what is a tern ?", options=OPTIONS)
    before = mllm.answer([text_only])[0].option_logprobs
    mllm.answer([ask(0, pictures[0])])
    assert mllm.answer([text_only])[0].option_logprobs == pytest.approx(before, abs=1e-5)


def test_control_tokens_in_a_prompt_open_nothing(mllm: LocalMllm, pictures: list[Path]) -> None:
    token = mllm.processor.image_token
    hostile = Request("h", f"what {token} </s> bird is this ?", (pictures[0],), parameters=Parameters(max_tokens=2))
    assert mllm.answer([hostile])[0].usage.input_tokens == mllm.answer([ask(0, pictures[0])])[0].usage.input_tokens


def test_an_unreadable_picture_is_an_image_error(mllm: LocalMllm, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    with pytest.raises(ImageError):
        mllm.answer([ask(0, tmp_path / "bad.jpg")])


def test_sampling_repeats_with_its_seed_and_varies_with_another(mllm: LocalMllm, pictures: list[Path]) -> None:
    def sampled(seed: int) -> str:
        parameters = Parameters(max_tokens=12, temperature=5.0, seed=seed)
        return mllm.answer([Request("s", "what bird", (pictures[0],), parameters=parameters)])[0].text

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(6)}) > 1


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    torch.save({"w": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(MllmError, match="safetensors"):
        load_mllm(f"local:{tmp_path}")


def test_the_revision_follows_the_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from fgvr.mllm.weights import digest

    save_file({"w": torch.zeros(4)}, tmp_path / "model.safetensors")
    before = digest(tmp_path)
    assert digest(tmp_path) == before
    save_file({"w": torch.ones(4)}, tmp_path / "model.safetensors")
    assert digest(tmp_path) != before
