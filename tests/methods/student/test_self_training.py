"""Self-training, and the guard that undoes a round in which the head collapses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.self_training import (
    Round,
    aligned,
    collapse,
    fit_scale,
    mixed,
    predict,
    self_train,
    sharpened,
)
from fgvr.methods.student.settings import SelfTrainingSettings
from tests.methods.student.test_graph import unit

ON = SelfTrainingSettings(rounds=2, share=0.5)
NAMES, EACH = 5, 30


def prototypes(features: np.ndarray, soft: csr_matrix) -> LinearHead:
    weights = np.asarray(soft.T @ features, dtype=np.float32)
    norm = np.linalg.norm(weights, axis=1, keepdims=True)
    return LinearHead(weights / np.where(norm > 0, norm, 1), np.where(norm[:, 0] > 0, 0, -np.inf).astype(np.float32))


def blobs(names: int, each: int, noise: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(names), each)
    centres = unit(rng.normal(size=(names, 8)))
    return unit(centres[labels] + noise * rng.normal(size=(len(labels), 8))), labels


def seeded(rows: np.ndarray, labels: np.ndarray, count: int, names: int) -> csr_matrix:
    return csr_matrix((np.ones(len(rows)), (rows, labels)), shape=(count, names), dtype=np.float32)


def world(noise: float = 0.35, labelled: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, truth, and ``labelled`` rows of each name."""
    features, truth = blobs(NAMES, EACH, noise)
    rows = np.concatenate([np.flatnonzero(truth == name)[:labelled] for name in range(NAMES)])
    return features, truth, rows


def accuracy(head: LinearHead, features: np.ndarray, truth: np.ndarray) -> float:
    return float((head.logits(features).argmax(axis=1) == truth).mean())


def test_the_student_learns_from_itself() -> None:
    """Three labels a name, no propagation: the pool that the head sorts makes better prototypes than three images."""
    features, truth, rows = world(labelled=3)
    soft = seeded(rows, truth[rows], len(truth), NAMES)
    result = self_train(
        features, soft, rows=rows, labels=truth[rows], fit=lambda soft: prototypes(features, soft), settings=ON
    )
    assert result.stopped is None
    assert len(result.rounds) == 3
    first = accuracy(prototypes(features, soft), features, truth)
    assert accuracy(result.head, features, truth) > first + 0.02
    assert result.rounds[0].changed == 0
    assert result.rounds[1].changed > 0


def test_labelled_images_keep_their_evidence_in_every_round() -> None:
    features, truth, rows = world()
    soft = seeded(rows, truth[rows], len(truth), NAMES) * np.float32(0.7)
    result = self_train(
        features, soft, rows=rows, labels=truth[rows], fit=lambda soft: prototypes(features, soft), settings=ON
    )
    np.testing.assert_array_equal(result.soft[rows].toarray(), soft[rows].toarray())
    others = np.setdiff1d(np.arange(len(truth)), rows)
    np.testing.assert_allclose(np.asarray(result.soft[others].sum(axis=1)).ravel(), 1, atol=1e-5)


def test_with_a_label_for_every_image_nothing_changes() -> None:
    features, truth, _ = world()
    rows = np.arange(len(truth))
    soft = seeded(rows, truth, len(truth), NAMES)
    result = self_train(
        features, soft, rows=rows, labels=truth, fit=lambda soft: prototypes(features, soft), settings=ON
    )
    np.testing.assert_array_equal(result.soft.toarray(), soft.toarray())
    np.testing.assert_array_equal(result.head.logits(features), prototypes(features, soft).logits(features))


def test_no_rounds_is_the_head_of_the_soft_labels() -> None:
    features, truth, rows = world()
    soft = seeded(rows, truth[rows], len(truth), NAMES)
    fitted = []

    def fit(soft: csr_matrix) -> LinearHead:
        fitted.append(soft)
        return prototypes(features, soft)

    result = self_train(features, soft, rows=rows, labels=truth[rows], fit=fit, settings=replace(ON, rounds=0))
    assert len(fitted) == 1
    assert result.soft is soft
    assert len(result.rounds) == 1


class Collapsing:
    """Prototypes at first; from the second fit on, one name wins ever more: its bias grows with its mass."""

    def __init__(self, features: np.ndarray, strength: float) -> None:
        self.features, self.strength, self.fits = features, strength, 0

    def __call__(self, soft: csr_matrix) -> LinearHead:
        head = prototypes(self.features, soft)
        self.fits += 1
        bias = np.zeros(NAMES, dtype=np.float32)
        bias[0] = self.strength * (self.fits - 1)
        return replace(head, bias=head.bias + bias)


@pytest.mark.parametrize("strength", [5.0, 0.4])
def test_a_collapsing_head_is_undone(strength: float) -> None:
    features, truth, rows = world()
    soft = seeded(rows, truth[rows], len(truth), NAMES)
    settings = replace(ON, rounds=6)
    fit = Collapsing(features, strength)
    result = self_train(features, soft, rows=rows, labels=truth[rows], fit=fit, settings=settings)
    assert result.stopped is not None
    assert len(result.rounds) == fit.fits < 7
    assert accuracy(result.head, features, truth) >= accuracy(prototypes(features, soft), features, truth) - 0.05
    if strength == 5.0:  # the first round already has one name win everything: back to the start
        assert "1 of 5 names" in result.stopped
        np.testing.assert_array_equal(result.soft.toarray(), soft.toarray())
        np.testing.assert_array_equal(result.head.logits(features), prototypes(features, soft).logits(features))


def test_a_slow_collapse_is_one_too() -> None:
    """Each round loses less than the guard allows, all together more."""
    rounds = [Round(100, 1.0, 4.0, 0.60 - 0.06 * number, 0.0) for number in range(3)]
    assert collapse(rounds[0], rounds[1], ON) is None
    assert collapse(rounds[1], rounds[2], ON) is None
    assert "from 60.0% to 48.0%" in (collapse(rounds[0], rounds[2], ON) or "")


def test_the_guard_switched_off_lets_the_collapse_through() -> None:
    """So that the test above cannot pass for another reason."""
    features, truth, rows = world()
    soft = seeded(rows, truth[rows], len(truth), NAMES)
    off = replace(ON, rounds=2, least_names=0.0, least_entropy=np.inf, least_agreement=np.inf)
    fit = Collapsing(features, 5.0)
    result = self_train(features, soft, rows=rows, labels=truth[rows], fit=fit, settings=off)
    assert result.stopped is None
    assert accuracy(result.head, features, truth) == pytest.approx(1 / NAMES)


def test_the_guard_in_words() -> None:
    settings = SelfTrainingSettings(least_names=0.9, least_entropy=0.1, least_agreement=0.05)
    before = Round(names=100, still=1.0, entropy=4.0, agreement=0.6, changed=0.0)
    fine = Round(names=96, still=0.95, entropy=3.95, agreement=0.58, changed=0.2)
    assert collapse(before, fine, settings) is None
    assert "80 of 100 names" in (collapse(before, replace(fine, names=80, still=0.8), settings) or "")
    assert "from 4.00 to 3.80 nats" in (collapse(before, replace(fine, entropy=3.8), settings) or "")
    assert "from 60.0% to 50.0%" in (collapse(before, replace(fine, agreement=0.5), settings) or "")
    unlabelled = replace(before, agreement=np.nan), replace(fine, agreement=np.nan)
    assert collapse(*unlabelled, settings) is None


def test_mixing_by_hand() -> None:
    soft = csr_matrix(np.array([[1, 0], [1, 0], [0, 0], [0.5, 0]], dtype=np.float32))
    said = csr_matrix(np.array([[0.5, 0.5], [0.25, 0.75], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32))
    taught = np.array([True, False, True, True])
    found = mixed(soft, said, taught, share=0.5)
    np.testing.assert_allclose(found.toarray(), [[0.75, 0.25], [1, 0], [0.2, 0.8], [0.375, 0.125]], atol=1e-6)
    silent = mixed(soft, csr_matrix((4, 2), dtype=np.float32), taught, share=0.5)
    np.testing.assert_array_equal(silent.toarray(), soft.toarray())


def test_sharpening_by_hand() -> None:
    said = csr_matrix(np.array([[0.25, 0.75], [1, 0], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(sharpened(said, 2.0).toarray(), [[0.1, 0.9], [1, 0], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(sharpened(said, 1.0).toarray(), said.toarray())


def test_alignment_by_hand() -> None:
    """The student gives the first name 1.5 of 2 where the labels give it 1: factors 2/3 and 2."""
    said = csr_matrix(np.array([[1, 0], [0.5, 0.5], [0.5, 0.5]], dtype=np.float32))
    soft = csr_matrix(np.array([[0.4, 0], [0, 0.8], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(aligned(said, soft).toarray(), [[1, 0], [0.25, 0.75], [0.25, 0.75]], atol=1e-6)
    np.testing.assert_allclose(aligned(said[:2], said[:2]).toarray(), said[:2].toarray(), atol=1e-6)


def test_alignment_makes_nothing_of_names_without_labels() -> None:
    said = csr_matrix(np.array([[0.5, 0.5, 0], [0, 1, 0]], dtype=np.float32))
    soft = csr_matrix(np.array([[1, 0, 0], [1, 0, 0]], dtype=np.float32))
    np.testing.assert_allclose(aligned(said, soft).toarray(), [[1, 0, 0], [0, 0, 0]])


def test_predictions_are_a_softmax_at_the_likeliest_scale() -> None:
    """A head that is ten times too flat is put right by its scale."""
    features, truth, _ = world()
    soft = seeded(np.arange(len(truth)), truth, len(truth), NAMES)
    head = prototypes(features, soft)
    flat = replace(head, weights=head.weights / 10)
    assert fit_scale(features, flat, soft) == pytest.approx(10 * fit_scale(features, head, soft), rel=0.1)
    said = predict(features, flat, soft)
    scaled = fit_scale(features, flat, soft) * flat.logits(features)
    chance = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(said.soft.toarray(), chance, atol=1e-5)
    np.testing.assert_allclose(said.mean, chance.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(said.winners, chance.argmax(axis=1))
    assert np.diff(predict(features, flat, soft, keep=2).soft.indptr).max() == 2


def test_without_any_label_the_scale_is_one() -> None:
    features, _, _ = world()
    soft = csr_matrix((len(features), NAMES), dtype=np.float32)
    head = LinearHead(np.zeros((NAMES, features.shape[1]), np.float32), np.zeros(NAMES, np.float32))
    assert fit_scale(features, head, soft) == 1.0
