"""Classes that no label covers: found where they are, not found where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student.graph import NeighbourGraph, neighbour_graph
from fgvr.methods.student.unknown import disagreement, unknown_groups


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def heaps(sizes=(12, 12, 12, 8), seed: int = 0, spread: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    return unit(np.eye(8)[kinds] + spread * rng.normal(size=(len(kinds), 8))), kinds


def none(count: int) -> csr_matrix:
    return csr_matrix((count, 3), dtype=np.float32)


def test_a_heap_without_a_label_is_the_group():
    features, kinds = heaps()
    table = np.zeros((44, 3), dtype=np.float32)
    table[np.arange(44), np.minimum(kinds, 2)] = 1
    table[40:, 2], table[40:, 0] = 0.5, 0.5
    found = unknown_groups(features, np.array([0, 12, 24]), csr_matrix(table), neighbour_graph(features, k=10))
    assert len(found) == 1
    group = found[0]
    assert set(group.rows.tolist()) == set(range(36, 44))
    assert group.rows[0] == group.medoid
    cosines = features[group.rows] @ features[group.medoid]
    assert (np.diff(cosines) <= 1e-6).all()
    assert group.cohesion == pytest.approx(float(cosines[1:].mean()), abs=1e-6)
    assert group.distance == pytest.approx(1 - float((features[[0, 12, 24]] @ features[group.medoid]).max()), abs=1e-6)
    assert group.names == ((2, pytest.approx(0.75)), (0, pytest.approx(0.25)))


def test_by_hand():
    """Angles 0 (named), 60, 63, 69: naming 63 brings 60, 63 and 69 nearest to a label."""
    degrees = np.radians([0, 60, 63, 69])
    features = unit(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))
    soft = csr_matrix(np.array([[1, 0, 0]] * 4, dtype=np.float32))
    (group,) = unknown_groups(features, np.array([0]), soft, neighbour_graph(features, k=3))
    assert group.rows.tolist() == [2, 1, 3]
    gain = np.cos(np.radians([3, 0, 6])).sum() - np.cos(np.radians([60, 63, 69])).sum()
    assert group.score == pytest.approx(gain, abs=1e-4)  # all agree: no more than the gain


def test_disagreement_raises_the_score():
    features, _ = heaps()
    graph, named = neighbour_graph(features, k=10), np.array([0, 12, 24])
    agreed, spread = np.zeros((44, 3), dtype=np.float32), np.full((44, 3), 1 / 3, dtype=np.float32)
    agreed[:, 0] = 1
    (low,) = unknown_groups(features, named, csr_matrix(agreed), graph)
    (high,) = unknown_groups(features, named, csr_matrix(spread), graph)
    assert high.score == pytest.approx(2 * low.score)
    assert disagreement(np.array([0.5, 0.5])) == pytest.approx(1)
    assert disagreement(np.array([0.7, 0.0])) == disagreement(np.zeros(3)) == disagreement(np.ones(1)) == 0


def test_nothing_is_found_where_every_heap_has_a_label():
    features, _ = heaps(spread=0.03)
    assert unknown_groups(features, np.array([0, 12, 24, 36]), none(44), neighbour_graph(features, k=10)) == ()


def test_a_single_odd_picture_is_no_group():
    features, _ = heaps(sizes=(12, 12, 1), spread=0.03)
    graph, named = neighbour_graph(features, k=10), np.array([0, 12])
    assert unknown_groups(features, named, none(25), graph) == ()
    (alone,) = unknown_groups(features, named, none(25), graph, least=1)
    assert alone.rows.tolist() == [24]
    assert (alone.cohesion, alone.names) == (1.0, ())


def test_without_a_label_everything_is_unknown():
    features, kinds = heaps()
    found = unknown_groups(features, np.empty(0, dtype=int), none(44), neighbour_graph(features, k=7))
    assert {int(kinds[one.medoid]) for one in found} == {0, 1, 2, 3}
    assert found[0].distance == 2
    assert unknown_groups(features, np.arange(44), none(44), neighbour_graph(features, k=11)) == ()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 6), st.floats(0, 0.3))
def test_groups_are_disjoint_large_enough_and_away_from_labels(seed, least, most, margin):
    features, _ = heaps(seed=seed, spread=0.3)
    named = np.random.default_rng(seed).permutation(44)[:6]
    found = unknown_groups(
        features, named, none(44), neighbour_graph(features, k=8), least=least, most=most, margin=margin
    )
    rows = np.concatenate([np.empty(0, dtype=int), *(one.rows for one in found)])
    assert len(rows) == len(set(rows.tolist()))
    assert not set(rows.tolist()) & set(named.tolist())
    assert len(found) <= most
    assert all(len(one.rows) >= least and one.score > 0 for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        nearest = (features[one.rows] @ features[named].T).max(axis=1)
        assert (features[one.rows] @ features[one.medoid] - nearest > margin - 1e-5).all()


def test_values_without_sense_are_refused():
    features, _ = heaps()
    graph = neighbour_graph(features, k=5)
    for wrong in ({"least": 0}, {"most": 0}, {"margin": -0.1}):
        with pytest.raises(ValueError, match="least"):
            unknown_groups(features, np.array([0]), none(44), graph, **wrong)
    with pytest.raises(ValueError, match="one pool"):
        unknown_groups(features, np.array([0]), none(43), graph)
    with pytest.raises(ValueError, match="one pool"):
        unknown_groups(features, np.array([0]), none(44), NeighbourGraph(graph.indices[:9], graph.cosines[:9]))
