"""The metrics keep what their definitions promise, on anything: against brute force, and under renaming.

Against scikit-learn, a padded square and by hand: ``tests/metrics``.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.metrics import clustering_accuracy, exact_accuracy, synonym_accuracy
from fgvr.metrics.bootstrap import bootstrap_mean

TINY = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz")), min_size=1, max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


def brute_force(predicted: list[str], true: list[str]) -> float:
    """The best share over every one-to-one assignment of clusters to classes, all of them tried."""
    clusters, classes = sorted(set(predicted)), sorted(set(true))
    padded = [*classes, *[None] * max(0, len(clusters) - len(classes))]
    hits = 0
    for chosen in itertools.permutations(padded, len(clusters)):
        named = dict(zip(clusters, chosen))
        hits = max(hits, sum(named[p] == t for p, t in zip(predicted, true)))
    return hits / len(true)


@settings(deadline=None, max_examples=150)
@given(TINY)
def test_clustering_accuracy_equals_brute_force_over_all_assignments(items) -> None:
    predicted, true = (list(side) for side in zip(*items))
    assert clustering_accuracy(predicted, true) == pytest.approx(brute_force(predicted, true))


@settings(deadline=None)
@given(TINY, st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_of_items_or_the_names_of_clusters(items, rng) -> None:
    predicted, true = (list(side) for side in zip(*items))
    value = clustering_accuracy(predicted, true)
    order = rng.sample(range(len(items)), len(items))
    assert clustering_accuracy([predicted[i] for i in order], [true[i] for i in order]) == pytest.approx(value)
    names = dict(zip("abcd", rng.sample(["one", "two", "three", "four"], 4)))
    assert clustering_accuracy([names[p] for p in predicted], true) == pytest.approx(value)
    assert 0 <= value <= 1


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=8))
def test_accuracies_by_name_lie_in_order_for_any_text(items) -> None:
    """Exact is at most synonym is at most one."""
    predicted, true = (list(side) for side in zip(*items))
    accepted = [(t, p) for p, t in items]
    assert 0 <= exact_accuracy(predicted, true) <= synonym_accuracy(predicted, accepted) <= 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.integers(0, 1000))
def test_a_bootstrap_interval_contains_its_point_and_stays_in_range(scores, seed) -> None:
    found = bootstrap_mean(np.array(scores), resamples=200, seed=seed)
    assert found.value == pytest.approx(np.mean(scores))
    assert min(scores) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(scores) + 1e-9
