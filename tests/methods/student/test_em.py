"""Expectation maximisation against plain loops, and what must not change or win."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student import em
from fgvr.methods.student.em import em_head
from fgvr.methods.student.prototypes import prototype_head

from .test_prototypes import problem, seeds, unit


def replied(rows, labels, soft):
    """(N, C): one reply an image, at its word."""
    named = labels >= 0
    cells = (np.ones(int(named.sum())), (rows[named], labels[named]))
    return csr_matrix(cells, shape=soft.shape)


def one_hot(labels):
    """(N, 2): every image under its one name, -1 for none."""
    return csr_matrix(np.eye(3, 2, dtype=np.float32)[labels])


def plain_em(features, soft, said, text, *, text_count, concentration, accuracy, iterations):
    """Directions (C, D), written from the model; ``said`` (N, C) holds how likely each name of a reply is."""
    points, weights, names = features.astype(float), soft.toarray().astype(float), soft.shape[1]
    images = len(points)
    spoken = [sum(said[i, name] for i in range(images)) for name in range(names)]
    for step in range(iterations + 1):
        directions = []
        for name in range(names):
            total = sum(weights[i, name] * points[i] for i in range(images))
            if text is not None:
                alone = step == 0 and text_count == 0 and weights[:, name].sum() == 0
                total = total + (1.0 if alone else text_count) * text[name].astype(float)
            length = math.sqrt(float(np.sum(total * total)))
            directions.append(total / length if length > 0 else None)
        if step == 0:
            alive = [name for name in range(names) if directions[name] is not None]
        if step == iterations:
            return directions
        sizes = {name: weights[:, name].sum() + images / len(alive) for name in alive}
        whole, expected = sum(sizes.values()), np.zeros((images, names))
        for i in range(images):
            for name in alive:
                chance = sizes[name] / whole * math.exp(concentration * float(points[i] @ directions[name]))
                if said[i, name] > 0:  # over the names that the reply does not hold, which it says wrongly
                    often = spoken[name] / sum(spoken)
                    chance *= 1 + accuracy * said[i, name] / ((1 - accuracy) * often)
                expected[i, name] = chance
            expected[i] /= expected[i].sum()
        weights = expected
    raise AssertionError


def asked(soft, seed, *, count=9):
    """Rows that were asked about and labels, some of them wrong and some missing."""
    rng = np.random.default_rng(seed + 1)
    rows = np.sort(rng.choice(soft.shape[0], size=count, replace=False))
    return rows, rng.integers(-1, soft.shape[1], size=count)


def drawn(soft, seed):
    """(N, C): of some images how likely each of several names is, with different numbers of names."""
    rows, labels = asked(soft, seed)
    rng = np.random.default_rng(seed + 2)
    shares = np.zeros(soft.shape)
    shares[rows] = rng.random((len(rows), soft.shape[1])) * (rng.random((len(rows), soft.shape[1])) < 0.5)
    shares[rows, labels] += labels >= 0
    return csr_matrix(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9))


@settings(max_examples=15, deadline=None)
@given(
    seed=seeds,
    several=st.booleans(),
    texts=st.booleans(),
    text_count=st.sampled_from([0.0, 1.0, 3.0]),
    concentration=st.sampled_from([5.0, 30.0]),
    accuracy=st.sampled_from([0.5, 0.8, 0.99]),
    iterations=st.integers(0, 3),
)
def test_plain_loops(seed, several, texts, text_count, concentration, accuracy, iterations):
    features, soft, text = problem(seed)
    text = text if texts else None
    said = drawn(soft, seed) if several else replied(*asked(soft, seed), soft)
    how = {"text_count": text_count, "concentration": concentration, "accuracy": accuracy, "iterations": iterations}
    expected = plain_em(features, soft, said.toarray(), text, **how)
    head = em_head(features, soft, said=said, text=text, scale=10.0, **how)
    for name, direction in enumerate(expected):
        if direction is not None:
            np.testing.assert_allclose(head.weights[name] / 10.0, direction, atol=2e-4)


@settings(max_examples=10, deadline=None)
@given(seed=seeds, block=st.sampled_from([1, 5, 23]))
def test_blocks_and_the_order_of_images_do_not_matter(seed, block):
    features, soft, text = problem(seed)
    rows, labels = asked(soft, seed)
    whole = em_head(features, soft, said=replied(rows, labels, soft), text=text).weights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(em, "BLOCK", block)
        np.testing.assert_allclose(
            em_head(features, soft, said=replied(rows, labels, soft), text=text).weights, whole, atol=1e-3
        )
    order = np.random.default_rng(seed).permutation(len(features))
    place = np.argsort(order)
    other = em_head(features[order], soft[order], said=replied(place[rows], labels, soft), text=text)
    np.testing.assert_allclose(other.weights, whole, atol=1e-3)


@pytest.mark.parametrize("with_text", [False, True])
def test_without_iterations_it_is_prototypes(with_text):
    features, soft, text = problem(2)
    rows, labels = asked(soft, 2)
    text = text if with_text else None
    head = em_head(features, soft, said=replied(rows, labels, soft), text=text, text_count=0.0, iterations=0)
    np.testing.assert_allclose(head.weights, prototype_head(features, soft, text=text).weights, atol=1e-4)


def two_clusters():
    """Twenty images round each of two axes, and which."""
    rng = np.random.default_rng(0)
    axes = np.eye(3)[[0] * 20 + [1] * 20]
    return unit(axes + 0.1 * rng.normal(size=axes.shape)), np.array([0] * 20 + [1] * 20)


def share_of_first(image, label):
    """How much of the last image the first name takes in one step, of all that the two take.

    No other image reaches along the third axis, so that the directions lean there by what they take.
    """
    features = np.array([[1, 0, 0]] * 20 + [[0, 1, 0]] * 20, dtype=np.float32)
    features = np.vstack([features, unit(np.array(image, dtype=float))])
    labels = np.array([0] * 20 + [1] * 20 + [label])
    soft = one_hot(labels).toarray()
    soft[-1] = 0.0  # its reply speaks in the step only
    head = em_head(features, csr_matrix(soft), said=one_hot(labels), iterations=1)
    lean = head.weights[:, 2] / np.diag(head.weights[:, :2])
    return float(lean[0] / lean.sum())


def test_a_reply_far_from_its_class_is_left_and_one_between_two_is_kept():
    assert share_of_first([0.9, 0, 0.4], 1) > 0.999
    odds = 0.8 / 0.2 * 41 / 21 + 1  # by hand: of a right reply to a wrong one, which is this name 21 times in 41
    assert share_of_first([1, 1, 1], 0) == pytest.approx(odds / (odds + 1), abs=0.01)
    assert share_of_first([1, 1, 1], 1) == pytest.approx(1 / (odds + 1), abs=0.01)
    assert share_of_first([1, 1, 1], -1) == pytest.approx(0.5, abs=0.01)


def test_one_reply_an_image_is_lifted_as_a_right_one_over_a_wrong_one():
    """Of six images two are called by the first name and one by the second; their accuracies differ."""
    said = one_hot(np.array([0, 1, 0, -1, -1, -1]))
    found = em.lifted(said, np.array([0.8, 0.5, 0.999, 0.8, 0.8, 0.8])).toarray()

    def odds(accuracy, often):
        right, wrong = accuracy + (1 - accuracy) * often, (1 - accuracy) * often
        return math.log(right / wrong)

    expected = [[odds(0.8, 2 / 3), 0], [0, odds(0.5, 1 / 3)], [odds(0.999, 2 / 3), 0], *[[0, 0]] * 3]
    np.testing.assert_allclose(found, expected)


def test_several_replies_an_image_are_lifted_each_by_its_share():
    said = csr_matrix(np.array([[0.75, 0.25, 0], [0, 0.25, 0.75], [0, 0, 0], [0, 1, 0]]))
    found = em.lifted(said, np.full(4, 0.8)).toarray()
    often = np.array([0.75, 1.5, 0.75]) / 3  # of the three replies
    expected = [[math.log(1 + 4 * share / m) if share else 0 for share, m in zip(row, often)] for row in said.toarray()]
    np.testing.assert_allclose(found, expected)
    assert found[0, 0] == pytest.approx(math.log(13))


def test_no_reply_lifts_nothing():
    assert em.lifted(csr_matrix((4, 3)), np.full(4, 0.8)).nnz == 0
    features, soft, _ = problem(1)
    head = em_head(features, soft, said=csr_matrix(soft.shape))
    np.testing.assert_allclose(head.weights, em_head(features, soft, said=csr_matrix(soft.shape), accuracy=0.5).weights)


def test_between_two_classes_the_second_of_two_names_has_its_share():
    features, labels = two_clusters()
    features = np.vstack([features, unit(np.array([[1.0, 1.0, 1.0]]))])
    soft = csr_matrix(np.vstack([one_hot(labels).toarray(), np.zeros((1, 2), np.float32)]))

    def lean(first):
        said = csr_matrix(np.vstack([one_hot(labels).toarray(), [[first, 1 - first]]]))
        weights = em_head(features, soft, said=said, iterations=1, concentration=5.0).weights
        return weights[0, 2] - weights[1, 2]

    leaning = [lean(first) for first in (0.0, 0.2, 0.5, 0.8, 1.0)]
    assert (np.diff(leaning) > 0).all()


def test_the_wrong_reply_leaves_the_direction_too():
    features, labels = two_clusters()
    clean = em_head(features, one_hot(labels), said=one_hot(labels))
    labels = labels.copy()
    labels[:5] = 1
    soft = one_hot(labels)
    found = em_head(features, soft, said=soft)
    believed = prototype_head(features, soft)
    gap = [np.abs(head.weights - clean.weights).max() for head in (found, believed)]
    assert gap[0] < 0.02 * gap[1]


@pytest.mark.parametrize("iterations", [0, 3])
def test_names_without_images_or_text_never_win(iterations):
    features, soft, _ = problem(5)
    wide = csr_matrix(np.hstack([soft.toarray(), np.zeros((len(features), 1), dtype=np.float32)]))
    rows, labels = asked(soft, 5)
    plain = em_head(features, soft, said=replied(rows, labels, soft), iterations=iterations)
    head = em_head(features, wide, said=replied(rows, labels, wide), iterations=iterations)
    probes = unit(np.random.default_rng(0).normal(size=(200, features.shape[1])))
    logits = head.logits(np.vstack([features, probes]))
    assert np.isfinite(logits).all()
    assert (logits[:, -1] < logits[:, :-1].min(axis=1) - 1000).all()
    np.testing.assert_allclose(head.weights[:-1], plain.weights, atol=1e-4)


def test_text_speaks_alone_where_there_is_no_image_and_weighs_as_many_images_as_it_is_told():
    features = np.array([[1, 0, 0]] * 3, dtype=np.float32)
    text = np.array([[0, 1, 0], [0, 0, 1]], dtype=np.float32)
    soft = csr_matrix(np.array([[1, 0]] * 3, dtype=np.float32))
    silent = csr_matrix((3, 2))
    for count, expected in ((0.0, [1, 0, 0]), (1.0, [3, 1, 0]), (3.0, [1, 1, 0])):
        head = em_head(features, soft, said=silent, text=text, text_count=count, iterations=0, scale=1.0)
        np.testing.assert_allclose(head.weights, [unit(np.array(expected, float)), [0, 0, 1]], atol=1e-6)


def test_what_makes_no_sense_is_refused():
    features, soft, text = problem(3)
    rows, labels = asked(soft, 3)
    for options in (
        {"concentration": 0.0},
        {"accuracy": 1.0},
        {"accuracy": 0.0},
        {"iterations": -1},
        {"text_count": -1},
    ):
        with pytest.raises(ValueError, match="concentration"):
            em_head(features, soft, said=replied(rows, labels, soft), **options)
    with pytest.raises(ValueError, match="do not fit"):
        em_head(features[1:], soft, said=replied(rows, labels, soft))
    with pytest.raises(ValueError, match="text"):
        em_head(features, soft, said=replied(rows, labels, soft), text=text[1:])
