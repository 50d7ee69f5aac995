"""The pool as a graph: every image joined to its nearest others, exact, and the affinity that labels travel along.

Letters: N pool images, D dimensions, k neighbours, E edges.

1. *Sparse.* Zhou et al. 2004 ("Learning with local and global consistency", section 3, steps 1 and 2) join every two
   images, ``W_ij = exp(-|x_i - x_j|^2 / 2 sigma^2)``, ``W_ii = 0``. Here only nearest neighbours are joined, as in
   Iscen et al. 2019 ("Label propagation for deep semi-supervised learning", section 4.1): N k edges, not N^2.
2. *Kernel.* Features have unit norm, so ``|x_i - x_j|^2 = 2 - 2 cos``, and Zhou's kernel is ``exp(beta (cos - 1))``
   with ``beta = 1 / sigma^2``.
3. *Symmetric.* An edge of one direction counts in both (``mutual`` off) or not at all (``mutual`` on).

An image may stay without edges; the same picture twice makes two images joined at full weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgvr.memory import nearest_others

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class NeighbourGraph:
    """Directed: each image's k nearest others, nearest first."""

    indices: np.ndarray
    """(N, k) int64; -1 where there were too few others."""
    cosines: np.ndarray
    """(N, k) float32; NaN where ``indices`` is -1."""

    def first(self, k: int) -> NeighbourGraph:
        """The same with fewer neighbours."""
        return NeighbourGraph(self.indices[:, :k], self.cosines[:, :k])


def neighbour_graph(features: np.ndarray, *, k: int, device: str = "cpu", block: int = 2048) -> NeighbourGraph:
    """Exact nearest others by cosine; memory as in ``fgvr.memory.exact``: features, one tile, k + 8 places an image.

    Args:
        features: (N, D), unit norm.
        k: neighbours an image, at least 1; the image itself is none of them.
        device: where similarities are multiplied, as torch writes it.
        block: images per side of a tile of similarities.

    Ties go to the lower index. Raises ``ValueError`` for k < 1 and for features that are no table.
    """
    if k < 1:
        raise ValueError(f"k = {k}: an image needs at least one neighbour")
    if features.ndim != 2:
        raise ValueError(f"features (N, D) are a table, not {features.shape}")
    return NeighbourGraph(*nearest_others(features, k=k, device=device, block=block))


def affinity(graph: NeighbourGraph, *, sharpness: float = 10.0, mutual: bool = False) -> csr_matrix:
    """``S = D^-1/2 W D^-1/2`` with ``W_ij = exp(sharpness (cosine_ij - 1))`` on the graph's edges, 0 elsewhere.

    Args:
        graph: from ``neighbour_graph``.
        sharpness: at 0 all edges weigh the same; the larger, the more the nearest weigh.
        mutual: keep an edge only where each is among the other's neighbours.

    Returns:
        (N, N) float32, symmetric, nothing on the diagonal; its eigenvalues lie in [-1, 1]. Rows of images without edges
        are empty.
    """
    from scipy.sparse import csr_matrix, diags_array

    count, k = graph.indices.shape
    there = graph.indices >= 0
    source, target = np.repeat(np.arange(count), k)[there.ravel()], graph.indices[there]
    weight = np.exp(sharpness * (graph.cosines[there].astype(np.float64) - 1.0))
    one_way = csr_matrix((weight, (source, target)), shape=(count, count))
    both = one_way.minimum(one_way.T) if mutual else one_way.maximum(one_way.T)
    both.eliminate_zeros()
    degree = np.asarray(both.sum(axis=1)).ravel()
    scale = diags_array(1.0 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    return csr_matrix(scale @ both @ scale, dtype=np.float32)
