"""The bootstrap over strata, and over classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.metrics.bootstrap import bootstrap_mean
from fgvr.metrics.strata import bootstrap_strata

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30)


@given(SCORES, st.integers(0, 5))
def test_one_stratum_of_items_is_the_plain_bootstrap(scores, seed):
    found = bootstrap_strata([scores], resamples=50, seed=seed)
    plain = bootstrap_mean(scores, resamples=50, seed=seed)
    assert (found.value, found.low, found.high) == pytest.approx((plain.value, plain.low, plain.high))


@given(SCORES, SCORES)
def test_strata_weigh_the_same_whatever_their_size(one, other):
    found = bootstrap_strata([one, other], resamples=20)
    assert found.value == pytest.approx((np.mean(one) + np.mean(other)) / 2)
    assert found.low <= found.value <= found.high


def test_classes_are_drawn_whole():
    """Against drawing classes one by one: within a class all pictures are right or all are wrong."""
    scores = [1.0] * 10 + [0.0] * 2 + [1.0] * 3 + [0.0] * 5
    classes = ["a"] * 10 + ["b"] * 2 + ["c"] * 3 + ["d"] * 5
    found = bootstrap_strata([scores], classes=[classes], resamples=4000, seed=1)
    sums, counts = {"a": 10, "b": 0, "c": 3, "d": 0}, {"a": 10, "b": 2, "c": 3, "d": 5}
    rng = np.random.default_rng(0)
    drawn = [rng.choice(list(sums), 4) for _ in range(4000)]
    slow = np.quantile([sum(sums[c] for c in d) / sum(counts[c] for c in d) for d in drawn], [0.025, 0.975])
    assert found.value == 0.65
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.03)
    items = bootstrap_strata([scores], resamples=4000, seed=1)
    assert found.high - found.low > 1.5 * (items.high - items.low)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        bootstrap_strata([])
    with pytest.raises(ValueError, match="non-empty"):
        bootstrap_strata([[1.0], []])
    with pytest.raises(ValueError, match="1 classes for 2"):
        bootstrap_strata([[1.0, 0.0]], classes=[["a"]])
