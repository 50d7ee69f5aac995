"""Facility location against the plain greedy loop and the best possible choice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.naming import facility_location as module
from fgvr.naming.facility_location import coverage, facility_location


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def drawn(count: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def slow_value(features, chosen, weights) -> float:
    total = 0.0
    for i in range(len(features)):
        best = max((float(features[i].astype(np.float64) @ features[j]) for j in chosen), default=0.0)
        total += weights[i] * max(0.0, best)
    return total


def slow_greedy(features, k, weights, taken) -> list[int]:
    chosen: list[int] = []
    for _ in range(k):
        left = [j for j in range(len(features)) if j not in chosen and j not in taken]
        values = [slow_value(features, [*taken, *chosen, j], weights) for j in left]
        chosen.append(left[int(np.argmax(values))])
    return chosen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("taken", [[], [3, 7]], ids=["fresh", "taken"])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_lazy_choice_is_the_plain_greedy_one(seed, taken, batch, monkeypatch):
    monkeypatch.setattr(module, "BATCH", batch)
    monkeypatch.setattr(module, "ROOM", 100)
    features, weights = drawn(25, seed=seed), np.random.default_rng(seed).random(25)
    found = facility_location(features, 6, weights=weights, taken=np.array(taken, dtype=int))
    assert found.tolist() == slow_greedy(features, 6, weights, taken)


def test_by_hand():
    """Angles 0, 10, 20 and 90, 100: the middle of the heap of three, then one of the two, the lower row."""
    degrees = np.radians([0, 10, 20, 90, 100])
    features = unit(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))
    # gains of the first step: 0: 1 + .985 + .940 + 0 + 0; 10: 2 * .985 + 1 + .174; 20: .940 + .985 + 1 + .342 + .174
    assert coverage(features, np.array([2])) == pytest.approx(np.cos(np.radians([20, 10, 0, 70, 80])).sum(), abs=1e-5)
    assert facility_location(features, 2).tolist() == [2, 4]
    assert facility_location(features, 1, weights=np.array([1, 0, 0, 0, 0])).tolist() == [0]


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 9), st.integers(1, 3), st.integers(0, 10_000))
def test_greedy_reaches_its_share_of_the_best(count, k, seed):
    features = drawn(count, dim=3, seed=seed)
    best = max(coverage(features, np.array(some)) for some in combinations(range(count), k))
    assert coverage(features, facility_location(features, k)) >= (1 - 1 / np.e) * best - 1e-5


def test_gains_shrink_and_beginnings_are_choices():
    features = drawn(60)
    chosen = facility_location(features, 20)
    values = [0.0, *(coverage(features, chosen[:n]) for n in range(1, 21))]
    gains = np.diff(values)
    assert (gains >= -1e-5).all()
    assert (np.diff(gains) <= 1e-4).all()
    assert facility_location(features, 7).tolist() == chosen[:7].tolist()


def test_every_row_at_most_once_and_no_more_than_there_are():
    features = np.repeat(drawn(4), 3, axis=0)
    assert sorted(facility_location(features, 50).tolist()) == list(range(12))
    assert sorted(facility_location(features, 50, taken=np.array([0, 5])).tolist()) == [
        row for row in range(12) if row not in (0, 5)
    ]


def test_a_large_pool_is_sampled_by_seed():
    features = drawn(300)
    one, two = (facility_location(features, 4, seed=1, least_sample=80) for _ in range(2))
    assert one.tolist() == two.tolist()
    whole = coverage(features, facility_location(features, 4))
    assert 0.85 * whole < coverage(features, one) <= whole + 1e-3


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"weights": np.ones(3)}, {"weights": -np.ones(5)}, {"weights": np.full(5, np.nan)}], ids=str
)
def test_values_without_sense_are_refused(wrong):
    values = {"k": 2, **wrong}
    with pytest.raises(ValueError, match=r"row"):
        facility_location(drawn(5), values.pop("k"), **values)
