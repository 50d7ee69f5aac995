"""Bootstrap of a mean over groups that are redrawn each on its own, by items or by classes.

``unit="items"`` is `bootstrap_mean`. With classes as the unit whole classes are drawn with replacement (the cluster
bootstrap; Field and Welsh 2007): pictures of one class are right and wrong together, so intervals over items are too
narrow where the question is how a method does on *other* classes. The mean of several strata weighs them equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgvr.metrics.bootstrap import Interval, interval_of

Unit = Literal["items", "classes"]

_CHUNK = 4_000_000
"""Drawn counts held at a time."""


def bootstrap_strata(
    strata: Sequence[ArrayLike],
    *,
    classes: Sequence[Sequence[str]] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the unweighted mean of the strata's means.

    ``strata``: per-item scores of each, (N_s,) and none empty. ``classes``: the class of each item of each stratum;
    then classes are drawn in place of items. Raises ``ValueError`` for an empty stratum and for lengths that differ.
    """
    if not strata:
        raise ValueError("nothing to score")
    rng = np.random.default_rng(seed)
    means: list[float] = []
    draws = np.zeros(resamples)
    for number, scores in enumerate(strata):
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"need a non-empty vector of scores, not shape {values.shape}")
        sums, counts = _pieces(values, None if classes is None else classes[number])
        means.append(float(values.mean()))
        draws += _redrawn(sums, counts, rng, resamples, by_class=classes is not None)
    return interval_of(float(np.mean(means)), draws / len(means), level=level)


def _pieces(
    values: NDArray[np.float64], classes: Sequence[str] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is drawn: sum of scores and number of items of each class; without classes each distinct score and how often
    it occurs."""
    if classes is None:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts.astype(np.float64)
    if len(classes) != len(values):
        raise ValueError(f"{len(classes)} classes for {len(values)} scores")
    number = {name: place for place, name in enumerate(dict.fromkeys(classes))}
    codes = np.array([number[name] for name in classes])
    sums: NDArray[np.float64] = np.bincount(codes, weights=values).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def _redrawn(
    sums: NDArray[np.float64],
    counts: NDArray[np.float64],
    rng: np.random.Generator,
    resamples: int,
    *,
    by_class: bool,
) -> NDArray[np.float64]:
    """(R,) means of the redraws."""
    size = len(counts)
    items = round(counts.sum())
    out = np.empty(resamples)
    step = max(1, _CHUNK // size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        if by_class:
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=rows)
            out[start : start + rows] = (drawn @ sums) / (drawn @ counts)
        else:
            drawn = rng.multinomial(items, counts / items, size=rows)
            out[start : start + rows] = drawn @ sums / items
    return out
