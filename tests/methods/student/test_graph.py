"""The pool as a graph, against dense references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.student.graph import NeighbourGraph, affinity, neighbour_graph


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def random_features(count: int, dimensions: int = 6, *, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimensions)))


def dense_affinity(features: np.ndarray, k: int, sharpness: float, mutual: bool) -> np.ndarray:
    """The definition, pair by pair."""
    count = len(features)
    cosine = features.astype(np.float64) @ features.T.astype(np.float64)
    near = [sorted((j for j in range(count) if j != i), key=lambda j: -cosine[i, j])[:k] for i in range(count)]
    weight = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            ways = (j in near[i]) + (i in near[j])
            if ways == 2 or (ways == 1 and not mutual):
                weight[i, j] = np.exp(sharpness * (cosine[i, j] - 1))
    degree = weight.sum(axis=1)
    degree[degree == 0] = 1
    return np.asarray(weight / np.sqrt(degree[:, None] * degree[None, :]))


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("sharpness", [0.0, 10.0])
def test_affinity_is_the_definition(mutual: bool, sharpness: float) -> None:
    features = random_features(40)
    found = affinity(neighbour_graph(features, k=4), sharpness=sharpness, mutual=mutual)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), dense_affinity(features, 4, sharpness, mutual), atol=1e-5)


def test_neighbours_are_exact_whatever_the_tiling() -> None:
    features = random_features(70)
    cosine = features @ features.T
    np.fill_diagonal(cosine, -2)
    graph = neighbour_graph(features, k=3, block=16)
    np.testing.assert_array_equal(graph.indices, np.argsort(-cosine, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(graph.cosines, -np.sort(-cosine, axis=1)[:, :3], atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 25), k=st.integers(1, 6), copies=st.booleans(), mutual=st.booleans(), seed=st.integers(0, 99)
)
def test_symmetric_no_self_edges_spectrum_within_one(count: int, k: int, copies: bool, mutual: bool, seed: int) -> None:
    features = random_features(count, 3, seed=seed)
    if copies:
        features = np.repeat(features[: (count + 1) // 2], 2, axis=0)[:count]
    dense = affinity(neighbour_graph(features, k=k), mutual=mutual).toarray().astype(np.float64)
    np.testing.assert_allclose(dense, dense.T, atol=1e-6)
    assert (np.diag(dense) == 0).all()
    assert (dense >= 0).all()
    assert np.abs(np.linalg.eigvalsh(dense)).max() <= 1 + 1e-5


def test_fewer_others_than_neighbours() -> None:
    graph = neighbour_graph(random_features(3), k=5)
    assert graph.indices.shape == (3, 5)
    assert (graph.indices[:, 2:] == -1).all()
    assert np.isnan(graph.cosines[:, 2:]).all()
    assert affinity(graph).nnz == 6  # all three joined


def test_an_image_alone_has_no_edges() -> None:
    graph = neighbour_graph(random_features(1), k=2)
    assert len(graph.indices) == 1
    assert affinity(graph).nnz == 0


def test_mutual_can_leave_an_image_without_edges() -> None:
    """Nobody's nearest is the third image."""
    features = unit(np.array([[1, 0.1], [1, 0], [0, 1.0]]))
    found = affinity(neighbour_graph(features, k=1), mutual=True).toarray()
    np.testing.assert_allclose(found, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_the_same_picture_thrice_is_joined_at_full_weight() -> None:
    features = unit(np.array([[1.0, 0]] * 3 + [[0, 1.0]] * 3))
    found = affinity(neighbour_graph(features, k=2)).toarray()
    np.testing.assert_allclose(found[:3, :3], (1 - np.eye(3)) / 2, atol=1e-6)
    assert (found[:3, 3:] == 0).all()


def test_first_is_the_graph_of_fewer_neighbours() -> None:
    features = random_features(30)
    fewer = neighbour_graph(features, k=6).first(2)
    np.testing.assert_array_equal(fewer.indices, neighbour_graph(features, k=2).indices)
    assert isinstance(fewer, NeighbourGraph)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least one neighbour"):
        neighbour_graph(random_features(3), k=0)
    with pytest.raises(ValueError, match="table"):
        neighbour_graph(np.ones(3, dtype=np.float32), k=1)
