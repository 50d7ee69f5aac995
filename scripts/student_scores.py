"""Scores of the student's study: per-image scores of every cell, means over draws, and intervals that respect the draw.

Drawn species: the 95 % t interval over draws (other pool pictures each time, the same test pictures). Photographs: paired
bootstrap over test images, scores averaged over seeds. Recordings: the three thirds are one set of predictions, and the
bootstrap redraws classes. cACC's intervals hold the matching of names to classes fixed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from scipy import stats
from student_study import PHOTOS, Cell, draws_of, load

from fgvr.encoders.sentence import load_sentence_encoder
from fgvr.metrics import bootstrap
from fgvr.metrics.accuracy import hits
from fgvr.metrics.clustering import matched_hits
from fgvr.metrics.semantic import semantic_scores

FIGURES = ("cacc", "sacc", "exact")
TITLES = {"cacc": "cACC", "sacc": "sACC", "exact": "accuracy"}
RESAMPLES = 1000


@dataclass(frozen=True)
class Sample:
    """Per-image scores (R, T) of one method at one share: R draws of T test images."""

    values: dict[str, np.ndarray]
    groups: np.ndarray
    """(T,) what is redrawn together."""
    over_draws: bool


class Scorer:
    """Reads and scores cells; every list of names is scored once."""

    def __init__(self, shared: Path, work: Path) -> None:
        self.shared, self.work = shared, work
        self.sentence = load_sentence_encoder("minilm")

    def truth(self, name: str, draw: int) -> tuple[tuple[str, ...], ...]:
        """Accepted names of the test images."""
        kept = self.work / "truth" / f"{name}.{draw}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(load(name, draw, self.shared, self.work).test.truth), encoding="utf-8")
        return tuple(tuple(names) for names in json.loads(kept.read_text(encoding="utf-8")))

    @cache  # noqa: B019
    def sample(self, world: str, method: str, share: float) -> Sample | None:
        """All draws of a method at a share; ``None`` unless all are there."""
        found, truths = [], []
        if not draws_of(world, method):
            return None
        for draw in range(draws_of(world, method)):
            file = Cell(world, draw, method, share).file(self.work)
            if not file.exists():
                return None
            found.append(json.loads(file.read_text(encoding="utf-8"))["names"])
            truths.append(self.truth(world, draw))
        recorded = not (world.startswith("drawn") or world in PHOTOS)
        if recorded:  # thirds: one set of predictions
            found, truths = [list(chain.from_iterable(found))], [tuple(chain.from_iterable(truths))]
        scored = [self.scores(tuple(names), truth) for names, truth in zip(found, truths)]
        classes = [names[0] for names in truths[0]]
        groups = np.unique(classes, return_inverse=True)[1] if recorded else np.arange(len(classes))
        values = {figure: np.stack([one[figure] for one in scored]) for figure in FIGURES}
        return Sample(values, groups, world.startswith("drawn"))

    @cache  # noqa: B019
    def scores(self, names: tuple[str, ...], truth: tuple[tuple[str, ...], ...]) -> dict[str, np.ndarray]:
        """cacc, sacc and exact of each image; 0 where there is no answer."""
        answered = np.array([name != "" for name in names])
        return {
            "cacc": answered * matched_hits(names, truth),
            "sacc": answered * semantic_scores([name or "none" for name in names], truth, self.sentence),
            "exact": answered * hits(names, truth),
        }


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, in per cent or points."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"

    @property
    def signed(self) -> str:
        """As a difference."""
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def estimate(sample: Sample, figure: str, other: Sample | None = None) -> Estimate:
    """The mean of a figure, or the mean paired difference from ``other``."""
    values = sample.values[figure]
    if other is not None:  # on the draws that both were run on
        both = min(len(values), len(other.values[figure]))
        values = values[:both] - other.values[figure][:both]
    if sample.over_draws and len(values) > 1:
        means = 100 * values.mean(axis=1)
        half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
        return Estimate(float(means.mean()), float(means.mean()) - half, float(means.mean()) + half)
    each = values.mean(axis=0)
    sums, counts = np.bincount(sample.groups, weights=each), np.bincount(sample.groups)
    found = bootstrap(lambda i: float(sums[i].sum() / counts[i].sum()), len(sums), resamples=RESAMPLES, seed=0)
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high)
