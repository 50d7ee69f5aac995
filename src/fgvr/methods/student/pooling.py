"""A logarithmic pool of heads: temperatures and shares of largest likelihood. Letters: H heads, J images, C names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FAR = 60.0
"""Logits this many of their own spreads below the best are as good as minus infinity."""


def fitted_shares(stack: Sequence[np.ndarray], targets: csr_matrix, *, centre: np.ndarray, prior: float) -> np.ndarray:
    """Shares (H,) of largest mean log-likelihood plus ``prior / J * sum_h centre_h log share_h``.

    ``stack``: H arrays (J, C) at each head's own temperature; the common temperature is fitted along.
    """
    from scipy.optimize import minimize

    if len(stack) == 1:
        return np.ones(1)
    weight = prior / max(1.0, float(targets.sum()))
    at_target = np.stack([_at_targets(values, targets) for values in stack])  # (H, J)
    mass = np.asarray(targets.sum(axis=1)).ravel()

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """theta: H logits of the shares, then the log of the scale."""
        shares = np.exp(theta[:-1] - theta[:-1].max())
        shares /= shares.sum()
        scale = np.exp(theta[-1])
        normaliser, means = _moments(stack, shares * scale)
        value = (mass * normaliser - scale * shares @ at_target).sum() / mass.sum()
        slope = ((mass * means - at_target).sum(axis=1)) / mass.sum()  # by v = scale * share
        by_share = scale * shares * (slope - shares @ slope)
        log_shares = np.log(np.maximum(shares, 1e-300))
        value -= weight * centre @ log_shares
        by_share -= weight * (centre - shares * centre.sum())
        return float(value), np.append(by_share, scale * (shares @ slope))

    start = np.append(np.log(0.5 * centre + 0.5 / len(stack)), 0.0)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(-12.0, 6.0)] * len(start), options={"maxiter": 25}
    )
    shares = np.exp(found.x[:-1] - found.x[:-1].max())
    return np.asarray(shares / shares.sum())


def best_temperature(logits: np.ndarray, targets: csr_matrix) -> float:
    """The temperature of largest likelihood, at any scale of the logits.

    What ``fgvr.methods.near.calibrate.fit_temperature`` seeks, by a few Newton steps on the inverse temperature, in
    which the likelihood is concave, instead of eighty looks at all logits. Between a
    thousandth and a thousand times the logits' own spread.
    """
    spread = float(np.std(logits[logits > logits.max() - 1e4])) or 1.0
    at_target = _at_targets(logits, targets)
    mass = np.asarray(targets.sum(axis=1)).ravel()
    low, high = 1e-3 / spread, 1e3 / spread
    inverse = 1.0 / spread
    for _ in range(40):
        probability = _softmax(logits * np.float32(inverse))
        mean = np.einsum("ij,ij->i", probability, logits)
        variance = np.einsum("ij,ij,ij->i", probability, logits, logits) - mean**2
        slope, curve = (at_target - mass * mean).sum(), (mass * variance).sum()
        if slope > 0:
            low = inverse
        else:
            high = inverse
        step = inverse + slope / max(curve, 1e-12)
        new = step if low < step < high else np.sqrt(low * high)
        if abs(new - inverse) <= 1e-4 * inverse:
            return float(1.0 / new)
        inverse = new
    return float(1.0 / inverse)


def temperature_at(logits: np.ndarray, confidence: float) -> float:
    """Where the mean probability of the best name is ``confidence``; bisection on its log."""
    if not len(logits):
        return 1.0
    spread = float(logits.std()) or 1.0
    low, high = np.log(1e-4 * spread), np.log(1e4 * spread)
    for _ in range(50):
        middle = (low + high) / 2
        sure = float(_softmax(logits / np.float32(np.exp(middle))).max(axis=1).mean())
        low, high = (middle, high) if sure > confidence else (low, middle)
    return float(np.exp((low + high) / 2))


def likelihoods(logits: np.ndarray, targets: csr_matrix) -> np.ndarray:
    """(J,) ``sum_j t_ij log p_ij`` of the softmax of logits (J, C), nats."""
    top = logits.max(axis=1)
    normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    mass = np.asarray(targets.sum(axis=1)).ravel()
    return np.asarray(_at_targets(logits, targets) - mass * normaliser, dtype=np.float64)


def soft_targets(targets: np.ndarray | csr_matrix, shape: tuple[int, int]) -> csr_matrix:
    """Soft labels (M, C) of either kind."""
    from scipy.sparse import csr_matrix

    if isinstance(targets, np.ndarray) and targets.ndim == 1:
        named = np.flatnonzero(targets >= 0)
        ones = np.ones(len(named), dtype=np.float32)
        if targets.shape != shape[:1]:
            raise ValueError(f"targets do not fit logits: {targets.shape} and {shape}")
        return csr_matrix((ones, (named, targets[named])), shape=shape)
    soft = csr_matrix(targets)
    if soft.shape != shape:
        raise ValueError(f"targets do not fit logits: {soft.shape} and {shape}")
    return soft


def pooled_logits(stack: Sequence[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """(J, C): the sum of each head's logits times its share."""
    total = np.zeros_like(stack[0])
    for share, values in zip(shares, stack, strict=True):
        if share > 0:
            total += np.float32(share) * values
    return total


def _moments(stack: Sequence[np.ndarray], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-normaliser (J,) of the pool, and each head's mean logit (H, J) under it."""
    pooled = pooled_logits(stack, weights)
    top = pooled.max(axis=1, keepdims=True)
    pooled -= top
    np.exp(pooled, out=pooled)
    total = pooled.sum(axis=1)
    means = np.stack([np.einsum("ij,ij->i", pooled, values) / total for values in stack])
    return top[:, 0] + np.log(total), means


def finite(logits: np.ndarray) -> np.ndarray:
    """(J, C) float32, shifted to a best of 0; what is impossible, or nearly, lies ``FAR`` spreads below."""
    values = np.asarray(logits, dtype=np.float32) - logits.max(axis=1, keepdims=True).astype(np.float32)
    possible = values > -1e3  # heads shut names out by -1e4 or -inf
    spread = float(values[possible].std()) if possible.any() else 1.0
    return np.asarray(np.maximum(values, np.float32(-FAR * (spread or 1.0))))


def _at_targets(logits: np.ndarray, targets: csr_matrix) -> np.ndarray:
    """(J,) ``sum_j t_ij z_ij``."""
    owner = np.repeat(np.arange(targets.shape[0]), np.diff(targets.indptr))
    values = targets.data * logits[owner, targets.indices]
    return np.asarray(np.bincount(owner, weights=values, minlength=targets.shape[0]))


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
