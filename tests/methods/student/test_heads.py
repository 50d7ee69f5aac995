"""Heads by hand: what a linear head, a cache and a mixture say of a feature."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.student.calibration import mixture_logits
from fgvr.methods.student.heads import DOUBT, CacheHead, LinearHead, Mixture
from fgvr.methods.student.mixing import mix
from fgvr.methods.student.prototypes import NEVER, cosine_head

from .test_prototypes import unit

FEATURES = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)


def test_a_linear_head_by_hand():
    head = LinearHead(np.array([[2, 0], [0, 5]], dtype=np.float32), np.array([0, 1], dtype=np.float32))
    np.testing.assert_allclose(head.logits(FEATURES), [[2, 1], [1.2, 5]], rtol=1e-6)


def test_a_cache_by_hand():
    head = CacheHead(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), sharpness=np.log(2) * 5)
    shares = np.array([[32 / 33, 1 / 33], [1 / 3, 2 / 3]])  # cosines 1, 0 and 0.6, 0.8: one is 2^5, 2^1 times the other
    np.testing.assert_allclose(head.logits(FEATURES), np.log((1 - DOUBT) * shares + DOUBT / 2), rtol=1e-5)


def test_a_mixture_is_the_weighted_sum_of_those_that_have_a_weight():
    one = LinearHead(np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32))
    two = LinearHead(3 * np.eye(2, dtype=np.float32), np.ones(2, dtype=np.float32))
    mixture = Mixture({"one": one, "two": two, "unused": two}, {"one": 2.0, "two": 0.5})
    np.testing.assert_allclose(mixture.logits(FEATURES), 3.5 * FEATURES + 0.5, rtol=1e-6)


@pytest.mark.parametrize("rule", ["mix", "best", "equal"])
def test_a_mixture_is_sane_where_a_head_never_says_a_name(rule):
    """One head knows nothing of the last name and shuts it out; weights stay finite, and what it knows stays known."""
    rng = np.random.default_rng(0)
    means = unit(rng.normal(size=(5, 8)))
    labels = rng.integers(0, 4, size=120)
    features = unit(means[labels] + 0.15 * rng.normal(size=(120, 8)))
    labels = np.where(rng.random(120) < 0.2, rng.integers(0, 4, size=120), labels)
    short = means.copy()
    short[4] = 0.0
    heads = {"all": cosine_head(means, scale=100.0), "short": cosine_head(short, scale=100.0)}
    logits = {name: head.logits(features) for name, head in heads.items()}
    assert logits["short"][:, 4].max() <= NEVER
    mixed = mix(logits, labels, rule=rule, first="short")
    for numbers in (mixed.weights, mixed.shares, mixed.temperatures):
        assert all(np.isfinite(value) and value > 0 for value in numbers.values())
    assert sum(mixed.shares.values()) == pytest.approx(1.0)
    # the scale is that of the names that can be said: as without the shut-out column
    open_only = {name: values[:, :4] for name, values in logits.items()}
    expected = mix(open_only, labels, first="short").temperatures["short"]
    assert mixed.temperatures["short"] == pytest.approx(expected, rel=1e-3)
    found = Mixture({name: heads[name] for name in mixed.weights}, mixed.weights).logits(features)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, mixture_logits(logits, mixed.weights), rtol=1e-4, atol=1e-2)
    assert (found.argmax(axis=1) == labels).mean() > 0.7
