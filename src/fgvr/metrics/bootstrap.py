"""Percentile bootstrap over items: an interval for every figure.

Items are drawn with replacement (Efron 1979), seeded. Means of per-item scores are vectorised. Figures of a contingency
table (cACC, NMI, ARI) redraw the table's cells, which is the same as redrawing items; several figures share one set of
redraws. Mutual information and the like favour the resample a little, so such intervals lean upwards where names are
many and items few; an interval is widened where needed so that it always contains its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgvr.metrics.clustering import Contingency

T = TypeVar("T")

_CHUNK = 4_000_000
"""Drawn counts held at a time."""


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float
    level: float
    resamples: int

    def __float__(self) -> float:
        return self.value

    def percent(self) -> str:
        """As printed in tables: ``63.5 [61.2, 65.7]``."""
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def interval_of(value: float, draws: NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """The percentile interval of ``draws`` (R,) around ``value``; degenerate where there are no draws."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if len(draws) == 0:
        return Interval(value, value, value, level, 0)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value), level, len(draws))


def bootstrap_mean(scores: ArrayLike, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean of per-item ``scores`` (N,)."""
    values = _vector(scores)
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.empty(resamples)
    step = max(1, _CHUNK // len(distinct))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.multinomial(len(values), counts / len(values), size=rows)
        draws[start : start + rows] = drawn @ distinct / len(values)
    return interval_of(float(values.mean()), draws, level=level)


def bootstrap_difference(
    scores: ArrayLike, others: ArrayLike, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Interval of mean(scores) - mean(others) over the *same* items (paired)."""
    one, other = _vector(scores), _vector(others)
    if len(one) != len(other):
        raise ValueError(f"paired scores need one length, not {len(one)} and {len(other)}")
    return bootstrap_mean(one - other, resamples=resamples, level=level, seed=seed)


def bootstrap(
    metric: Callable[[NDArray[np.int64]], float], n: int, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Interval of any metric of items, given as a function of drawn indices (n,) int64."""
    if n < 1:
        raise ValueError("nothing to score")
    rng = np.random.default_rng(seed)
    draws = np.array([metric(rng.integers(0, n, n)) for _ in range(resamples)], dtype=np.float64)
    return interval_of(metric(np.arange(n)), draws, level=level)


def bootstrap_counts(
    metrics: Mapping[str, Callable[[NDArray[np.float64]], float]],
    n: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of several figures over the same redraws, each given as a function of how often every item was drawn,
    (n,) float64. The same draws as `bootstrap`, for figures that can sort or bin their items once for all redraws."""
    if n < 1:
        raise ValueError("nothing to score")
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) for _ in range(resamples))
    return _intervals(metrics, np.ones(n), drawn, level=level)


def bootstrap_contingency(
    metrics: Mapping[str, Callable[[Contingency], float]],
    table: Contingency,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of figures of a contingency table. Redraws cell counts from Multinomial(N, counts / N)."""
    rng = np.random.default_rng(seed)
    total = round(table.total)
    shares = table.counts / table.total
    drawn = (
        Contingency(table.rows, table.columns, rng.multinomial(total, shares).astype(np.float64), table.shape)
        for _ in range(resamples)
    )
    return _intervals(metrics, table, drawn, level=level)


def _intervals(
    metrics: Mapping[str, Callable[[T], float]], sample: T, redraws: Iterable[T], *, level: float
) -> dict[str, Interval]:
    draws = np.array([[metric(redraw) for metric in metrics.values()] for redraw in redraws], dtype=np.float64)
    columns = draws.reshape(-1, len(metrics)).T
    return {
        name: interval_of(metric(sample), column, level=level)
        for (name, metric), column in zip(metrics.items(), columns, strict=True)
    }


def _vector(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"need a non-empty vector of scores, not shape {values.shape}")
    return values
