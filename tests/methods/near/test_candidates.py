"""Candidate sets: hand-computed cases, a brute-force float64 reference, and what holds for every input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fgvr.methods.near import candidate_sets, coverage, no_sets, random_sets
from fgvr.methods.near.candidates import make_sets, nearest
from fgvr.methods.near.settings import SetSettings

from .world import unit

# Four directions in the plane at 0, 10, 30 and 90 degrees.
ANGLES = np.deg2rad([0, 10, 30, 90])
PLANE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


def as_dict(sets, image):
    rows = slice(sets.offsets[image], sets.offsets[image + 1])
    return {int(j): round(float(w), 6) for j, w in zip(sets.members[rows], sets.values[rows], strict=True)}


def brute_force(features, labels, k):
    """Section 3.1 word for word, in float64."""
    similarity = features.astype(np.float64) @ features.astype(np.float64).T
    found = []
    for i in range(len(features)):
        order = sorted((j for j in range(len(features)) if j != i), key=lambda j: (-similarity[i, j], j))
        found.append([labels[i], *(labels[j] for j in order[: k - 1])])
    return found


def test_three_neighbours_by_hand():
    sets = candidate_sets(PLANE, np.array([0, 1, 0, 2]), k=3)
    assert sets.neighbours.tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]
    assert as_dict(sets, 0) == {0: round(2 / 3, 6), 1: round(1 / 3, 6)}
    assert as_dict(sets, 3) == {0: round(1 / 3, 6), 1: round(1 / 3, 6), 2: round(1 / 3, 6)}
    np.testing.assert_allclose(sets.similarities[0], np.cos(np.deg2rad([0, 10, 30])), atol=1e-6)


def test_policies_by_hand():
    labels = np.array([0, 1, 1, 2])
    assert as_dict(candidate_sets(PLANE, labels, policy="set"), 0) == {0: 0.5, 1: 0.5}
    assert as_dict(candidate_sets(PLANE, labels, policy="vote"), 0) == {0: round(1 / 3, 6), 1: round(2 / 3, 6)}
    assert as_dict(candidate_sets(PLANE, labels, policy="own", own_weight=2), 0) == {0: 0.5, 1: 0.5}
    with pytest.raises(ValueError, match="policy"):
        candidate_sets(PLANE, labels, policy="other")  # type: ignore[arg-type]


def test_floor_and_mutual_thin_out_neighbours_but_never_the_image_itself():
    labels = np.arange(4)
    floored = candidate_sets(PLANE, labels, floor=0.9)
    assert [floored[i].tolist() for i in range(4)] == [[0, 1], [0, 1, 2], [1, 2], [3]]
    mutual = candidate_sets(PLANE, labels, k=2, mutual=True)
    assert [mutual[i].tolist() for i in range(4)] == [[0, 1], [0, 1], [2], [3]]


def test_an_unnamed_image_takes_its_neighbours_labels_and_offers_nothing():
    sets = candidate_sets(PLANE, np.array([0, -1, 1, 2]), k=3)
    assert sets.neighbours[0].tolist() == [0, 2, 3]  # image 1 is nearer but has no name
    assert as_dict(sets, 1) == {0: 0.5, 1: 0.5}
    assert candidate_sets(PLANE, np.array([0, -1, 1, 2]), k=1).sizes.tolist() == [1, 0, 1, 1]


def test_all_unnamed_gives_empty_sets():
    sets = candidate_sets(PLANE, np.full(4, -1))
    assert sets.sizes.tolist() == [0, 0, 0, 0]
    assert sets.weights(3).sum() == 0


def test_exact_duplicates_keep_the_image_itself_first():
    features = np.repeat(PLANE[:1], 5, axis=0)
    sets = candidate_sets(features, np.arange(5), k=3)
    assert sets.neighbours.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]


@pytest.mark.parametrize("block", [3, 7, 64])
def test_tiling_does_not_change_the_neighbours(block):
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(60, 5)))
    features[30:40] = features[:10]
    whole, cosines = nearest(features, k=4, block=4096)
    tiled, tiled_cosines = nearest(features, k=4, block=block)
    np.testing.assert_array_equal(whole, tiled)
    np.testing.assert_array_equal(cosines, tiled_cosines)


@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_against_brute_force(seed, count, k):
    rng = np.random.default_rng(seed)
    features = unit(rng.normal(size=(count, 4)))
    labels = rng.integers(0, 4, size=count)
    sets = candidate_sets(features, labels, k=k, policy="vote")
    for i, slots in enumerate(brute_force(features, labels, k)):
        expected = np.bincount(slots, minlength=4) / len(slots)
        np.testing.assert_allclose(sets.weights(4)[i], expected, atol=1e-6)


@given(
    hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(-1, 5)),
    st.integers(1, 6),
    st.sampled_from(["set", "vote", "own"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_weights_sum_to_one_and_the_own_label_is_in(labels, k, policy, mutual):
    features = unit(np.random.default_rng(len(labels)).normal(size=(len(labels), 3)))
    sets = candidate_sets(features, labels, k=k, policy=policy, mutual=mutual)
    weights = sets.weights(6)
    np.testing.assert_allclose(weights.sum(axis=1), (sets.sizes > 0).astype(float), atol=1e-6)
    assert all(label in sets[i] for i, label in enumerate(labels) if label >= 0)
    assert (sets.sizes <= k).all()


def test_random_sets_hold_the_own_label_and_others_without_repeats():
    labels = np.array([0, 1, 2, -1])
    sets = random_sets(labels, k=3, num_labels=10, seed=3)
    assert sets.sizes.tolist() == [3, 3, 3, 2]
    assert all(label in sets[i] for i, label in enumerate(labels[:3]))
    again = random_sets(labels, k=3, num_labels=10, seed=3)
    np.testing.assert_array_equal(sets.members, again.members)
    other = random_sets(np.arange(50), k=3, seed=4)
    assert not np.array_equal(other.members, random_sets(np.arange(50), k=3, seed=5).members)


def test_no_sets_is_the_own_label_only():
    np.testing.assert_array_equal(no_sets(np.array([1, 0, -1])).weights(2), [[0, 1], [1, 0], [0, 0]])


def test_coverage_counts_absent_truths_as_uncovered():
    sets = candidate_sets(PLANE, np.array([0, 1, 0, 2]), k=2)
    assert coverage(sets, np.array([1, 0, -1, 0])) == 0.75
    with pytest.raises(ValueError, match="true label"):
        coverage(sets, np.array([1]))


def test_make_sets_follows_the_settings():
    labels = np.array([0, 1, 0, 2])
    assert make_sets(PLANE, labels, SetSettings(kind="none"), num_labels=3).sizes.max() == 1
    assert make_sets(PLANE, labels, SetSettings(kind="random", k=2), num_labels=3).sizes.tolist() == [2] * 4
    np.testing.assert_array_equal(
        make_sets(PLANE, labels, SetSettings(policy="set"), num_labels=3).values,
        candidate_sets(PLANE, labels, policy="set").values,
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="unit norm"):
        candidate_sets(2 * PLANE, np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="do not fit"):
        candidate_sets(PLANE, np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="at least 1"):
        candidate_sets(PLANE, np.zeros(4, dtype=int), k=0)
    with pytest.raises(ValueError, match="label space"):
        candidate_sets(PLANE, np.arange(4)).weights(3)
