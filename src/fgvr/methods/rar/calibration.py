"""What the fit learns on left-out images: the worth of the MLLM's word, when to ask for it, and when to say "unknown".

Which images there are, and what is known about them, decides how (``Basis``):

- ``leave-one-out``: labelled images of classes that have others left. Each asks the memory without itself; the weight
  is fitted to its true class (``fuse.fit_weight``), the margin of the cascade chosen on the same images.
- ``truth in set``: labelled images, (nearly) all alone in their class. Without it the memory cannot find its class, so
  the true class is put among its nearest wrong ones and only the MLLM is judged (``fuse.truth_in_set_weight``).
- ``agreement``: no true labels (names given by the MLLM itself, or unlabelled images beside a list of names). The MLLM
  is worth what it agrees with retrieval beyond chance (``fuse.agreement_weight``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fgvr.memory import Memory, nearest
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fit_retrieval import left_out, shot_numbers
from fgvr.methods.rar.fuse import LEAST
from fgvr.methods.rar.retrieve import RetrieveSettings, retrieve

Basis = Literal["leave-one-out", "truth in set", "agreement"]


@dataclass(frozen=True)
class LeftOut:
    """Queries that the memory does not hold, or is asked about without themselves."""

    hashes: tuple[str, ...]
    """Content hashes of the N pictures."""
    candidates: Candidates
    truth: np.ndarray
    """(N,) int64 class of each; -1 where it is not known to be true."""
    basis: Basis
    cosines: np.ndarray
    """(N,) float32 to the nearest other image; NaN where there is none."""


def leave_out(
    memory: Memory, settings: RetrieveSettings, *, most: int, labelled: bool = True, seed: int = 0
) -> LeftOut:
    """At most ``most`` images of the memory, drawn by ``seed``, from classes with others left where these are enough.

    ``labelled``: their classes are true, not names an MLLM gave.
    """
    labels = np.asarray(memory.images.labels)
    several = np.flatnonzero(memory.counts("image")[labels] > 1)
    alone = not len(several) or len(several) < LEAST <= len(labels)
    pool = np.arange(len(labels)) if alone else several
    rows = np.sort(spread_draw(labels, pool, most=most, seed=seed))
    found, truth = left_out(memory, settings, rows=rows), labels[rows]
    basis: Basis = "agreement" if not labelled else "truth in set" if alone else "leave-one-out"
    if basis == "truth in set":
        found = shuffled(with_truth(found, truth), seed=seed)
    known = truth if labelled else np.full(len(rows), -1)
    hashes = tuple(memory.images.hashes[row] for row in rows)
    return LeftOut(hashes, found, known, basis, _nearest_other(memory, rows))


def spread_draw(labels: np.ndarray, pool: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """At most ``most`` of the rows ``pool``, drawn evenly over classes: the MLLM is to be heard on every one."""
    mixed = np.random.default_rng(seed).permutation(pool)
    turns = shot_numbers(labels[mixed])  # the how-manieth of its class each is
    return np.asarray(mixed[np.argsort(turns, kind="stable")][:most])


def unlabelled(
    memory: Memory, settings: RetrieveSettings, features: np.ndarray, hashes: Sequence[str], *, most: int, seed: int = 0
) -> LeftOut:
    """At most ``most`` pictures that are not in the memory: features (N, D), unit norm."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:most])
    found = retrieve(features[rows], memory, settings)
    nothing = np.full(len(rows), np.nan, dtype=np.float32)
    return LeftOut(tuple(hashes[row] for row in rows), found, np.full(len(rows), -1), "agreement", nothing)


def with_truth(candidates: Candidates, truth: np.ndarray) -> Candidates:
    """The true class put into the last slot of every row that lacks it; its probability is what was left over."""
    classes, log_probs = candidates.classes.copy(), candidates.log_probs.copy()
    for row in np.flatnonzero(~candidates.contains(truth)):
        slot = min(int(candidates.sizes[row]), candidates.k - 1)
        held = float(np.exp(log_probs[row, :slot].astype(np.float64)).sum())
        classes[row, slot], log_probs[row, slot] = truth[row], np.log(max(1.0 - held, 1e-6))
    return Candidates(classes, log_probs)


def shuffled(candidates: Candidates, *, seed: int) -> Candidates:
    """Every row in random order: a truth put in by hand must not stand where it is expected."""
    rng = np.random.default_rng(seed)
    return candidates.reordered([rng.permutation(size).tolist() for size in candidates.sizes])


def _nearest_other(memory: Memory, rows: np.ndarray) -> np.ndarray:
    """(N,) cosine of each row to its nearest image of another content."""
    vectors = memory.images.take(rows)
    found, cosines = nearest(vectors, memory.images.pieces, k=4)
    hashes = np.asarray(memory.images.hashes, dtype=object)
    own = (found < 0) | (hashes[np.maximum(found, 0)] == hashes[rows][:, None])
    best = np.where(own, -np.inf, cosines).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(best), best, np.nan).astype(np.float32)
