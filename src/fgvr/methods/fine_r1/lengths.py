"""Length of the chain of thought against accuracy.

The paper shows no such curve; others report that longer reasoning lowers fine-grained accuracy (ReFine-RFT, 2026), so
it is measured: replies in bins of equal size by length, the accuracy of each, and the correlation.

Length is counted in the model's own tokens, of the whole reply, and in words of the thinking alone. A correlation over
one model's replies is no effect of length: hard pictures make for long replies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fgvr.metrics.bootstrap import Interval, bootstrap_mean

BINS = 4

_MARK = re.compile(r"</?\w+>")


@dataclass(frozen=True)
class Bin:
    """Replies of like length."""

    low: int
    """Shortest and longest reply in it."""
    high: int
    mean: float
    n: int
    accuracy: Interval


@dataclass(frozen=True)
class Lengths:
    """Accuracy by length of one model's replies."""

    unit: str
    """``tokens`` or ``words``."""
    n: int
    mean: float
    median: float
    bins: tuple[Bin, ...]
    """Shortest replies first; at most as many as were asked for, fewer where lengths repeat."""
    pearson: float | None
    """Correlation of length and rightness (point-biserial), in [-1, 1]; ``None`` where one of them never varies."""
    spearman: float | None
    """The same of ranks."""

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types: the data of the chart."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """(lengths, replies and accuracy) pairs for a table."""
        bins = [(f"{one.low} to {one.high}", f"{one.accuracy.percent()} ({one.n})") for one in self.bins]
        bins = [(f"right at {lengths} {self.unit}", text) for lengths, text in bins]
        label = f"right against {self.unit}"
        if self.pearson is None or self.spearman is None:
            return [*bins, (label, "no correlation: one of the two never varies")]
        return [*bins, (label, f"Pearson {self.pearson:+.2f}, Spearman {self.spearman:+.2f}")]


def thought_words(reply: str) -> int:
    """Words before the answer's tag, marks left out; of the whole reply where there is no such tag."""
    return len(_MARK.sub(" ", reply.partition("<answer>")[0]).split())


def by_length(
    lengths: Sequence[int],
    right: Sequence[float],
    *,
    unit: str = "tokens",
    bins: int = BINS,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Lengths | None:
    """Accuracy in up to ``bins`` bins between the quantiles of ``lengths``; ``None`` where there are no replies.

    ``right``: in [0, 1], one a reply. Equal lengths share a bin. Raises ``ValueError`` unless both are equally many.
    """
    if len(lengths) != len(right):
        raise ValueError(f"{len(lengths)} lengths for {len(right)} replies")
    if not lengths:
        return None
    size, score = np.asarray(lengths, dtype=np.float64), np.asarray(right, dtype=np.float64)
    inner = np.unique(np.quantile(size, np.arange(1, bins) / bins))
    place = np.searchsorted(inner, size, side="left")
    return Lengths(
        unit=unit,
        n=len(size),
        mean=float(size.mean()),
        median=float(np.median(size)),
        bins=tuple(
            Bin(
                low=int(size[here].min()),
                high=int(size[here].max()),
                mean=float(size[here].mean()),
                n=int(here.sum()),
                accuracy=bootstrap_mean(score[here], resamples=resamples, level=level, seed=seed),
            )
            for here in (place == number for number in np.unique(place))
        ),
        pearson=_correlation(size, score),
        spearman=_correlation(_ranks(size), _ranks(score)),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, equal values sharing the mean of theirs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[codes], dtype=np.float64)


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    first, second = one - one.mean(), other - other.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale > 0 else None
