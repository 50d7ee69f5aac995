"""Exact nearest neighbours of many vectors among themselves, at the speed of matrix multiplication.

1. *Tiles.* The similarity matrix is made tile by tile; a pair of blocks is multiplied once and read both ways.
2. *Screening and re-ranking* as in ``shortlist``: the order does not depend on the tiling, and equal vectors tie
   exactly (lower index first), unless more than ``SLACK`` further vectors lie within rounding of the last place.

Memory: the vectors, one tile of ``block`` squared float32, and k + SLACK neighbours a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.memory.shortlist import GROUP as GROUP
from fgvr.memory.shortlist import SLACK as SLACK
from fgvr.memory.shortlist import Shortlists, screen

if TYPE_CHECKING:
    from torch import Tensor


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
    features = np.require(features, np.float32, ["C", "W"])  # a read-only map is copied: torch warns of it
    count = len(features)
    pool = np.arange(count) if allowed is None else np.flatnonzero(allowed)
    rest = np.setdiff1d(np.arange(count), pool)
    lists = Shortlists(count, k)
    if k > 0 and len(pool):
        _fill(lists, features, pool, rest, block, device)
    return lists.reranked(features, lambda found: features[found])


def _fill(lists: Shortlists, features: np.ndarray, pool: np.ndarray, rest: np.ndarray, block: int, device: str) -> None:
    """Offer every pair (any vector, pool vector) to the shortlists, the pool's own pairs once for both ends."""
    import torch

    vectors = torch.as_tensor(features, device=device)
    room = torch.empty(block * block, device=device)  # one tile for all: fresh memory costs more than reading it
    blocks = [pool[at : at + block] for at in range(0, len(pool), block)]
    for own in blocks:  # first, so that every shortlist is full before the many other tiles come
        tile = _product(vectors, own, own, room)
        tile.fill_diagonal_(float("-inf"))
        screen(lists, tile, own, own)
    for index, rows in enumerate(blocks):
        for columns in blocks[index + 1 :]:
            tile = _product(vectors, rows, columns, room)
            screen(lists, tile, rows, columns)
            screen(lists, tile.T, columns, rows)
    for at in range(0, len(rest), block):
        rows = rest[at : at + block]
        for columns in blocks:
            screen(lists, _product(vectors, rows, columns, room), rows, columns)


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
