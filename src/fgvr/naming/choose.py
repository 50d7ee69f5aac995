"""Which pictures to have named, so that fewer labels buy the same accuracy. In none of the papers.

The papers draw the support set with the true labels in hand (m pictures a class); without labels, chance is the plain
way. A photographer's folder has bursts and common species, and chance buys these again and again. Here, with features
that cost nothing but time:

1. *Near-duplicates* are out: no picture is bought that is nearly one already in the pool (``near_duplicates``).
2. *Spread.* The medoids of as many clusters as labels may be bought (``medoids``), all at once.
3. *Active.* The first part of the labels for medoids; then, round by round, the pictures that a quick classifier,
   learned from the names so far, is least certain of, and of these again the medoids, so that a round does not pick
   one doubt many times (Zhdanov 2019, "Diverse mini-batch active learning").

What decides: features, the MLLM's names, the seed; never a true label. What the ways are worth on the embedded world
stands in ``docs/results.md``. Two things were settled on pictures of their own: clusters of one picture are better than
clusters of three while labels are few; and certainty must be taken at a soft temperature (``SOFTER``), because names
are often wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.errors import InputError
from fgvr.naming.choose_clusters import SAME, medoids, near_duplicates, tiles
from fgvr.naming.facility_location import facility_location
from fgvr.naming.label_space import label_space
from fgvr.types import NamedImage

Choosing = Literal["random", "spread", "active", "facility"]
SOFTER = 0.2
"""Times the encoder's logit scale: the scale of the quick classifier. At the full scale it doubts what lies between two
names; at this one also what is like no name yet, which is worth more (1 to 3 points with few labels)."""


@dataclass(frozen=True)
class LabelsSoFar:
    """What the MLLM has said about the rows bought so far, M of them, in the order they were bought."""

    labels: np.ndarray
    """(M,) int64, index of each row's name among C names; -1 for a row without a name."""
    texts: np.ndarray
    """Text features of the names, (C, D) float32, unit norm."""
    scale: float
    """The encoder's logit scale."""


Label = Callable[[np.ndarray], LabelsSoFar | None]
"""Buys the names of further rows (int64, ascending) and tells all that is known; ``None`` ends the choice there."""
Informative = Callable[[np.ndarray, np.ndarray, LabelsSoFar, int, int], np.ndarray]
"""A later round's choice: (rows not bought (R,), rows bought (M,), what is known of these, size, seed) to at most
``size`` distinct rows of the first, int64."""


def choose_support(
    features: np.ndarray,
    hashes: Sequence[str],
    n: int,
    *,
    how: Choosing,
    seed: int,
    label: Label | None = None,
    threshold: float = SAME,
    first: float = 0.5,
    rounds: int = 2,
    informative: Informative | None = None,
) -> np.ndarray:
    """The rows to have named: at most ``n``, distinct, int64, round after round, ascending inside a round.

    Args:
        features: (N, D) float32, unit norm, of the whole pool.
        hashes: SHA-256 of each picture's bytes, or none.
        n: labels that may be bought. All ways but ``random`` choose fewer where the pool has fewer distinct pictures.
        how: ``random`` (near-duplicates may be drawn), ``spread``, ``active`` or ``facility``.
        seed: of the draw, and of the clusters.
        label: called once a round, as soon as the round is settled; ``active`` cannot do without.
        threshold: cosine from which two pictures count as one.
        first: share of ``n`` that goes to medoids before ``active`` looks at doubts, in (0, 1].
        rounds: of the rest, at least 1.
        informative: chooses the rounds after the first of ``active``; ``least_certain`` by default.

    Raises ``InputError`` for settings that make no sense, and for ``active`` without ``label``.
    """
    pool = np.arange(len(features)) if how == "random" else distinct(features, hashes, threshold=threshold)
    return choose_among(
        features, pool, n, how=how, seed=seed, label=label, first=first, rounds=rounds, informative=informative
    )


def distinct(features: np.ndarray, hashes: Sequence[str] = (), *, threshold: float = SAME) -> np.ndarray:
    """The rows that are near-duplicates of none before them, int64, ascending."""
    return np.flatnonzero(near_duplicates(features, hashes, threshold=threshold) == np.arange(len(features)))


def choose_among(
    features: np.ndarray,
    pool: np.ndarray,
    n: int,
    *,
    how: Choosing,
    seed: int,
    label: Label | None = None,
    first: float = 0.5,
    rounds: int = 2,
    past: Sequence[np.ndarray] = (),
    informative: Informative | None = None,
) -> np.ndarray:
    """``choose_support`` among the rows ``pool``. ``past``: rounds an interrupted run has settled, kept as they are."""
    _check(n, how, label, first, rounds)
    n = min(n, len(pool))
    sizes = round_sizes(n, first=first, rounds=rounds) if how == "active" else (n,)
    chosen, known = np.empty(0, dtype=np.int64), None
    for number, size in enumerate(sizes):
        if number < len(past):
            picked = past[number]
        elif known is not None:
            rest = np.setdiff1d(pool, chosen)
            picked = (informative or partial(_least_certain, features))(rest, chosen, known, size, seed + number)
        elif how == "random":
            picked = np.sort(np.random.default_rng(seed).permutation(pool)[:size])
        elif how == "facility":
            picked = np.sort(pool[facility_location(features[pool], size, seed=seed)])
        else:
            picked = pool[medoids(features[pool], size, seed=seed)]
        chosen = np.concatenate([chosen, picked])
        known = None if label is None else label(picked)
        if known is None:
            break
    return chosen


def round_sizes(n: int, *, first: float = 0.5, rounds: int = 2) -> tuple[int, ...]:
    """How many labels each round buys: ``first`` of ``n`` (at least one), the rest in equal parts; none is empty."""
    begin = max(1, min(n, round(first * n)))
    ends = begin + np.round(np.linspace(0, n - begin, rounds + 1)).astype(int)
    return (begin, *(int(size) for size in np.diff(ends) if size))


def least_certain(
    features: np.ndarray,
    rest: np.ndarray,
    chosen: np.ndarray,
    known: LabelsSoFar,
    size: int,
    *,
    among: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """``size`` of the rows ``rest``: medoids of the ``among`` times as many that are least certain. int64, ascending.

    ``features`` (N, D) of the whole pool; ``chosen`` (M,) are the rows that ``known`` tells of. Equal doubts go to the
    lower row; where nothing has a name yet, these are medoids of all of ``rest``.
    """
    doubt = doubts(features, rest, chosen, known)
    most = among * size if len(known.texts) else len(rest)
    candidates = np.sort(rest[np.argsort(-doubt, kind="stable")[:most]])
    return np.asarray(candidates[medoids(features[candidates], size, seed=seed)])


def doubts(features: np.ndarray, rest: np.ndarray, chosen: np.ndarray, known: LabelsSoFar) -> np.ndarray:
    """One minus the probability of the best name, (R,) float32 in [0, 1], of each row of ``rest``.

    The quick classifier: a class is its text feature plus the sum of the pictures so named, normalised; a softmax over
    cosines at ``SOFTER`` of the encoder's scale. All zero where there is no name yet.
    """
    doubt = np.zeros(len(rest), dtype=np.float32)
    if not len(known.texts):
        return doubt
    named = known.labels >= 0
    classes = known.texts.astype(np.float32)
    np.add.at(classes, known.labels[named], features[chosen[named]])
    classes /= np.maximum(np.linalg.norm(classes, axis=1, keepdims=True), 1e-12)
    for part, cosines in tiles(features[rest], classes):
        logits = SOFTER * known.scale * (cosines - cosines.max(axis=1, keepdims=True))
        doubt[part] = 1 - 1 / np.exp(logits).sum(axis=1)
    return doubt


def labels_so_far(named: Sequence[NamedImage], encoder: DualEncoder) -> LabelsSoFar:
    """The MLLM's answers as what ``active`` goes by; spellings and synonyms merged as in every label space."""
    if not any(one.name for one in named):
        return LabelsSoFar(np.full(len(named), -1), np.empty((0, encoder.dim), np.float32), encoder.logit_scale)
    space, labels = label_space(named)
    return LabelsSoFar(labels, text_classifier(encoder, space.names), encoder.logit_scale)


def checked(how: str) -> Choosing:
    """A way of choosing. Raises ``InputError`` when there is none of this name."""
    if how not in get_args(Choosing):
        raise InputError(f"no way of choosing is called {how!r}", remedy=f"Use {', '.join(get_args(Choosing))}.")
    return how  # type: ignore[return-value]


def _least_certain(
    features: np.ndarray, rest: np.ndarray, chosen: np.ndarray, known: LabelsSoFar, size: int, seed: int
) -> np.ndarray:
    return least_certain(features, rest, chosen, known, size, seed=seed)


def _check(n: int, how: str, label: Label | None, first: float, rounds: int) -> None:
    checked(how)
    if n < 1 or not 0 < first <= 1 or rounds < 1:
        raise InputError(
            "a choice needs a label and a round to spend", remedy="Use n and rounds >= 1, first in (0, 1]."
        )
    if how == "active" and label is None:
        raise InputError(
            "choosing by certainty needs the names as they are bought", remedy="Pass label=..., or spread."
        )
