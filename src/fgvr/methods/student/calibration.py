"""Probabilities of the mixture and when it says "unknown", from predictions for images whose replies it has not seen.

The record is ``fgvr.methods.near.calibrate.Calibration``, so that NeaR's and the student's classifiers read the same.

1. *Temperature.* It is in the mixture's weights already (``mixing``): a probability of 0.8 means that the teacher would
   agree four times in five, with an image whose name is in the label space.
2. *Probability floor*, from the held-out images. They are not drawn like new images. Cluster medoids lie farther from
   each other than a new image lies from them, so that the floor is low and fewer new images than asked for are called
   unknown; of random images only those whose name has a second image can be held out, so that the floor is high.
3. *Support floor*, from the pool's images that were not asked about: these are what new images are like, however the
   others were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fgvr.memory.exact import nearest_others
from fgvr.methods.near.calibrate import STRANGE_SHARE, UNKNOWN_SHARE, Calibration, probabilities
from fgvr.methods.student.mixing import LEAST

FEW = 100
"""Images below which a quantile of one in a hundred is not taken."""


def mixture_logits(logits: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """(M, C) float32 of the weighed heads, as ``heads.Mixture`` makes them; NaN where a head's are."""
    return np.asarray(sum(np.float32(weight) * logits[name] for name, weight in weights.items()), dtype=np.float32)


def calibrate(
    logits: np.ndarray,
    judged: np.ndarray,
    features: np.ndarray,
    rows: np.ndarray,
    *,
    unknown_share: float = UNKNOWN_SHARE,
    strange_share: float = STRANGE_SHARE,
    least: int = LEAST,
) -> Calibration:
    """Floors of the mixture; its temperature is in its weights already, so that the one recorded is 1.

    Args:
        logits: (M, C) of the mixture, held out (``mixture_logits``).
        judged: (M,) bool.
        features: (N, D) of the pool, unit norm.
        rows: (M,) asked images.
        unknown_share: share of the judged images that the probability floor would call unknown; 0 switches it off.
        strange_share: share of the pool's other images that the floor of the cosine to the nearest asked image would.

    With fewer than ``least`` judged images there is no probability floor.
    """
    used = np.flatnonzero(judged)
    floor = 0.0
    if len(used) >= least and unknown_share > 0:
        floor = float(np.quantile(probabilities(logits[used], 1.0).max(axis=1), unknown_share))
    return Calibration(
        probability_floor=floor,
        support_floor=support_floor(features, rows, strange_share),
        source="cross-fit" if len(used) >= least else "none",
    )


def support_floor(features: np.ndarray, rows: np.ndarray, share: float) -> float:
    """The ``share`` quantile of the cosine to the nearest asked image ``rows`` (M,), over the pool's other images.

    Where all were asked, or only few were not, over every image's nearest other. -1 (off) for a share of 0 or without
    an asked image.
    """
    asked = np.zeros(len(features), dtype=bool)
    asked[rows] = True
    if share <= 0 or not asked.any():
        return -1.0
    nearest = nearest_others(np.asarray(features, dtype=np.float32), k=1, allowed=asked)[1][:, 0]
    others = ~asked if (~asked).sum() >= FEW else np.ones(len(features), dtype=bool)
    known = nearest[others & np.isfinite(nearest)]
    return float(np.quantile(known, share)) if len(known) else -1.0
