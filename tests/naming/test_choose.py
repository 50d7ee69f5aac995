"""Choosing what to have named: near-duplicates out, medoids, the least certain; by slow references and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fgvr.errors import InputError
from fgvr.naming import choose_clusters as clusters
from fgvr.naming.choose import (
    SOFTER,
    LabelsSoFar,
    choose_among,
    choose_support,
    distinct,
    doubts,
    labels_so_far,
    least_certain,
    round_sizes,
)
from fgvr.naming.choose_clusters import farthest, medoids, near_duplicates, nearest_centres, spherical_kmeans
from fgvr.naming.facility_location import facility_location
from fgvr.types import NamedImage
from tests.methods.near.world import ProjectionEncoder


def unit(values) -> np.ndarray:
    values = np.asarray(values, dtype=np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def angle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def heaps(
    *,
    species: int = 6,
    sizes: tuple[int, ...] = (30, 12, 6, 4, 3, 2),
    dim: int = 16,
    spread: float = 0.12,
    seed: int = 0,
):
    """Zipf-like heaps with bursts of three: features (N, D) and species (N,)."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(species, dim)))
    features, kinds = [], []
    for kind, size in enumerate(sizes):
        for _ in range(size):
            picture = unit(centres[kind] + spread * rng.normal(size=dim))
            for _ in range(1 + 2 * int(rng.random() < 0.4)):
                features.append(unit(picture + 0.005 * rng.normal(size=dim)))
                kinds.append(kind)
    return np.stack(features), np.array(kinds)


unit_rows = hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(4)), elements=st.floats(-1, 1, width=32)).map(
    lambda rows: unit(rows + np.float32(1e-3))
)


# --- near-duplicates --------------------------------------------------------------------------------------------------


def test_near_duplicates_by_hand():
    """Angles 0, 10, 20, 90; cos 10 = 0.985, cos 20 = 0.940: the chain 0-10-20 is not one heap."""
    features = unit([angle(0), angle(10), angle(20), angle(90)])
    assert near_duplicates(features, threshold=0.95).tolist() == [0, 0, 2, 3]
    assert near_duplicates(features, threshold=0.93).tolist() == [0, 0, 0, 3]
    assert near_duplicates(features, threshold=0.99).tolist() == [0, 1, 2, 3]


def test_the_nearest_kept_row_stands_for_a_duplicate():
    features = unit([angle(0), angle(20), angle(12)])
    assert near_duplicates(features, threshold=0.97).tolist() == [0, 1, 1]


def test_equal_bytes_are_one_picture_whatever_the_features():
    features = unit([angle(0), angle(90), angle(180)])
    assert near_duplicates(features, ["a", "b", "a"], threshold=0.99).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="one hash a row"):
        near_duplicates(features, ["a"])
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(features, threshold=0)


def slow_near_duplicates(features: np.ndarray, threshold: float) -> list[int]:
    stands: list[int] = []
    for row in range(len(features)):
        kept = [other for other in range(row) if stands[other] == other]
        cosines = {other: float(features[row] @ features[other]) for other in kept}
        best = max(cosines, key=lambda other: cosines[other], default=None)
        stands.append(row if best is None or cosines[best] < threshold else best)
    return stands


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize("room", [4, 1 << 24])
def test_near_duplicates_are_those_of_the_plain_loop(block, room, monkeypatch):
    monkeypatch.setattr(clusters, "ROOM", room)
    features, _ = heaps()
    assert near_duplicates(features, threshold=0.97, block=block).tolist() == slow_near_duplicates(features, 0.97)


@given(unit_rows, st.floats(0.5, 0.999))
@settings(deadline=None, max_examples=50)
def test_kept_rows_are_apart_and_the_others_have_one_close_by(features, threshold):
    stands = near_duplicates(features, threshold=threshold)
    kept = np.flatnonzero(stands == np.arange(len(features)))
    cosines = features @ features.T
    apart = cosines[np.ix_(kept, kept)] - 2 * np.eye(len(kept))
    assert (apart < threshold + 1e-5).all()
    assert set(stands) <= set(kept)
    out = np.flatnonzero(stands != np.arange(len(features)))
    assert (cosines[out, stands[out]] > threshold - 1e-5).all()
    assert (stands <= np.arange(len(features))).all()


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_medoids_of_plain_heaps_are_their_middles():
    degrees = [0, 4, 9, 100, 103, 107, 200, 202, 208]
    assert medoids(unit([angle(d) for d in degrees]), 3, seed=0).tolist() == [1, 4, 7]


@pytest.mark.parametrize("seed", range(3))
def test_one_medoid_for_every_heap_however_rare(seed):
    features, kinds = heaps(spread=0.04, seed=seed)
    found = medoids(features, 6, seed=seed)
    drawn = np.random.default_rng(seed).permutation(len(features))[:6]
    assert set(kinds[found]) == set(range(6))
    assert len(set(kinds[drawn])) < 6


def test_k_means_never_gets_worse_with_iterations():
    features, _ = heaps(seed=4)
    fits = [nearest_centres(features, spherical_kmeans(features, 5, iterations=i))[1].sum() for i in (0, 1, 3, 20)]
    assert fits == sorted(fits)
    assert fits[-1] > fits[0]


def test_k_means_agrees_with_a_plain_loop_after_one_step():
    features, _ = heaps(seed=2)
    start = spherical_kmeans(features, 4, iterations=0, seed=3)
    owner = [int(np.argmax([row @ centre for centre in start])) for row in features]
    expected = [unit(sum(features[i] for i in range(len(owner)) if owner[i] == k)) for k in range(4)]
    np.testing.assert_allclose(spherical_kmeans(features, 4, iterations=1, seed=3), expected, atol=1e-5)


@given(unit_rows, st.integers(1, 45), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_medoids_are_as_many_distinct_rows_as_asked(features, k, seed):
    found = medoids(features, k, seed=seed)
    assert len(found) == len(set(found.tolist())) == min(k, len(features))
    assert (np.diff(found) > 0).all()
    assert found.tolist() == medoids(features, k, seed=seed).tolist()


def test_medoids_of_equal_rows_are_still_distinct():
    assert len(set(medoids(unit(np.ones((7, 3))), 4))) == 4


def test_a_large_pool_is_clustered_from_a_sample():
    features, _ = heaps(seed=1)
    centres = spherical_kmeans(features, 3, least_sample=20, seed=0)
    assert centres.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="cluster"):
        medoids(features, 0)


def test_farthest_is_greedy_k_center():
    features = unit([angle(d) for d in (0, 30, 170, 90, 175)])
    assert farthest(features, np.array([0]), 3).tolist() == [4, 3, 1]
    assert farthest(features, np.array([0, 1, 2, 3, 4]), 3).tolist() == []


# --- the least certain ------------------------------------------------------------------------------------------------


def test_doubts_by_hand():
    """Two names at right angles; the row between them is the most doubtful: 1 - 1/2."""
    features = unit([angle(0), angle(90), angle(45), angle(10)])
    known = LabelsSoFar(np.array([0, 1]), unit([angle(0), angle(90)]), 10.0)
    found = doubts(features, np.array([2, 3]), np.array([0, 1]), known)
    gap = known.scale * SOFTER * (np.cos(np.radians(10)) - np.sin(np.radians(10)))
    np.testing.assert_allclose(found, [0.5, 1 - 1 / (1 + np.exp(-gap))], atol=1e-5)


def test_a_name_is_where_its_pictures_are_not_only_its_text():
    features = unit([angle(80), angle(90), angle(0)])
    text = LabelsSoFar(np.array([-1]), unit([angle(0), angle(45)]), 30.0)
    seen = LabelsSoFar(np.array([1]), unit([angle(0), angle(45)]), 30.0)
    rest, chosen = np.array([1]), np.array([0])
    assert doubts(features, rest, chosen, seen)[0] < doubts(features, rest, chosen, text)[0]


def test_the_least_certain_are_no_twins():
    """Ten near-equal doubtful rows on one side, one on the other: two are bought, one of each."""
    heap = [angle(45 + 0.1 * i) for i in range(10)]
    features = unit([angle(0), angle(90), *heap, angle(225), *[angle(1)] * 5])
    known = LabelsSoFar(np.array([0, 1]), unit([angle(0), angle(90)]), 20.0)
    picked = least_certain(features, np.arange(2, len(features)), np.array([0, 1]), known, 2)
    assert 12 in picked
    assert sum(2 <= row < 12 for row in picked) == 1


def test_without_a_name_nothing_is_doubted_more_than_another():
    features, _ = heaps()
    none = labels_so_far([NamedImage("a", None), NamedImage("b", None)], ProjectionEncoder())
    assert none.labels.tolist() == [-1, -1]
    assert not doubts(features, np.arange(2, 9), np.array([0, 1]), none).any()
    picked = least_certain(features, np.arange(2, 40), np.array([0, 1]), none, 3, seed=4)
    assert picked.tolist() == (2 + medoids(features[2:40], 3, seed=4)).tolist()


def test_spellings_are_one_name():
    named = [NamedImage("a", "Red Wren"), NamedImage("b", None, status="refused"), NamedImage("c", "red wren")]
    known = labels_so_far(named, ProjectionEncoder())
    assert known.labels.tolist() == [0, -1, 0]
    assert known.texts.shape == (1, 16)


# --- the whole choice -------------------------------------------------------------------------------------------------


class Oracle:
    """Names what it is asked about, by species, and remembers the rounds."""

    def __init__(self, kinds: np.ndarray, *, stop_after: int = 99) -> None:
        self.kinds, self.rounds, self.stop_after = kinds, [], stop_after
        self.texts = unit(np.random.default_rng(9).normal(size=(kinds.max() + 1, 16)))

    def __call__(self, rows: np.ndarray) -> LabelsSoFar | None:
        self.rounds.append(rows)
        if len(self.rounds) >= self.stop_after:
            return None
        return LabelsSoFar(self.kinds[np.concatenate(self.rounds)], self.texts, 20.0)


@given(st.integers(1, 80), st.floats(0.01, 1), st.integers(1, 6))
def test_rounds_add_up(n, first, rounds):
    sizes = round_sizes(n, first=first, rounds=rounds)
    assert sum(sizes) == n
    assert min(sizes) >= 1
    assert len(sizes) <= rounds + 1
    assert round_sizes(12) == (6, 3, 3)


@pytest.mark.parametrize("how", ["random", "spread", "active"])
@pytest.mark.parametrize("n", [1, 7, 24, 1000])
def test_every_way_buys_at_most_n_distinct_rows_and_again_the_same(how, n):
    features, kinds = heaps()
    one, two = (choose_support(features, (), n, how=how, seed=5, label=Oracle(kinds)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(one) == len(set(one.tolist()))
    pool = len(features) if how == "random" else len(distinct(features))
    assert len(one) == min(n, pool)
    other = choose_support(features, (), n, how=how, seed=6, label=Oracle(kinds))
    assert n in (1, 1000) or one.tolist() != other.tolist()


@pytest.mark.parametrize("how", ["spread", "active"])
def test_no_near_duplicate_is_ever_bought(how):
    features, kinds = heaps(seed=3)
    chosen = choose_support(features, (), len(features), how=how, seed=0, label=Oracle(kinds))
    cosines = features[chosen] @ features[chosen].T - 2 * np.eye(len(chosen))
    assert len(chosen) < len(features)
    assert cosines.max() < clusters.SAME


@pytest.mark.parametrize("how", ["spread", "active"])
def test_a_choice_finds_the_rare_kinds_that_chance_misses(how):
    """Over ten draws of 10 from 57 pictures and their bursts."""
    found = {"random": 0, how: 0}
    for seed in range(10):
        features, kinds = heaps(seed=seed)
        for way in found:
            chosen = choose_support(features, (), 10, how=way, seed=seed, label=Oracle(kinds))
            found[way] += len(set(kinds[chosen].tolist()))
    assert found[how] >= found["random"] + 10


def test_active_asks_round_by_round_and_stops_where_it_is_stopped():
    features, kinds = heaps()
    whole, stopped = Oracle(kinds), Oracle(kinds, stop_after=2)
    chosen = choose_support(features, (), 12, how="active", seed=0, label=whole)
    assert [len(rows) for rows in whole.rounds] == [6, 3, 3]
    np.testing.assert_array_equal(np.concatenate(whole.rounds), chosen)
    begun = choose_support(features, (), 12, how="active", seed=0, label=stopped)
    np.testing.assert_array_equal(begun, chosen[:9])


def test_settled_rounds_are_kept_as_they_are():
    features, kinds = heaps()
    pool = distinct(features)
    settled = [pool[:6], pool[10:13]]
    oracle = Oracle(kinds)
    chosen = choose_among(features, pool, 12, how="active", seed=0, label=oracle, past=settled)
    np.testing.assert_array_equal(chosen[:9], np.concatenate(settled))
    assert len(set(chosen.tolist())) == 12
    assert len(oracle.rounds) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"how": "best"}, {"how": "active"}, {"n": 0}, {"rounds": 0}, {"first": 0.0}, {"first": 1.5}],
    ids=str,
)
def test_settings_without_sense_are_refused(wrong):
    features, _ = heaps()
    values = {"n": 3, "how": "spread", "seed": 0, **wrong}
    with pytest.raises(InputError):
        choose_support(features, (), values.pop("n"), **values)


# --- facility location and a method's own rounds ----------------------------------------------------------------------


def test_facility_is_the_greedy_choice_among_pictures_that_differ():
    features, _ = heaps()
    pool = distinct(features)
    chosen = choose_support(features, (), 9, how="facility", seed=0)
    assert chosen.tolist() == sorted(pool[facility_location(features[pool], 9)].tolist())
    assert len(choose_support(features, (), 1000, how="facility", seed=0)) == len(pool)


def test_a_method_may_choose_the_later_rounds_itself():
    features, kinds = heaps()
    calls = []

    def last(rest, chosen, known, size, seed):
        calls.append((len(rest), chosen.tolist(), known.labels.tolist(), size, seed))
        return rest[-size:]

    oracle = Oracle(kinds)
    pool = distinct(features)
    chosen = choose_among(features, pool, 12, how="active", seed=5, label=oracle, informative=last)
    plain = choose_among(features, pool, 12, how="active", seed=5, label=Oracle(kinds))
    np.testing.assert_array_equal(chosen[:6], plain[:6])
    np.testing.assert_array_equal(chosen[6:9], np.setdiff1d(pool, chosen[:6])[-3:])
    assert calls[0] == (len(pool) - 6, chosen[:6].tolist(), kinds[chosen[:6]].tolist(), 3, 6)
    assert calls[1][3:] == (3, 7)


# --- large pools ------------------------------------------------------------------------------------------------------


def test_medoids_of_a_large_pool_are_sought_in_parts_that_get_their_share():
    features, _ = heaps()
    at_once = len(features) * 12 // 4
    chosen = medoids(features, 12, seed=0, at_once=at_once)
    assert len(np.unique(chosen)) == 12
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, medoids(features, 12, seed=0, at_once=at_once))
    near = [nearest_centres(features, features[rows])[1].mean() for rows in (chosen, medoids(features, 12, seed=0))]
    chance = [np.random.default_rng(seed).choice(len(features), 12, replace=False) for seed in range(20)]
    by_chance = np.mean([nearest_centres(features, features[rows])[1].mean() for rows in chance])
    assert near[0] > by_chance + 0.6 * (near[1] - by_chance)


@given(count=st.integers(2, 60), k=st.integers(1, 60), at_once=st.integers(1, 300), kinds=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_medoids_in_parts_are_as_many_as_wanted_and_distinct_also_of_equal_pictures(count, k, at_once, kinds):
    features = unit(np.random.default_rng(count).normal(size=(kinds, 4)))[np.arange(count) % kinds]
    chosen = medoids(features, k, seed=1, at_once=at_once)
    assert len(chosen) == len(np.unique(chosen)) == min(k, count)


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any), share=st.floats(0, 1))
def test_shares_go_by_size_with_one_for_each_and_never_exceed_it(sizes, share):
    sizes = np.array(sizes)
    k = max(round(share * sizes.sum()), int((sizes > 0).sum()))
    shares = clusters._shared_out(k, sizes)
    assert shares.sum() == k
    assert (shares <= sizes).all()
    assert (shares[sizes > 0] >= 1).all()
    bigger = sizes[:, None] > sizes
    assert (shares[:, None] >= shares - 1)[bigger].all()
