"""Exact nearest neighbours of many vectors among themselves, at the speed of matrix multiplication.

1. *Tiles.* The similarity matrix is made tile by tile; a pair of blocks is multiplied once and read both ways.
2. *Screening.* A row of a tile is looked at in groups of ``GROUP`` columns: only groups whose best value reaches the
   row's worst kept neighbour are opened, so that one cheap pass over the tile replaces sorting it.
3. *Re-ranking.* Screening is in float32 and keeps up to ``SLACK`` more than asked for where they are within rounding of
   the last place; these are re-ranked in float64. The order then does not depend on the tiling, and equal vectors tie
   exactly (lower index first), unless more than ``SLACK`` further vectors lie within that rounding.

Memory: the vectors, one tile of ``block`` squared float32, and k + SLACK neighbours a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SLACK = 8
GROUP = 64
ROUNDING = 1e-5
"""More than float32 can be off in a product of two unit vectors of a few thousand dimensions."""


def nearest_others(
    features: np.ndarray, *, k: int, allowed: np.ndarray | None = None, block: int = 2048, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest others of every vector: indices (N, k) int64 and cosines (N, k) float32, nearest first.

    Args:
        features: (N, D), unit norm.
        allowed: (N,) bool, vectors that may be neighbours; all by default. The others still get neighbours.
        block: vectors per side of a tile.
        device: where tiles are multiplied, as torch writes it.

    Where there are too few others: index -1, cosine NaN.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    count = len(features)
    pool = np.arange(count) if allowed is None else np.flatnonzero(allowed)
    rest = np.setdiff1d(np.arange(count), pool)
    lists = _Shortlists(count, k)
    if k > 0 and len(pool):
        _fill(lists, features, pool, rest, block, device)
    return lists.reranked(features)


def _fill(
    lists: _Shortlists, features: np.ndarray, pool: np.ndarray, rest: np.ndarray, block: int, device: str
) -> None:
    """Offer every pair (any vector, pool vector) to the shortlists, the pool's own pairs once for both ends."""
    import torch

    vectors = torch.as_tensor(features, device=device)
    room = torch.empty(block * block, device=device)  # one tile for all: fresh memory costs more than reading it
    blocks = [pool[at : at + block] for at in range(0, len(pool), block)]
    for own in blocks:  # first, so that every shortlist is full before the many other tiles come
        tile = _product(vectors, own, own, room)
        tile.fill_diagonal_(float("-inf"))
        _screen(lists, tile, own, own)
    for index, rows in enumerate(blocks):
        for columns in blocks[index + 1 :]:
            tile = _product(vectors, rows, columns, room)
            _screen(lists, tile, rows, columns)
            _screen(lists, tile.T, columns, rows)
    for at in range(0, len(rest), block):
        rows = rest[at : at + block]
        for columns in blocks:
            _screen(lists, _product(vectors, rows, columns, room), rows, columns)


def _product(vectors: Tensor, rows: np.ndarray, columns: np.ndarray, room: Tensor) -> Tensor:
    import torch

    tile = room[: len(rows) * len(columns)].view(len(rows), len(columns))
    return torch.mm(_picked(vectors, rows), _picked(vectors, columns).T, out=tile)


def _picked(vectors: Tensor, chosen: np.ndarray) -> Tensor:
    """Rows of ``vectors``; a view where they lie together, as they do unless some are not allowed."""
    import torch

    first, last = int(chosen[0]), int(chosen[-1])
    if last - first + 1 == len(chosen):
        return vectors[first : last + 1]
    return vectors[torch.as_tensor(chosen, device=vectors.device)]


def _screen(lists: _Shortlists, tile: Tensor, rows: np.ndarray, columns: np.ndarray) -> None:
    """Offer a tile's values (r, c) that may be among the best of their row."""
    import torch

    bar = torch.as_tensor(lists.bar(rows), device=tile.device)
    if tile.shape[1] >= lists.width and bool(torch.isinf(bar).all()):
        bar = tile.topk(lists.width, dim=1).values[:, -1]  # nothing kept yet: the tile's own best are the bar
    whole = tile.shape[1] // GROUP * GROUP
    for start, piece in ((0, tile[:, :whole]), (whole, tile[:, whole:])):
        if piece.shape[1]:
            at, column, cosine = _reaching(piece, bar, size=GROUP if start == 0 and whole else piece.shape[1])
            lists.offer(rows[at], columns[start + column], cosine)


def _reaching(piece: Tensor, bar: Tensor, *, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, column, value) of the finite values (r, c) that reach their row's ``bar`` (r,); ``size`` divides c."""
    if piece.stride(1) == 1:
        grouped = piece.view(len(piece), -1, size)  # (r, g, size)
        best = grouped.amax(dim=2)
    else:  # a transposed tile: reduce along the rows it has in memory, 30 times faster than as it stands
        grouped = piece.T.view(-1, size, len(piece))  # (g, size, r)
        best = grouped.amax(dim=1).T
        grouped = grouped.permute(2, 0, 1)
    at, group = (best >= bar[:, None]).nonzero(as_tuple=True)
    values = grouped[at, group]
    hit, offset = ((values >= bar[at][:, None]) & values.isfinite()).nonzero(as_tuple=True)
    columns = group[hit] * size + offset
    return at[hit].cpu().numpy(), columns.cpu().numpy(), values[hit, offset].cpu().numpy()


class _Shortlists:
    """The best ``k`` neighbours of each vector so far and ``SLACK`` more, best first, lower index first on ties."""

    def __init__(self, count: int, k: int) -> None:
        self.k, self.width = k, k + SLACK
        self._found = np.full((count, self.width), -1, dtype=np.int64)
        self._cosine = np.full((count, self.width), -np.inf, dtype=np.float32)

    def bar(self, rows: np.ndarray) -> np.ndarray:
        """What a newcomer has to reach to matter; -inf where there is room among the first k."""
        kept = self._cosine[rows]
        bar: np.ndarray = np.maximum(kept[:, -1], kept[:, self.k - 1] - np.float32(ROUNDING))
        return bar

    def offer(self, at: np.ndarray, found: np.ndarray, cosine: np.ndarray) -> None:
        """Merge (row, neighbour, cosine) triples into the lists of their rows."""
        rows = np.unique(at)
        known = self._found[rows] >= 0
        at = np.concatenate([np.repeat(rows, known.sum(axis=1)), at])
        found = np.concatenate([self._found[rows][known], found])
        cosine = np.concatenate([self._cosine[rows][known], cosine])
        at, found, cosine, rank = _best(at, found, cosine, self.width)
        self._found[at, rank], self._cosine[at, rank] = found, cosine

    def reranked(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` best of each list by float64 cosine, in blocks of rows."""
        indices = np.full((len(features), self.k), -1, dtype=np.int64)
        cosines = np.full((len(features), self.k), np.nan, dtype=np.float32)
        for start in range(0, len(features) if self.k else 0, 1024):
            rows = np.arange(start, min(start + 1024, len(features)))
            near = (self._found[rows] >= 0) & (self._cosine[rows] >= self.bar(rows)[:, None])
            at, place = np.nonzero(near)
            at, found = rows[at], self._found[rows[at], place]
            exact = np.einsum("nd,nd->n", features[at], features[found], dtype=np.float64)
            at, found, exact, rank = _best(at, found, exact, self.k)
            indices[at, rank], cosines[at, rank] = found, exact
        return indices, cosines


def _best(
    at: np.ndarray, found: np.ndarray, cosine: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The ``wanted`` best triples of each row, lower neighbour first on ties, and their ranks."""
    order = np.lexsort((found, -cosine, at))
    at, found, cosine = at[order], found[order], cosine[order]
    rank = np.arange(len(at)) - np.searchsorted(at, at)
    keep = rank < wanted
    return at[keep], found[keep], cosine[keep], rank[keep]
