"""Clustering accuracy (cACC), NMI and ARI between predicted and true names.

cACC (FineR, Liu et al. 2024; used by the NeaR workshop paper): every distinct predicted name is a cluster, one-to-one
matched to the true classes so that the matched count is largest (Hungarian), divided by N.

1. FineR pads the contingency to a square D x D. Here it stays rectangular: the same optimum, no D^2 blow-up.
2. FineR clusters by label index. Here by name, normalised by default, raw with ``normalise=False``; the raw figure
   punishes spelling ("Pit bull" / "pitbull").
3. The macro average is the mean over classes of matched / class size (as vic has it), not over items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgvr.metrics.names import Truth, codes, first_names


@dataclass(frozen=True, eq=False)
class Contingency:
    """Sparse contingency table of two clusterings of the same N items."""

    rows: NDArray[np.int64]
    """(E,) predicted cluster of each non-zero cell."""
    columns: NDArray[np.int64]
    """(E,) true class of each non-zero cell."""
    counts: NDArray[np.float64]
    """(E,) items in the cell."""
    shape: tuple[int, int]

    @property
    def total(self) -> float:
        """N."""
        return float(self.counts.sum())

    @property
    def row_sums(self) -> NDArray[np.float64]:
        """Size of each predicted cluster."""
        return np.bincount(self.rows, weights=self.counts, minlength=self.shape[0]).astype(np.float64)

    @property
    def column_sums(self) -> NDArray[np.float64]:
        """Size of each true class."""
        return np.bincount(self.columns, weights=self.counts, minlength=self.shape[1]).astype(np.float64)

    def same_as(self, other: Contingency) -> bool:
        """True when both hold the same cells."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns), (self.counts, other.counts))
        return self.shape == other.shape and all(np.array_equal(one, two) for one, two in pairs)


def clustering_accuracy(
    predicted: Sequence[str], true: Sequence[Truth], *, normalise: bool = True, average: str = "micro"
) -> float:
    """cACC in [0, 1]: share of items whose predicted name is matched to their class.

    ``true`` holds a name, or a tuple whose first name is the class's. ``average`` is ``micro`` (over items) or
    ``macro`` (over classes, with the matching that is best for items). Raises ``ValueError`` on unequal lengths or
    nothing to score.
    """
    table = contingency_of(predicted, true, normalise=normalise)
    return matched_share(table, average=average)


def matched_hits(predicted: Sequence[str], true: Sequence[Truth]) -> NDArray[np.float64]:
    """(N,) 1 where an item lies in the cluster matched to its class, else 0: the items whose mean is cACC."""
    table = contingency_of(predicted, true)
    clusters, classes = match(table)
    partner = np.full(table.shape[1], -1)
    partner[classes] = clusters
    rows, columns = codes(predicted)[0], codes(first_names(true))[0]
    return np.asarray(partner[columns] == rows, dtype=np.float64)


def contingency_of(predicted: Sequence[str], true: Sequence[Truth], *, normalise: bool = True) -> Contingency:
    """The contingency of predicted names against class names."""
    rows, predicted_names = codes(predicted, normalised=normalise)
    columns, true_names = codes(first_names(true), normalised=normalise)
    return contingency(rows, columns, shape=(len(predicted_names), len(true_names)))


def contingency(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    *,
    shape: tuple[int, int],
    weights: NDArray[np.float64] | None = None,
) -> Contingency:
    """Count pairs of integer codes (N,), each item weighing ``weights`` (N,) or 1."""
    if len(rows) != len(columns):
        raise ValueError(f"{len(rows)} predictions for {len(columns)} true names")
    if len(rows) == 0:
        raise ValueError("nothing to score")
    cells, inverse = np.unique(rows * shape[1] + columns, return_inverse=True)
    counts = np.bincount(inverse, weights=weights, minlength=len(cells)).astype(np.float64)
    return Contingency(cells // shape[1], cells % shape[1], counts, shape)


def match(table: Contingency) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Matched (clusters, classes): the one-to-one assignment with the largest total count.

    Dominated clusters are left out first (see `_undominated`), so 100,000 items under 5,000 names take seconds.
    """
    from scipy.optimize import linear_sum_assignment

    cells = _undominated(table)
    rows, row_of = np.unique(table.rows[cells], return_inverse=True)
    columns, column_of = np.unique(table.columns[cells], return_inverse=True)
    dense = np.zeros((len(rows), len(columns)))
    dense[row_of, column_of] = table.counts[cells]
    chosen_rows, chosen_columns = linear_sum_assignment(dense, maximize=True)
    return rows[chosen_rows], columns[chosen_columns]


def _undominated(table: Contingency) -> NDArray[np.int64]:
    """Indices of the cells that can matter to the matching.

    Of the clusters that lie within one single class only the largest can be its partner: the others are never better
    and take nothing from any other class. With many rare names this leaves a small fraction.
    """
    single = np.bincount(table.rows, weights=table.counts > 0, minlength=table.shape[0])[table.rows] == 1
    pure = np.flatnonzero(single & (table.counts > 0))
    order = pure[np.lexsort((-table.counts[pure], table.columns[pure]))]
    largest = order[np.diff(table.columns[order], prepend=-1) != 0]
    mixed = np.flatnonzero(~single & (table.counts > 0))
    return np.sort(np.concatenate([mixed, largest]))


Matching = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Matched (clusters, classes)."""


def matched_share(table: Contingency, *, average: str = "micro", matching: Matching | None = None) -> float:
    """cACC of a contingency table under its best matching, or under a given one; see `clustering_accuracy`."""
    if average not in ("micro", "macro"):
        raise ValueError(f"average must be 'micro' or 'macro', not {average!r}")
    clusters, classes = match(table) if matching is None else matching
    partner = np.full(table.shape[1], -1)
    partner[classes] = clusters
    hits = table.counts * (partner[table.columns] == table.rows)
    if average == "micro":
        return float(hits.sum() / table.total)
    sizes = table.column_sums
    per_class = np.bincount(table.columns, weights=hits, minlength=table.shape[1])
    return float(np.mean(per_class[sizes > 0] / sizes[sizes > 0]))


def normalised_mutual_information(predicted: Sequence[str], true: Sequence[Truth], *, normalise: bool = True) -> float:
    """NMI in [0, 1], normalised by the arithmetic mean of the two entropies (scikit-learn's default).

    1.0 where both sides are one single cluster, as scikit-learn has it.
    """
    return mutual_information_of(contingency_of(predicted, true, normalise=normalise))


def mutual_information_of(table: Contingency) -> float:
    """NMI of a contingency table; see `normalised_mutual_information`."""
    joint = table.counts[table.counts > 0] / table.total
    rows, columns = table.row_sums / table.total, table.column_sums / table.total
    entropy = _entropy(rows) + _entropy(columns)
    if entropy == 0:
        return 1.0
    present = table.counts > 0
    independent = rows[table.rows[present]] * columns[table.columns[present]]
    information = float(np.sum(joint * (np.log(joint) - np.log(independent))))
    return min(1.0, max(0.0, 2 * information / entropy))


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return max(0.0, float(-np.sum(shares * np.log(shares))))


def adjusted_rand_index(predicted: Sequence[str], true: Sequence[Truth], *, normalise: bool = True) -> float:
    """ARI in [-0.5, 1] (Hubert and Arabie 1985): pairs placed alike, corrected for chance; 0 expected at random."""
    return rand_index_of(contingency_of(predicted, true, normalise=normalise))


def rand_index_of(table: Contingency) -> float:
    """ARI of a contingency table; see `adjusted_rand_index`."""
    together = _pairs(table.counts)
    rows, columns, every = _pairs(table.row_sums), _pairs(table.column_sums), _pairs(np.array([table.total]))
    if every == 0:
        return 1.0
    expected, largest = rows * columns / every, (rows + columns) / 2
    return 1.0 if largest == expected else (together - expected) / (largest - expected)


def _pairs(sizes: NDArray[np.float64]) -> float:
    return float(np.sum(sizes * (sizes - 1)) / 2)
