"""Linear discriminant from soft labels: one Gaussian a name, one covariance for all of them.

Wang et al. 2024, "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation" (GDA). By Bayes' rule the
classifier is linear: ``w_c = P mu_c`` and ``b_c = log pi_c - mu_c' P mu_c / 2``, with P the inverse covariance.

1. *Soft labels.* Means and the within-class covariance are weighted by them; the paper has few-shot labels.
2. *Shrinkage.* The covariance is ``(1 - s) S + s tr(S) / D I``. The paper's empirical Bayes ridge,
   ``P = D ((n - 1) S + tr(S) I)^-1``, is ``s = D / (n - 1 + D)`` up to a factor of P. It trusts the covariance of many
   images fully; soft labels are partly wrong, so ``shrinkage=None`` takes it only where it is above 0.4.
3. *Text.* The paper adds zero-shot logits; that is left to the mixture of heads. Here the text of a name can be a
   prior mean worth ``text_share`` images, moved and scaled from where texts lie to where the means of images lie.
4. *Centre.* The logits of the overall mean are subtracted, which changes no probability and keeps numbers small.
5. *Priors* are uniform, as in the paper.
6. *Scale.* Dimensions of one image are far from independent Gaussians: probabilities at scale 1 are much too sure
   (best temperatures of 13 to above 50 on development worlds), so logits are a tenth of that; the order stays.

Letters: N images, D dimensions, C names, n images by weight. All in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.prototypes import BLOCK, check, class_masses, class_sums, shut_out

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEAST_SHRINKAGE = 0.4
"""Between 0.2 and 0.7 it matters little on development worlds of drawn species; below, wrong labels begin to tell."""
LEAST_VARIANCE = 1e-8
"""Total variance at or below which images tell nothing of the covariance (one image a name): it is then round."""


def gaussian_head(
    features: np.ndarray,
    soft: csr_matrix,
    *,
    text: np.ndarray | None = None,
    text_share: float = 0.0,
    shrinkage: float | None = None,
    scale: float = 0.1,
) -> LinearHead:
    """The discriminant of soft labels; logits are ``scale`` times log-likelihood ratios to the overall mean.

    Args:
        features: (N, D) float32, unit norm.
        soft: (N, C) soft labels >= 0.
        text: (C, D) float32, unit norm: the mean of names without images, and part of the others'.
        text_share: how many images the text is worth, >= 0.
        shrinkage: s in (0, 1]; ``None`` for the paper's, but at least ``LEAST_SHRINKAGE``.
        scale: factor of the logits; 1 is Bayes' rule.

    Raises ``ValueError`` for shapes or shares that make no sense.
    """
    check(features, soft, text)
    if text_share < 0 or (shrinkage is not None and not 0 < shrinkage <= 1):
        raise ValueError("text_share is at least 0 and shrinkage in (0, 1]")
    sums, masses = class_sums(features, soft), class_masses(soft)
    centre = sums.sum(axis=0) / masses.sum() if masses.any() else np.zeros(features.shape[1])
    means, known = _means(sums, masses, centre, text, text_share)
    offsets = means - centre
    if shrinkage is None:
        shrinkage = max(LEAST_SHRINKAGE, paper_shrinkage(features.shape[1], float(masses.sum())))
    weights = _solve(shrunk(within_class_covariance(features, soft), shrinkage), offsets.T).T
    bias = -0.5 * (weights * (means + centre)).sum(axis=1)
    return shut_out(LinearHead((scale * weights).astype(np.float32), (scale * bias).astype(np.float32)), ~known)


def within_class_covariance(features: np.ndarray, soft: csr_matrix) -> np.ndarray:
    """``sum_ic s_ic (x_i - mu_c)(x_i - mu_c)' / n``, (D, D) float64; zero without labels."""
    sums, masses = class_sums(features, soft), class_masses(soft)
    weight = np.asarray(soft.sum(axis=1, dtype=np.float64)).ravel()
    used = np.flatnonzero(weight > 0)
    if not len(used):
        return np.zeros((features.shape[1],) * 2)
    scatter = np.zeros((features.shape[1],) * 2)
    for at in range(0, len(used), BLOCK):
        part = used[at : at + BLOCK]
        images = features[part].astype(np.float64)
        scatter += (images * weight[part, None]).T @ images
    between = (sums / np.where(masses > 0, masses, 1.0)[:, None]).T @ sums
    return np.asarray((scatter - between) / masses.sum())


def shrunk(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    """``(1 - s) S + s tr(S) / D I``, (D, D); ``I / D`` where there is no variance."""
    dim, total = len(covariance), float(np.trace(covariance))
    if total <= LEAST_VARIANCE:
        return np.eye(dim) / dim
    return (1.0 - shrinkage) * covariance + shrinkage * total / dim * np.eye(dim)


def paper_shrinkage(dim: int, count: float) -> float:
    """``D / (n - 1 + D)``: Wang et al.'s ridge as a share in (0, 1]."""
    return dim / (max(count - 1.0, 0.0) + dim)


def _means(
    sums: np.ndarray, masses: np.ndarray, centre: np.ndarray, text: np.ndarray | None, text_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means (C, D), the centre where nothing is known, and of which names something is known, (C,) bool."""
    seen = masses > 0
    means = np.where(seen[:, None], sums / np.where(seen, masses, 1.0)[:, None], centre)
    if text is None:
        return means, seen
    prior = _moved(text.astype(np.float64), means, seen, centre)
    weight = np.where(seen, masses, 0.0)[:, None]
    share = np.where(seen, text_share, 1.0)[:, None]
    return (weight * means + share * prior) / (weight + share), text.any(axis=1) | seen


def _moved(text: np.ndarray, means: np.ndarray, seen: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Texts about the images' centre, spread as far as the means of images are: the two lie in different places."""
    if seen.sum() < 2:
        return text
    offsets = text - text[seen].mean(axis=0)
    length = np.sqrt((offsets[seen] ** 2).sum(axis=1).mean())
    reach = np.sqrt(((means[seen] - centre) ** 2).sum(axis=1).mean())
    return np.asarray(centre + offsets * (reach / length if length > 0 else 1.0))


def _solve(covariance: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_factor, cho_solve

    return np.asarray(cho_solve(cho_factor(covariance), right))
