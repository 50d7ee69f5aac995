"""Exact nearest neighbours of queries among other vectors: the default search, and the oracle of all others.

1. *Tiles.* A block of queries is multiplied with a block of vectors; memory-mapped vectors are read block by block and
   never copied as a whole. Memory: one tile of ``block`` squared float32, k + SLACK neighbours a query.
2. *Screening and re-ranking* as in ``shortlist``. Where more vectors than a short list holds lie within float32
   rounding of the last place (copies of one picture), all of them are collected in a second pass and compared in
   float64. So the result does not depend on the blocks: nearest by float64 cosine, lower index first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fgvr.errors import EncoderError
from fgvr.memory.pieces import Pieces, as_pieces
from fgvr.memory.shortlist import GATHERED, Shortlists, best, screen

if TYPE_CHECKING:
    from torch import Tensor

WIDEST = 65_536
"""Most vectors in a tile; few queries get wide tiles."""
OFF_UNIT = 1e-2
"""How far a query's norm may be from 1."""


class Searcher(Protocol):
    """Anything that finds nearest vectors, exactly or nearly."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Queries (Q, D), unit norm: indices (Q, k) int64, -1 past the end; cosines (Q, k) float32, NaN there."""
        ...


@dataclass(frozen=True)
class Exact:
    """Exact search as a ``Searcher``."""

    vectors: np.ndarray | Pieces
    """(N, D), unit norm; may be memory-mapped, may lie in pieces."""
    device: str = "cpu"

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """``nearest`` in the vectors."""
        return nearest(queries, self.vectors, k=k, device=self.device)


def nearest(
    queries: np.ndarray, vectors: np.ndarray | Pieces, *, k: int, block: int = 2048, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest vectors of every query: indices (Q, k) int64 and cosines (Q, k) float32, nearest first.

    Args:
        queries: (Q, D), unit norm.
        vectors: (N, D), unit norm; may be memory-mapped, may lie in pieces.
        k: neighbours a query; where there are fewer vectors: index -1, cosine NaN.
        block: queries a tile has at most; a tile has ``block`` squared values, or ``block`` columns at least.
        device: where tiles are multiplied, as torch writes it.

    Raises ``EncoderError`` when the dimensions differ; ``ValueError`` for queries without unit norm or not finite.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    pieces = as_pieces(vectors)
    check_queries(queries, pieces.shape[1])
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
    for start in range(0, len(queries) if k and len(pieces) else 0, block):
        part = slice(start, min(start + block, len(queries)))
        indices[part], cosines[part] = _block_nearest(queries[part], pieces, k=k, block=block, device=device)
    return indices, cosines


def check_queries(queries: np.ndarray, dim: int) -> None:
    """Raise what ``nearest`` raises for queries it cannot compare with vectors of ``dim`` dimensions."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise EncoderError(
            "queries and memory have different dimensions",
            remedy="Encode the queries with the encoder the memory was made with.",
            queries=queries.shape,
            memory=dim,
        )
    norms = np.linalg.norm(queries, axis=1)
    if not (np.abs(norms - 1) <= OFF_UNIT).all():  # NaN fails too
        raise ValueError("queries must be finite and have unit norm")


def _block_nearest(
    queries: np.ndarray, pieces: Pieces, *, k: int, block: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    lists = Shortlists(len(queries), k)
    rows = np.arange(len(queries))
    for columns, tile in _tiles(queries, pieces, block, device):
        screen(lists, tile, rows, columns)
    indices, cosines = lists.reranked(queries, pieces.take)
    crowded = np.flatnonzero(lists.crowded())
    if len(crowded):
        floors = lists.floors()[crowded]
        indices[crowded], cosines[crowded] = _settled(queries[crowded], floors, pieces, k=k, block=block, device=device)
    return indices, cosines


def _tiles(queries: np.ndarray, pieces: Pieces, block: int, device: str) -> Iterator[tuple[np.ndarray, Tensor]]:
    """(indices of the vectors (c,), their float32 cosines (Q, c)) over all vectors."""
    import torch

    width = max(block, min(WIDEST, block * block // len(queries)))
    asked = None if device == "cpu" else torch.as_tensor(queries, device=device)
    room = np.empty(len(queries) * min(width, len(pieces)), dtype=np.float32)  # one tile for all
    for first, vectors in pieces.blocks(width):
        columns = np.arange(first, first + len(vectors))
        if asked is not None:
            yield columns, asked @ torch.tensor(vectors, device=device).T
            continue
        tile = room[: len(queries) * len(vectors)].reshape(len(queries), len(vectors))
        # NumPy multiplies what torch cannot look at without a copy: read-only maps. One query: a matrix-vector product.
        _ = np.dot(vectors, queries[0], out=tile[0]) if len(queries) == 1 else np.matmul(queries, vectors.T, out=tile)
        yield columns, torch.from_numpy(tile)


def _settled(
    queries: np.ndarray, floors: np.ndarray, pieces: Pieces, *, k: int, block: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest by float64 cosine of every vector whose float32 cosine reaches its query's floor."""
    import torch

    kept: tuple[np.ndarray, ...] = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    bar = torch.as_tensor(floors[:, None], device=device)
    for columns, tile in _tiles(queries, pieces, block, device):
        at, offset = (tile >= bar).nonzero(as_tuple=True)
        pairs = at.cpu().numpy(), columns[offset.cpu().numpy()]
        for start in range(0, len(pairs[0]), GATHERED):
            row, found = (part[start : start + GATHERED] for part in pairs)
            exact = np.einsum("nd,nd->n", queries[row], pieces.take(found), dtype=np.float64)
            row, found, exact = (np.concatenate(both) for both in zip(kept, (row, found, exact), strict=True))
            kept = best(row, found, exact, k)[:3]
    row, found, exact = kept
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
    indices[row, rank], cosines[row, rank] = found, exact
    return indices, cosines


@dataclass(frozen=True)
class Recall:
    """How much of the exact answer a searcher finds."""

    k: int
    value: float
    """Share, in [0, 1], of the places 1 to k that hold a vector as near as the exact k-th nearest; NaN without any."""
    queries: int

    def __str__(self) -> str:
        """``recall@5 0.987 against exact search (200 queries)``."""
        return f"recall@{self.k} {self.value:.3f} against exact search ({self.queries} queries)"


def recall(
    searcher: Searcher,
    vectors: np.ndarray | Pieces,
    *,
    queries: np.ndarray | None = None,
    k: int = 5,
    sample: int = 200,
    seed: int = 0,
) -> Recall:
    """Measure a searcher against exact search in ``vectors`` (N, D), the same rows in full dimension.

    Without ``queries`` (Q, D), ``sample`` of the vectors ask for their nearest *others*: to find oneself is no merit. A
    vector as near as the exact k-th (to 1e-6) counts, whichever it is, so that copies are no mistakes.
    """
    pieces = as_pieces(vectors)
    rows = None
    if queries is None:
        rows = np.sort(np.random.default_rng(seed).permutation(len(pieces))[:sample])
        queries = pieces.take(rows)
    wanted = k if rows is None else k + 1
    _, oracle = _without(rows, *nearest(queries, pieces, k=wanted), k=k)
    found, _ = _without(rows, *searcher.search(queries, wanted), k=k)
    found = np.sort(found, axis=1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1  # one vector fills one place
    cosines = _cosines(queries, pieces, found)
    last = np.where(np.isnan(oracle), np.inf, oracle).min(axis=1, keepdims=True, initial=np.inf)
    hits = np.asarray(cosines >= last - 1e-6).sum()
    places = int(np.isfinite(oracle).sum())
    return Recall(k, float(hits / places) if places else float("nan"), len(queries))


def _without(
    own: np.ndarray | None, indices: np.ndarray, cosines: np.ndarray, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first ``k`` places once each query's own row is taken out."""
    if own is None:
        return indices, cosines
    last = np.argsort(indices == own[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(indices, last, axis=1), np.take_along_axis(cosines, last, axis=1)


def _cosines(queries: np.ndarray, pieces: Pieces, found: np.ndarray) -> Any:
    """Float64 cosines (Q, k) of queries with the vectors they found; NaN where they found none."""
    cosines = np.full(found.shape, np.nan)
    row, place = np.nonzero(found >= 0)
    for start in range(0, len(row), GATHERED):
        at, to = row[start : start + GATHERED], place[start : start + GATHERED]
        cosines[at, to] = np.einsum("nd,nd->n", queries[at], pieces.take(found[at, to]), dtype=np.float64)
    return cosines
