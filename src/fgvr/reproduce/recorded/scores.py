"""Per-image scores with intervals that respect the draw: three images of one class are not three independent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.metrics import Interval, bootstrap
from fgvr.metrics.accuracy import hits
from fgvr.metrics.clustering import contingency_of, match
from fgvr.metrics.names import codes
from fgvr.metrics.semantic import TextEncoder, semantic_scores
from fgvr.metrics.siou import iou_scores
from fgvr.reproduce.recorded.material import Recording


def class_interval(scores: np.ndarray, classes: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean of ``scores`` (N,) with a 95 % percentile interval from redrawing whole classes (N,) with replacement."""
    _, number = np.unique(classes, return_inverse=True)
    sums, counts = np.bincount(number, weights=scores), np.bincount(number)
    return bootstrap(lambda i: float(sums[i].sum() / counts[i].sum()), len(sums), resamples=resamples, seed=seed)


def matched(names: Sequence[str], true: Sequence[str]) -> np.ndarray:
    """(N,) 1.0 where the name's cluster is matched to the image's class, so that the mean is cACC.

    Intervals over these hold the matching fixed. Refitting it on every resample, with three images a class, lifts the
    interval far above the value (duplicated images make classes purer).
    """
    table = contingency_of(names, true)
    partner = dict(zip(*(side.tolist() for side in match(table))))
    rows, columns = codes(names)[0], codes(true)[0]
    return np.array([partner.get(row) == column for row, column in zip(rows.tolist(), columns.tolist())], dtype=float)


@dataclass(frozen=True)
class Scores:
    """Per-image scores of N names; all (N,) float64."""

    exact: np.ndarray
    """Against the listed name."""
    corrected: np.ndarray
    """Against the name without typing errors."""
    accepted: np.ndarray
    """Against all names that count as right."""
    sacc: np.ndarray
    """Cosine to the listed name."""
    sacc_accepted: np.ndarray
    """Cosine to the best accepted name."""
    siou_cased: np.ndarray
    siou_split: np.ndarray
    cacc: np.ndarray
    """Matched or not, see `matched`."""


def score(names: Sequence[str], recording: Recording, encoder: TextEncoder, *, at: np.ndarray | None = None) -> Scores:
    """Score ``names`` of the images ``at`` (all by default)."""
    at = np.arange(len(recording.images)) if at is None else at
    listed, corrected = ([values[i] for i in at] for values in (recording.listed, recording.corrected))
    accepted = [recording.accepted[i] for i in at]
    return Scores(
        hits(names, listed),
        hits(names, corrected),
        hits(names, accepted),
        semantic_scores(names, listed, encoder),
        semantic_scores(names, accepted, encoder),
        iou_scores(names, listed, "cased"),
        iou_scores(names, listed, "split"),
        matched(names, listed),
    )
