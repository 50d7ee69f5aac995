"""The student teaches itself: what its head says of the pool is mixed into the soft labels, and the head fitted again.

Letters: N pool images, D dimensions, C names, M images that the teacher has named.

1. *Who is taught.* Images without a teacher's label only: the others keep their evidence in every round. With a label
   for every image nothing changes.
2. *Probabilities.* A head has logits at its own scale. They are divided by the temperature at which they are likest
   the soft labels the head was fitted on.
3. *Aligned.* What the student says is scaled, name by name, to the mass that the propagated labels give the name
   (``aligned``), so that common names do not grow.
4. *Guard.* Self-training can collapse: a few names win ever more images. A round is undone, and the reason kept, after
   which too few of the names that won images at first still win some, the mean prediction has narrowed, or the head
   repeats too few of the teacher's labels. All is compared with the head before self-training, so that a slow collapse
   is one, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.near.calibrate import probabilities
from fgvr.methods.student.heads import Head
from fgvr.methods.student.scale import likeliest_scale
from fgvr.methods.student.settings import SelfTrainingSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCK = 4096
"""Images whose logits are in memory at once."""
FITTED = 1024
"""Images at most that a head's scale is fitted on."""


@dataclass(frozen=True)
class Round:
    """What a head makes of the pool; round 0 is the head before self-training."""

    names: int
    """Names that win at least one image."""
    still: float
    """Share of the names that won images in round 0 which still win some."""
    entropy: float
    """Of the mean prediction over the pool, in nats."""
    agreement: float
    """Share of the teacher's labels that the head repeats; NaN without labels."""
    changed: float
    """Share of the pool whose most probable name is another than a round before; 0 for round 0."""


@dataclass(frozen=True)
class SelfTrained:
    """The last round that the guard let through."""

    soft: csr_matrix
    """(N, C) float32, the soft labels the head was fitted on."""
    head: Head
    rounds: tuple[Round, ...]
    """Round 0 first; where a round was undone it is the last of these."""
    stopped: str | None
    """Why a round was undone; ``None`` where all rounds were run."""


def self_train(
    features: np.ndarray,
    soft: csr_matrix,
    *,
    rows: np.ndarray,
    labels: np.ndarray,
    fit: Callable[[csr_matrix], Head],
    settings: SelfTrainingSettings,
    keep: int = 20,
) -> SelfTrained:
    """Fit a head, and fit it again on soft labels that it helped to make, ``settings.rounds`` times.

    Args:
        features: (N, D) float32, unit norm.
        soft: (N, C), propagated; a row's sum is the image's weight.
        rows: (M,) int64, the images the teacher has named.
        labels: (M,) int64, its names; -1 for none.
        fit: a head from soft labels (N, C).
        settings: rounds, share, guard.
        keep: most names kept an image.
    """
    taught = np.ones(len(features), dtype=bool)
    taught[rows[labels >= 0]] = False
    head = fit(soft)
    said = predict(features, head, soft, keep=keep)
    rounds = [_round(said, said, said, rows, labels)]
    first, current = said, soft
    for _ in range(settings.rounds):
        lesson = sharpened(said.soft, settings.sharpen)
        if settings.align:
            lesson = aligned(lesson, soft)
        tried = mixed(soft, lesson, taught, share=settings.share)
        new_head = fit(tried)
        new_said = predict(features, new_head, tried, keep=keep)
        rounds.append(_round(new_said, said, first, rows, labels))
        reason = collapse(rounds[0], rounds[-1], settings)
        if reason is not None:
            return SelfTrained(current, head, tuple(rounds), reason)
        current, head, said = tried, new_head, new_said
    return SelfTrained(current, head, tuple(rounds), None)


@dataclass(frozen=True)
class Predictions:
    """What a head says of the pool."""

    winners: np.ndarray
    """(N,) int64."""
    mean: np.ndarray
    """(C,) float64, the mean prediction."""
    soft: csr_matrix
    """(N, C) float32: the most probable names of each image, rows sum to one."""


def predict(features: np.ndarray, head: Head, soft: csr_matrix, *, keep: int = 20) -> Predictions:
    """The head's probabilities for every image, at the temperature that suits ``soft``, in blocks of images."""
    from scipy.sparse import csr_matrix

    scale = fit_scale(features, head, soft)
    names, values, winners = [], [], []
    mean = np.zeros(soft.shape[1], dtype=np.float64)
    for at in range(0, len(features), BLOCK):
        chance = probabilities(head.logits(features[at : at + BLOCK]), 1.0 / scale)
        mean += chance.sum(axis=0, dtype=np.float64)
        winners.append(chance.argmax(axis=1))
        top = np.argpartition(-chance, min(keep, chance.shape[1]) - 1, axis=1)[:, :keep]
        kept = np.take_along_axis(chance, top, axis=1)
        names.append(top)
        values.append(kept / kept.sum(axis=1, keepdims=True))
    found = np.concatenate(names)
    cells = (np.concatenate(values).ravel(), (np.repeat(np.arange(len(found)), found.shape[1]), found.ravel()))
    table = csr_matrix(cells, shape=soft.shape, dtype=np.float32)
    return Predictions(np.concatenate(winners).astype(np.int64), mean / max(len(features), 1), table)


def fit_scale(features: np.ndarray, head: Head, soft: csr_matrix, *, most: int = FITTED) -> float:
    """What the head's logits are multiplied by to be likest the soft labels; 1 where there are none.

    On at most ``most`` images, evenly over the pool.
    """
    known = np.flatnonzero(np.diff(soft.tocsr().indptr))
    known = known[np.linspace(0, len(known) - 1, min(most, len(known))).astype(np.int64)]
    return likeliest_scale(head.logits(features[known]), soft[known].toarray())


def sharpened(said: csr_matrix, exponent: float) -> csr_matrix:
    """Rows to the power of ``exponent``, summing to one again."""
    powered = said.copy().tocsr()
    powered.data = powered.data**exponent
    return _normalised(powered)


def aligned(said: csr_matrix, soft: csr_matrix) -> csr_matrix:
    """``said`` with each name's column scaled to the mass it has in ``soft``, rows summing to one again.

    Distribution alignment (Berthelot et al. 2020, "ReMixMatch", section 3.1), with the propagated labels in place of
    the true ones: a name does not win by having won. Masses are compared over the images that ``soft`` knows.
    """
    from scipy.sparse import csr_matrix, diags_array

    known = np.flatnonzero(np.asarray(soft.sum(axis=1)).ravel() > 0)
    has = np.asarray(said[known].sum(axis=0), dtype=np.float64).ravel()
    wanted = np.asarray(_normalised(soft)[known].sum(axis=0), dtype=np.float64).ravel()
    return _normalised(csr_matrix(said @ diags_array(wanted / np.where(has > 0, has, 1.0))))


def mixed(soft: csr_matrix, said: csr_matrix, taught: np.ndarray, *, share: float) -> csr_matrix:
    """``(1 - share) soft + share said`` in the rows ``taught`` (N,) bool, ``soft`` in the others.

    Rows of ``said`` sum to one, or are empty and teach nothing; they are scaled to the sum of the row in ``soft``, so
    that images keep their weights. A row of which ``soft`` knows nothing is all the student's, at weight one.
    """
    from scipy.sparse import csr_matrix, diags_array

    weight = np.asarray(soft.sum(axis=1)).ravel()
    says = np.asarray(said.sum(axis=1)).ravel() > 0
    part = np.where(taught & says, np.where(weight > 0, share, 1.0), 0.0)
    height = part * np.where(weight > 0, weight, 1.0)
    return csr_matrix(diags_array(1.0 - part) @ soft + diags_array(height) @ said, dtype=np.float32)


def _normalised(table: csr_matrix) -> csr_matrix:
    """Rows divided by their sums; empty rows stay empty."""
    from scipy.sparse import csr_matrix, diags_array

    total = np.asarray(table.sum(axis=1)).ravel()
    scaled = csr_matrix(diags_array(1.0 / np.where(total > 0, total, 1.0)) @ table, dtype=np.float32)
    scaled.eliminate_zeros()
    return scaled


def collapse(first: Round, after: Round, settings: SelfTrainingSettings) -> str | None:
    """Why a round must be undone, in words; ``None`` where it may stand beside the ``first`` one, before any."""
    if after.still < settings.least_names:
        left = round(after.still * first.names)
        return f"only {left} of {first.names} names that won images still did"
    if after.entropy < first.entropy - settings.least_entropy:
        return f"the mean prediction narrowed from {first.entropy:.2f} to {after.entropy:.2f} nats"
    if after.agreement < first.agreement - settings.least_agreement:
        return f"agreement with the teacher fell from {first.agreement:.1%} to {after.agreement:.1%}"
    return None


def _round(said: Predictions, before: Predictions, first: Predictions, rows: np.ndarray, labels: np.ndarray) -> Round:
    mean = said.mean[said.mean > 0]
    named = labels >= 0
    return Round(
        names=len(np.unique(said.winners)),
        still=float(np.isin(np.unique(first.winners), said.winners).mean()),
        entropy=float(-(mean * np.log(mean)).sum()),
        agreement=float((said.winners[rows[named]] == labels[named]).mean()) if named.any() else float("nan"),
        changed=float((said.winners != before.winners).mean()),
    )
