"""PRODEN against a slow float64 reference, by hand, and where the released code underflows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.near.proden import proden_loss, update_weights, weight_entropy


def naive(logits, weights, mask):
    """The released code's formulas, sample by sample: loss and new weights."""
    total, updated = 0.0, np.zeros_like(weights)
    for i in range(len(logits)):
        exp = np.exp(logits[i] - logits[i].max())
        p = exp / exp.sum()
        total -= sum(weights[i, j] * math.log(p[j]) for j in range(len(p)) if mask[i, j])
        updated[i] = p * mask[i] / (p * mask[i]).sum()
    return total / len(logits), updated


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 7), st.sampled_from([1.0, 10.0, 100.0]))
@settings(max_examples=80, deadline=None)
def test_against_the_naive_reference(seed, batch, labels, scale):
    rng = np.random.default_rng(seed)
    logits = scale * rng.uniform(-1, 1, size=(batch, labels))
    mask = rng.random((batch, labels)) < 0.5
    mask[:, 0] = True
    weights = mask * rng.random((batch, labels))
    weights /= weights.sum(axis=1, keepdims=True)
    loss, updated = naive(logits, weights, mask)
    tensors = torch.tensor(logits), torch.tensor(mask), torch.tensor(weights)
    assert float(proden_loss(tensors[0], tensors[2])) == pytest.approx(loss, rel=1e-9)
    fresh = update_weights(*tensors)
    np.testing.assert_allclose(fresh.numpy(), updated, atol=1e-12)
    np.testing.assert_allclose(fresh.sum(dim=1).numpy(), 1.0, atol=1e-12)
    assert float(fresh[~tensors[1]].abs().sum()) == 0.0


def test_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    weights = torch.tensor([[0.5, 0.5, 0.0]])
    assert float(proden_loss(logits, weights)) == pytest.approx(-0.5 * (math.log(0.5) + math.log(0.3)), rel=1e-6)
    mask = weights > 0
    torch.testing.assert_close(update_weights(logits, mask, weights), torch.tensor([[0.625, 0.375, 0.0]]))
    torch.testing.assert_close(
        update_weights(logits, mask, weights, momentum=0.5), torch.tensor([[0.5625, 0.4375, 0.0]])
    )
    softer = update_weights(logits, mask, weights, temperature=2.0)
    expected = math.sqrt(0.5) / (math.sqrt(0.5) + math.sqrt(0.3))
    assert float(softer[0, 0]) == pytest.approx(expected, rel=1e-6)


def test_a_single_candidate_is_plain_cross_entropy():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0])
    weights = torch.nn.functional.one_hot(labels, 4).float()
    torch.testing.assert_close(proden_loss(logits, weights), torch.nn.functional.cross_entropy(logits, labels))


def test_finite_where_the_released_log_of_softmax_underflows():
    logits = torch.tensor([[0.0, 300.0, -300.0]], requires_grad=True)
    weights = torch.tensor([[0.5, 0.0, 0.5]])
    assert torch.isinf(torch.log(logits.softmax(-1))).any()
    loss = proden_loss(logits, weights)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    fresh = update_weights(logits, weights > 0, weights)
    torch.testing.assert_close(fresh, torch.tensor([[1.0, 0.0, 0.0]]))


def test_weights_and_update_carry_no_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    weights = torch.full((2, 3), 1 / 3, requires_grad=True)
    proden_loss(logits, weights).backward()
    assert weights.grad is None
    assert not update_weights(logits, torch.ones(2, 3, dtype=torch.bool), weights.detach()).requires_grad


def test_an_empty_row_stays_empty_and_adds_nothing():
    logits = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    weights = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert float(proden_loss(logits, weights)) == pytest.approx(math.log(2) / 2)
    assert float(update_weights(logits, weights > 0, weights)[0].sum()) == 0.0


def test_entropy_is_zero_when_decided_and_log_size_when_open():
    weights = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(weight_entropy(weights), torch.tensor([0.0, math.log(3)]))
