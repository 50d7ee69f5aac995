from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.rar.candidates import Candidates


def some() -> Candidates:
    classes = np.array([[4, 2, 0], [1, 3, -1], [-1, -1, -1]])
    chances = np.array([[0.5, 0.25, 0.125], [0.9, 0.1, 0.0], [0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        return Candidates(classes, np.log(chances))


def test_names_sizes_and_rows():
    found = some()
    assert (len(found), found.k) == (3, 3)
    assert found.sizes.tolist() == [3, 2, 0]
    assert found.names("abcde") == [("e", "c", "a"), ("b", "d"), ()]
    assert found.rows(np.array([1])).classes.tolist() == [[1, 3, -1]]
    assert found.top(2).classes.tolist() == [[4, 2], [1, 3], [-1, -1]]
    assert (found.log_probs.dtype, found.classes.dtype) == (np.float32, np.int64)


def test_the_truth_is_sought_among_all_slots():
    assert some().contains(np.array([0, 0, 2])).tolist() == [True, False, False]


def test_a_new_order_moves_classes_and_probabilities_together():
    moved = some().reordered([(2, 0, 1), (1, 0), ()])
    assert moved.classes.tolist() == [[0, 4, 2], [3, 1, -1], [-1, -1, -1]]
    assert np.exp(moved.log_probs[0]) == pytest.approx([0.125, 0.5, 0.25])
    given = np.log(np.array([[0.6, 0.3, 0.1], [0.7, 0.3, 1.0], [1.0, 1.0, 1.0]]))
    given[1, 2] = given[2] = -np.inf
    assert some().reordered([(2, 0, 1), (1, 0), ()], given).log_probs[0, 0] == pytest.approx(np.log(0.6))
    with pytest.raises(ValueError, match="permutation"):
        some().reordered([(0, 0, 1), (0, 1), ()])


@pytest.mark.parametrize(
    ("classes", "log_probs", "complaint"),
    [
        ([[1, 2]], [[0.0]], "both be"),
        ([1, 2], [0.0, 0.0], "both be"),
        ([[-1, 2]], [[-np.inf, -1.0]], "after the end"),
        ([[1, -1]], [[-0.1, -0.2]], "no candidate"),
        ([[1, 2]], [[-0.1, np.nan]], "numbers"),
    ],
)
def test_what_does_not_fit_is_refused(classes: list, log_probs: list, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        Candidates(np.array(classes), np.array(log_probs))
