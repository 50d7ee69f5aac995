from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from fgvr.metrics import adjusted_rand_index, clustering_accuracy, normalised_mutual_information
from fgvr.metrics.clustering import matched_hits

LABELS = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("vwxyz")), min_size=1, max_size=60
)  # fmt: skip


def padded_square(predicted: list[str], true: list[str]) -> float:
    """cACC as the released code has it: a square, zero-padded contingency and a minimising Hungarian."""
    clusters, classes = sorted(set(predicted)), sorted(set(true))
    size = max(len(clusters), len(classes))
    table = np.zeros((size, size), dtype=int)
    for p, t in zip(predicted, true):
        table[clusters.index(p), classes.index(t)] += 1
    rows, columns = linear_sum_assignment(table.max() - table)
    return float(table[rows, columns].sum() / len(true))


def test_by_hand() -> None:
    # Clusters p (2 of a, 1 of b) and q (1 of b): p-a and q-b match 3 of 4.
    assert clustering_accuracy(["p", "p", "p", "q"], ["a", "a", "b", "b"]) == 0.75
    # Over-fragmented: each class takes one cluster.
    assert clustering_accuracy(["p", "q", "r", "s"], ["a", "a", "a", "a"]) == 0.25
    # Greedy would take p-a (3) and leave b with nothing; the optimum is p-b, q-a.
    assert clustering_accuracy(["p"] * 5 + ["q"] * 2, ["a"] * 3 + ["b"] * 2 + ["a"] * 2) == pytest.approx(4 / 7)


def test_names_are_compared_normalised_unless_told() -> None:
    predicted, true = ["Pit-Bull", "pit bull"], ["x", "x"]
    assert clustering_accuracy(predicted, true) == 1.0
    assert clustering_accuracy(predicted, true, normalise=False) == 0.5


def test_first_of_several_accepted_names_is_the_class() -> None:
    assert clustering_accuracy(["p", "p"], [("a", "b"), ("a", "c")]) == 1.0


def test_macro_averages_over_classes() -> None:
    predicted, true = ["p", "p", "p", "p", "q", "r"], ["a", "a", "a", "a", "b", "b"]
    assert clustering_accuracy(predicted, true) == pytest.approx(5 / 6)
    assert clustering_accuracy(predicted, true, average="macro") == pytest.approx((1 + 0.5) / 2)


@given(LABELS)
def test_equals_the_padded_square_reference(items: list[tuple[str, str]]) -> None:
    predicted, true = map(list, zip(*items))
    assert clustering_accuracy(predicted, true) == pytest.approx(padded_square(predicted, true))


@given(LABELS, st.permutations("abcdefghij"))
def test_does_not_change_when_clusters_are_renamed(items: list[tuple[str, str]], names: list[str]) -> None:
    predicted, true = map(list, zip(*items))
    renamed = [f"cluster {names['abcdefghij'.index(p)]}" for p in predicted]
    assert clustering_accuracy(renamed, true) == pytest.approx(clustering_accuracy(predicted, true))


@given(LABELS)
def test_bounded_below_by_the_largest_cell(items: list[tuple[str, str]]) -> None:
    predicted, true = map(list, zip(*items))
    largest = max(len(list(g)) for _, g in itertools.groupby(sorted(items)))
    assert largest / len(items) <= clustering_accuracy(predicted, true) <= 1
    assert clustering_accuracy(true, true) == 1
    assert 0 <= clustering_accuracy(predicted, true, average="macro") <= 1


@settings(deadline=None)
@given(LABELS)
def test_nmi_and_ari_equal_scikit_learn(items: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, true = map(list, zip(*items))
    nmi = metrics.normalized_mutual_info_score(true, predicted)
    assert normalised_mutual_information(predicted, true) == pytest.approx(nmi, abs=1e-9)
    ari = metrics.adjusted_rand_score(true, predicted)
    assert adjusted_rand_index(predicted, true) == pytest.approx(ari, abs=1e-9)


@pytest.mark.parametrize("metric", [clustering_accuracy, normalised_mutual_information, adjusted_rand_index])
def test_refuses_unequal_lengths_and_nothing(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="2 predictions for 1"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="nothing to score"):
        metric([], [])


def test_unknown_average_is_refused() -> None:
    with pytest.raises(ValueError, match="average"):
        clustering_accuracy(["a"], ["a"], average="weighted")


def test_100_000_predictions_with_5_000_names_take_seconds() -> None:
    rng = np.random.default_rng(0)
    true = [f"class {i}" for i in rng.integers(0, 1000, 100_000)]
    predicted = [t if rng.random() < 0.6 else f"name {rng.integers(0, 5000)}" for t in true]
    start = time.process_time()
    assert 0.55 < clustering_accuracy(predicted, true) < 0.65
    assert time.process_time() - start < 15


# --- which items are matched ------------------------------------------------------------------------------------------


def test_matched_hits_by_hand() -> None:
    assert matched_hits(["p", "p", "p", "q"], ["a", "a", "b", "b"]).tolist() == [1, 1, 0, 1]
    assert matched_hits(["Pit-Bull", "pit bull"], [("x", "y"), ("x",)]).tolist() == [1, 1]
    assert matched_hits(["p", "q"], ["a", "a"]).sum() == 1  # a class has one partner
    with pytest.raises(ValueError, match="nothing"):
        matched_hits([], [])


@given(LABELS)
def test_matched_hits_have_the_clustering_accuracy_as_mean(pairs) -> None:
    predicted, true = [p for p, _ in pairs], [t for _, t in pairs]
    hits = matched_hits(predicted, true)
    assert hits.mean() == pytest.approx(clustering_accuracy(predicted, true))
    partner = {}
    for name, label, hit in zip(predicted, true, hits):
        if hit:  # one-to-one: every class has one cluster, every cluster one class
            assert partner.setdefault(("class", label), name) == name
            assert partner.setdefault(("cluster", name), label) == label
