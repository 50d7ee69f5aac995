"""Expectation maximisation: every image of the pool says what its class looks like, as far as it belongs to the class.

A mixture of von Mises-Fisher distributions on the unit sphere (Banerjee et al. 2005), one component a name, with one
concentration for all. It begins at the (propagated) soft labels. E step: the probability of each name for each image
of the pool from cosine and class size; for images the teacher has named, also from its reply. M step: directions and
sizes.

1. *Reply.* A reply is right with probability ``accuracy``, else it is any name in proportion to how often the teacher
   says it. So an image far from all others of its label leaves it, and one between two classes keeps to the reply.
   Learning a table of confusions instead changes nothing (drawn development species) and costs C^2 numbers.
2. *Text* counts as ``text_count`` images of its name, not as a share of the prototype: where there are many images it
   hardly weighs, where there are none it is all there is. The student gives none where its tower does not know the
   names (``hearing``).
3. *Sizes* are smoothed towards equal ones, with the weight of the whole pool: classes cannot swallow each other.
4. *Concentration* is given, not estimated: the maximum-likelihood one of a few hundred dimensions makes every
   assignment hard. Between 15 and 60 nothing changes much (there, too).

The head is the cosine classifier of the directions, without sizes. Letters: N images, D dimensions, C names, M replies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.prototypes import check as check_shapes
from fgvr.methods.student.prototypes import class_masses, class_sums, cosine_head, unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

ACCURACY = 0.8
"""Of a teacher's reply."""
BLOCK = 4096
"""Images whose probabilities are held at once."""


def em_head(
    features: np.ndarray,
    soft: csr_matrix,
    *,
    rows: np.ndarray,
    labels: np.ndarray,
    text: np.ndarray | None = None,
    text_count: float = 1.0,
    concentration: float = 30.0,
    accuracy: float | np.ndarray = ACCURACY,
    iterations: int = 3,
    scale: float = 100.0,
) -> LinearHead:
    """The directions after ``iterations`` steps.

    Args:
        features: (N, D) float32, unit norm, of the whole pool; every image takes part.
        soft: (N, C) soft labels >= 0 to begin with.
        rows: (M,) int64, the images the teacher was asked about.
        labels: (M,) int64, its names; -1 for none.
        text: (C, D) float32, unit norm.
        text_count: images that the text feature is worth.
        concentration: kappa, > 0.
        accuracy: probability that a reply is right, in (0, 1); one for all, or (M,).
        iterations: 0 gives prototypes of ``soft``.
        scale: factor from cosine to logit of the head.

    A name with neither soft labels nor text never wins. Raises ``ValueError`` for shapes or numbers that do not fit.
    """
    check_shapes(features, soft, text)
    sure = np.broadcast_to(np.asarray(accuracy, dtype=np.float64), rows.shape)
    if concentration <= 0 or not ((sure > 0) & (sure < 1)).all() or iterations < 0 or text_count < 0:
        raise ValueError("concentration is positive, accuracy in (0, 1), iterations and text_count at least 0")
    anchor = 0.0 if text is None else text_count * text.astype(np.float64)
    sums, sizes = class_sums(features, soft), class_masses(soft)
    if text is not None and text_count == 0.0:  # text still speaks for names without images
        sums = np.where(sizes[:, None] > 0, sums, text)
    said = said_of(rows, labels, count=len(features))
    odds = np.ones(len(features))
    odds[rows] = sure / (1.0 - sure)
    spoken = np.bincount(labels[labels >= 0], minlength=soft.shape[1]).astype(np.float64)
    directions = unit_rows(sums + anchor)
    alive = np.asarray(directions.any(axis=1))
    for _ in range(iterations):
        log_sizes = np.where(alive, np.log(smoothed(sizes, alive, count=len(features))), -np.inf)
        sums, sizes = _expected(features, directions, log_sizes, said, spoken, concentration, odds)
        directions = unit_rows(sums + anchor)
    return cosine_head(directions.astype(np.float32), scale=scale)


def said_of(rows: np.ndarray, labels: np.ndarray, *, count: int) -> np.ndarray:
    """(count,) int64: the label of each image, -1 where there is none."""
    said = np.full(count, -1, dtype=np.int64)
    said[rows] = labels
    return said


def smoothed(sizes: np.ndarray, alive: np.ndarray, *, count: int) -> np.ndarray:
    """(C,) class sizes that sum to one over the ``alive`` names, half of it shared equally."""
    padded = np.where(alive, sizes + count / max(int(alive.sum()), 1), 1.0)
    return np.asarray(padded / padded[alive].sum())


def _expected(
    features: np.ndarray,
    directions: np.ndarray,
    log_sizes: np.ndarray,
    said: np.ndarray,
    spoken: np.ndarray,
    concentration: float,
    odds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One E step, and the sums (C, D) and sizes (C,) that the M step needs; float64, block by block.

    ``odds`` (N,): that the image's reply is right.
    """
    sums, sizes = np.zeros(directions.shape), np.zeros(len(directions))
    share = spoken / max(spoken.sum(), 1.0)
    compared = directions.astype(np.float32)
    for at in range(0, len(features), BLOCK):
        part = features[at : at + BLOCK]
        logits = concentration * (part @ compared.T).astype(np.float64) + log_sizes
        named = np.flatnonzero(said[at : at + BLOCK] >= 0)
        reply = said[at : at + BLOCK][named]
        # The wrong reply's probability is one for all names but the true one, so that only the true one's counts.
        logits[named, reply] += np.log(odds[at + named] / share[reply] + 1.0)
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        sums += chances.T @ part
        sizes += chances.sum(axis=0)
    return sums, sizes
