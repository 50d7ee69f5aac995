"""Probabilities and an honest "unknown", learned from the support set alone.

CLIP's softmax at scale 100 is far too sure of itself. A temperature is fitted on *held-out* support predictions
(``select.cross_fit``) against the votes of each image's neighbourhood, since true labels are not known: a probability
of 0.8 means that the MLLM's names for such images would agree with the prediction about 80 % of the time. Where the
MLLM is systematically wrong, no calibration on its own names can show it.

An image is reported as unknown when its best name is less probable than for nearly all held-out support images, or when
it looks unlike the collection: best cosine to a name, or to the nearest support image, below what the support set
itself shows (nearest-neighbour out-of-distribution test, Sun et al. 2022).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fgvr.methods.near.candidates import nearest

UNKNOWN_SHARE = 0.05
"""Share of held-out support images that the probability threshold would call unknown."""
STRANGE_SHARE = 0.01
"""The same for each of the two cosine thresholds."""


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities, and when the answer is "unknown". The defaults change nothing."""

    temperature: float = 1.0
    """Logits (scale times cosine) are divided by it."""
    probability_floor: float = 0.0
    cosine_floor: float = -1.0
    """Of the best cosine to a name."""
    support_floor: float = -1.0
    """Of the cosine to the nearest support image."""
    source: str = "none"
    """``cross-fit``, ``support`` (no held-out predictions: optimistic) or ``none``."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


def calibrate(
    cosines: np.ndarray,
    targets: np.ndarray,
    support: np.ndarray,
    *,
    logit_scale: float,
    unknown_share: float = UNKNOWN_SHARE,
    strange_share: float = STRANGE_SHARE,
    source: str = "cross-fit",
) -> Calibration:
    """Fit temperature and thresholds.

    Args:
        cosines: (N, C) of held-out support images to the names.
        targets: (N, C) votes; rows sum to one, rows of zeros are ignored.
        support: (N, D) support features, unit norm.
        unknown_share, strange_share: quantiles in [0, 1); 0 switches a threshold off.
    """
    used = targets.sum(axis=1) > 0
    logits = logit_scale * cosines[used].astype(np.float64)
    temperature = fit_temperature(logits, targets[used])
    best = probabilities(logits, temperature).max(axis=1)
    to_support = nearest(support, k=2)[1][:, 1]
    return Calibration(
        temperature=temperature,
        probability_floor=_low(best, unknown_share, 0.0),
        cosine_floor=_low(cosines.max(axis=1), strange_share, -1.0),
        support_floor=_low(to_support[np.isfinite(to_support)], strange_share, -1.0),
        source=source,
    )


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature in [0.05, 50] of least cross-entropy: logits and targets (N, C), golden section on its log."""
    low, high = np.log(0.05), np.log(50.0)
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_likelihood(logits, targets, np.exp(left)) >= log_likelihood(logits, targets, np.exp(right)):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2.0))


def log_likelihood(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """Mean over images of ``sum_j t_ij log p_ij``, in nats."""
    return float((targets * _log_softmax(logits / temperature)).sum(axis=1).mean())


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of logits / temperature, (N, C)."""
    return np.asarray(np.exp(_log_softmax(np.asarray(logits, dtype=np.float64) / temperature)))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _low(values: np.ndarray, share: float, off: float) -> float:
    return float(np.quantile(values, share)) if share > 0 and len(values) else off
