"""Prototypes against sums written out, by hand, and what a head must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student.prototypes import NEVER, prototype_head, prototypes, shut_out, zero_shot_head


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def problem(seed: int, *, images: int = 24, dim: int = 6, names: int = 4) -> tuple[np.ndarray, csr_matrix, np.ndarray]:
    """Features round names' centres, soft labels with sums below one and empty rows, and texts."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(names, dim))
    true = np.arange(images) % names
    features = unit(centres[true] + 0.5 * rng.normal(size=(images, dim)))
    soft = 0.3 * rng.random((images, names)) * (rng.random((images, names)) < 0.5)
    soft[np.arange(images), true] += rng.random(images)
    soft *= rng.random((images, 1)) / np.maximum(soft.sum(axis=1, keepdims=True), 1e-9)
    soft[rng.choice(images, size=images // 3, replace=False)] = 0.0
    return features, csr_matrix(soft.astype(np.float32)), unit(centres + rng.normal(size=centres.shape))


def reordered(features: np.ndarray, soft: csr_matrix, seed: int) -> tuple[np.ndarray, csr_matrix]:
    """The same images in another order, and further ones of which nothing is known among them."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(features) + 5)
    more = np.concatenate([features, unit(rng.normal(size=(5, features.shape[1])))])
    rows = np.concatenate([soft.toarray(), np.zeros((5, soft.shape[1]), np.float32)])
    return more[order], csr_matrix(rows[order])


seeds = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, share=st.sampled_from([0.0, 0.3, 1.0]))
def test_a_prototype_is_the_weighted_mean_then_mixed_then_normalised_again(seed, share):
    features, soft, text = problem(seed)
    dense = soft.toarray()
    expected = []
    for name in range(dense.shape[1]):
        total = sum(float(dense[image, name]) * features[image].astype(float) for image in range(len(features)))
        mixed = total / np.linalg.norm(total) + share * text[name] if dense[:, name].any() else text[name]
        expected.append(mixed / np.linalg.norm(mixed))
    np.testing.assert_allclose(prototypes(features, soft, text=text, text_share=share), expected, atol=1e-5)


def test_by_hand():
    features = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    soft = csr_matrix(np.array([[0.5, 0, 0], [0, 0.2, 0], [0.5, 0, 0]], dtype=np.float32))
    text = np.array([[0, 1], [0, 1], [-1, 0]], dtype=np.float32)
    head = prototype_head(features, soft, text=text, text_share=1.0, scale=10.0)
    first = np.array([0.8, 0.4]) / np.hypot(0.8, 0.4) + [0, 1]
    np.testing.assert_allclose(head.weights[0], 10 * first / np.linalg.norm(first), rtol=1e-5)
    np.testing.assert_allclose(head.weights[1:], [[0, 10], [-10, 0]], atol=1e-5)
    np.testing.assert_array_equal(head.bias, 0)
    np.testing.assert_allclose(head.logits(features[1:2]), [[10 * first[1] / np.linalg.norm(first), 10, 0]], rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_neither_the_order_nor_unlabelled_images_matter(seed):
    features, soft, text = problem(seed)
    one = prototypes(features, soft, text=text, text_share=0.5)
    other = prototypes(*reordered(features, soft, seed), text=text, text_share=0.5)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_doubt_shared_by_all_images_changes_nothing():
    features, soft, _ = problem(3)
    np.testing.assert_allclose(prototypes(features, soft), prototypes(features, 0.25 * soft), atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e5])
def test_a_name_without_image_and_text_never_wins(scale):
    features, soft, text = problem(4)
    dense = soft.toarray()
    dense[:, 1] = 0
    text[1] = 0
    for head in (
        prototype_head(features, csr_matrix(dense), scale=scale),
        prototype_head(features, csr_matrix(dense), text=text, text_share=0.3, scale=scale),
        zero_shot_head(text, scale=scale),
    ):
        assert np.isfinite(head.bias).all()
        assert head.bias[1] <= NEVER
        logits = head.logits(unit(np.concatenate([features, -features])))
        assert (logits[:, 1] < np.delete(logits, 1, axis=1).min(axis=1)).all()


def test_with_nothing_known_of_any_name_all_are_shut_out():
    features, soft, _ = problem(5)
    head = prototype_head(features, 0 * soft)
    assert (head.weights == 0).all()
    np.testing.assert_array_equal(head.bias, np.float32(NEVER))


def test_zero_shot_is_scaled_text():
    _, _, text = problem(6)
    head = zero_shot_head(text, scale=30.0)
    np.testing.assert_allclose(head.logits(text), 30.0 * text @ text.T, rtol=1e-5, atol=1e-5)
    assert head.weights.dtype == head.bias.dtype == np.float32


def test_shutting_no_name_out_changes_nothing():
    head = zero_shot_head(problem(7)[2])
    same = shut_out(head, np.zeros(len(head.bias), dtype=bool))
    np.testing.assert_array_equal(same.weights, head.weights)
    np.testing.assert_array_equal(same.bias, head.bias)


def test_what_does_not_fit_is_refused():
    features, soft, text = problem(8)
    with pytest.raises(ValueError, match="do not fit"):
        prototypes(features[1:], soft)
    with pytest.raises(ValueError, match="text"):
        prototypes(features, soft, text=text[1:])
    with pytest.raises(ValueError, match="text_share"):
        prototypes(features, soft, text=text, text_share=-1)
