"""Averages over views: by hand, of unit norm, and never nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.student.views import averaged_views

from .test_prototypes import unit


def test_by_hand():
    views = np.array([[[1, 0], [0, 1]], [[0.6, 0.8], [0.6, 0.8]]], dtype=np.float32)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(averaged_views(views), [[half, half], [0.6, 0.8]], rtol=1e-6)


def test_one_view_and_plain_features_stay():
    features = unit(np.random.default_rng(0).normal(size=(5, 4)))
    np.testing.assert_array_equal(averaged_views(features), features)
    np.testing.assert_allclose(averaged_views(features[:, None]), features, atol=1e-6)


def test_views_that_cancel_leave_the_first():
    views = np.array([[[1, 0], [-1, 0]], [[0, 1], [0, 1]]], dtype=np.float32)
    np.testing.assert_array_equal(averaged_views(views), [[1, 0], [0, 1]])


@given(seed=st.integers(0, 1000), views=st.integers(1, 6))
def test_unit_norm_and_the_order_of_views_is_irrelevant(seed, views):
    rng = np.random.default_rng(seed)
    features = unit(rng.normal(size=(4, views, 3)))
    found = averaged_views(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(averaged_views(features[:, rng.permutation(views)]), found, atol=1e-4)
