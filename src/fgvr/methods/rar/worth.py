"""What the MLLM's word is worth: in all (a weight), and by class (which names it knows at all).

An MLLM that was never taught a name says another, mostly the same one and with full confidence: "Common Tern" for every
Least Tern. One weight for all classes then buys a gain on the classes it knows with the others' loss. But the labelled
images show which classes those are: with p_j the probability it gave to the truth among the candidates of image j,

    r_c = (PRIOR a + sum_j p_j) / (PRIOR + n_c),   j over the n_c images of class c,   a: the mean p_j over all images,

and a class with r_c at or below chance (one over the number of candidates) is one it does not know. Where retrieval
finds such a class likeliest, retrieval alone decides. So no class that is found out can end up worse than retrieved
alone: whenever retrieval names one of its images rightly, the MLLM is not heard. The price is a gain foregone where
retrieval was wrong about such a class. The weight is fitted to the images that are left, each judged without itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.methods.rar.calibration import Basis
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fuse import Weight, agreement_weight, fit_weight, position_of, truth_in_set_weight
from fgvr.methods.rar.fuse_numerics import log_softmax

PRIOR = 0.25
"""Images the mean over all classes counts as: one that goes wholly wrong is enough to be found out (k up to 5)."""


@dataclass(frozen=True)
class Worth:
    """What was learned."""

    weight: Weight
    known: np.ndarray | None = None
    """(C,) bool: classes the MLLM recognises; ``None``: nothing is known about single classes."""

    def hears(self, candidates: Candidates) -> np.ndarray:
        """(Q,) bool: rows whose likeliest candidate the MLLM recognises."""
        if self.known is None:
            return np.ones(len(candidates), dtype=bool)
        return np.asarray(self.known[likeliest(candidates)])


def likeliest(candidates: Candidates) -> np.ndarray:
    """(Q,) class of greatest retrieved probability; the first of equals."""
    best = candidates.log_probs.argmax(axis=1)
    return np.asarray(np.take_along_axis(candidates.classes, best[:, None], axis=1)[:, 0])


def weigh(
    candidates: Candidates, said: np.ndarray, truth: np.ndarray, *, basis: Basis, num_classes: int, seed: int = 0
) -> Worth:
    """Weight and known classes from left-out images.

    Args:
        said: (N, k) the MLLM's log-probabilities over the candidates, rows of NaN where it did not answer.
        truth: (N,) true classes; without meaning where ``basis`` is ``agreement``.
    """
    if basis == "agreement":
        return Worth(agreement_weight(candidates.log_probs, said, seed=seed))
    position = position_of(candidates.classes, truth)
    rates, without_self = recognition(candidates, said, truth, num_classes)
    chance = 1.0 / max(1.0, float(candidates.sizes.mean()))
    if basis == "truth in set":
        return Worth(truth_in_set_weight(said, position), rates > chance)
    left = without_self > chance
    found = fit_weight(candidates.log_probs[left], said[left], position[left], seed=seed)
    return Worth(found, rates > chance)


def recognition(
    candidates: Candidates, said: np.ndarray, truth: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rates r_c of all classes (C,), and for each image that of its likeliest candidate, itself left out (N,)."""
    position = position_of(candidates.classes, truth)
    used = (position >= 0) & ~np.isnan(said).any(axis=1)
    given = np.exp(log_softmax(np.where(used[:, None], said, 0.0)))
    right = np.where(used, given[np.arange(len(given)), np.maximum(position, 0)], 0.0)
    mean = float(right[used].mean()) if used.any() else 0.0
    sums = np.bincount(truth[used], right[used], num_classes)
    counts = np.bincount(truth[used], minlength=num_classes)
    first = likeliest(candidates)
    own = used & (first == truth)
    without = (PRIOR * mean + sums[first] - own * right) / (PRIOR + counts[first] - own)
    return (PRIOR * mean + sums) / (PRIOR + counts), without
