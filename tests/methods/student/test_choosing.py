"""What to label next: doubt and standing for others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fgvr.methods.student.choosing import by_propagation, doubt, most_informative
from fgvr.methods.student.graph import affinity, neighbour_graph
from fgvr.naming.choose import LabelsSoFar, choose_support, round_sizes
from fgvr.naming.facility_location import facility_location


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def heaps(sizes=(20, 20, 20, 20), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    return unit(np.eye(8)[kinds] + 0.1 * rng.normal(size=(len(kinds), 8))), kinds


def test_doubt_by_hand():
    soft = csr_matrix(np.array([[0.5, 0.5, 0], [1, 0, 0], [0, 0, 0], [0.2, 0, 0.6]], dtype=np.float32))
    np.testing.assert_allclose(doubt(soft), [0.5, 0, 1, 0.25], atol=1e-6)


def test_the_heap_in_doubt_is_asked_about_first():
    """Four equal heaps, one image asked of each; only heap 2 is not known for sure."""
    features, kinds = heaps()
    table = np.eye(4, dtype=np.float32)[kinds]
    table[kinds == 2] = 0.25
    asked = np.array([0, 20, 40, 60])
    rest = np.setdiff1d(np.arange(80), asked)
    picked = most_informative(features, csr_matrix(table), rest, 3, asked=asked, floor=0.0)
    assert (kinds[picked] == 2).all()
    assert len(set(picked.tolist())) == 3


def test_a_heap_nobody_asked_about_comes_first():
    features, kinds = heaps()
    asked = np.array([0, 20, 40])
    soft = csr_matrix(np.eye(4, dtype=np.float32)[kinds] * (kinds != 3)[:, None])
    picked = most_informative(features, soft, np.setdiff1d(np.arange(80), asked), 1, asked=asked)
    assert kinds[picked].tolist() == [3]


def test_without_doubt_a_round_is_plain_facility_location():
    features, kinds = heaps()
    sure = csr_matrix(np.eye(4, dtype=np.float32)[kinds])
    found = most_informative(features, sure, np.arange(80), 5)
    assert found.tolist() == sorted(facility_location(features, 5).tolist())


def test_only_the_rest_is_asked_about_and_stood_for():
    """Rows that are neither asked nor left are near-duplicates: they serve nobody and want nothing."""
    features, _ = heaps()
    features[79] = features[78]
    soft = csr_matrix((80, 4), dtype=np.float32)
    rest = np.arange(60, 79)
    picked = most_informative(features, soft, rest, 4, asked=np.array([0]))
    assert set(picked.tolist()) <= set(rest.tolist())
    assert most_informative(features, soft, rest[::-1], 99).tolist() == rest.tolist()


def test_values_without_sense_are_refused():
    features, _ = heaps()
    with pytest.raises(ValueError, match="floor"):
        most_informative(features, csr_matrix((80, 2)), np.arange(80), 3, floor=1.5)
    with pytest.raises(ValueError, match="row"):
        most_informative(features, csr_matrix((79, 2)), np.arange(80), 3)


def test_rounds_of_the_whole_choice_find_every_heap():
    features, kinds = heaps(sizes=(30, 20, 10, 6, 3))
    bought: list[np.ndarray] = []

    def label(rows: np.ndarray) -> LabelsSoFar:
        bought.append(rows)
        return LabelsSoFar(kinds[np.concatenate(bought)], np.eye(5, 8, dtype=np.float32), 20.0)

    informative = by_propagation(features, affinity(neighbour_graph(features, k=5)))
    chosen = choose_support(
        features, (), 10, how="active", seed=0, label=label, threshold=0.999, informative=informative
    )
    assert [len(rows) for rows in bought] == list(round_sizes(10))
    assert len(set(chosen.tolist())) == 10
    assert set(kinds[chosen].tolist()) == set(range(5))


def test_no_name_yet_is_all_doubt():
    features, _ = heaps()
    informative = by_propagation(features, affinity(neighbour_graph(features, k=5)))
    none = LabelsSoFar(np.array([-1]), np.empty((0, 8), np.float32), 20.0)
    picked = informative(np.arange(1, 80), np.array([0]), none, 4, 0)
    expected = facility_location(features, 4, taken=np.array([0]))
    assert picked.tolist() == sorted(expected.tolist())
