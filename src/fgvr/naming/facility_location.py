"""Facility location: the rows that together lie nearest to all rows (Cornuejols et al. 1977; Wei et al. 2015).

``f(S) = sum_i u_i max_{j in S} max(0, cos(i, j))``: every row i is served by the most similar row of S. With nothing
chosen f is 0; f never falls and its gains shrink as S grows (it is monotone and submodular), so that the greedy choice
reaches at least 1 - 1/e = 63 % of the best possible (Nemhauser et al. 1978).

1. *Lazy.* A gain can only shrink, so an old gain is an upper bound; only rows whose bound is highest are computed
   again (Minoux 1978), many at a time in one multiplication. The choice is the plain greedy one; of equal gains the
   lower row, as far as rounding lets gains be equal.
2. *Large pools.* Of more than max(20,000, 20 k) rows, so many are drawn by seed; they are served and chosen from.
"""

from __future__ import annotations

import numpy as np

from fgvr.naming.choose_clusters import ROOM, tiles

BATCH = 64
"""Rows whose gains are computed at once."""


def facility_location(
    features: np.ndarray,
    k: int,
    *,
    weights: np.ndarray | None = None,
    taken: np.ndarray | None = None,
    seed: int = 0,
    least_sample: int = 20_000,
) -> np.ndarray:
    """The greedy choice of min(k, rows not taken) rows, int64, in the order they were chosen.

    Its beginnings are the choices of smaller k, unless the pool is sampled.

    Args:
        features: (N, D) float32, unit norm.
        k: rows to choose, at least 1.
        weights: (N,) >= 0, how much each row wants to be served; 1 by default.
        taken: rows that serve already and are not chosen again.
        seed: of the sample of a large pool.
        least_sample: rows above which a sample takes the pool's place, unless 20 k is more.

    Raises ``ValueError`` for k < 1 and for weights that do not fit or are negative.
    """
    if k < 1:
        raise ValueError("at least one row is to be chosen")
    weights = np.ones(len(features)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (len(features),) or not (weights >= 0).all():
        raise ValueError("one weight >= 0 a row")
    taken = np.empty(0, dtype=np.int64) if taken is None else np.asarray(taken, dtype=np.int64)
    rows = _sample(len(features), max(least_sample, 20 * k), seed)
    left = np.flatnonzero(~np.isin(rows, taken))
    served = _served(features[rows], features[taken])
    return np.asarray(rows[_greedy(features[rows], weights[rows], served, left, k)])


def coverage(features: np.ndarray, chosen: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    """f(S) of the rows ``chosen``: at most the sum of the weights, 0 for none."""
    served = _served(features, features[chosen]).astype(np.float64)
    return float(served.sum() if weights is None else served @ weights)


def _greedy(features: np.ndarray, weights: np.ndarray, served: np.ndarray, left: np.ndarray, k: int) -> list[int]:
    """``bound`` holds each row's last computed gain; a row is chosen when its gain is fresh and the highest."""
    bound = np.full(len(features), -np.inf)
    step = max(1, ROOM // len(features))
    for at in range(0, len(left), step):
        bound[left[at : at + step]] = _gains(features, weights, served, left[at : at + step])
    chosen: list[int] = []
    fresh = np.ones(len(features), dtype=bool)
    while len(chosen) < min(k, len(left)):
        best = int(bound.argmax())
        while not fresh[best]:
            stale = np.where(fresh, -np.inf, bound)
            again = np.sort(np.argsort(-stale, kind="stable")[: min(BATCH, step)])
            again = again[np.isfinite(stale[again])]
            bound[again] = _gains(features, weights, served, again)
            fresh[again] = True
            best = int(bound.argmax())
        chosen.append(best)
        np.maximum(served, features @ features[best], out=served)
        bound[best] = -np.inf
        fresh[:] = False
    return chosen


def _gains(features: np.ndarray, weights: np.ndarray, served: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What f would gain from each of ``rows``, (R,) float64."""
    more = features @ features[rows].T - served[:, None]
    return np.asarray(weights @ np.maximum(more, 0, out=more))


def _served(features: np.ndarray, by: np.ndarray) -> np.ndarray:
    """max(0, highest cosine with the rows ``by``), (N,) float32."""
    served = np.zeros(len(features), dtype=np.float32)
    if len(by):
        for part, cosines in tiles(features, by):
            np.maximum(served[part], cosines.max(axis=1), out=served[part])
    return served


def _sample(count: int, most: int, seed: int) -> np.ndarray:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=most, replace=False))
