"""What every head says of images whose replies it has not seen: the ground of mixing and calibrating.

The asked images are cut into folds. For each fold everything is made again from the other images' replies (evidence,
propagation, heads); the held-out images stay in the pool without a label, as the images that were never asked do.

1. *Copies* of one picture share a fold (``fgvr.methods.near.cross_fit.assign_folds`` does the same).
2. *Stratified.* A name's pictures are dealt to the folds in turn, so that each has company in training.
3. *Lone names are never held out.* Without its only picture a name is known by its text alone, and the text head
   would win for the wrong reason: the student will have that picture. They stay in training in every fold, so that
   the held-out images meet as many rival names as the student will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fgvr.methods.student.heads import Head

NEVER = -1
"""Fold number of images that are never held out."""


def fold_numbers(
    features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0, most: int = 4000
) -> np.ndarray:
    """The fold (M,) int64 of each asked image, ``NEVER`` for those that cannot be judged.

    Args:
        features: (M, D) of the asked images; rows that are exactly equal are copies of one picture.
        labels: (M,) indices of names, -1 for none.
        folds: at least 2.
        most: images held out at most, all folds together; further ones stay in training.

    Never held out: images without a name, and those whose name no other picture has. Raises ``ValueError`` for fewer
    than two folds or labels that do not fit.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if folds < 2:
        raise ValueError("cross-fitting needs at least two folds")
    if labels.shape != (len(features),):
        raise ValueError(f"one label for each image is needed: {labels.shape} and {features.shape}")
    fold_of = np.full(len(labels), NEVER, dtype=np.int64)
    if not len(labels):
        return fold_of
    picture = _pictures(features)
    dealt = _dealt(picture, labels, folds, np.random.default_rng(seed), most)
    fold_of = np.asarray(dealt[picture])
    fold_of[~judged(labels, fold_of)] = NEVER  # copies under several names can leave a name without company
    return fold_of


def judged(labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """(M,) bool: named images that are held out once while another image of their name is in training."""
    labels, fold_of = np.asarray(labels), np.asarray(fold_of)
    named = labels >= 0
    names = int(labels.max(initial=-1)) + 1
    folds = int(fold_of.max(initial=-1)) + 2
    count = np.zeros((names + 1, folds), dtype=np.int64)
    np.add.at(count, (labels[named], fold_of[named] + 1), 1)
    company = count.sum(axis=1)[labels] - count[labels, fold_of + 1]
    return np.asarray(named & (fold_of >= 0) & (company > 0))


def cross_fit(
    fit: Callable[[np.ndarray], Mapping[str, Head]],
    features: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    fold_of: np.ndarray,
) -> dict[str, np.ndarray]:
    """Logits (M, C) float32 of each head for every asked image, from a fit without that image's reply.

    Args:
        fit: given a mask (M,) bool of the asked images whose replies may be used, makes the heads.
        features: (N, D) of the pool, unit norm.
        rows: (M,) the asked images.
        labels: (M,) indices of names, -1 for none; only their number is checked.
        fold_of: (M,) from ``fold_numbers``.

    Rows of images that are never held out are NaN. Where none is held out, ``fit`` is asked once with all replies and
    every row is what its heads say of it, so that the scale of each head is known; ``judged`` is false everywhere.
    Heads that some fold lacks are left out.
    """
    rows, fold_of = np.asarray(rows), np.asarray(fold_of)
    if not rows.shape == np.shape(labels) == fold_of.shape:
        raise ValueError("rows, labels and folds must be as many")
    numbers = np.unique(fold_of[fold_of >= 0])
    if not len(numbers):
        return {name: head.logits(features[rows]) for name, head in fit(np.ones(len(rows), dtype=bool)).items()}
    found: dict[str, np.ndarray] = {}
    common: set[str] | None = None
    for number in numbers:
        held = fold_of == number
        heads = fit(~held)
        common = set(heads) if common is None else common & set(heads)
        for name, head in heads.items():
            logits = head.logits(features[rows[held]])
            if name not in found:
                found[name] = np.full((len(rows), logits.shape[1]), np.nan, dtype=np.float32)
            found[name][held] = logits
    return {name: logits for name, logits in found.items() if common is not None and name in common}


def _pictures(features: np.ndarray) -> np.ndarray:
    """(M,) int64: the same number for equal rows."""
    _, picture = np.unique(np.ascontiguousarray(features), axis=0, return_inverse=True)
    return np.asarray(picture.ravel(), dtype=np.int64)


def _dealt(picture: np.ndarray, labels: np.ndarray, folds: int, rng: np.random.Generator, most: int) -> np.ndarray:
    """The fold of each picture: name after name, the name's pictures one fold after the other.

    A picture goes by the first name its copies have. Dealing goes on where the name before ended, so that the folds are
    of one size.
    """
    dealt = np.full(int(picture.max()) + 1, NEVER, dtype=np.int64)
    named = np.flatnonzero(labels >= 0)
    own, first = np.unique(picture[named], return_index=True)
    shuffled = rng.permutation(len(own))
    own, name = own[shuffled], labels[named][first][shuffled]
    by_name = np.argsort(name, kind="stable")
    own, name = own[by_name], name[by_name]
    company = np.bincount(name)[name] > 1 if len(name) else np.empty(0, dtype=bool)
    held = own[company]
    dealt[held] = np.arange(len(held)) % folds
    if len(held) > most:
        dealt[rng.choice(held, size=len(held) - most, replace=False)] = NEVER
    return dealt
