"""Exact search of queries in other vectors: brute force in float64 over sizes, blocks, pieces, copies and maps."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import EncoderError
from fgvr.memory import Exact, nearest, recall
from fgvr.memory.pieces import Pieces
from fgvr.memory.shortlist import GROUP, SLACK
from tests.memory.vectors import clusters, scattered


def brute_force(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One query and one vector at a time, in float64."""
    indices = np.full((len(queries), k), -1)
    cosines = np.full((len(queries), k), np.nan)
    for row, query in enumerate(queries.astype(np.float64)):
        ranked = sorted((-float((query * vector).sum()), at) for at, vector in enumerate(vectors.astype(np.float64)))
        for place, (cosine, at) in enumerate(ranked[:k]):
            indices[row, place], cosines[row, place] = at, -cosine
    return indices, cosines


def cut(vectors: np.ndarray, places: list[int]) -> Pieces:
    edges = [0, *sorted(place % (len(vectors) + 1) for place in places), len(vectors)]
    return Pieces([vectors[a:b] for a, b in pairwise(edges)], dim=vectors.shape[1])


@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(0, 50),
    st.integers(0, 8),
    st.sampled_from([1, 3, 16, 2048]),
    st.lists(st.integers(0, 50), max_size=6),
)
@settings(max_examples=120, deadline=None)
def test_equals_brute_force(seed, asked, count, k, block, places):
    queries, vectors = scattered(asked, 4, seed=seed), scattered(count, 4, seed=seed + 1)
    expected, values = brute_force(queries, vectors, k)
    for form in (vectors, cut(vectors, places)):
        found, cosines = nearest(queries, form, k=k, block=block)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(cosines, values, atol=1e-6)
        assert found.dtype == np.int64
        assert cosines.dtype == np.float32


@given(st.integers(0, 10_000), st.integers(1, 4 * SLACK), st.integers(1, 5), st.sampled_from([1, 7, 64]))
@settings(max_examples=60, deadline=None)
def test_however_many_copies_there_are_the_lowest_rows_come_first(seed, copies, k, block):
    rng = np.random.default_rng(seed)
    base = scattered(3, 24, seed=seed)
    vectors = base[rng.permutation(np.repeat(np.arange(3), copies))]
    queries = scattered(4, 24, seed=seed + 1)
    found, cosines = nearest(queries, vectors, k=k, block=block)
    for row, query in enumerate(queries):
        exact = np.einsum("nd,d->n", vectors.astype(np.float64), query.astype(np.float64)).round(12)
        expected = np.lexsort((np.arange(len(vectors)), -exact))[:k]
        np.testing.assert_array_equal(found[row, : len(expected)], expected)
    assert (np.diff(np.nan_to_num(cosines, nan=-2), axis=1) <= 0).all()


@pytest.mark.parametrize("block", [GROUP - 1, GROUP, 1000])
def test_blocks_and_pieces_change_nothing(block):
    vectors, queries = clusters(3000, 48), clusters(150, 48, seed=1)
    expected = nearest(queries, vectors, k=7)
    for form in (vectors, cut(vectors, [1, 2, 3, 700, 701, 2999])):
        for part, whole in zip(nearest(queries, form, k=7, block=block), expected, strict=True):
            np.testing.assert_array_equal(part, whole)
    single = [nearest(query[None], vectors, k=7)[0][0] for query in queries[:20]]
    np.testing.assert_array_equal(single, expected[0][:20])


def test_a_read_only_map_is_searched_without_being_read_into_memory(tmp_path: Path):
    """64 MiB of vectors on disk; memory grows by a tile, not by them."""
    count, dim = 65_536, 256
    mapped = np.lib.format.open_memmap(tmp_path / "v.npy", mode="w+", dtype=np.float32, shape=(count, dim))
    for at in range(0, count, 8192):
        mapped[at : at + 8192] = scattered(8192, dim, seed=at)
    del mapped
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r", allow_pickle=False)
    rows = np.array([5, 40_000, 65_535])
    nearest(vectors[:1], vectors[:100], k=1)  # imports
    before = private_bytes()
    found, cosines = nearest(np.array(vectors[rows]), vectors, k=1)
    assert found[:, 0].tolist() == rows.tolist()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert private_bytes() - before < 24 * 2**20


def private_bytes() -> int:
    """Memory of this process that is not a file's."""
    resident, shared = (int(part) for part in Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def test_pieces_read_like_one_matrix():
    vectors = scattered(40, 3)
    pieces = cut(vectors, [0, 1, 2, 17, 17, 39])
    np.testing.assert_array_equal(pieces.joined(), vectors)
    np.testing.assert_array_equal(pieces.take(np.array([39, 0, 17, 17])), vectors[[39, 0, 17, 17]])
    for size in (1, 4, 16, 100):
        starts, blocks = zip(*pieces.blocks(size), strict=True)
        assert all(len(block) <= size for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), vectors)
        assert list(starts) == np.concatenate([[0], np.cumsum([len(block) for block in blocks])[:-1]]).tolist()
    kept = np.array([0, 2, 3, 16, 17, 18, 39])
    np.testing.assert_array_equal(pieces.kept(kept).joined(), vectors[kept])
    assert all(np.shares_memory(piece, vectors) for piece in pieces.kept(kept).pieces)
    assert pieces.kept(np.array([], dtype=int)).shape == (0, 3)


def test_what_cannot_be_compared_is_refused():
    vectors = scattered(5, 4)
    with pytest.raises(EncoderError, match="different dimensions"):
        nearest(scattered(2, 3), vectors, k=1)
    for wrong in (np.zeros((1, 4)), np.full((1, 4), np.nan), 3 * vectors[:1]):
        with pytest.raises(ValueError, match="unit norm"):
            nearest(wrong, vectors, k=1)


class Forgetful:
    """Finds the right rows but for the first place; or one row in all places."""

    def __init__(self, vectors: np.ndarray, *, stuck: bool = False) -> None:
        self.exact, self.stuck = Exact(vectors), stuck

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        indices, cosines = self.exact.search(queries, k + 1)
        return (np.repeat(indices[:, :1], k, axis=1) if self.stuck else indices[:, 1:]), cosines[:, 1:]


def test_recall_counts_places_and_forgives_copies():
    vectors, queries = scattered(60, 6), scattered(9, 6, seed=1)
    assert recall(Exact(vectors), vectors, queries=queries, k=4).value == 1.0
    assert recall(Forgetful(vectors), vectors, queries=queries, k=4).value == 0.75
    assert recall(Forgetful(vectors, stuck=True), vectors, queries=queries, k=4).value == 0.25
    copies = np.concatenate([vectors, vectors])
    shifted = Exact(np.concatenate([np.zeros_like(vectors), vectors]))  # finds the copy that exact search lists second
    assert recall(shifted, copies, queries=queries, k=1).value == 1.0


def test_recall_without_queries_asks_rows_for_their_nearest_others():
    """The one row a query finds without effort, itself, is not counted."""
    vectors = scattered(50, 6)

    class OnlyMyself:
        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            indices, cosines = nearest(queries, vectors, k=k)
            indices[:, 1:] = -1
            return indices, cosines

    assert recall(Exact(vectors), vectors, k=3).value == 1.0
    assert recall(OnlyMyself(), vectors, k=3).value == 0.0
    measured = recall(Exact(vectors), vectors, k=3, sample=20)
    assert str(measured) == "recall@3 1.000 against exact search (20 queries)"
    assert np.isnan(recall(Exact(vectors[:1]), vectors[:1], k=3).value)  # nobody has an other
