"""Accuracy by name: exact, synonym-aware, top-k; and coverage. Names are compared after ``labels.normalise``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fgvr.labels.normalise import normalise
from fgvr.metrics.names import Truth, accepted_names, check_lengths


def exact_accuracy(predicted: Sequence[str], true: Sequence[Truth]) -> float:
    """Share of items whose name is the class's own (first) name."""
    return float(hits(predicted, true, accepted=False).mean())


def synonym_accuracy(predicted: Sequence[str], true: Sequence[Truth]) -> float:
    """Share of items whose name is any accepted name of their class."""
    return float(hits(predicted, true, accepted=True).mean())


def top_k_accuracy(top: Sequence[Sequence[str]], true: Sequence[Truth], *, k: int = 5) -> float:
    """Share of items with an accepted name among the first ``k`` of ``top`` (best first)."""
    return float(top_k_hits(top, true, k=k).mean())


def coverage(predicted: Sequence[str | None]) -> float:
    """Share of items that were answered at all (not ``None``)."""
    if not predicted:
        raise ValueError("nothing to score")
    return sum(name is not None for name in predicted) / len(predicted)


def hits(predicted: Sequence[str], true: Sequence[Truth], *, accepted: bool = True) -> NDArray[np.float64]:
    """(N,) 1.0 where the name is right, else 0.0. A name with nothing left after normalising is never right."""
    return top_k_hits([(name,) for name in predicted], true, k=1, accepted=accepted)


def top_k_hits(
    top: Sequence[Sequence[str]], true: Sequence[Truth], *, k: int = 5, accepted: bool = True
) -> NDArray[np.float64]:
    """(N,) 1.0 where one of the first ``k`` names is right."""
    check_lengths(top, true)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    form = cache(normalise)
    out = np.zeros(len(top))
    right = cache(lambda allowed: frozenset(map(form, allowed)) - {""})
    for i, (names, truth) in enumerate(zip(top, true)):
        allowed = right(accepted_names(truth) if accepted else accepted_names(truth)[:1])
        out[i] = any(form(name) in allowed for name in names[:k])
    return out
