"""How a teacher errs: the probability of what it said of an image, were each name the true one.

A noise channel per source (a question, or a model). With accuracy ``a`` of the source and true name ``z``, the reply
``l`` has probability ``a`` where ``l = z``, and else ``(1 - a) m(l) ((1 - u) / (1 - m(z)) + u s(l, z) / n(z))``: wrong
replies are names the teacher says often (``m``, the share of the labels) and, by the share ``u``, names like the true
one (``s``, the similarity; ``n(z)`` makes the sum over ``l`` one). Further names in a reply hold the true one with
probability ``g`` where the first is wrong. Replies about one image are independent given its true name.

Everything is written as a *lift*, the logarithm of a probability over its value were names and replies unrelated: a
lift of zero says nothing.

1. *Confidence.* A stated confidence moves the log-odds of ``a`` by a learned slope, from its mean in the source. A
   constant confidence therefore changes nothing.
2. *Own share.* ``m`` leaves the image's own reply out: a name said once must not speak for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-12


@dataclass(frozen=True)
class Rates:
    """The free numbers; their values here are where learning starts from and leans to."""

    accuracy: tuple[float, ...] = (0.85,)
    """Probability that the reply of source 0, 1, ... is right, in (0, 1), at mean confidence and agreement."""
    confidence: float = 0.0
    """Log-odds of a right reply per standard deviation of confidence, at least 0."""
    agreement: float = 0.0
    """Log-odds of a right reply per standard deviation of the agreement among its image's neighbours, at least 0."""
    similar: float = 0.5
    """Share of the wrong replies that go by similarity of names."""
    listed: float = 0.5
    """Probability that the further names of a wrong reply hold the true one."""
    same: float = 0.5
    """Probability that a neighbour has the image's true name, at mean cosine."""
    kin: float = 0.5
    """Probability that a neighbour with another true name has a similar one: like names look alike, too."""
    cosine: float = 0.5
    """Log-odds of the same per standard deviation of the cosine, at least 0."""
    temper: float = 0.7
    """Exponent of a neighbour's vote: below 1 because neighbours err together."""


@dataclass(frozen=True)
class Replies:
    """O replies held against the W names in question for their image (the last column: every other name)."""

    image: np.ndarray
    """(O,) int64 into the images, ascending."""
    source: np.ndarray
    """(O,) int64."""
    confidence: np.ndarray
    """(O,) float64, standardised within the source; 0 where there is none."""
    share: np.ndarray
    """(O,) float64: ``m`` of the reply, its own image left out."""
    same: np.ndarray
    """(O, W) bool: the name is the reply."""
    alike: np.ndarray
    """(O, W) float64: ``s(l, z) / n(z)``; 1 without similarities."""
    listed: np.ndarray
    """(O, W) float64: how much likelier the further names are, were this the true name and listed; NaN: none given."""


def lifts(replies: Replies, rates: Rates, count: int, *, agreement: np.ndarray | None = None) -> np.ndarray:
    """(M, W) float64: log-likelihood ratio of all replies about each of ``count`` images; 0 without replies.

    ``agreement``: (M,) standardised, moves the log-odds of a right reply; ``None`` leaves it out.
    """
    odds = log_odds(np.asarray(rates.accuracy))[replies.source] + rates.confidence * replies.confidence
    if agreement is not None:
        odds = odds + rates.agreement * agreement[replies.image]
    right = -np.logaddexp(0.0, -odds) - np.log(replies.share)
    wrong = -np.logaddexp(0.0, odds)[:, None] + np.log((1.0 - rates.similar) + rates.similar * replies.alike + TINY)
    each = np.where(replies.same, right[:, None], wrong + _further(replies, rates))
    total = np.zeros((count, each.shape[1]))
    start = np.flatnonzero(np.diff(replies.image, prepend=-1))
    total[replies.image[start]] = np.add.reduceat(each, start)
    return total


def log_odds(probability: np.ndarray) -> np.ndarray:
    """The inverse of ``sigmoid``; probabilities are kept off 0 and 1."""
    kept = np.clip(probability, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def sigmoid(odds: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-odds)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(odds, dtype=np.float64))))


def standardised(values: np.ndarray, groups: np.ndarray, *, most: float = 3.0) -> np.ndarray:
    """(O,) in standard deviations from the mean of the own group, within ``most``; 0 for NaN and constant groups."""
    out = np.zeros(len(values))
    for group in np.unique(groups):
        known = (groups == group) & np.isfinite(values)
        if known.any():
            spread = float(values[known].std())
            if spread > 1e-4:
                out[known] = np.clip((values[known] - values[known].mean()) / spread, -most, most)
    return out


def _further(replies: Replies, rates: Rates) -> np.ndarray:
    """Log-likelihood ratio of the further names, given that the first is wrong."""
    ratio = (1.0 - rates.listed) + rates.listed * replies.listed
    return np.asarray(np.where(np.isnan(ratio), 0.0, np.log(np.maximum(np.nan_to_num(ratio), TINY))))
