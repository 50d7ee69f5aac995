"""What to label next: images that stand for many others of which the student is unsure.

Letters: N pool images, C names, R images not asked about yet.

1. *Representative.* Facility location, each image wanting to be served the more the less sure the student is of it, and
   the images asked about serving already. So a round takes no doubt twice, and no odd picture that is like no other.
2. *Doubt counts half* (``floor``). The least certain images are those between classes, where the teacher errs, too; on
   drawn development species rounds by doubt alone, with medoids of the least certain, were worse than no rounds at all
   while labels were few. Where nothing is doubted the round is plain facility location.

No rounds tried there beat choosing everything at once; they are an option, not the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.naming.choose import Informative, LabelsSoFar
from fgvr.naming.facility_location import facility_location

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def most_informative(
    features: np.ndarray,
    soft: csr_matrix,
    rest: np.ndarray,
    size: int,
    *,
    asked: np.ndarray | None = None,
    floor: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """``min(size, R)`` of the rows ``rest`` to ask about next, int64, ascending.

    Args:
        features: (N, D) float32, unit norm, of the whole pool.
        soft: (N, C) propagated soft labels, values >= 0; empty rows are full of doubt.
        rest: (R,) distinct rows that may be asked about, and that are to be stood for; near-duplicates are left out.
        size: rows wanted, at least 1.
        asked: rows asked about already; none by default.
        floor: what an image without doubt counts, in [0, 1]; one full of doubt counts 1.
        seed: of the sample of a large pool.

    Raises ``ValueError`` for values out of range.
    """
    if not 0 <= floor <= 1 or soft.shape[0] != len(features):
        raise ValueError("the floor lies in [0, 1], and soft labels have a row an image")
    rest = np.sort(np.asarray(rest, dtype=np.int64))
    if size >= len(rest):
        return rest
    rows = rest if asked is None else np.union1d(rest, asked)
    weights = floor + (1 - floor) * doubt(soft)[rows]
    taken = np.flatnonzero(~np.isin(rows, rest))
    return np.sort(rows[facility_location(features[rows], size, weights=weights, taken=taken, seed=seed)])


def doubt(soft: csr_matrix) -> np.ndarray:
    """One minus the share of the best name, (N,) float64 in [0, 1]; 1 where nothing is known."""
    total = np.asarray(soft.sum(axis=1), dtype=np.float64).ravel()
    best = soft.max(axis=1).toarray().ravel().astype(np.float64) if soft.shape[1] else np.zeros_like(total)
    return np.asarray(1 - np.divide(best, total, out=np.zeros_like(total), where=total > 0))


def by_propagation(
    features: np.ndarray, edges: csr_matrix, *, alpha: float = 0.5, keep: int = 20, floor: float = 0.5
) -> Informative:
    """``most_informative`` as the later rounds of ``fgvr.naming.choose.choose_among``.

    ``edges`` (N, N) is the pool's affinity; what is known is taken at its word and spread along it.
    """

    def choose(rest: np.ndarray, chosen: np.ndarray, known: LabelsSoFar, size: int, seed: int) -> np.ndarray:
        soft = _spread(edges, chosen, known, alpha=alpha, keep=keep)
        return most_informative(features, soft, rest, size, asked=chosen, floor=floor, seed=seed)

    return choose


def _spread(edges: csr_matrix, chosen: np.ndarray, known: LabelsSoFar, *, alpha: float, keep: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    from fgvr.methods.student.propagation import propagate

    named = known.labels >= 0
    ones = np.ones(int(named.sum()), dtype=np.float32)
    shape = (edges.shape[0], max(1, len(known.texts)))
    seeds = csr_matrix((ones, (chosen[named], known.labels[named])), shape=shape)
    return propagate(edges, seeds, alpha=alpha, keep=keep)
