"""Label propagation against the closed form, and what the choice of alpha promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student import propagation
from fgvr.methods.student.graph import affinity, neighbour_graph
from fgvr.methods.student.propagation import mass, propagate, steps_needed
from tests.methods.student.test_graph import random_features, unit


def random_seeds(count: int, names: int, labelled: int, *, seed: int = 0) -> csr_matrix:
    rng = np.random.default_rng(seed)
    rows = rng.choice(count, size=labelled, replace=False)
    cells = (rng.uniform(0.1, 1, labelled), (rows, rng.integers(0, names, labelled)))
    return csr_matrix(cells, shape=(count, names), dtype=np.float32)


def closed_form(graph: csr_matrix, seeds: csr_matrix, alpha: float) -> np.ndarray:
    """(1 - alpha) (I - alpha S)^-1 Y by inversion in float64."""
    spread = np.linalg.inv(np.eye(graph.shape[0]) - alpha * graph.toarray().astype(np.float64))
    return np.asarray((1 - alpha) * spread @ seeds.toarray())


def shares(values: np.ndarray) -> np.ndarray:
    total = values.sum(axis=1, keepdims=True)
    return np.asarray(values / np.where(total > 0, total, 1))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_propagation_is_the_closed_form(alpha: float) -> None:
    graph = affinity(neighbour_graph(random_features(80), k=4))
    seeds = random_seeds(80, 12, 20)
    found = propagate(graph, seeds, alpha=alpha, most=400, block=5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), shares(closed_form(graph, seeds, alpha)), atol=2e-4)


def test_a_chain_by_hand() -> None:
    """Two images joined, one labelled: alpha / (1 - alpha^2) of (1 - alpha) arrives, all of it the one name."""
    graph = csr_matrix(np.array([[0, 1], [1, 0]], dtype=np.float32))
    seeds = csr_matrix(np.array([[1, 0], [0, 0]], dtype=np.float32))
    np.testing.assert_allclose(propagate(graph, seeds, alpha=0.5).toarray(), [[1, 0], [1, 0]])
    np.testing.assert_allclose(mass(graph, seeds, alpha=0.5, steps=60), [2 / 3, 1 / 3], atol=1e-9)
    both = csr_matrix(np.eye(2, dtype=np.float32))
    np.testing.assert_allclose(propagate(graph, both, alpha=0.5).toarray(), [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(2, 30),
    names=st.integers(1, 9),
    alpha=st.floats(0.0, 0.9),
    keep=st.integers(1, 4),
    block=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_rows_are_distributions_or_empty(
    count: int, names: int, alpha: float, keep: int, block: int, seed: int
) -> None:
    graph = affinity(neighbour_graph(random_features(count, 3, seed=seed), k=2))
    seeds = random_seeds(count, names, max(1, count // 4), seed=seed)
    found = propagate(graph, seeds, alpha=alpha, keep=keep, block=block)
    total = np.asarray(found.sum(axis=1)).ravel()
    assert (np.isclose(total, 1, atol=1e-5) | (total == 0)).all()
    assert np.diff(found.indptr).max() <= keep
    assert (found.data > 0).all()
    assert found.has_sorted_indices
    labelled = np.diff(seeds.indptr) > 0
    assert (total[labelled] > 0).all()


def test_keep_and_blocks_leave_the_largest_names() -> None:
    graph = affinity(neighbour_graph(random_features(60), k=5))
    seeds = random_seeds(60, 15, 40)
    whole = closed_form(graph, seeds, 0.7)
    kept = np.where(whole >= -np.sort(-whole, axis=1)[:, 2:3], whole, 0)
    for block in (1, 4, 64):
        found = propagate(graph, seeds, alpha=0.7, keep=3, block=block, tolerance=1e-7, most=300)
        np.testing.assert_allclose(found.toarray(), shares(kept), atol=1e-4)


def test_rows_that_no_label_reaches_are_empty() -> None:
    features = unit(np.array([[1, 0.1, 0], [1, 0, 0], [0, 0, 1], [0, 0.1, 1]]))
    graph = affinity(neighbour_graph(features, k=1))
    seeds = csr_matrix(([1.0], ([0], [3])), shape=(4, 5), dtype=np.float32)
    found = propagate(graph, seeds, alpha=0.7)
    np.testing.assert_array_equal(np.diff(found.indptr), [1, 1, 0, 0])
    assert found[1, 3] == 1.0


def test_an_isolated_image_keeps_its_label() -> None:
    seeds = csr_matrix(([0.5], ([1], [0])), shape=(2, 1), dtype=np.float32)
    found = propagate(csr_matrix((2, 2), dtype=np.float32), seeds, alpha=0.9)
    np.testing.assert_array_equal(found.toarray(), [[0], [1]])


def test_without_seeds_nothing_is_known() -> None:
    graph = affinity(neighbour_graph(random_features(10), k=2))
    assert propagate(graph, csr_matrix((10, 4), dtype=np.float32)).nnz == 0


@pytest.mark.parametrize("alpha", [0.5, 0.9])
def test_the_steps_leave_no_more_than_the_tolerance(alpha: float) -> None:
    """Also in rows far from every label, whose values are tiny: a chain of 30 images labelled at one end."""
    chain = np.zeros((30, 30), dtype=np.float32)
    chain[np.arange(29), np.arange(1, 30)] = chain[np.arange(1, 30), np.arange(29)] = 0.5
    graph, seeds = csr_matrix(chain), csr_matrix(([1.0], ([0], [0])), shape=(30, 1), dtype=np.float32)
    steps = steps_needed(graph, seeds, alpha=alpha, tolerance=1e-3, most=200)
    final = closed_form(graph, seeds, alpha)[:, 0]
    assert 30 <= steps < 200
    assert (mass(graph, seeds, alpha=alpha, steps=steps) >= (1 - 1.01e-3) * final).all()
    assert (mass(graph, seeds, alpha=alpha, steps=steps - 1) < (1 - 0.99e-3) * final).any()
    assert steps_needed(graph, seeds, alpha=alpha, most=7) == 7


def test_bad_arguments() -> None:
    graph, seeds = csr_matrix((3, 3), dtype=np.float32), csr_matrix((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="does not fit"):
        propagate(csr_matrix((2, 2)), seeds)
    with pytest.raises(ValueError, match="alpha"):
        propagate(graph, seeds, alpha=1.0)
    with pytest.raises(ValueError, match="keep"):
        propagate(graph, seeds, keep=0)
    with pytest.raises(ValueError, match="negative"):
        propagate(graph, csr_matrix(np.array([[-1.0, 0]] * 3)))


def test_large_pools_are_put_in_another_order_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = affinity(neighbour_graph(random_features(90), k=4))
    seeds = random_seeds(90, 12, 20)
    plain = propagate(graph, seeds, keep=5)
    monkeypatch.setattr(propagation, "LARGE", 10)
    reordered = propagate(graph, seeds, keep=5)
    np.testing.assert_allclose(reordered.toarray(), plain.toarray(), atol=1e-6)
    assert reordered.has_sorted_indices


def test_the_other_order_puts_neighbours_together() -> None:
    chain = np.random.default_rng(0).permutation(200)
    cells = (np.ones(199, np.float32), (chain[:-1], chain[1:]))
    one_way = csr_matrix(cells, shape=(200, 200))
    order = propagation.neighbours_together(csr_matrix(one_way + one_way.T))
    assert sorted(order) == list(range(200))
    place = np.argsort(order)
    assert np.abs(np.diff(place[chain])).max() == 1
