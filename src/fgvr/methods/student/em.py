"""Expectation maximisation: every image of the pool says what its class looks like, as far as it belongs to the class.

A mixture of von Mises-Fisher distributions on the unit sphere (Banerjee et al. 2005), one component a name, with one
concentration for all. It begins at the (propagated) soft labels. E step: the probability of each name for each image
of the pool from cosine and class size; for images the teacher has named, also from its reply. M step: directions and
sizes.

1. *Reply.* A reply is right with probability ``accuracy``, else it is any name in proportion to how often the teacher
   says it; of several replies drawn at once each counts by its probability. So an image far from all others of its
   label leaves it, and one between two classes keeps to the reply.
   Learning a table of confusions instead changes nothing (drawn development species) and costs C^2 numbers.
2. *Text* counts as ``text_count`` images of its name, not as a share of the prototype: where there are many images it
   hardly weighs, where there are none it is all there is. The student gives none where its tower does not know the
   names (``hearing``).
3. *Sizes* are smoothed towards equal ones, with the weight of the whole pool: classes cannot swallow each other.
4. *Concentration* is given, not estimated: the maximum-likelihood one of a few hundred dimensions makes every
   assignment hard. Between 15 and 60 nothing changes much (there, too).

The head is the cosine classifier of the directions, without sizes. Letters: N images, D dimensions, C names.
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
    said: csr_matrix,
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
        said: (N, C) what the teacher said of the images it was asked about (``opinions.said_of``): rows sum to one, or
            are empty.
        text: (C, D) float32, unit norm.
        text_count: images that the text feature is worth.
        concentration: kappa, > 0.
        accuracy: probability that a reply is right, in (0, 1); one for all, or (N,).
        iterations: 0 gives prototypes of ``soft``.
        scale: factor from cosine to logit of the head.

    A name with neither soft labels nor text never wins. Raises ``ValueError`` for shapes or numbers that do not fit.
    """
    check_shapes(features, soft, text)
    check_shapes(features, said, text)
    sure = np.broadcast_to(np.asarray(accuracy, dtype=np.float64), len(features))
    if concentration <= 0 or not ((sure > 0) & (sure < 1)).all() or iterations < 0 or text_count < 0:
        raise ValueError("concentration is positive, accuracy in (0, 1), iterations and text_count at least 0")
    anchor = 0.0 if text is None else text_count * text.astype(np.float64)
    sums, sizes = class_sums(features, soft), class_masses(soft)
    if text is not None and text_count == 0.0:  # text still speaks for names without images
        sums = np.where(sizes[:, None] > 0, sums, text)
    directions = unit_rows(sums + anchor)
    alive = np.asarray(directions.any(axis=1))
    lifts = lifted(said, sure)
    for _ in range(iterations):
        log_sizes = np.where(alive, np.log(smoothed(sizes, alive, count=len(features))), -np.inf)
        sums, sizes = _expected(features, directions, log_sizes, lifts, concentration)
        directions = unit_rows(sums + anchor)
    return cosine_head(directions.astype(np.float32), scale=scale)


def lifted(said: csr_matrix, accuracy: np.ndarray) -> csr_matrix:
    """(N, C) float64: what a reply adds to the log-probability of each name it holds, over that of the others.

    A name of share ``q`` of the reply, said of a share ``m`` of all images, is lifted by log(a q / ((1 - a) m) + 1): a
    wrong reply's probability is the same for all names but the true one, so that only the true one's counts.
    """
    from scipy.sparse import csr_matrix

    cells = said.tocoo()
    shares = np.bincount(cells.col, weights=cells.data, minlength=said.shape[1])
    shares = shares / max(shares.sum(), 1.0)  # of no reply at all they are integers
    odds = (accuracy / (1.0 - accuracy))[cells.row]
    lift = np.log(odds * cells.data / shares[cells.col] + 1.0)
    return csr_matrix((lift, (cells.row, cells.col)), shape=said.shape)


def smoothed(sizes: np.ndarray, alive: np.ndarray, *, count: int) -> np.ndarray:
    """(C,) class sizes that sum to one over the ``alive`` names, half of it shared equally."""
    padded = np.where(alive, sizes + count / max(int(alive.sum()), 1), 1.0)
    return np.asarray(padded / padded[alive].sum())


def _expected(
    features: np.ndarray,
    directions: np.ndarray,
    log_sizes: np.ndarray,
    lifts: csr_matrix,
    concentration: float,
) -> tuple[np.ndarray, np.ndarray]:
    """One E step, and the sums (C, D) and sizes (C,) that the M step needs; float64, block by block."""
    sums, sizes = np.zeros(directions.shape), np.zeros(len(directions))
    compared = directions.astype(np.float32)
    for at in range(0, len(features), BLOCK):
        part = features[at : at + BLOCK]
        logits = concentration * (part @ compared.T).astype(np.float64) + log_sizes
        replies = lifts[at : at + BLOCK].tocoo()
        logits[replies.row, replies.col] += replies.data
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        sums += chances.T @ part
        sizes += chances.sum(axis=0)
    return sums, sizes
