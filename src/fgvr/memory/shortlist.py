"""Short lists of nearest neighbours, filled tile by tile: what both exact searches share.

1. *Screening.* A row of a tile is looked at in groups of ``GROUP`` columns: only groups whose best value reaches the
   row's worst kept neighbour are opened, so that one cheap pass over the tile replaces sorting it.
2. *Re-ranking.* Screening is in float32 and keeps up to ``SLACK`` more than asked for where they are within rounding of
   the last place; these are re-ranked in float64. The order then does not depend on the tiling, and equal vectors tie
   exactly (lower index first), unless more than ``SLACK`` further vectors lie within that rounding: ``crowded`` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SLACK = 8
GROUP = 64
ROUNDING = 1e-5
"""More than float32 can be off in a product of two unit vectors of a few thousand dimensions."""
GATHERED = 16_384
"""Neighbours fetched at once for re-ranking (32 MiB at 512 dimensions)."""


def screen(lists: Shortlists, tile: Tensor, rows: np.ndarray, columns: np.ndarray) -> None:
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


class Shortlists:
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
        at, found, cosine, rank = best(at, found, cosine, self.width)
        self._found[at, rank], self._cosine[at, rank] = found, cosine

    def crowded(self) -> np.ndarray:
        """(Q,) bool: a vector that was not kept may belong among the first k, for all that float32 can tell."""
        last, kth = self._cosine[:, -1], self._cosine[:, self.k - 1]
        return np.asarray(np.isfinite(last) & (last >= kth - np.float32(ROUNDING)))

    def floors(self) -> np.ndarray:
        """(Q,) float32: no vector of a lower float32 cosine can be among the first k; -inf where k were not found."""
        return np.asarray(self._cosine[:, self.k - 1] - np.float32(ROUNDING))

    def reranked(self, features: np.ndarray, take: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` best of each list by float64 cosine, in blocks of rows; ``take`` fetches neighbours by index."""
        indices = np.full((len(features), self.k), -1, dtype=np.int64)
        cosines = np.full((len(features), self.k), np.nan, dtype=np.float32)
        step = max(1, GATHERED // self.width)
        for start in range(0, len(features) if self.k else 0, step):
            rows = np.arange(start, min(start + step, len(features)))
            near = (self._found[rows] >= 0) & (self._cosine[rows] >= self.bar(rows)[:, None])
            at, place = np.nonzero(near)
            at, found = rows[at], self._found[rows[at], place]
            exact = np.einsum("nd,nd->n", features[at], take(found), dtype=np.float64)
            at, found, exact, rank = best(at, found, exact, self.k)
            indices[at, rank], cosines[at, rank] = found, exact
        return indices, cosines


def best(
    at: np.ndarray, found: np.ndarray, cosine: np.ndarray, wanted: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The ``wanted`` best triples of each row, lower neighbour first on ties, and their ranks."""
    order = np.lexsort((found, -cosine, at))
    at, found, cosine = at[order], found[order], cosine[order]
    rank = np.arange(len(at)) - np.searchsorted(at, at)
    keep = rank < wanted
    return at[keep], found[keep], cosine[keep], rank[keep]
