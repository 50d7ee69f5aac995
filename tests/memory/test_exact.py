"""Exact search: a brute-force float64 reference over sizes, tilings, exclusions and copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.memory import nearest_others
from fgvr.memory.exact import GROUP, SLACK


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def brute_force(features, k, allowed):
    cosines = features.astype(np.float64) @ features.astype(np.float64).T
    np.fill_diagonal(cosines, -np.inf)
    cosines[:, ~allowed] = -np.inf
    indices = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(cosines, indices, axis=1)
    return np.where(np.isfinite(values), indices, -1), values


def agrees(features, k, allowed, **how):
    found, cosines = nearest_others(features, k=k, allowed=allowed, **how)
    expected, values = brute_force(features, k, np.ones(len(features), bool) if allowed is None else allowed)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert (found[:, expected.shape[1] :] == -1).all()
    some = found >= 0
    np.testing.assert_allclose(cosines[some], values[some[:, : values.shape[1]]], atol=1e-6)
    assert np.isnan(cosines[~some]).all()


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 8), st.sampled_from([1, 5, 16, 64]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_equals_brute_force(seed, count, k, block, some):
    rng = np.random.default_rng(seed)
    features = unit(rng.normal(size=(count, 4)))
    agrees(features, k, rng.random(count) < 0.6 if some else None, block=block)


@pytest.mark.parametrize("block", [GROUP, 3 * GROUP, 300, 4096])
def test_equals_brute_force_over_whole_and_broken_groups(block):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 24))
    features = unit(centres[rng.integers(40, size=1000)] + 0.3 * rng.normal(size=(1000, 24)))
    agrees(features, 5, None, block=block)
    agrees(features, 5, rng.random(1000) < 0.9, block=block)


def test_copies_tie_exactly_and_the_lower_index_is_first():
    rng = np.random.default_rng(1)
    base = unit(rng.normal(size=(50, 512)))
    features = np.concatenate([base, base, base])
    found, cosines = nearest_others(features, k=2, block=GROUP)
    assert found[:50].tolist() == [[i + 50, i + 100] for i in range(50)]
    assert found[100:].tolist() == [[i, i + 50] for i in range(50)]
    np.testing.assert_allclose(cosines, 1.0, atol=1e-6)
    assert SLACK >= 2


def test_none_alone_or_none_asked_for():
    one = unit(np.ones((1, 3)))
    found, cosines = nearest_others(one, k=2)
    assert found.tolist() == [[-1, -1]]
    assert np.isnan(cosines).all()
    assert nearest_others(one, k=0)[0].shape == (1, 0)
    assert (nearest_others(unit(np.eye(3)), k=1, allowed=np.zeros(3, bool))[0] == -1).all()


def test_the_tiling_does_not_change_the_result():
    rng = np.random.default_rng(2)
    features = unit(rng.normal(size=(500, 16)))
    whole = nearest_others(features, k=4)
    for block in (7, 64, 130):
        for part, expected in zip(nearest_others(features, k=4, block=block), whole, strict=True):
            np.testing.assert_array_equal(part, expected)
