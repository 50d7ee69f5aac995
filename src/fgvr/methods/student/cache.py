"""A cache model in the manner of Tip-Adapter (Zhang et al. 2022, equations 1 to 3), without its zero-shot part.

``logits(x) = sum_j exp(-beta (1 - x k_j)) v_j`` with keys k the features of labelled images and values v their labels.

1. *Values* are soft labels; the paper has one-hot labels of few-shot images, as many of each class. Here some names
   have many more keys than others and would win by numbers: values are divided by ``n_c ^ balance``, n_c being the
   name's mass over the keys.
2. *Zero-shot logits* are added by the mixture of heads, not here; it adds logarithms (``CacheHead``).
3. *Keys* are bounded: the surest images first, the same number of each name as far as they go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.heads import CacheHead
from fgvr.methods.student.prototypes import check

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def cache_head(
    features: np.ndarray, soft: csr_matrix, *, sharpness: float = 20.0, balance: float = 0.5, most: int = 20_000
) -> CacheHead:
    """Labelled images as keys and values.

    Args:
        features: (N, D) float32, unit norm.
        soft: (N, C) soft labels >= 0.
        sharpness: beta, > 0. The paper's is 5.5.
        balance: in [0, 1]; 0 is the paper's, 1 gives every name the same sum of values.
        most: keys at most.

    Raises ``ValueError`` for shapes that do not fit, or bounds that leave nothing.
    """
    check(features, soft)
    if sharpness <= 0 or most < 1 or not 0 <= balance <= 1:
        raise ValueError("sharpness is positive, most at least 1 and balance in [0, 1]")
    rows = surest(soft, most=most)
    values = np.asarray(soft[rows].toarray(), dtype=np.float32)
    masses = values.sum(axis=0)
    values /= np.where(masses > 0, masses, 1.0) ** balance
    return CacheHead(np.ascontiguousarray(features[rows], dtype=np.float32), values, float(sharpness))


def surest(soft: csr_matrix, *, most: int) -> np.ndarray:
    """Ascending rows of at most ``most`` labelled images: each name's surest one, then each name's next, and so on.

    An image belongs to its most probable name (the first of equals). Ties go to the lower row.
    """
    weights = np.asarray(soft.max(axis=1).toarray()).ravel()
    labelled = np.flatnonzero(weights > 0)
    if len(labelled) <= most:
        return labelled
    names = np.asarray(soft.argmax(axis=1)).ravel()[labelled]
    order = np.lexsort((labelled, -weights[labelled], names))  # by name, then the surest first
    starts = np.flatnonzero(np.diff(names[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    chosen = np.lexsort((labelled[order], -weights[labelled][order], turn))[:most]
    return np.sort(labelled[order][chosen])
