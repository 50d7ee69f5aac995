"""Probabilities mean agreement with the teacher; floors come from images that were not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.student.calibration import calibrate, mixture_logits, support_floor
from fgvr.methods.student.heads import LinearHead, Mixture
from fgvr.methods.student.mixing import LEAST


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_weighed_logits_are_those_of_the_mixture():
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(7, 4)))
    heads = {name: LinearHead(unit(rng.normal(size=(3, 4))), np.zeros(3, dtype=np.float32)) for name in "abc"}
    weights = {"a": 2.0, "c": 0.5}
    logits = {name: head.logits(features) for name, head in heads.items()}
    expected = Mixture(heads, weights).logits(features)
    np.testing.assert_allclose(mixture_logits(logits, weights), expected, rtol=1e-5)


def test_the_probability_floor_is_a_quantile_of_the_judged_images():
    confidence = np.linspace(0.5, 0.99, 50)
    logits = np.stack([np.log(confidence / (1 - confidence)), np.zeros(50)], axis=1).astype(np.float32)
    judged = np.arange(50) % 2 == 0
    features = unit(np.random.default_rng(0).normal(size=(60, 3)))
    found = calibrate(logits, judged, features, np.arange(50), unknown_share=0.1)
    assert found.probability_floor == pytest.approx(np.quantile(confidence[judged], 0.1), abs=1e-5)
    assert found.temperature == 1.0
    assert found.source == "cross-fit"
    assert calibrate(logits, judged, features, np.arange(50), unknown_share=0).probability_floor == 0.0


def test_with_too_few_judged_images_nothing_is_called_improbable():
    features = unit(np.random.default_rng(0).normal(size=(30, 3)))
    judged = np.arange(20) < LEAST - 1
    found = calibrate(np.full((20, 2), np.nan), judged, features, np.arange(20))
    assert found.probability_floor == 0.0
    assert found.source == "none"


def test_the_support_floor_by_a_slow_reference():
    features = unit(np.random.default_rng(0).normal(size=(400, 3)))
    rows = np.arange(0, 400, 8)
    others = np.setdiff1d(np.arange(400), rows)
    nearest = [max(float(features[one] @ features[row]) for row in rows) for one in others]
    assert support_floor(features, rows, 0.05) == pytest.approx(np.quantile(nearest, 0.05), abs=1e-5)
    assert support_floor(features, rows, 0.0) == -1.0
    assert support_floor(features, rows[:0], 0.05) == -1.0


def test_a_pool_that_was_asked_about_whole_has_a_floor_from_every_images_nearest_other():
    features = unit(np.random.default_rng(0).normal(size=(150, 3)))
    cosines = features @ features.T
    np.fill_diagonal(cosines, -2)
    expected = np.quantile(cosines.max(axis=1), 0.05)
    assert support_floor(features, np.arange(150), 0.05) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("spread", [False, True])
def test_new_images_like_the_pool_are_seldom_called_strange_however_the_asked_were_chosen(spread):
    rng = np.random.default_rng(0)
    features, new = unit(rng.normal(size=(600, 3))), unit(rng.normal(size=(600, 3)))
    rows = rng.permutation(600)[:60]
    if spread:  # farthest-first: no two asked images are alike
        chosen = [0]
        for _ in range(59):
            chosen.append(int((features @ features[chosen].T).max(axis=1).argmin()))
        rows = np.array(chosen)
    floor = support_floor(features, rows, 0.05)
    strange = ((new @ features[rows].T).max(axis=1) < floor).mean()
    assert 0.01 < strange < 0.1
