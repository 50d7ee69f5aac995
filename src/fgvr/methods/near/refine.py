"""The NeaR-style stage: split clean from noisy by the loss, refine the targets, mix features, filter labels.

**A reconstruction.** NeaR (arXiv 2505.01064) is known to us from its abstract and first figure only: a Gaussian mixture
on the loss splits the data into clean and noisy, a refinement step updates the labels using the split, a combined loss
is minimised, labels are filtered. The rest is modelled on JoAPR (CVPR 2024), the nearest mechanism with readable code:

1. JoAPR's ``std`` holds variances that are squared again, its noise-rate formula assumes exactly classes x shots
   samples, and its threshold can be NaN. Here: posterior of the low-loss component, in float64, and a guard that
   declares everything clean when there are not two components to be told apart; the targets of that epoch are then
   PRODEN's weights (refining with posterior one would freeze them at the votes).
2. Refined targets of clean images stay inside the candidate set; noisy ones may also take the few labels the model
   finds most probable, which lets an image leave a wrong set.
3. JoAPR mixes images with Beta(0.001), practically no mixup; here cached features are mixed, at no encoder cost.
4. A uniform prior over all C labels is wrong when most are synonyms; the prior is the mean target.

Letters: N images, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_WEIGHT = 0.02


@dataclass(frozen=True)
class Split:
    """Which images look clean."""

    clean: np.ndarray
    """(N,) float64 in [0, 1]: posterior of the low-loss component."""
    degenerate: bool
    """True when no two components were found and all images were declared clean."""
    reason: str = ""
    means: tuple[float, float] = (float("nan"), float("nan"))
    weights: tuple[float, float] = (float("nan"), float("nan"))


def split_by_loss(
    losses: np.ndarray, *, min_separation: float = 2.0, iterations: int = 200, tolerance: float = 1e-6
) -> Split:
    """Two-component Gaussian mixture on the losses, (N,) finite, fitted by expectation maximisation in float64.

    Starts from the halves below and above the median; deterministic. Degenerate, and then all clean: fewer than 4
    images, (nearly) constant losses, a component lighter than ``MIN_WEIGHT``, or means closer than ``min_separation``
    pooled standard deviations. A loss below the low mean is never less clean than the low mean itself (two Gaussians of
    unequal width cross twice).
    """
    values = np.asarray(losses, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("losses must be finite")
    spread = float(values.std()) if len(values) else 0.0
    if len(values) < 4 or spread <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return _all_clean(len(values), "too few or constant losses")
    scaled = (values - values.mean()) / spread
    means, variances, weights = _fit(scaled, iterations, tolerance)
    low, high = (0, 1) if means[0] <= means[1] else (1, 0)
    found = tuple(float(means[i] * spread + values.mean()) for i in (low, high))
    shares = tuple(float(weights[i]) for i in (low, high))
    pooled = float(np.sqrt((weights * variances).sum()))
    if min(shares) < MIN_WEIGHT:
        return _all_clean(len(values), "a component is nearly empty")
    if means[high] - means[low] < min_separation * pooled:
        return _all_clean(len(values), "the components overlap")
    floored = np.maximum(scaled, means[low])
    posterior = np.exp(_log_posterior(floored, means, variances, weights))[low]
    return Split(posterior, False, "", (found[0], found[1]), (shares[0], shares[1]))


def _fit(values: np.ndarray, iterations: int, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """EM on standardised values: means, variances, weights, each (2,)."""
    upper = values > np.median(values)
    if not upper.any():
        upper = values == values.max()
    responsibility = np.stack([~upper, upper]).astype(np.float64)
    before = -np.inf
    for _ in range(iterations):
        mass = responsibility.sum(axis=1) + 1e-12
        means = responsibility @ values / mass
        variances = (responsibility * (values - means[:, None]) ** 2).sum(axis=1) / mass + 1e-6
        weights = mass / mass.sum()
        joint = _log_joint(values, means, variances, weights)
        total = np.logaddexp(joint[0], joint[1])
        responsibility = np.exp(joint - total)
        if abs(total.mean() - before) < tolerance:
            break
        before = float(total.mean())
    return means, variances, weights


def _log_joint(values: np.ndarray, means: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    squares = (values - means[:, None]) ** 2 / variances[:, None]
    return np.asarray(np.log(weights)[:, None] - 0.5 * (squares + np.log(2 * np.pi * variances)[:, None]))


def _log_posterior(values: np.ndarray, means: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    joint = _log_joint(values, means, variances, weights)
    return np.asarray(joint - np.logaddexp(joint[0], joint[1]))


def _all_clean(count: int, reason: str) -> Split:
    return Split(np.ones(count), True, reason)


def refined_targets(
    probabilities: np.ndarray, initial: np.ndarray, clean: np.ndarray, *, sharpen: float = 2.0, escape: int = 3
) -> np.ndarray:
    """New targets q, (N, C): rows sum to one.

    Clean images (posterior g > 0.5): ``sharpen(g w + (1 - g) p)`` inside the candidate set. Noisy ones: ``sharpen(p)``
    over the set and the ``escape`` most probable labels.

    Args:
        probabilities: (N, C), the model's.
        initial: (N, C) initial candidate weights w; positive exactly on the candidate set. A row of zeros (an unnamed
            image without neighbours) counts as noisy.
        clean: (N,) posterior of being clean.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    w: np.ndarray = np.asarray(initial, dtype=np.float64)
    inside = w > 0
    some = w.sum(axis=1) > 0
    is_clean = (clean > 0.5) & some
    within = _normalised(np.where(inside, p, 0.0), otherwise=w)
    g = np.clip(clean, 0.0, 1.0)[:, None]
    reach = inside.copy()
    if escape:
        most = np.argsort(-p, axis=1, kind="stable")[:, :escape]
        np.put_along_axis(reach, most, True, axis=1)
    wide = _normalised(np.where(reach, p, 0.0), otherwise=np.where(some[:, None], w, p))
    return _sharpened(np.where(is_clean[:, None], g * w + (1 - g) * within, wide), sharpen)


def _normalised(values: np.ndarray, *, otherwise: np.ndarray) -> np.ndarray:
    """Rows to sum one; ``otherwise`` where a row has no mass (probabilities underflow at logit scale 100)."""
    totals = values.sum(axis=1, keepdims=True)
    return np.where(totals > 0, values / np.where(totals > 0, totals, 1.0), otherwise)


def _sharpened(values: np.ndarray, exponent: float) -> np.ndarray:
    """``p^T / sum p^T``, relative to the row's largest so that nothing underflows."""
    top = values.max(axis=1, keepdims=True)
    powered = np.where(top > 0, values / np.where(top > 0, top, 1.0), 0.0) ** exponent
    return _normalised(powered, otherwise=values)


def mixing_plan(count: int, *, beta: float, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Mixup's share (>= 0.5: the first image dominates) and each image's partner, (count,)."""
    share = float(rng.beta(beta, beta))
    return max(share, 1.0 - share), rng.permutation(count)


def supported_labels(targets: np.ndarray, *, clean: np.ndarray | None = None, min_mass: float = 0.0) -> np.ndarray:
    """Label filtering: indices of ``{argmax_j q_ij}`` over the support, ascending.

    ``clean`` (N,) bool restricts it to those images; ``min_mass`` asks that much total target mass of a label.
    Empty rows are ignored. Falls back on all images when nothing would be left.
    """
    used = targets.sum(axis=1) > 0
    chosen = used if clean is None or not (used & clean).any() else used & clean
    best = np.unique(targets[chosen].argmax(axis=1))
    heavy = best[targets.sum(axis=0)[best] >= min_mass]
    return heavy if len(heavy) else best
