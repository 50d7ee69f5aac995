"""The cache against the paper's equation written out, and which images become keys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student.cache import cache_head, surest
from fgvr.methods.student.heads import CacheHead

from .test_prototypes import problem, reordered, seeds


@settings(max_examples=20, deadline=None)
@given(seed=seeds, sharpness=st.sampled_from([1.0, 5.5, 40.0]), balance=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_equation_written_out(seed, sharpness, balance):
    features, soft, _ = problem(seed)
    dense = soft.toarray().astype(float)
    dense /= dense.sum(axis=0) ** balance
    expected = np.zeros((5, 4))
    for at, image in enumerate(features[:5].astype(float)):
        for key, value in zip(features.astype(float), dense, strict=True):
            expected[at] += math.exp(-sharpness * (1 - float(image @ key))) * value
        expected[at] = np.log(0.99 * expected[at] / expected[at].sum() + 0.01 / 4)
    found = cache_head(features, soft, sharpness=sharpness, balance=balance).logits(features[:5])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_balance_takes_the_advantage_of_numbers_away():
    features, _, _ = problem(4)
    soft = csr_matrix(np.eye(2, dtype=np.float32)[[0] * 20 + [1] * 4])
    sums = [cache_head(features, soft, balance=balance).values.sum(axis=0) for balance in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(sums, [[20, 4], [np.sqrt(20), 2], [1, 1]], rtol=1e-5)


def test_far_from_every_key_the_nearest_still_decide():
    """exp(-500 * 2) is zero in any float; the order must not be."""
    keys = np.array([[-1, 0], [0, 1]], dtype=np.float32)
    head = CacheHead(keys, np.eye(2, dtype=np.float32), sharpness=500.0)
    logits = head.logits(np.array([[1, 0], [0, -1]], dtype=np.float32))
    assert np.isfinite(logits).all()
    assert logits.argmax(axis=1).tolist() == [1, 0]
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1.0, rtol=1e-5)


def test_only_labelled_images_are_keys():
    features, soft, _ = problem(1)
    head = cache_head(features, soft, balance=0.0)
    labelled = soft.toarray().any(axis=1)
    assert 0 < labelled.sum() < len(features)
    np.testing.assert_array_equal(head.keys, features[labelled])
    np.testing.assert_array_equal(head.values, soft.toarray()[labelled])


@settings(max_examples=20, deadline=None)
@given(seed=seeds, most=st.sampled_from([5, 12, 100]))
def test_neither_the_order_nor_unlabelled_images_matter(seed, most):
    features, soft, _ = problem(seed)
    one = cache_head(features, soft, most=most)
    other = cache_head(*reordered(features, soft, seed), most=most)
    np.testing.assert_allclose(one.logits(features), other.logits(features), rtol=1e-3, atol=1e-4)


def test_the_surest_of_each_name_come_first_by_hand():
    rows = [[0.9, 0.0], [0.8, 0.1], [0.0, 0.0], [0.7, 0.0], [0.1, 0.3], [0.0, 0.2], [0.4, 0.4]]
    soft = csr_matrix(np.array(rows, dtype=np.float32))
    assert surest(soft, most=1).tolist() == [0]
    assert surest(soft, most=2).tolist() == [0, 4]
    assert surest(soft, most=3).tolist() == [0, 1, 4]
    assert surest(soft, most=4).tolist() == [0, 1, 4, 5]
    assert surest(soft, most=5).tolist() == [0, 1, 3, 4, 5]  # the second name has no third image
    assert surest(soft, most=6).tolist() == surest(soft, most=99).tolist() == [0, 1, 3, 4, 5, 6]


@settings(max_examples=20, deadline=None)
@given(seed=seeds, most=st.integers(1, 30))
def test_no_name_has_two_keys_more_than_one_that_has_images_left(seed, most):
    _, soft, _ = problem(seed, images=40)
    dense = soft.toarray()
    chosen = surest(soft, most=most)
    assert len(chosen) == min(most, int(dense.any(axis=1).sum()))
    names, kept = dense.argmax(axis=1), np.zeros(40, dtype=bool)
    kept[chosen] = True
    counts = np.bincount(names[kept], minlength=4)
    for name in range(4):
        of_name = dense.any(axis=1) & (names == name)
        if (of_name & ~kept).any():
            assert counts[name] >= counts.max() - 1
            if counts[name]:
                assert dense[of_name & kept].max(axis=1).min() >= dense[of_name & ~kept].max(axis=1).max()


def test_without_labels_there_is_no_key():
    features, soft, _ = problem(2)
    head = cache_head(features, 0 * soft)
    assert head.keys.shape == (0, 6)
    np.testing.assert_allclose(head.logits(features), np.log(0.25), rtol=1e-6)


def test_what_makes_no_sense_is_refused():
    features, soft, _ = problem(3)
    for options in ({"sharpness": 0.0}, {"most": 0}, {"balance": 2.0}):
        with pytest.raises(ValueError, match="positive"):
            cache_head(features, soft, **options)
    with pytest.raises(ValueError, match="do not fit"):
        cache_head(features[1:], soft)
