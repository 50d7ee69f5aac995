"""How alike two names are: a teacher that is wrong tends to say a name like the right one.

1. *With a sentence encoder.* The cosine, with the mean over all pairs of different names as zero: sentence encoders
   put any two bird names far above zero, and only what stands out says anything.
2. *Without one.* Shared words after ``fgvr.labels.normalise``. English puts the kind last ("Wilson's Warbler"), so a
   shared last word counts most, any other shared word by its share of the words, as in Jaccard's index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fgvr.labels import normalise

if TYPE_CHECKING:
    from fgvr.metrics.semantic import TextEncoder

LAST_WORD = 0.6
"""Similarity of two names that share their last word and nothing else."""


def name_similarity(names: Sequence[str], *, encoder: TextEncoder | None = None) -> np.ndarray:
    """(C, C) float32 in [0, 1], symmetric, diagonal 1; 0 for names no more alike than usual.

    Args:
        names: C display names.
        encoder: anything with ``encode(texts) -> (N, D)`` of unit norm; shared words are counted without one.
    """
    alike = _by_words(names) if encoder is None else _by_encoder(names, encoder)
    np.fill_diagonal(alike, 1.0)
    return alike


def _by_encoder(names: Sequence[str], encoder: TextEncoder) -> np.ndarray:
    vectors = np.asarray(encoder.encode(list(names)), dtype=np.float32) if len(names) else np.zeros((0, 1), np.float32)
    cosines = vectors @ vectors.T
    cosines = (cosines + cosines.T) / 2
    count = len(names)
    usual = (cosines.sum() - np.trace(cosines)) / (count * (count - 1)) if count > 1 else 0.0
    return np.asarray(np.clip((cosines - usual) / max(1.0 - usual, 1e-6), 0.0, 1.0), dtype=np.float32)


def _by_words(names: Sequence[str]) -> np.ndarray:
    words = [normalise(name).split() for name in names]
    alike = _jaccard([frozenset(some) for some in words]) * np.float32(1.0 - LAST_WORD)
    last = np.array([some[-1] if some else "" for some in words], dtype=object)
    for kind in set(last) - {""}:
        members = np.flatnonzero(last == kind)
        alike[np.ix_(members, members)] += np.float32(LAST_WORD)
    return np.asarray(np.clip(alike, 0.0, 1.0), dtype=np.float32)


def _jaccard(sets: Sequence[frozenset[str]]) -> np.ndarray:
    """(C, C) float32: shared words over all words of both; 0 where both have none."""
    holders: dict[str, list[int]] = {}
    for at, some in enumerate(sets):
        for word in sorted(some):
            holders.setdefault(word, []).append(at)
    shared = np.zeros((len(sets), len(sets)), dtype=np.float32)
    for members in holders.values():
        shared[np.ix_(members, members)] += 1.0
    sizes = np.array([len(some) for some in sets], dtype=np.float32)
    return np.asarray(shared / np.maximum(sizes[:, None] + sizes[None, :] - shared, 1.0), dtype=np.float32)
