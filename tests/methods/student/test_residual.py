"""The residual head against AdamW written out, what decay and missing images do, and minibatches."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fgvr.methods.student import residual
from fgvr.methods.student.prototypes import cosine_head, prototypes

from .test_prototypes import problem, reordered, unit

residual_head = partial(residual.residual_head, learning_rate=0.01, weight_decay=0.01)  # freer than the default


def loss(features: np.ndarray, soft: np.ndarray, vectors: np.ndarray, scale: float) -> float:
    logits = scale * features.astype(np.float64) @ vectors.T
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-(soft * log_p).sum() / soft.sum())


def by_hand(
    features: np.ndarray, soft: np.ndarray, init: np.ndarray, *, epochs: int, rate: float, decay: float, scale: float
) -> np.ndarray:
    """AdamW (betas 0.9 and 0.999) on the exact gradient of the soft-target cross-entropy, float64, no autograd."""
    init, residual = init.astype(np.float64), np.zeros(init.shape)
    first, second = np.zeros(init.shape), np.zeros(init.shape)
    for epoch in range(epochs):
        lengths = np.linalg.norm(init + residual, axis=1, keepdims=True)
        vectors = (init + residual) / lengths
        logits = scale * features.astype(np.float64) @ vectors.T
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        to_vectors = scale * (soft.sum(axis=1, keepdims=True) * p - soft).T @ features / soft.sum()
        gradient = (to_vectors - (to_vectors * vectors).sum(axis=1, keepdims=True) * vectors) / lengths
        now = rate * (1 + np.cos(np.pi * epoch / epochs)) / 2
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = first / (1 - 0.9 ** (epoch + 1)) / (np.sqrt(second / (1 - 0.999 ** (epoch + 1))) + 1e-8)
        residual = residual - now * decay * residual - now * step
    return (init + residual) / np.linalg.norm(init + residual, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_adamw_written_out(seed):
    features, soft, init = problem(seed)
    found = residual_head(features, soft, init, epochs=5, learning_rate=0.02, weight_decay=0.5, scale=20.0)
    expected = by_hand(features, soft.toarray(), init, epochs=5, rate=0.02, decay=0.5, scale=20.0)
    np.testing.assert_allclose(found.weights / 20.0, expected, atol=2e-4)


def test_it_starts_at_the_initial_vectors_and_lowers_the_loss():
    features, soft, init = problem(3)
    none = residual_head(features, soft, init, epochs=0, scale=30.0)
    np.testing.assert_array_equal(none.weights, cosine_head(init, scale=30.0).weights)
    some, more = (residual_head(features, soft, init, epochs=n, scale=30.0) for n in (5, 60))
    losses = [loss(features, soft.toarray(), head.weights / 30.0, 30.0) for head in (none, some, more)]
    assert losses[0] > losses[1] > losses[2]


def test_it_learns_from_a_wrong_text():
    features, soft, text = problem(4, images=60)
    wrong = unit(text + 2 * np.random.default_rng(0).normal(size=text.shape))
    true = np.arange(60) % 4
    before, after = cosine_head(wrong, scale=30.0), residual_head(features, soft, wrong, scale=30.0)
    right = [(head.logits(features).argmax(axis=1) == true).mean() for head in (before, after)]
    assert right[1] > right[0] + 0.2


def test_decay_pulls_to_the_initial_vectors():
    features, soft, init = problem(5)
    free, tied = (residual_head(features, soft, init, weight_decay=decay, scale=30.0) for decay in (0.0, 50.0))
    away = [np.linalg.norm(head.weights / 30.0 - init) for head in (free, tied)]
    assert away[1] < 0.6 * away[0]


def test_neither_the_order_nor_unlabelled_images_matter():
    features, soft, init = problem(6)
    one = residual_head(features, soft, init, scale=30.0)
    other = residual_head(*reordered(features, soft, 1), init, scale=30.0, seed=9)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-2, atol=1e-2)


def test_names_without_images_keep_their_vector_and_those_with_nothing_never_win():
    features, soft, init = problem(7)
    dense = soft.toarray()
    dense[:, [1, 2]] = 0
    init[1] = 0
    head = residual_head(features, csr_matrix(dense), init, scale=30.0)
    np.testing.assert_allclose(head.weights[2], 30.0 * init[2], rtol=1e-5)
    logits = head.logits(unit(np.concatenate([features, -features])))
    assert (logits[:, 1] < np.delete(logits, 1, axis=1).min(axis=1)).all()
    assert (head.weights[[0, 3]] != 30.0 * init[[0, 3]]).any(axis=1).all()


def test_labels_of_a_name_that_cannot_win_are_left_out():
    features, soft, init = problem(8)
    init[1] = 0
    dense = soft.toarray()
    dense[:, 1] = 0
    one, other = (residual_head(features, labels, init, scale=30.0) for labels in (soft, csr_matrix(dense)))
    np.testing.assert_array_equal(one.weights, other.weights)


def test_without_labels_nothing_is_learned():
    features, soft, init = problem(9)
    np.testing.assert_array_equal(
        residual_head(features, 0 * soft, init).weights, cosine_head(init, scale=20.0).weights
    )


def test_batches_are_fixed_by_the_seed_and_come_near_the_whole():
    features, soft, _ = problem(10, images=200)
    init = prototypes(features, soft)
    options = {"scale": 10.0, "epochs": 80}
    first, again, another = (
        residual_head(features, soft, init, batch=50, seed=seed, **options).weights for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, another)
    whole = residual_head(features, soft, init, **options).weights / 10.0
    dense = soft.toarray()
    before, after, best = (loss(features, dense, vectors, 10.0) for vectors in (init, first / 10.0, whole))
    assert best < after < before
    assert before - after > 0.5 * (before - best)


@pytest.mark.parametrize("decay", [100.0, 300.0])
def test_strong_decay_is_a_fence(decay):
    """No coordinate of the residual gets further than 1 / decay; the default moves, but not far."""
    features, soft, init = problem(12)
    head = residual.residual_head(features, soft, init, weight_decay=decay)
    vectors = head.weights.astype(np.float64) / 20.0
    moved = vectors / (vectors * init).sum(axis=1, keepdims=True) - init  # the least residual that gives them
    assert 0.2 / decay < np.abs(moved).max() < 2.0 / decay


def test_what_does_not_fit_is_refused():
    features, soft, init = problem(11)
    with pytest.raises(ValueError, match="do not fit"):
        residual_head(features[1:], soft, init)
    with pytest.raises(ValueError, match="does not fit"):
        residual_head(features, soft, init[1:])
    with pytest.raises(ValueError, match="weight_decay times"):
        residual_head(features, soft, init, weight_decay=200.0)
