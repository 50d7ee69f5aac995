"""The split against scikit-learn's mixture, its guard, and the targets' properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.near.refine import mixing_plan, refined_targets, split_by_loss, supported_labels


def two_groups(seed=0, low=200, high=80, gap=4.0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0.5, 0.2, low), rng.normal(0.5 + gap, 0.6, high)])


@pytest.mark.parametrize("seed", range(3))
def test_the_mixture_agrees_with_scikit_learn(seed):
    mixture = pytest.importorskip("sklearn.mixture")
    losses = two_groups(seed, gap=3.0)
    split = split_by_loss(losses)
    reference = mixture.GaussianMixture(2, reg_covar=1e-8, tol=1e-8, max_iter=1000, random_state=0)
    posterior = reference.fit(losses[:, None]).predict_proba(losses[:, None])
    low = int(reference.means_.argmin())
    assert not split.degenerate
    np.testing.assert_allclose(split.means, np.sort(reference.means_[:, 0]), atol=0.01)
    np.testing.assert_allclose(split.weights[0], reference.weights_[low], atol=0.01)
    above = losses >= split.means[0]  # below it the reference may call an image noisy again
    np.testing.assert_allclose(split.clean[above], posterior[above, low], atol=0.03)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (np.full(50, 2.0), "constant"),
        (np.array([0.0, 1.0, 5.0]), "few"),
        (np.random.default_rng(0).normal(size=500), "overlap"),
        (np.append(np.random.default_rng(0).normal(0, 0.1, 500), 50.0), "empty"),
        (np.zeros(0), "few"),
    ],
)
def test_a_degenerate_fit_calls_everything_clean(losses, reason):
    split = split_by_loss(losses)
    assert split.degenerate
    assert reason in split.reason
    assert (split.clean == 1).all()


def test_two_exact_values_are_split():
    split = split_by_loss(np.array([0.1] * 30 + [9.0] * 10))
    assert not split.degenerate
    np.testing.assert_allclose(split.clean, [1.0] * 30 + [0.0] * 10, atol=1e-6)


def test_the_lowest_losses_are_the_cleanest():
    losses = np.concatenate([two_groups(gap=2.5), [-3.0]])  # far below the narrow low component
    split = split_by_loss(losses)
    assert not split.degenerate
    assert split.clean[-1] == split.clean.max()


def test_losses_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        split_by_loss(np.array([1.0, np.nan, 2.0, 3.0, 4.0]))


@given(st.floats(0.001, 1000), st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_the_split_does_not_depend_on_the_unit_of_the_loss(scale, shift):
    losses = two_groups()
    np.testing.assert_allclose(split_by_loss(losses).clean > 0.5, split_by_loss(scale * losses + shift).clean > 0.5)


def test_refined_targets_by_hand():
    p = np.array([[0.6, 0.2, 0.2], [0.1, 0.3, 0.6]])
    w = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    q = refined_targets(p, w, np.array([0.8, 0.0]), sharpen=1.0, escape=1)
    np.testing.assert_allclose(q[0], [0.8 * 0.5 + 0.2 * 0.75, 0.8 * 0.5 + 0.2 * 0.25, 0.0])
    np.testing.assert_allclose(q[1], [0.1, 0.3, 0.6])
    inside = refined_targets(p, w, np.array([0.8, 0.0]), sharpen=2.0, escape=0)
    np.testing.assert_allclose(inside[1], [0.01 / 0.10, 0.09 / 0.10, 0.0])


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 6), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_targets_are_distributions_and_clean_ones_stay_inside(seed, images, labels, escape):
    rng = np.random.default_rng(seed)
    logits = 100 * rng.normal(size=(images, labels))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    w = (rng.random((images, labels)) < 0.5).astype(float)
    w /= np.maximum(w.sum(axis=1, keepdims=True), 1)
    clean = rng.random(images)
    q = refined_targets(p, w, clean, escape=escape)
    some = (w.sum(axis=1) > 0) | (escape > 0)
    np.testing.assert_allclose(q[some].sum(axis=1), 1.0, atol=1e-9)
    assert (q >= 0).all()
    stays = (clean > 0.5) & (w.sum(axis=1) > 0)
    assert (q[stays][w[stays] == 0] == 0).all()


def test_label_filtering_keeps_what_some_image_settled_on():
    q = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.6, 0.4, 0.0], [0.0, 0.0, 0.0]])
    assert supported_labels(q).tolist() == [0, 2]
    assert supported_labels(q, clean=np.array([True, False, True, True])).tolist() == [0]
    assert supported_labels(q, min_mass=1.0).tolist() == [0]
    assert supported_labels(q, clean=np.zeros(4, dtype=bool), min_mass=9.0).tolist() == [0, 2]


def test_mixing_prefers_the_first_image():
    rng = np.random.default_rng(0)
    shares = [mixing_plan(4, beta=0.5, rng=rng)[0] for _ in range(200)]
    assert min(shares) >= 0.5
    assert np.std(shares) > 0.05
    assert sorted(mixing_plan(4, beta=0.5, rng=rng)[1]) == [0, 1, 2, 3]
