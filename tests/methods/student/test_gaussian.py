"""The discriminant against scikit-learn on hard labels and sums written out on soft ones."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.sparse import csr_matrix
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fgvr.methods.student import gaussian
from fgvr.methods.student.gaussian import (
    LEAST_SHRINKAGE,
    paper_shrinkage,
    shrunk,
    within_class_covariance,
)
from fgvr.methods.student.prototypes import NEVER

from .test_prototypes import problem, reordered, seeds, unit

gaussian_head = partial(gaussian.gaussian_head, scale=1.0)  # Bayes' rule


def hard(labels: np.ndarray, names: int) -> csr_matrix:
    return csr_matrix(np.eye(names, dtype=np.float32)[labels])


def differences(logits: np.ndarray) -> np.ndarray:
    """What a softmax sees."""
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("shrinkage", [0.05, 0.3, 1.0])
def test_hard_labels_give_scikit_learns_discriminant(shrinkage):
    features, _, _ = problem(0, images=60)
    labels = np.random.default_rng(1).choice(4, size=60, p=[0.4, 0.3, 0.2, 0.1])
    head = gaussian_head(features, hard(labels, 4), shrinkage=shrinkage)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(features.astype(float), labels)
    expected = differences(theirs.decision_function(features.astype(float)))
    priors = np.log(np.bincount(labels, minlength=4) / 60)  # theirs are the shares of the labels, ours are equal
    np.testing.assert_allclose(differences(head.logits(features) + priors), expected, rtol=1e-3, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_soft_labels_against_sums_written_out(seed):
    features, soft, _ = problem(seed)
    dense, images = soft.toarray().astype(float), features.astype(float)
    means = [sum(w * x for w, x in zip(column, images, strict=True)) / column.sum() for column in dense.T]
    scatter = np.zeros((6, 6))
    for image, row in zip(images, dense, strict=True):
        for mean, weight in zip(means, row, strict=True):
            scatter += weight * np.outer(image - mean, image - mean)
    covariance = scatter / dense.sum()
    np.testing.assert_allclose(within_class_covariance(features, soft), covariance, atol=1e-7)
    inverse = np.linalg.inv(0.7 * covariance + 0.3 * np.trace(covariance) / 6 * np.eye(6))
    expected = [[mean @ inverse @ image - mean @ inverse @ mean / 2 for mean in means] for image in images]
    found = gaussian_head(features, soft, shrinkage=0.3).logits(features)
    np.testing.assert_allclose(differences(found), differences(np.array(expected)), rtol=1e-3, atol=1e-3)


def test_without_spread_it_is_the_nearest_mean_by_hand():
    features = np.array([[1, 0], [0, 1]], dtype=np.float32)
    head = gaussian_head(features, hard(np.array([0, 1]), 2))  # one image a name: covariance I / 2, centre (.5, .5)
    np.testing.assert_allclose(head.weights, [[1, -1], [-1, 1]], atol=1e-6)
    np.testing.assert_allclose(head.bias, [-0.5, -0.5], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_neither_the_order_nor_unlabelled_images_matter(seed):
    features, soft, text = problem(seed)
    one = gaussian_head(features, soft, text=text, text_share=0.5)
    other = gaussian_head(*reordered(features, soft, seed), text=text, text_share=0.5)
    np.testing.assert_allclose(one.logits(features), other.logits(features), rtol=1e-3, atol=1e-3)


def test_the_paper_ridge_is_a_shrinkage():
    """P = D ((n - 1) S + tr(S) I)^-1 (the paper) and ours are the same up to a factor."""
    features, soft, _ = problem(2)
    spread = within_class_covariance(features, soft)
    paper = 6 * np.linalg.inv((40 - 1) * spread + np.trace(spread) * np.eye(6))
    ours = np.linalg.inv(shrunk(spread, paper_shrinkage(6, 40.0)))
    np.testing.assert_allclose(paper / np.trace(paper), ours / np.trace(ours), rtol=1e-9)
    assert paper_shrinkage(6, 0.0) == paper_shrinkage(6, 1.0) == 1.0


@pytest.mark.parametrize(("repeats", "expected"), [(1, None), (20, LEAST_SHRINKAGE)])
def test_the_default_is_the_papers_where_labels_are_few(repeats, expected):
    features, soft, _ = problem(3, dim=12)
    many = np.tile(features, (repeats, 1)), csr_matrix(np.tile(soft.toarray(), (repeats, 1)))
    expected = expected or paper_shrinkage(12, float(soft.sum()))
    assert expected >= LEAST_SHRINKAGE
    np.testing.assert_allclose(
        gaussian_head(*many).weights, gaussian_head(*many, shrinkage=expected).weights, rtol=1e-5
    )


def test_shrinkage_keeps_the_total_variance():
    spread = within_class_covariance(*problem(4)[:2])
    for share in (0.1, 0.9, 1.0):
        assert np.trace(shrunk(spread, share)) == pytest.approx(np.trace(spread))


def test_text_draws_a_mean_as_so_many_images_and_stands_in_for_none():
    features, soft, text = problem(7)
    dense = soft.toarray()
    dense[:, 2] = 0
    few = csr_matrix(dense)
    own, some, much = (gaussian_head(features, few, text=text, text_share=share) for share in (0.0, 1.0, 1e6))
    np.testing.assert_allclose(own.weights[2], some.weights[2], rtol=1e-4)  # no image: all text, whatever its share
    between = np.linalg.norm(some.weights - own.weights, axis=1), np.linalg.norm(much.weights - own.weights, axis=1)
    assert ((between[0] < between[1]) | (np.arange(4) == 2)).all()
    assert own.bias[2] > NEVER


def test_a_name_without_image_and_text_never_wins():
    features, soft, text = problem(8)
    dense = soft.toarray()
    dense[:, 1] = 0
    text[1] = 0
    for head in (gaussian_head(features, csr_matrix(dense)), gaussian_head(features, csr_matrix(dense), text=text)):
        assert np.isfinite(head.bias).all()
        logits = head.logits(unit(np.concatenate([features, -features])))
        assert (logits[:, 1] < np.delete(logits, 1, axis=1).min(axis=1)).all()


def test_without_any_label_every_name_is_shut_out():
    features, soft, _ = problem(9)
    np.testing.assert_array_equal(gaussian_head(features, 0 * soft).bias, np.float32(NEVER))


def test_the_scale_is_a_factor_of_every_logit():
    features, soft, _ = problem(12)
    whole, tenth = (
        gaussian_head(features, soft).logits(features),
        gaussian.gaussian_head(features, soft).logits(features),
    )
    np.testing.assert_allclose(tenth, whole / 10, rtol=1e-4, atol=1e-4)


def test_what_makes_no_sense_is_refused():
    features, soft, text = problem(11)
    for options in ({"shrinkage": 0.0}, {"shrinkage": 1.1}, {"text": text, "text_share": -1.0}):
        with pytest.raises(ValueError, match="text_share is at least 0"):
            gaussian_head(features, soft, **options)
    with pytest.raises(ValueError, match="do not fit"):
        gaussian_head(features[1:], soft)
