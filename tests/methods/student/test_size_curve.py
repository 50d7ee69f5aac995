from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.student.size_curve import coverage, expected_names, size_curve, unseen_names

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=12).map(np.array)


def test_expected_names_are_the_mean_over_all_draws() -> None:
    labels = [0, 0, 0, 1, 1, 2, 3]
    counts = np.bincount(labels)
    for size in range(len(labels) + 1):
        drawn = [len(set(one)) for one in combinations_of(labels, size)]
        assert expected_names(counts, size) == pytest.approx(np.mean(drawn), abs=1e-12)


def combinations_of(labels: list[int], size: int) -> list[list[int]]:
    return [[labels[at] for at in some] for some in combinations(range(len(labels)), size)]


@given(COUNTS, st.floats(0, 1))
def test_the_formula_holds_in_exact_numbers(counts: np.ndarray, part: float) -> None:
    total = int(counts.sum())
    size = round(part * total)
    exact = sum(1 - comb(total - int(n), size) / comb(total, size) for n in counts)
    assert expected_names(counts, size) == pytest.approx(exact, abs=1e-9)


@given(COUNTS)
def test_the_curve_rises_from_one_name_to_all(counts: np.ndarray) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    (stage,) = size_curve({"teacher": labels}).stages
    sizes, expected = zip(*stage.points)
    assert sizes[0] == 1
    assert expected[0] == pytest.approx(1.0)
    assert sizes[-1] == len(labels) == stage.images
    assert expected[-1] == pytest.approx(len(counts))
    assert (np.diff(sizes) > 0).all()
    assert (np.diff(expected) > -1e-9).all()


def test_large_collections_are_no_problem() -> None:
    assert expected_names(np.full(1000, 100), 50_000) == pytest.approx(1000, abs=1e-6)


def test_a_draw_larger_than_the_collection_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        expected_names(np.array([2, 1]), 4)


def test_chao_and_good_by_hand() -> None:
    counts = np.array([1, 1, 1, 1, 2, 2, 6])
    assert unseen_names(counts) == 4 * 3 / (2 * 3)
    assert coverage(counts) == 1 - 4 / 14
    assert unseen_names(np.array([5, 2])) == 0
    assert coverage(np.array([5, 2])) == 1


def test_images_without_a_name_do_not_count_and_nothing_is_a_curve_of_nothing() -> None:
    named, empty = size_curve({"named": np.array([0, -1, 4, 4]), "empty": np.array([-1, -1])}).stages
    assert (named.names, named.images) == (2, 3)
    assert (empty.names, empty.images, empty.points, empty.coverage) == (0, 0, (), 0.0)
