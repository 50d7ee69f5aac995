"""No head is judged by a reply it has seen, nor by a name that only its text could tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.held_out import NEVER, cross_fit, fold_numbers, judged


def pictures(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(-1, 5)), min_size=1, max_size=40),
    st.integers(2, 6),
    st.integers(0, 3),
)
def test_copies_share_a_fold_and_every_judged_image_has_company(drawn, folds, seed):
    picture, labels = (np.array(column) for column in zip(*drawn, strict=True))
    fold_of = fold_numbers(pictures(15)[picture], labels, folds=folds, seed=seed)
    assert fold_of.min() >= NEVER
    assert fold_of.max() < folds
    for one in range(len(labels)):
        others = (labels == labels[one]) & (fold_of != fold_of[one])
        if fold_of[one] == NEVER:
            continue
        assert labels[one] >= 0
        assert others.any()
        held_copies = (picture == picture[one]) & (fold_of != NEVER)
        assert len(set(fold_of[held_copies])) == 1
    np.testing.assert_array_equal(judged(labels, fold_of), fold_of != NEVER)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(2, 5))
def test_of_distinct_pictures_all_with_company_are_held_out_in_even_folds(labels, folds):
    labels = np.array(labels)
    fold_of = fold_numbers(pictures(len(labels)), labels, folds=folds)
    sizes = np.bincount(fold_of[fold_of >= 0], minlength=folds)
    np.testing.assert_array_equal(fold_of != NEVER, np.bincount(labels)[labels] > 1)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(labels):
        own = np.bincount(fold_of[(labels == label) & (fold_of >= 0)], minlength=folds)
        assert own.max() - own.min() <= 1, "a name's pictures are dealt in turn"


def test_the_folds_depend_on_the_seed_and_no_more_than_asked_are_held_out():
    labels = np.arange(200) % 10
    features = pictures(200)
    first, again, other = (fold_numbers(features, labels, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (fold_numbers(features, labels, most=50) != NEVER).sum() == 50


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="two folds"):
        fold_numbers(pictures(4), np.zeros(4), folds=1)
    with pytest.raises(ValueError, match="one label"):
        fold_numbers(pictures(4), np.zeros(3))
    with pytest.raises(ValueError, match="as many"):
        cross_fit(lambda mask: {}, pictures(4), np.arange(4), np.zeros(3), np.zeros(4))
    assert len(fold_numbers(pictures(0), np.zeros(0, dtype=np.int64))) == 0


def test_judged_by_hand():
    labels = np.array([0, 0, 1, 1, 2, -1, 3, 3])
    fold_of = np.array([0, 1, 0, 0, 0, 1, 1, NEVER])
    expected = [True, True, False, False, False, False, True, False]
    np.testing.assert_array_equal(judged(labels, fold_of), expected)


def constant(value: float) -> LinearHead:
    return LinearHead(np.zeros((3, 4), dtype=np.float32), np.full(3, value, dtype=np.float32))


def test_every_image_is_told_by_heads_that_have_not_seen_its_reply():
    features, rows = pictures(30), np.array([3, 5, 7, 11, 13, 17])
    fold_of = np.array([0, 1, 0, NEVER, 1, 2])
    seen: list[np.ndarray] = []

    def fit(mask):
        seen.append(mask.copy())
        return {"number": constant(len(seen)), "pixel": LinearHead(np.eye(4, dtype=np.float32)[:3], np.zeros(3))}

    found = cross_fit(fit, features, rows, np.zeros(6, dtype=np.int64), fold_of)
    np.testing.assert_array_equal(seen, [fold_of != fold for fold in range(3)])
    np.testing.assert_array_equal(found["number"][:, 0], [1, 2, 1, np.nan, 2, 3])
    np.testing.assert_array_equal(found["pixel"][fold_of >= 0], features[rows[fold_of >= 0], :3])


def test_a_head_that_some_fold_lacks_is_left_out():
    heads = iter([{"a": constant(1), "b": constant(2)}, {"a": constant(1)}, {"a": constant(1), "b": constant(2)}])
    found = cross_fit(lambda mask: next(heads), pictures(6), np.arange(6), np.zeros(6), np.arange(6) % 3)
    assert list(found) == ["a"]


def test_where_nothing_can_be_held_out_the_heads_are_fitted_once_with_all():
    masks = []

    def fit(mask):
        masks.append(mask)
        return {"a": constant(7)}

    labels = np.arange(4)
    fold_of = fold_numbers(pictures(4), labels)
    found = cross_fit(fit, pictures(4), np.arange(4), labels, fold_of)
    assert len(masks) == 1
    assert masks[0].all()
    assert not judged(labels, fold_of).any()
    np.testing.assert_array_equal(found["a"], np.full((4, 3), 7))
