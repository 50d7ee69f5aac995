"""The cascade: the MLLM is asked only where the retriever hesitates.

The paper asks about every image. Where the retriever's best class is far ahead of its second the MLLM seldom changes
the answer, so the *margin* ``p1 - p2`` decides: below a threshold the image is asked about. The threshold is chosen on
calibration images whose answer is known both ways (the retriever's, and both fused), never on the images it serves.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgvr.methods.rar.fuse import SIGNIFICANCE
from fgvr.metrics.calibration import risk_coverage

TOLERANCE = 0.005
"""Share of images that may be lost against asking always."""
_POINTS = 101


@dataclass(frozen=True)
class Point:
    """One setting of the cascade on the calibration images."""

    threshold: float
    """Asked are the images whose margin is below it; 0 asks none."""
    calls: float
    """Share of images asked about."""
    accuracy: float
    """Share named rightly: the fused answer where asked, the retriever's elsewhere."""


def margins(log_probs: ArrayLike) -> NDArray[np.float64]:
    """(Q,) ``p1 - p2`` in [0, 1] of the two largest of each row; 1 where there are fewer than two candidates.

    ``log_probs``: (Q, k) natural logs, -inf for no candidate, in any order.
    """
    chances = np.exp(np.asarray(log_probs, dtype=np.float64))
    if chances.ndim != 2:
        raise ValueError(f"log_probs must be (Q, k), not {chances.shape}")
    if chances.shape[1] < 2:
        return np.ones(len(chances))
    best = -np.partition(-chances, 1, axis=1)[:, :2]
    return np.where((chances > 0).sum(axis=1) < 2, 1.0, np.clip(best[:, 0] - best[:, 1], 0.0, 1.0))


def points(margin: ArrayLike, retrieval_correct: ArrayLike, fused_correct: ArrayLike) -> tuple[Point, ...]:
    """Every setting that differs, from asking none to asking all. Images of equal margin are asked together.

    Args:
        margin: (N,) from `margins`.
        retrieval_correct, fused_correct: (N,) bool, whether each answer is right.
    """
    value, alone, fused = _checked(margin, retrieval_correct, fused_correct)
    order = np.argsort(value, kind="stable")
    value, gained = value[order], np.cumsum((fused - alone)[order])
    last = np.flatnonzero(np.append(np.diff(value) > 0, True))
    # Halfway to the next margin, so that the rule means the same for margins that are not exactly these.
    ahead = np.append(value[1:], np.inf)[last]
    middle = np.maximum((value[last] + ahead) / 2, np.nextafter(value[last], 2.0))  # half of the tiniest number is 0
    thresholds = np.where(np.isfinite(ahead), middle, np.nextafter(1.0, 2.0))
    base, count = float(alone.sum()), len(value)
    asked = [
        Point(float(threshold), (int(at) + 1) / count, (base + float(gained[at])) / count)
        for threshold, at in zip(thresholds, last, strict=True)
    ]
    return (Point(0.0, 0.0, base / count), *asked)


def choose_threshold(
    margin: ArrayLike,
    retrieval_correct: ArrayLike,
    fused_correct: ArrayLike,
    *,
    tolerance: float = TOLERANCE,
    z: float = SIGNIFICANCE,
) -> Point:
    """The fewest calls that lose at most ``tolerance`` against asking about every image, beyond doubt.

    The loss is that of the images not asked about; it must be below the tolerance by ``z`` of its standard errors.
    With the mere estimate (z = 0) the luckiest of many thresholds is taken: new images lose more than the tolerance.
    """
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must lie in [0, 1], not {tolerance}")
    settings = points(margin, retrieval_correct, fused_correct)
    value, alone, fused = _checked(margin, retrieval_correct, fused_correct)
    count = len(value)
    for point in settings:
        lost = np.where(value < point.threshold, 0.0, fused - alone)
        error = float(lost.std(ddof=1)) / np.sqrt(count) if count > 1 else 0.0
        if float(lost.mean()) + z * error <= tolerance + 1e-12:
            return point
    return settings[-1]


def threshold_for_share(margin: ArrayLike, share: float) -> float:
    """The largest threshold that asks about at most ``share`` (in [0, 1]) of images with these margins."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], not {share}")
    nobody = np.zeros(np.asarray(margin).shape)
    return max(point.threshold for point in points(margin, nobody, nobody) if point.calls <= share + 1e-12)


def curve(
    margin: ArrayLike, retrieval_correct: ArrayLike, fused_correct: ArrayLike, *, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Accuracy by share of calls, JSON-like: at most 101 points, the chosen one, both ends, and risk and coverage.

    ``risk_coverage``: of the retriever alone, answering only above each margin (what is left to it by the cascade).
    """
    settings = points(margin, retrieval_correct, fused_correct)
    shown = sorted({round(index) for index in np.linspace(0, len(settings) - 1, min(_POINTS, len(settings)))})
    value, alone, _ = _checked(margin, retrieval_correct, fused_correct)
    left = risk_coverage(value, alone)
    kept = sorted({round(index) for index in np.linspace(0, len(left.risk) - 1, min(_POINTS, len(left.risk)))})
    return {
        "images": len(value),
        "never": settings[0].accuracy,
        "always": settings[-1].accuracy,
        "tolerance": tolerance,
        "chosen": asdict(choose_threshold(margin, retrieval_correct, fused_correct, tolerance=tolerance)),
        "points": [asdict(settings[index]) for index in shown],
        "risk_coverage": {
            "coverage": [float(left.coverage[index]) for index in kept],
            "risk": [float(left.risk[index]) for index in kept],
            "margin": [float(left.threshold[index]) for index in kept],
            "aurc": left.aurc,
        },
    }


def _checked(
    margin: ArrayLike, retrieval_correct: ArrayLike, fused_correct: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    value, alone, fused = (np.asarray(each, dtype=np.float64) for each in (margin, retrieval_correct, fused_correct))
    if value.ndim != 1 or not value.shape == alone.shape == fused.shape or len(value) == 0:
        raise ValueError(f"need three vectors of one length: {value.shape}, {alone.shape}, {fused.shape}")
    if not np.all((value >= 0) & (value <= 1)):
        raise ValueError("margins must lie in [0, 1]")
    return value, alone, fused
