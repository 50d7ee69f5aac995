"""Is the probability honest: expected calibration error, reliability bins, risk-coverage curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ReliabilityBin:
    """Items whose probability fell into one bin."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean probability in the bin."""
    accuracy: float
    """Share of right answers in the bin."""


@dataclass(frozen=True)
class RiskCoverage:
    """Error among the answered when only the most probable are answered."""

    coverage: NDArray[np.float64]
    """(P,) share of items answered, ascending, the last 1."""
    risk: NDArray[np.float64]
    """(P,) share of wrong answers among them."""
    threshold: NDArray[np.float64]
    """(P,) answering everything at or above this probability gives the point."""
    aurc: float
    """Area under the curve: mean over items of the risk when answering down to that item; lower is better."""


def reliability_bins(
    probabilities: ArrayLike, correct: ArrayLike, *, bins: int = 15, scheme: str = "width"
) -> tuple[ReliabilityBin, ...]:
    """Non-empty bins, ascending; ``scheme`` is ``width`` (equal width on [0, 1]) or ``mass`` (equal counts).

    ``probabilities`` (N,) in [0, 1], ``correct`` (N,) bool or 0/1. Equal probabilities may fall into two ``mass`` bins.
    """
    probability, right = _checked(probabilities, correct)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if scheme == "width":
        index = np.minimum((probability * bins).astype(int), bins - 1)
        parts: Sequence[NDArray[np.int64]] = [np.flatnonzero(index == b) for b in range(bins)]
        edges = [(b / bins, (b + 1) / bins) for b in range(bins)]
    elif scheme == "mass":
        parts = np.array_split(np.argsort(probability, kind="stable"), bins)
        edges = [(float(probability[p[0]]), float(probability[p[-1]])) if len(p) else (0.0, 0.0) for p in parts]
    else:
        raise ValueError(f"scheme must be 'width' or 'mass', not {scheme!r}")
    return tuple(
        ReliabilityBin(low, high, len(part), float(probability[part].mean()), float(right[part].mean()))
        for part, (low, high) in zip(parts, edges)
        if len(part)
    )


def expected_calibration_error(
    probabilities: ArrayLike, correct: ArrayLike, *, bins: int = 15, scheme: str = "width"
) -> float:
    """ECE in [0, 1] (Naeini et al. 2015; 15 bins as in Guo et al. 2017): mean |accuracy - confidence| by bin size."""
    table = reliability_bins(probabilities, correct, bins=bins, scheme=scheme)
    total = sum(b.count for b in table)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in table) / total


def risk_coverage(probabilities: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """Risk-coverage curve (El-Yaniv and Wiener 2010). Items of equal probability enter together, so order is no luck.

    Within a tie every item counts with the risk at the tie's end.
    """
    probability, right = _checked(probabilities, correct)
    order = np.argsort(-probability, kind="stable")
    sorted_probability = probability[order]
    wrong = np.cumsum(1.0 - right[order])
    last = np.flatnonzero(np.append(np.diff(sorted_probability) != 0, True))
    risk = wrong[last] / (last + 1)
    sizes = np.diff(last, prepend=-1)
    aurc = float(np.sum(sizes * risk) / len(right))
    return RiskCoverage((last + 1) / len(right), risk, sorted_probability[last], aurc)


Weighted = Callable[[NDArray[np.float64]], float]
"""A figure as a function of how often each item counts, (N,) float64, not all zero."""


def weighted_calibration_error(probabilities: ArrayLike, correct: ArrayLike, *, bins: int = 15) -> Weighted:
    """`expected_calibration_error` (equal width) for any weights of the items; the binning is done once."""
    probability, right = _checked(probabilities, correct)
    index = np.minimum((probability * bins).astype(int), bins - 1)
    surplus = right - probability

    def error(weights: NDArray[np.float64]) -> float:
        return float(np.abs(np.bincount(index, weights * surplus, minlength=bins)).sum() / weights.sum())

    return error


def weighted_aurc(probabilities: ArrayLike, correct: ArrayLike) -> Weighted:
    """The ``aurc`` of `risk_coverage` for any weights of the items; the sorting is done once."""
    probability, right = _checked(probabilities, correct)
    order = np.argsort(-probability, kind="stable")
    wrong = 1.0 - right[order]
    last = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))

    def area(weights: NDArray[np.float64]) -> float:
        weights = weights[order]
        answered = np.cumsum(weights)[last]
        risk = np.divide(np.cumsum(weights * wrong)[last], answered, out=np.zeros(len(last)), where=answered > 0)
        return float((np.diff(answered, prepend=0.0) * risk).sum() / answered[-1])

    return area


def _checked(probabilities: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    probability = np.asarray(probabilities, dtype=np.float64)
    right = np.asarray(correct, dtype=np.float64)
    if probability.ndim != 1 or probability.shape != right.shape:
        raise ValueError(f"need two vectors of one length, not {probability.shape} and {right.shape}")
    if len(probability) == 0:
        raise ValueError("nothing to score")
    if not np.all((probability >= 0) & (probability <= 1)):
        raise ValueError("probabilities must lie in [0, 1]")
    if not np.all((right == 0) | (right == 1)):
        raise ValueError("correct must be 0 or 1")
    return probability, right
