"""Choices on the support only: folds, judgement, temperature, thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fgvr.methods.near.calibrate import calibrate, fit_temperature, probabilities
from fgvr.methods.near.select import assign_folds, cross_fit, judge, select
from fgvr.methods.near.settings import LITE, TuneSettings

from .world import NAMES, GatedTower, clustered, noisy, unit

FAST = TuneSettings(epochs=4, context_length=4)


@pytest.fixture(scope="module")
def support():
    features, true = clustered(5, seed=1)
    tower = GatedTower()
    tower.set_names(NAMES)
    return features, noisy(true, share=0.3, classes=len(NAMES), seed=2), tower(torch.zeros(1, 6)).numpy()


def test_folds_are_balanced_seeded_and_keep_copies_together():
    features = unit(np.random.default_rng(0).normal(size=(30, 4)))
    features[20:] = features[:10]
    folds = assign_folds(features, folds=3, seed=1)
    np.testing.assert_array_equal(folds[20:], folds[:10])
    assert set(folds) == {0, 1, 2}
    np.testing.assert_array_equal(folds, assign_folds(features, folds=3, seed=1))
    with pytest.raises(ValueError, match="two folds"):
        assign_folds(features, folds=1)


def test_held_out_labels_are_never_trained_on(support, monkeypatch):
    """Changing the labels of one fold changes what is predicted for the others, never for that fold itself."""
    features, labels, text = support
    options = {"text_features": text, "folds": 3, "logit_scale": 30.0, "seed": 0}
    before = cross_fit(features, labels, GatedTower(), NAMES, FAST, **options)
    held = assign_folds(features, folds=3, seed=0) == 1
    changed = np.where(held, (labels + 7) % len(NAMES), labels)
    after = cross_fit(features, changed, GatedTower(), NAMES, FAST, **options)
    np.testing.assert_array_equal(before[held], after[held])
    assert not np.array_equal(before[~held], after[~held])


def test_select_keeps_the_best_held_out_candidate(support):
    features, labels, text = support
    absurd = replace(FAST, learning_rate=50.0, warmup_epochs=0)
    chosen = select(
        features,
        labels,
        GatedTower(),
        NAMES,
        text_features=text,
        candidates={"absurd": absurd, "sane": FAST, "lite": replace(LITE, epochs=30)},
        logit_scale=30.0,
    )
    scores = {score.name: score for score in chosen.scores}
    assert chosen.name == max(scores, key=lambda name: scores[name].likelihood)
    assert chosen.name != "absurd"
    assert chosen.cosines.shape == (len(features), len(NAMES))
    with pytest.raises(ValueError, match="no candidates"):
        select(features, labels, None, NAMES, text_features=text, candidates={})


def test_judge_by_hand():
    cosines = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7]])
    votes = np.array([[1.0, 0.0], [1 / 3, 2 / 3], [0.0, 0.0]])
    score = judge("x", cosines, votes, np.array([0, 1, -1]), logit_scale=10.0)
    assert score.agreement == pytest.approx((1 + 1 / 3) / 2)
    assert score.own_agreement == 0.5


def test_the_temperature_undoes_a_known_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5))
    p = probabilities(logits, 1.0)
    labels = np.array([rng.choice(5, p=row) for row in p])
    targets = np.eye(5)[labels]
    assert fit_temperature(4.0 * logits, targets) == pytest.approx(4.0, rel=0.08)
    np.testing.assert_allclose(probabilities(np.array([[1000.0, 0.0]]), 1.0), [[1.0, 0.0]])


def test_thresholds_are_the_low_quantiles_of_the_support():
    features, true = clustered(10, seed=3)
    votes = np.eye(len(NAMES))[noisy(true, share=0.3, classes=len(NAMES))]  # else the best temperature is none at all
    cosines = features @ unit(np.eye(len(NAMES))[true].T @ features).T
    found = calibrate(cosines, votes, features, logit_scale=30.0, unknown_share=0.1, strange_share=0.02)
    best = probabilities(30.0 * cosines, found.temperature).max(axis=1)
    assert (best < found.probability_floor).mean() == pytest.approx(0.1, abs=0.011)
    assert (cosines.max(axis=1) < found.cosine_floor).mean() == pytest.approx(0.02, abs=0.006)
    off = calibrate(cosines, votes, features, logit_scale=30.0, unknown_share=0, strange_share=0)
    assert (off.probability_floor, off.cosine_floor, off.support_floor) == (0.0, -1.0, -1.0)
