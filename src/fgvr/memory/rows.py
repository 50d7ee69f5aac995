"""The rows of one kind (image or text) that a memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np

from fgvr.errors import EncoderError
from fgvr.memory.pieces import Pieces, as_pieces

OFF_UNIT = 1e-3
"""Real CLIP vectors saved in half precision are off by 3e-4."""
ROUNDED = 1e-6
"""What float32 leaves after a division by the norm."""


class Rows:
    """Vectors with class, source and content hash. Never changed: a changed memory has new ``Rows``.

    Args:
        vectors: (N, D) float32, unit norm; may be memory-mapped, may lie in pieces.
        labels: (N,) int64 indices into ``Memory.names``.
        sources: N file paths, or the texts that were embedded.
        hashes: N SHA-256 of the image's bytes, or of the text.
        ids: (N,) int64, ascending, never used again for another row of the memory; 0 to N - 1 by default.
    """

    def __init__(
        self,
        vectors: np.ndarray | Pieces,
        labels: np.ndarray,
        sources: Sequence[str],
        hashes: Sequence[str],
        *,
        ids: np.ndarray | None = None,
    ) -> None:
        self.pieces = as_pieces(vectors)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.sources = tuple(sources)
        self.hashes = tuple(hashes)
        self.ids = np.arange(len(self.pieces)) if ids is None else np.asarray(ids, dtype=np.int64)
        lengths = {len(self.pieces), len(self.labels), len(self.sources), len(self.hashes), len(self.ids)}
        if len(lengths) > 1:
            raise ValueError(f"vectors, labels, sources, hashes and ids of different lengths: {sorted(lengths)}")
        self._joined: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def vectors(self) -> np.ndarray:
        """(N, D) float32. Where the rows lie in several pieces, this copies them into memory, once."""
        if self._joined is None:
            self._joined = self.pieces.joined()
        return self._joined

    def blocks(self, size: int = 65_536) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, vectors (n, D)) in order, at most ``size`` rows each, without a copy of the whole."""
        return self.pieces.blocks(size)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copies of the vectors of ``rows`` (n,): (n, D)."""
        return self.pieces.take(rows)

    def kept(self, mask: np.ndarray) -> Rows:
        """The rows where ``mask`` (N,) is true, in order; their vectors are not copied."""
        return Rows(
            self.pieces.kept(np.flatnonzero(mask)),
            self.labels[mask],
            tuple(compress(self.sources, mask)),
            tuple(compress(self.hashes, mask)),
            ids=self.ids[mask],
        )

    def followed_by(self, other: Rows) -> Rows:
        """These rows, then the others; no vector is copied."""
        pieces = Pieces((*self.pieces.pieces, *other.pieces.pieces), dim=self.pieces.shape[1])
        return Rows(
            pieces,
            np.concatenate([self.labels, other.labels]),
            self.sources + other.sources,
            self.hashes + other.hashes,
            ids=np.concatenate([self.ids, other.ids]),
        )

    def relabelled(self, labels: np.ndarray, *, pieces: Pieces | None = None) -> Rows:
        """The same rows with other labels, or the same vectors lying elsewhere."""
        return Rows(self.pieces if pieces is None else pieces, labels, self.sources, self.hashes, ids=self.ids)


def no_rows(dim: int) -> Rows:
    """Rows without a row."""
    return Rows(np.empty((0, dim), np.float32), np.empty(0, np.int64), (), ())


def unit_rows(vectors: np.ndarray, *, dim: int) -> np.ndarray:
    """A copy of vectors (N, ``dim``) as float32 of unit norm. Raises ``EncoderError``."""
    matrix = np.array(vectors, dtype=np.float32, order="C")
    if matrix.ndim != 2 or matrix.shape[1] != dim:
        raise EncoderError(
            "the vectors have another dimension than the memory",
            remedy="Encode with the encoder the memory was made with.",
            vectors=matrix.shape,
            memory=dim,
        )
    norms = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64))
    bad = np.flatnonzero(~(np.abs(norms - 1) <= OFF_UNIT))  # NaN and infinity are bad too
    if len(bad):
        what = "unit norm" if np.isfinite(norms[bad[0]]) else "finite values"
        remedy = "Divide each vector by its norm; leave out those that are zero or not finite."
        raise EncoderError(f"a vector without {what}", remedy=remedy, row=int(bad[0]), norm=float(norms[bad[0]]))
    off = np.abs(norms - 1) > ROUNDED
    matrix[off] = matrix[off] / norms[off, None]
    return matrix
