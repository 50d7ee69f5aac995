"""Fewer dimensions or fewer bytes a vector: PCA, and product quantisation through faiss (extra ``ann``).

Off by default; measure what a reduction costs with ``recall``, against exact search in the full space.

1. *Deviation.* RAR's paper (section 3.1) says that HNSW "reduces the dimension", "from 576-dimensional vectors to
   64-dimensional indices", "d to d/9". HNSW projects nothing, and the released code reduces nothing: it calls
   ``faiss.IndexHNSWFlat(512, 64, METRIC_INNER_PRODUCT)``, where 64 is M, the degree of the graph. The index file the
   authors ship says so: d = 512 in its header, first level probability 0.984375 = 1 - 1/64, and 1,545,206 bytes for 600
   vectors, 2,575 each: 2,048 of 512 float32 and about 512 of links. Their index is larger than the vectors and
   approximate. Here reduction is a step of its own, with the recall it costs.
2. *PCA* keeps the directions of largest variance about the mean; reduced vectors are centred and renormalised, so their
   cosines are not those of the full space.
3. *Product quantisation* (Jegou et al. 2011) cuts a vector into ``parts`` and keeps for each the number of its nearest
   of 256 centres: ``parts`` bytes a vector instead of 4 D. Queries stay whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgvr.errors import EncoderError, InputError, RunError
from fgvr.memory.ann import load_faiss
from fgvr.memory.pieces import Pieces, as_pieces
from fgvr.memory.search import check_queries, nearest
from fgvr.runs import load_arrays, save_arrays

TRAINING_ROWS = 16_384
"""Most vectors that centres are learned from: 64 a centre."""
ROUNDS = 10
"""Of k-means; more do not raise recall."""
BITS = 8


# --- PCA --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pca:
    """A projection to fewer dimensions."""

    mean: np.ndarray
    """(D,) float32."""
    directions: np.ndarray
    """(d, D) float32, orthonormal, of falling variance."""
    kept: float
    """Share of the variance that lies in the directions, in [0, 1]."""

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (N, D) to (N, d) float32, unit norm; a vector at the mean goes to the first direction."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise EncoderError(
                "the vectors have another dimension than the reduction was fitted on",
                remedy="Encode with the same encoder, or fit the reduction anew.",
                vectors=vectors.shape,
                fitted=len(self.mean),
            )
        flat = (np.asarray(vectors, dtype=np.float32) - self.mean) @ self.directions.T
        norms = np.linalg.norm(flat, axis=1, keepdims=True)
        first = np.eye(1, flat.shape[1], dtype=np.float32)
        return np.where(norms > 1e-6, flat / np.maximum(norms, 1e-6), first).astype(np.float32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write atomically, with a checksum."""
        save_arrays(path, {"mean": self.mean, "directions": self.directions, "kept": np.array([self.kept])})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Pca:
        """Read what ``save`` wrote. Raises ``RunError``."""
        arrays = _arrays(path, ("mean", "directions", "kept"))
        return cls(arrays["mean"], arrays["directions"], float(arrays["kept"][0]))


def fit_pca(vectors: np.ndarray | Pieces, *, dim: int) -> Pca:
    """The ``dim`` directions of largest variance of vectors (N, D), from their covariance in float64, block by block.

    Deterministic: in each direction the entry of largest size is positive. Raises ``InputError`` unless 1 <= ``dim``
    <= min(D, N - 1).
    """
    pieces = as_pieces(vectors)
    count, full = pieces.shape
    if not 1 <= dim <= min(full, count - 1):
        remedy = f"Choose between 1 and {min(full, count - 1)}."
        raise InputError("so many directions cannot be found in these vectors", remedy=remedy, dim=dim, vectors=count)
    mean = sum((block.sum(axis=0, dtype=np.float64) for _, block in pieces.blocks(8192)), np.zeros(full)) / count
    scatter = np.zeros((full, full))
    for _, block in pieces.blocks(8192):
        centred = block - mean  # float64
        scatter += centred.T @ centred
    variances, directions = np.linalg.eigh(scatter)
    chosen = directions[:, ::-1][:, :dim].T
    signs = np.sign(chosen[np.arange(dim), np.abs(chosen).argmax(axis=1)])
    total = float(np.maximum(variances, 0).sum())
    kept = float(np.maximum(variances[-dim:], 0).sum()) / total if total > 0 else 1.0
    return Pca(mean.astype(np.float32), (chosen * signs[:, None]).astype(np.float32), kept)


class PcaSearch:
    """Exact search among reduced vectors, as a ``Searcher`` that takes queries of the full space.

    Cosines are those of the reduced space.
    """

    def __init__(self, pca: Pca, vectors: np.ndarray | Pieces) -> None:
        pieces = as_pieces(vectors)
        self.pca = pca
        self.reduced = Pieces([pca.apply(block) for _, block in pieces.blocks(65_536)], dim=len(pca.directions))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Queries (Q, D), unit norm: row indices (Q, k) int64, -1 past the end; cosines (Q, k) float32, NaN there."""
        check_queries(np.asarray(queries, dtype=np.float32), len(self.pca.mean))
        return nearest(self.pca.apply(queries), self.reduced, k=k)


# --- product quantisation ---------------------------------------------------------------------------------------------


class Pq:
    """Vectors as codes of ``parts`` bytes each, a ``Searcher``. Make one with ``fit``; its ``add`` needs no new fit.

    Cosines are estimates: the query's with the centres that stand for a vector.
    """

    def __init__(self, centres: np.ndarray, codes: np.ndarray) -> None:
        self.centres = centres
        """(parts, 256, D / parts) float32."""
        self.codes = codes
        """(N, parts) uint8."""
        self._index = _pq_index(centres, codes)

    @classmethod
    def fit(cls, vectors: np.ndarray | Pieces, *, parts: int = 64, seed: int = 0) -> Pq:
        """Learn centres from at most ``TRAINING_ROWS`` of the vectors (N, D) by k-means, and encode all of them.

        Raises ``InputError`` when ``parts`` does not divide D or there is no vector; ``MissingExtraError``.
        """
        faiss, pieces = load_faiss(), as_pieces(vectors)
        count, full = pieces.shape
        if not count or parts < 1 or full % parts:
            remedy = "Choose a number of parts that divides the dimension, and give some vectors."
            raise InputError("these vectors cannot be quantised", remedy=remedy, parts=parts, shape=pieces.shape)
        quantiser = faiss.ProductQuantizer(full, parts, BITS)
        quantiser.cp.seed, quantiser.cp.min_points_per_centroid = seed, 1  # else faiss warns about few vectors
        quantiser.cp.niter, quantiser.cp.max_points_per_centroid = ROUNDS, TRAINING_ROWS
        rows = np.sort(np.random.default_rng(seed).permutation(count)[:TRAINING_ROWS])
        quantiser.train(_padded(pieces.take(rows), least=quantiser.ksub))
        centres = faiss.vector_to_array(quantiser.centroids).reshape(parts, quantiser.ksub, full // parts)
        fitted = cls(centres.copy(), np.empty((0, parts), dtype=np.uint8))
        fitted.add(pieces)
        return fitted

    def __len__(self) -> int:
        return len(self.codes)

    def add(self, vectors: np.ndarray | Pieces) -> None:
        """Encode and append rows (n, D)."""
        coded = [self._encoded(np.ascontiguousarray(block)) for _, block in as_pieces(vectors).blocks(65_536)]
        self.codes = np.concatenate([self.codes, *coded])
        self._index = _pq_index(self.centres, self.codes)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Queries (Q, D), unit norm: row indices (Q, k) int64, -1 past the end; cosines (Q, k) float32, NaN there."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self.centres.shape[0] * self.centres.shape[2])
        if not k or not len(queries):
            return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        cosines, found = self._index.search(queries, k)
        return found.astype(np.int64), np.where(found < 0, np.float32(np.nan), cosines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write centres and codes as plain arrays, atomically, with a checksum."""
        save_arrays(path, {"centres": self.centres, "codes": self.codes})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Pq:
        """Read what ``save`` wrote. Raises ``RunError``, ``MissingExtraError``."""
        arrays = _arrays(path, ("centres", "codes"))
        return cls(arrays["centres"], arrays["codes"])

    def _encoded(self, block: np.ndarray) -> np.ndarray:
        return np.asarray(self._index.pq.compute_codes(block)).reshape(len(block), -1)


def _pq_index(centres: np.ndarray, codes: np.ndarray) -> Any:
    """A faiss index of given centres and codes: nothing of faiss's own format is ever read."""
    faiss = load_faiss()
    parts, _, width = centres.shape
    index = faiss.IndexPQ(parts * width, parts, BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.ascontiguousarray(centres, dtype=np.float32).ravel(), index.pq.centroids)
    index.is_trained = True
    if len(codes):
        index.add_sa_codes(np.ascontiguousarray(codes))
    return index


def _padded(rows: np.ndarray, *, least: int) -> np.ndarray:
    """k-means wants as many vectors as centres."""
    return rows if len(rows) >= least else np.resize(rows, (least, rows.shape[1]))


def _arrays(path: str | os.PathLike[str], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    arrays, _ = load_arrays(path)
    if set(arrays) != set(names):
        raise RunError("this is no stored reduction of this kind", remedy="Fit it anew.", file=os.fspath(path))
    return arrays
