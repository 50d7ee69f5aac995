"""Model inputs made once: the very logits of the plain path, whatever is shared, padded or forgotten."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fgvr import images
from fgvr.errors import ImageError
from fgvr.mllm import Request
from fgvr.mllm.local import LocalMllm
from fgvr.mllm.representations import without_output_layer
from fgvr.training import Lora, prepare_model
from fgvr.training.sights import SEVERAL_MAPS, Sight, Sights
from fgvr.training.targets import VISION, VISION_AND_CONNECTOR
from tests.mllm.test_local import MODELS

from .world import pictures

REPLIES = ([10, 11, 12, 13, 14], [15], [12, 3])


def frozen(folder: Path, **how) -> LocalMllm:
    """A model of which nothing is trained: pictures are shared where its kind allows it."""
    mllm = LocalMllm(str(folder), **how)
    mllm.model.requires_grad_(False)
    return mllm


@pytest.fixture(scope="module", params=MODELS)
def mllm(request, base) -> LocalMllm:
    return frozen(base(request.param))


@pytest.fixture(scope="module")
def llava(base) -> LocalMllm:
    return frozen(base("llava"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> list[Path]:
    return pictures(tmp_path_factory.mktemp("shown"))


def asked(shown: list[Path]) -> list[Sight]:
    """Three pictures of different form, three lengths of prompt."""
    return [Sight("what bird is this ?" + " please" * (2 * i), path) for i, path in enumerate(shown)]


def alone(mllm: LocalMllm, sight: Sight, reply: list[int]) -> torch.Tensor:
    """(T, V) logits of one prompt and its reply by themselves: the processor's tensors, no padding, no cache."""
    inputs = mllm._inputs([Request("", sight.prompt, (sight.picture,))])
    tail = torch.tensor([reply], dtype=torch.long)
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in inputs:
            fill = tail if name == "input_ids" else torch.full_like(tail, int(name == "attention_mask"))
            inputs[name] = torch.cat([inputs[name], fill], dim=1)
    with torch.no_grad():
        return mllm.model(**inputs, use_cache=False).logits[0]


def together(mllm: LocalMllm, sights: Sights, rows: list[Sight], replies=(), **how) -> list[torch.Tensor]:
    """The same of a batch, row by row, padding cut off."""
    inputs, starts = sights.inputs(rows, replies, **how)
    with torch.no_grad():
        logits = mllm.model(**inputs, use_cache=False).logits
    found = [row[mask.bool()] for row, mask in zip(logits, inputs["attention_mask"], strict=True)]
    tails = [len(one) for one in replies] or [0] * len(rows)
    assert starts == [len(row) - tail for row, tail in zip(found, tails, strict=True)]
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_every_prompt_by_itself(mllm, shown, side):
    rows, sights = asked(shown), Sights(mllm)
    assert sights.share == (mllm.model.config.model_type not in SEVERAL_MAPS)
    plain = Sights(mllm, share=False)
    for replies in (REPLIES, ()):
        expected = [alone(mllm, row, list(tail)) for row, tail in zip(rows, replies or [()] * 3, strict=True)]
        for found in (together(mllm, one, rows, replies, padding_side=side) for one in (sights, plain)):
            for got, wanted in zip(found, expected, strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-3)


def counted(mllm: LocalMllm, monkeypatch) -> list[int]:
    """Pictures that went through the vision tower, a call each."""
    inner, calls = without_output_layer(mllm.model), []
    real = inner.get_image_features

    def looked(*given, **named):
        calls.append(1)
        return real(*given, **named)

    monkeypatch.setattr(inner, "get_image_features", looked)
    return calls


def test_a_picture_is_looked_at_once(llava, shown, monkeypatch):
    calls, sights, rows = counted(llava, monkeypatch), Sights(llava), asked(shown)
    more = [*rows, rows[0], Sight("tern ?", rows[0].picture)]
    first = together(llava, sights, more, [*REPLIES, [10], [11]])
    again = together(llava, sights, more, [*REPLIES, [10], [11]])
    assert len(calls) == 3
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_little_memory_costs_time_and_nothing_else(llava, shown, monkeypatch):
    calls, rows = counted(llava, monkeypatch), asked(shown)
    expected = together(llava, Sights(llava), rows, REPLIES)
    calls.clear()
    small = Sights(llava, memory=1)
    for _ in range(2):
        found = together(llava, small, rows, REPLIES)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert len(small._features) == 1
        assert {one.picture for one in small._kept} == set(small._features)
    assert len(calls) == 5  # the newest picture was still there
    unshared = Sights(llava, memory=1, share=False)
    together(llava, unshared, rows)
    assert len(unshared._pictures) == 1


@pytest.mark.parametrize(
    ("lora", "shared"),
    [
        (Lora(rank=2), True),
        (Lora(full=True, frozen=VISION_AND_CONNECTOR), True),
        (Lora(full=True, frozen=VISION), False),
        (Lora(full=True), False),
        (Lora(rank=2, targets=".*(q_proj|v_proj|qkv)"), False),
    ],
    ids=["lora", "language", "connector too", "all", "lora on the tower too"],
)
@pytest.mark.parametrize("kind", ["llava", "idefics2", "qwen2_vl"])
def test_features_are_shared_where_nothing_before_the_language_model_learns(base, kind, lora, shared):
    mllm = LocalMllm(str(base(kind)))
    prepare_model(mllm, lora, seed=0)
    assert Sights(mllm).share is shared


def test_a_trained_tower_gets_its_gradient(base, shown):
    mllm = LocalMllm(str(base("llava")))
    model = prepare_model(mllm, Lora(full=True), seed=0)
    inputs, _ = Sights(mllm).inputs(asked(shown), REPLIES)
    model(**inputs).logits.logsumexp(-1).sum().backward()
    towers = [weight.grad for name, weight in model.named_parameters() if "vision_tower.embeddings" in name]
    assert any(grad is not None and bool(grad.any()) for grad in towers)


def test_a_broken_picture_is_noted_once(llava, shown, tmp_path, monkeypatch):
    broken, gone = tmp_path / "broken.png", tmp_path / "gone.png"
    broken.write_bytes(b"no picture")
    calls, real = [], images.decode
    monkeypatch.setattr(images, "decode", lambda *given, **named: calls.append(given[0]) or real(*given, **named))
    sights = Sights(llava)
    for _ in range(3):
        assert [sights.readable(one) for one in (shown[0], broken, gone)] == [True, False, False]
    assert calls == [shown[0], broken, gone]
    assert [one.id for one in sights.set_aside.values()] == ["broken.png", "gone.png"]
    assert all(one.reason for one in sights.set_aside.values())
    with pytest.raises(ImageError):
        sights.inputs([Sight("what ?", broken)])


@pytest.mark.parametrize("share", [True, False])
def test_a_picture_that_goes_away_after_it_was_read_stops_nothing(llava, tmp_path, share):
    (path, *_), sights = pictures(tmp_path), Sights(llava, share=share)
    assert sights.readable(path)
    before = together(llava, sights, [Sight("tern ?", path)])
    path.unlink()
    after = together(llava, sights, [Sight("tern ?", path)])
    assert torch.equal(before[0], after[0])


def test_features_are_those_of_inference_whatever_the_mode(base, shown):
    mllm = frozen(base("llava"))
    for layer in mllm.model.model.vision_tower.modules():
        if hasattr(layer, "dropout") and isinstance(layer.dropout, float):
            layer.dropout = 0.5
    expected = Sights(mllm)._encoded(asked(shown))[0].features
    mllm.model.train()
    found = Sights(mllm)._encoded(asked(shown))[0].features
    assert torch.equal(found, expected)
    assert mllm.model.training
    assert mllm.model.model.vision_tower.training


def test_nothing_is_shared_between_sizes_or_models(base, shown):
    logging.disable(logging.WARNING)
    large, small = (frozen(base("qwen2_vl"), max_side=side) for side in (48, 16))
    other = frozen(base("qwen2_5_vl"), max_side=48)
    rows = asked(shown)
    for mllm in (large, small, other):
        for got, row in zip(together(mllm, Sights(mllm), rows), rows, strict=True):
            torch.testing.assert_close(got, alone(mllm, row, []), rtol=1e-3, atol=2e-3)
    lengths = [Sights(mllm).inputs(rows[:1])[1] for mllm in (large, small)]
    assert lengths[0] > lengths[1]
