"""Names as the metrics take them: a true label is one name, or a tuple of accepted names led by the class's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fgvr.labels.normalise import normalise

Truth = str | tuple[str, ...]


def accepted_names(true: Truth) -> tuple[str, ...]:
    """All names that count as right; raises ``ValueError`` where there is none."""
    names = (true,) if isinstance(true, str) else tuple(true)
    if not names:
        raise ValueError("a true label needs at least one name")
    return names


def first_names(true: Iterable[Truth]) -> list[str]:
    """The class's own name of every item."""
    return [accepted_names(names)[0] for names in true]


def codes(names: Sequence[str], *, normalised: bool = True) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N,) integer code of each name, and the distinct (normalised) names in order of first sight."""
    keys: dict[str, str] = {}
    index: dict[str, int] = {}
    out = np.empty(len(names), dtype=np.int64)
    for i, name in enumerate(names):
        key = keys.get(name)
        if key is None:
            key = keys[name] = normalise(name) if normalised else name
        out[i] = index.setdefault(key, len(index))
    return out, tuple(index)


def check_lengths(predicted: Sequence[object], true: Sequence[object]) -> None:
    """Raise ``ValueError`` unless both have the same, positive number of items."""
    if len(predicted) != len(true):
        raise ValueError(f"{len(predicted)} predictions for {len(true)} true names")
    if not predicted:
        raise ValueError("nothing to score")
