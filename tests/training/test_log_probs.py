"""Scores of replies: of each row alone, whatever is beside it; the plain formulas; gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from fgvr.mllm.local import LocalMllm
from fgvr.training import Lora, prepare_model
from fgvr.training import rollout as rollouts
from fgvr.training.log_probs import reply_scores
from fgvr.training.lora import trainable
from fgvr.training.rollout import Sampling, TransformersEngine
from fgvr.training.sights import Sight, Sights
from tests.mllm.test_local import MODELS

from .test_sights import REPLIES, alone, asked, frozen
from .world import pictures


@pytest.fixture(scope="module", params=MODELS)
def mllm(request, base) -> LocalMllm:
    return frozen(base(request.param))


@pytest.fixture(scope="module")
def llava(base) -> LocalMllm:
    return frozen(base("llava"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Sight]:
    return asked(pictures(tmp_path_factory.mktemp("shown")))


def reference(mllm: LocalMllm, sight: Sight, reply: list[int], temperature: float = 1.0):
    """Log-probability and entropy of every token of one reply, in float64, token by token."""
    logits = alone(mllm, sight, reply).double() / temperature
    start = len(logits) - len(reply)
    logs, entropies = [], []
    for place, token in enumerate(reply):
        p = logits[start + place - 1].softmax(0)
        logs.append(float(p[token].log()))
        entropies.append(float(-(p * p.log()).sum()))
    return logs, entropies


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_scores_are_those_of_a_slow_reference(mllm, rows, temperature):
    with torch.no_grad():
        found = reply_scores(mllm.model, Sights(mllm), rows, REPLIES, temperature=temperature, entropy=True)
    assert found.log_probs.shape == found.entropy.shape == found.mask.shape == (3, 5)
    assert found.log_probs.dtype == torch.float32
    assert found.mask.sum(dim=1).tolist() == [5, 1, 2]
    for row, (sight, reply) in enumerate(zip(rows, REPLIES, strict=True)):
        logs, entropies = reference(mllm, sight, list(reply), temperature)
        assert found.log_probs[row, : len(reply)].tolist() == pytest.approx(logs, rel=1e-3, abs=2e-3)
        assert found.entropy[row, : len(reply)].tolist() == pytest.approx(entropies, rel=1e-3, abs=2e-3)
    assert not bool(found.log_probs[~found.mask].any())
    assert not bool(found.entropy[~found.mask].any())


def test_company_and_padding_change_nothing(mllm, rows):
    sights = Sights(mllm)
    with torch.no_grad():
        every = reply_scores(mllm.model, sights, rows, REPLIES, entropy=True)
        for chosen in ([0], [1], [2], [2, 0], [1, 2, 1]):
            part = reply_scores(
                mllm.model, sights, [rows[i] for i in chosen], [REPLIES[i] for i in chosen], entropy=True
            )
            for place, row in enumerate(chosen):
                size = len(REPLIES[row])
                for one, other in ((part.log_probs, every.log_probs), (part.entropy, every.entropy)):
                    torch.testing.assert_close(one[place, :size], other[row, :size], rtol=1e-3, atol=1e-3)


def test_what_was_noted_while_sampling_is_what_a_full_pass_says(mllm, rows, monkeypatch):
    """The key-value cache, copies of prompts, padding on the left, positions after pictures: all of it."""
    generation = copy.deepcopy(mllm._generation)
    generation.eos_token_id = 10**6
    monkeypatch.setattr(mllm, "_generation", generation)
    noted = []

    class Noting(rollouts._Choice):
        def __call__(self, logits):
            logs = logits.float().log_softmax(-1)
            tokens = super().__call__(logits)
            noted.append(logs.gather(1, tokens[:, None])[:, 0])
            return tokens

    monkeypatch.setattr(rollouts, "_Choice", Noting)
    sights = Sights(mllm)
    found = TransformersEngine(mllm, sights)(rows, [2, 1, 2], Sampling(top_p=1.0, max_tokens=6), 3)
    replies = [one.tokens for group in found for one in group]
    pictured = [row for row, count in zip(rows, (2, 1, 2), strict=True) for _ in range(count)]
    with torch.no_grad():
        full = reply_scores(mllm.model, sights, pictured, replies).log_probs
    torch.testing.assert_close(torch.stack(noted, dim=1), full, rtol=1e-3, atol=2e-3)


def test_without_entropy_there_is_none(llava, rows):
    sights = Sights(llava)
    with torch.no_grad():
        plain = reply_scores(llava.model, sights, rows, REPLIES)
        both = reply_scores(llava.model, sights, rows, REPLIES, entropy=True)
    assert plain.entropy is None
    assert torch.equal(plain.log_probs, both.log_probs)


def test_an_empty_reply_among_others_has_no_score(llava, rows):
    with torch.no_grad():
        found = reply_scores(llava.model, Sights(llava), rows, [REPLIES[0], [], REPLIES[2]], entropy=True)
        expected = reply_scores(llava.model, Sights(llava), rows, REPLIES)
    assert found.mask.sum(dim=1).tolist() == [5, 0, 2]
    assert not bool(found.log_probs[1].any())
    torch.testing.assert_close(found.log_probs[[0, 2]], expected.log_probs[[0, 2]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl", "idefics2"])
def test_gradients_are_those_of_the_pixels_own_path(base, rows, kind):
    gradients = []
    for share in (True, False):
        mllm = LocalMllm(str(base(kind)))
        model = prepare_model(mllm, Lora(rank=2, init="gaussian"), seed=0)
        scores = reply_scores(model, Sights(mllm, share=share), rows, REPLIES, entropy=True)
        (scores.log_probs.sum() + 0.3 * scores.entropy.sum()).backward()
        gradients.append({name: weight.grad for name, weight in trainable(model).items()})
    assert any(bool(grad.abs().max() > 1e-4) for grad in gradients[0].values())
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad, rtol=1e-3, atol=1e-3)


def test_a_gradient_is_the_difference(base, rows):
    mllm = frozen(base("llava"))
    mllm.model.double()  # but for its norms, which stay in float32
    weight = mllm.model.model.language_model.layers[1].mlp.up_proj.weight
    sights = Sights(mllm)

    def value() -> torch.Tensor:
        scores = reply_scores(mllm.model, sights, rows, REPLIES, temperature=1.7, entropy=True)
        return scores.log_probs.sum() - 2 * scores.entropy.sum()

    weight.requires_grad_(True)
    (gradient,) = torch.autograd.grad(value(), weight)
    for at in ((0, 0), (3, 7), (11, 30)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[at] += sign * 1e-2
                ends.append(float(value()))
                weight[at] -= sign * 1e-2
        assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(float(gradient[at]), rel=1e-2, abs=1e-4)
