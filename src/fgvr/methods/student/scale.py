"""The scale at which a head's logits are probabilities: heads have logits of any size (cosines, distances, votes)."""

from __future__ import annotations

import numpy as np

from fgvr.methods.near.calibrate import log_likelihood

SCALES = (1e-2, 1e3)
"""Sought between these: cosines want something like 50, calibrated logits 1."""

LEAST = -1e4
"""Logits below count as this: a name that is never predicted may have minus infinity."""


def likeliest_scale(logits: np.ndarray, targets: np.ndarray) -> float:
    """What logits (n, C) are multiplied by so that their softmax is likest ``targets`` (n, C), rows summing to one at
    most; 1 without rows. Bounded search on the logarithm of the scale, to 2 %."""
    from scipy.optimize import minimize_scalar

    if not len(logits):
        return 1.0
    logits = np.maximum(logits.astype(np.float64), LEAST)
    found = minimize_scalar(
        lambda log_scale: -log_likelihood(logits, targets, float(np.exp(-log_scale))),
        bounds=(np.log(SCALES[0]), np.log(SCALES[1])),
        method="bounded",
        options={"xatol": 0.02},
    )
    return float(np.exp(found.x))
