"""Noisy-name denoising: of many guessed names, keep those that some image of the support set likes best.

FineR (Liu et al., ICLR 2024, section 3.3), taken over by E-FineR and FiNDR: every support image votes for the name
whose text feature is nearest to its own; names without a vote are dropped. The text is the bare name, no template.

1. *Voter.* The papers vote with a stronger encoder (CLIP ViT-L/14) than they classify with (ViT-B/16). Here whatever
   ``Material.voter`` is; without one the task's own encoder votes, and ``Naming.notes`` says so.
2. *The same name twice.* The released code compares names as exact strings. Here two names that differ only in case,
   accents' encoding, hyphens or apostrophes are one (``distinct_names``), written as it was first guessed.
3. *Runner-up.* E-FineR's released code can keep an image's second choice if its score is above 0.8 of the first's
   (``multi_choice``, off): it becomes a class without exemplars. Here ``elect(..., share=0.8)``.
4. *Ties* go to the name guessed first, as ``argmax`` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fgvr.labels import normalise

CHUNK = 4096
"""Images scored at a time: thousands of names times a large support set must not fill the memory."""


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in order, written as it came first; what has no letter or digit is dropped."""
    seen: dict[str, str] = {}
    for name in names:
        key = normalise(name)
        if key:
            seen.setdefault(key, name.strip())
    return tuple(seen.values())


def vote(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Each image's nearest name: images (N, D) and texts (C, D), both unit norm, to (N,) int64 in [0, C).

    Raises ``ValueError`` without names.
    """
    if not len(texts):
        raise ValueError("nobody stands for election")
    blocks = [np.argmax(images[at : at + CHUNK] @ texts.T, axis=1) for at in range(0, len(images), CHUNK)]
    return np.concatenate(blocks).astype(np.int64) if blocks else np.zeros(0, dtype=np.int64)


def elect(images: np.ndarray, texts: np.ndarray, *, share: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The names that stay, and which of them each image voted for.

    Args:
        images: (N, D) unit norm.
        texts: (C, D) unit norm.
        share: keep also an image's second choice where its score is above ``share`` times the first; ``None``: never.

    Returns:
        (S,) int64 ascending indices into ``texts``; (N,) int64 indices into those S. With ``share``, some of the S
        may have no vote.
    """
    first = vote(images, texts)
    kept = set(first.tolist())
    if share is not None and len(texts) > 1:
        kept |= _runners_up(images, texts, first, share)
    names = np.array(sorted(kept), dtype=np.int64)
    return names, np.searchsorted(names, first)


def _runners_up(images: np.ndarray, texts: np.ndarray, first: np.ndarray, share: float) -> set[int]:
    kept: set[int] = set()
    for at in range(0, len(images), CHUNK):
        scores = images[at : at + CHUNK] @ texts.T
        rows, best = np.arange(len(scores)), first[at : at + CHUNK]
        top = scores[rows, best].copy()
        scores[rows, best] = -np.inf
        second = scores.argmax(axis=1)
        kept |= set(second[scores[rows, second] > share * top].tolist())
    return kept


def tally(votes: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """(count,) int64: how many votes each name has."""
    return np.bincount(np.asarray(votes, dtype=np.int64), minlength=count)
