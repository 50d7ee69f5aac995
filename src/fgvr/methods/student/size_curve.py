"""How many names so many labelled images bring: rarefaction, and an estimate of the names still unseen.

The expected number of distinct names among m of the M labelled images, drawn without replacement, is exact
(Hurlbert 1971): ``sum_j 1 - C(M - n_j, m) / C(M, m)`` for names given to n_j images. Chao's estimate of the names
unseen, in its bias-corrected form (Chao 2005), is ``f1 (f1 - 1) / (2 (f2 + 1))``, f1 and f2 the names given once and
twice; the coverage, ``1 - f1 / M`` (Good 1953), is the share of further images whose name has been seen. A teacher who
makes mistakes gives names once that are no classes, so that both speak of its *names*; the curves after merging and
dropping come nearer to the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

POINTS = 20


@dataclass(frozen=True)
class Stage:
    """One curve, from one way to label the same images."""

    stage: str
    names: int
    """Distinct names seen."""
    images: int
    """Images with a name."""
    points: tuple[tuple[int, float], ...]
    """(labelled images, expected distinct names), ascending."""
    unseen: float
    """Chao's estimate of the names not seen yet."""
    coverage: float
    """Share of further images whose name has been seen, in [0, 1]."""


@dataclass(frozen=True)
class SizeCurve:
    """The curves of all stages."""

    stages: tuple[Stage, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


def size_curve(stages: Mapping[str, np.ndarray], *, points: int = POINTS) -> SizeCurve:
    """The curve of each stage's labels (int64, -1 for none, which do not count), at about ``points`` sizes."""
    return SizeCurve(tuple(_stage(stage, labels, points) for stage, labels in stages.items()))


def _stage(stage: str, labels: np.ndarray, points: int) -> Stage:
    counts = np.bincount(labels[labels >= 0])
    counts = counts[counts > 0]
    total = int(counts.sum())
    sizes = np.unique(np.round(np.geomspace(1, total, points)).astype(np.int64)) if total else np.empty(0, np.int64)
    curve = tuple((int(size), expected_names(counts, int(size))) for size in sizes)
    return Stage(stage, len(counts), total, curve, unseen_names(counts), coverage(counts))


def expected_names(counts: np.ndarray, size: int) -> float:
    """Distinct names to expect among ``size`` of the labelled images; ``counts`` (C,) are the images of each name.

    Raises ``ValueError`` where there are fewer images than ``size``.
    """
    total = int(counts.sum())
    if not 0 <= size <= total:
        raise ValueError(f"{size} of {total} images cannot be drawn")
    # log C(total - n, size) - log C(total, size), as a sum over the n images that must be missed
    missed = np.zeros(len(counts))
    possible = total - counts >= size
    for at in np.flatnonzero(possible):
        taken = np.arange(int(counts[at]))
        missed[at] = np.exp(np.log1p(-size / (total - taken)).sum()) if size < total else float(counts[at] == 0)
    return float((1.0 - missed).sum())


def unseen_names(counts: np.ndarray) -> float:
    """Chao's bias-corrected estimate of the names that no image has been given yet, at least 0."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once * (once - 1) / (2 * (twice + 1))


def coverage(counts: np.ndarray) -> float:
    """Good's estimate of the share of further images whose name has been seen; 0 where nothing was labelled."""
    total = int(counts.sum())
    return 1.0 - int((counts == 1).sum()) / total if total else 0.0
