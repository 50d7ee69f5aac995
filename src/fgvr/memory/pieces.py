"""One matrix in several pieces: vectors of a memory lie in several files, and nothing needs them in one place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CRUMB = 512
"""Smaller pieces are copied together: another tile costs more than that."""


class Pieces:
    """Arrays (n, D) one below the other, read as one (N, D) float32 matrix. Memory-mapped ones stay on disk.

    ``shape``: (N, D). Never copied as a whole, except by ``joined``.
    """

    def __init__(self, pieces: Sequence[np.ndarray], *, dim: int) -> None:
        self.pieces = tuple(piece for piece in pieces if len(piece))
        self.starts = np.concatenate([[0], np.cumsum([len(piece) for piece in self.pieces])]).astype(np.int64)
        self.shape = (int(self.starts[-1]), dim)

    def __len__(self) -> int:
        return self.shape[0]

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows) in order, at most ``size`` rows each. Views; only what is in crumbs is copied together."""
        crumbs: list[np.ndarray] = []
        first = held = 0
        for start, piece in zip(self.starts, self.pieces, strict=False):
            if held + len(piece) <= size and len(piece) < min(CRUMB, size // 4):
                first = first if crumbs else int(start)
                crumbs.append(piece)
                held += len(piece)
                continue
            if crumbs:
                yield first, _stacked(crumbs)
                crumbs, held = [], 0
            for at in range(0, len(piece), size):
                yield int(start) + at, piece[at : at + size]
        if crumbs:
            yield first, _stacked(crumbs)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copies of ``rows`` (n,), in any order: (n, D) float32."""
        rows = np.asarray(rows, dtype=np.int64)
        taken = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for index in np.unique(owner):
            mine = owner == index
            taken[mine] = self.pieces[index][rows[mine] - self.starts[index]]
        return taken

    def kept(self, rows: np.ndarray) -> Pieces:
        """Only ``rows`` (n,), ascending: views of the runs they lie in."""
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            return Pieces((), dim=self.shape[1])
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(owner) != 0)) + 1
        firsts, lasts = rows[np.concatenate([[0], breaks])], rows[np.concatenate([breaks - 1, [-1]])]
        owners = owner[np.concatenate([[0], breaks])]
        begins = self.starts[owners]
        runs = [self.pieces[o][a - b : z - b + 1] for o, a, z, b in zip(owners, firsts, lasts, begins, strict=True)]
        return Pieces(runs, dim=self.shape[1])

    def joined(self) -> np.ndarray:
        """The whole (N, D): the piece itself where there is one, else a copy in memory."""
        return _stacked(self.pieces) if self.pieces else np.empty((0, self.shape[1]), dtype=np.float32)


def as_pieces(vectors: np.ndarray | Pieces) -> Pieces:
    """A matrix as one piece; float32 ones are not copied."""
    if isinstance(vectors, Pieces):
        return vectors
    matrix = np.asarray(vectors, dtype=np.float32)
    if matrix.ndim != 2:
        raise ValueError(f"vectors of shape {matrix.shape}; expected (N, D)")
    return Pieces((matrix,), dim=matrix.shape[1])


def _stacked(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
