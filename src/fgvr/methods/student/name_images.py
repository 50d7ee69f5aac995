"""How far apart the images of two names are, and how sure that is; used by ``merging.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.opinions import Opinions

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHUFFLES = 200
Z = 1.645
"""Standard errors above the estimate: a one-sided limit of 95 %."""
WAYS = 20
"""Ways to share out two names over their images from which a test at 5 % can find anything."""
MOST = 64
"""Images of a name that are compared: enough for the limit, and quick."""


@dataclass(frozen=True)
class Images:
    """The images of one name: rows into the pool and what each weighs."""

    rows: np.ndarray
    weights: np.ndarray

    @property
    def mass(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())


def images_of(opinions: Opinions, soft: csr_matrix, names: int) -> list[Images]:
    """Each name's images, by its opinions; at most ``MOST``, the weightiest."""
    told = opinions.named
    pairs = np.unique(np.stack([told.labels, told.rows], axis=1), axis=0)
    labels, rows = pairs.T if len(pairs) else np.empty((2, 0), np.int64)
    weights = np.asarray(soft[rows, labels], dtype=np.float64).ravel() if len(rows) else np.empty(0)
    images = []
    for label in range(names):
        at = np.flatnonzero((labels == label) & (weights > 0))
        at = at[np.lexsort((rows[at], -weights[at]))[:MOST]]
        images.append(Images(rows[at], weights[at]))
    return images


@dataclass(frozen=True)
class Distance:
    """How far apart the images of two names are."""

    squared: float
    """Between the mean images, estimated without bias; may be negative."""
    error: float
    """Standard error, if the names meant the same."""
    cosine: float
    """Between the mean images, likewise."""

    @property
    def upper(self) -> float:
        """Upper limit of the squared distance; infinite where a difference was found."""
        return self.squared + Z * self.error if self.squared <= Z * self.error else float("inf")


def distance(features: np.ndarray, one: Images, other: Images, *, seed: int = 0) -> Distance | None:
    """Between two names' images; ``None`` where there are too few to tell."""
    first, second = len(one.rows), len(other.rows)
    if min(first, second) == 0 or comb(first + second, first) < WAYS:
        return None
    union = features[np.concatenate([one.rows, other.rows])].astype(np.float64)
    weights = np.concatenate([one.weights, other.weights])
    weights = weights / weights.mean()
    given = np.arange(first + second) < first
    rng = np.random.default_rng(seed)
    # Sorted by content, so that the shuffles do not depend on the order of the names.
    order = np.lexsort((np.concatenate([one.rows, other.rows]), weights))
    shuffles = np.stack([rng.permutation(first + second) < min(first, second) for _ in range(SHUFFLES)])
    shuffled = np.empty_like(shuffles)
    shuffled[:, order] = shuffles
    gram = union @ union.T
    within, across = _cosines(gram, weights, np.vstack([given, shuffled]))
    squared = within.sum(axis=1) - 2 * across
    scale = float(np.sqrt(np.maximum(within[0], 1e-12).prod()))
    return Distance(float(squared[0]), float(squared[1:].std()), float(across[0] / scale))


def _cosines(gram: np.ndarray, weights: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosines of pairs inside either side (S, 2) and across (S,), for the ways (S, n) to part n images in two.

    A side of one image has no pairs: it takes the other side's.
    """
    parts = [side * weights for side in (sides, ~sides)]
    products = [part @ gram for part in parts]
    within = []
    for part, product_ in zip(parts, products):
        own = (part**2).sum(axis=1)
        pairs = part.sum(axis=1) ** 2 - own
        pairs[(part > 0).sum(axis=1) < 2] = np.nan
        within.append(((product_ * part).sum(axis=1) - own) / pairs)
    both = np.stack(within, axis=1)
    both = np.where(np.isnan(both), both[:, ::-1], both)
    across = (products[0] * parts[1]).sum(axis=1) / (parts[0].sum(axis=1) * parts[1].sum(axis=1))
    return both, across


def rival_margin(
    features: np.ndarray, images: Sequence[Images], *, same: Sequence[tuple[int, int]] = (), share: float = 0.25
) -> float:
    """What different names that lie side by side show: the ``share`` quantile of squared distances to the nearest name.

    Of names with at least two images; 0 (no two names may become one) where there are fewer than two such names.
    ``same``: pairs that may mean the same, which are no rivals of each other.
    """
    have = [at for at, one in enumerate(images) if len(one.rows) >= 2]
    if len(have) < 2:
        return 0.0
    used = [images[at] for at in have]
    sums = np.stack([one.weights @ features[one.rows] for one in used])
    mass = np.array([one.mass for one in used])
    own = np.array([(one.weights**2).sum() for one in used])
    within = ((sums**2).sum(axis=1) - own) / (mass**2 - own)
    across = (sums @ sums.T) / np.outer(mass, mass)
    rivals = ~np.eye(len(images), dtype=bool)
    for one, other in same:
        rivals[one, other] = rivals[other, one] = False
    across[~rivals[np.ix_(have, have)]] = -np.inf
    rival = across.argmax(axis=1)
    squared = within + within[rival] - 2 * across[np.arange(len(used)), rival]
    squared = squared[np.isfinite(squared)]
    return max(0.0, float(np.quantile(squared, share))) if len(squared) else 0.0
