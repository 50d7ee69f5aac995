"""Labels spread from the images that have some over the whole pool: Zhou et al. 2004, "Learning with local and global
consistency", section 3.

    F = (1 - alpha) (I - alpha S)^-1 Y

S: the affinity (N, N); Y: seeds (N, C); alpha: share of a label that comes from the neighbours. Letters: N pool images,
C names.

1. *Solved* by the paper's own iteration ``F <- alpha S F + (1 - alpha) Y``, from nothing. A step only ever adds, so
   that what a row still lacks is known from the row sums alone: these are iterated first, to the end, as one vector.
   The number of steps after which every row has all but ``tolerance`` of its mass is then right for every name.
2. *Normalised.* The paper takes the largest value of a row. Here the row is divided by its sum and read as
   probabilities, as in Iscen et al. 2019 (section 4.2).
3. *Bounded memory.* Names are solved in blocks, and only the ``keep`` largest values of a row outlive their block:
   N (block + keep) numbers, never N C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.near.calibrate import probabilities
from fgvr.methods.student.heads import Head
from fgvr.methods.student.scale import likeliest_scale

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def propagate(
    affinity: csr_matrix,
    seeds: csr_matrix,
    *,
    alpha: float = 0.5,
    keep: int = 20,
    tolerance: float = 1e-4,
    most: int = 100,
    block: int = 64,
) -> csr_matrix:
    """Soft labels for every image that seeds can reach.

    Args:
        affinity: (N, N) from ``graph.affinity``: symmetric, eigenvalues in [-1, 1].
        seeds: (N, C) with values >= 0.
        alpha: in [0, 1); 0 leaves the seeds as they are.
        keep: most names kept an image, the most probable.
        tolerance: share of a row's mass that may be missing when the iteration ends.
        most: steps, whatever the tolerance; no label gets further than so many edges.
        block: names solved at a time.

    Returns:
        (N, C) float32; a row sums to one, or is empty where no seed reaches. Columns ascend inside a row.

    Raises ``ValueError`` for values out of range and shapes that do not fit.
    """
    _check(affinity, seeds, alpha, keep)
    steps = steps_needed(affinity, seeds, alpha=alpha, tolerance=tolerance, most=most)
    best = _Best(seeds.shape[0], keep)
    columns = seeds.tocsc()
    seeded = np.flatnonzero(np.diff(columns.indptr))
    step = affinity.astype(np.float32) * np.float32(alpha)
    for at in range(0, len(seeded), block):
        names = seeded[at : at + block]
        start = np.float32(1.0 - alpha) * columns[:, names].toarray().astype(np.float32)
        spread = start
        for _ in range(steps):
            spread = step @ spread
            spread += start
        best.offer(names, spread)
    return best.normalised(seeds.shape[1])


def mass(affinity: csr_matrix, seeds: csr_matrix, *, alpha: float, steps: int) -> np.ndarray:
    """(N,) float64: the row sums of F after ``steps``: how much evidence reaches each image, less the further away."""
    start = (1.0 - alpha) * np.asarray(seeds.sum(axis=1), dtype=np.float64).ravel()
    total = start
    for _ in range(steps):
        total = alpha * (affinity @ total) + start
    return total


def steps_needed(
    affinity: csr_matrix, seeds: csr_matrix, *, alpha: float, tolerance: float = 1e-4, most: int = 100
) -> int:
    """Steps after which every row has at least 1 - ``tolerance`` of the mass it has in the end; at most ``most``."""
    if alpha == 0.0:
        return 0
    final = mass(affinity, seeds, alpha=alpha, steps=4 * most)
    start = (1.0 - alpha) * np.asarray(seeds.sum(axis=1), dtype=np.float64).ravel()
    total = start
    for step in range(most):
        if bool((total >= (1.0 - tolerance) * final).all()):
            return step
        total = alpha * (affinity @ total) + start
    return most


def certainty(soft: csr_matrix) -> np.ndarray:
    """(N,) float32 in [0, 1]: 1 - entropy over log C of each row's distribution; 0 for empty rows."""
    soft = soft.tocsr()
    total = np.asarray(soft.sum(axis=1), dtype=np.float64).ravel()
    row = np.repeat(np.arange(soft.shape[0]), np.diff(soft.indptr))
    share = soft.data / total[row]
    spread = -np.bincount(row, weights=share * np.log(np.maximum(share, 1e-30)), minlength=soft.shape[0])
    sure = 1.0 - spread / np.log(max(soft.shape[1], 2))
    return np.where(total > 0, np.clip(sure, 0.0, 1.0), 0.0).astype(np.float32)


ALPHAS = (0.3, 0.5, 0.7, 0.9)
"""Tried by ``choose_alpha``. Not 0, no propagation: held-out labels think too well of it while they are few."""


@dataclass(frozen=True)
class AlphaChoice:
    """What was chosen, and how each value did on labels it had not seen."""

    alpha: float
    likelihood: dict[float, float]
    """Mean log-likelihood of the held-out labels under each value, in nats; empty where nothing could be held out."""


def choose_alpha(
    features: np.ndarray,
    affinity: csr_matrix,
    seeds: csr_matrix,
    *,
    rows: np.ndarray,
    labels: np.ndarray,
    fit: Callable[[csr_matrix], Head],
    alphas: Sequence[float] = ALPHAS,
    otherwise: float = 0.5,
    folds: int = 5,
    fold_of: np.ndarray | None = None,
    seed: int = 0,
) -> AlphaChoice:
    """The alpha whose soft labels make the best head, judged by the teacher's labels that were held out.

    The seeds of a fold of the labelled images are left out, the others propagated, a head fitted on what comes of it,
    and the fold's labels predicted. Of the values that are not clearly worse than the likeliest (by no more than one
    standard error of the difference, image by image) the one nearest to ``otherwise`` is taken.

    Args:
        features: (N, D) float32, unit norm.
        seeds: (N, C) of the labelled images.
        rows: (M,) int64, labelled images; ``labels``: (M,) int64, the teacher's names, -1 for none.
        fit: a head from soft labels; a quick one will do (image prototypes).
        alphas: each in [0, 1).
        otherwise: preferred where the labels do not tell, and taken where none can be held out.
        fold_of: (M,) int64 fold of each labelled image; drawn by ``seed`` where not given.
    """
    named = labels >= 0
    if fold_of is None:
        fold_of = np.random.default_rng(seed).permutation(len(rows)) % max(folds, 2)
    rows, labels, fold_of = rows[named], labels[named], fold_of[named]
    parts = [(held, _without(seeds, rows[held])) for held in (fold_of == fold for fold in np.unique(fold_of))]
    fair = _predictable(parts, labels)
    if fair.sum() < 2:
        return AlphaChoice(otherwise, {})

    def likelihood(alpha: float) -> np.ndarray:
        logits = np.zeros((len(rows), seeds.shape[1]), dtype=np.float32)
        for held, left in parts:
            logits[held] = fit(propagate(affinity, left, alpha=alpha)).logits(features[rows[held]])
        return label_likelihood(logits[fair], labels[fair])

    each = {alpha: likelihood(alpha) for alpha in alphas}
    best = max(alphas, key=lambda alpha: float(each[alpha].mean()))
    as_good = [alpha for alpha in alphas if not _clearly_below(each[alpha], each[best])]
    chosen = min(as_good, key=lambda alpha: abs(alpha - otherwise))
    return AlphaChoice(chosen, {alpha: float(values.mean()) for alpha, values in each.items()})


def label_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(M,) float64: log-probability of each label (M,) under logits (M, C) at their likeliest scale, in nats."""
    targets = np.zeros(logits.shape, dtype=np.float32)
    targets[np.arange(len(labels)), labels] = 1.0
    chance = probabilities(logits, 1.0 / likeliest_scale(logits, targets))
    return np.asarray(np.log(np.maximum(chance[np.arange(len(labels)), labels], 1e-12)))


def _predictable(parts: Sequence[tuple[np.ndarray, csr_matrix]], labels: np.ndarray) -> np.ndarray:
    """(M,) bool: labels that seeds outside their fold know too; the others nothing can predict, whatever alpha is."""
    fair = np.zeros(len(labels), dtype=bool)
    for held, left in parts:
        fair[held] = np.asarray(left.sum(axis=0)).ravel()[labels[held]] > 0
    return fair


def _clearly_below(values: np.ndarray, best: np.ndarray) -> bool:
    """By more than one standard error of the mean difference."""
    difference = best - values
    return bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))


def _without(seeds: csr_matrix, rows: np.ndarray) -> csr_matrix:
    """Seeds with nothing at ``rows``."""
    from scipy.sparse import csr_matrix, diags_array

    kept = np.ones(seeds.shape[0], dtype=np.float32)
    kept[rows] = 0.0
    without = csr_matrix(diags_array(kept) @ seeds)
    without.eliminate_zeros()
    return without


class _Best:
    """The largest values of each row so far, of columns that come block by block."""

    def __init__(self, count: int, keep: int) -> None:
        self.keep = keep
        self._names = np.zeros((count, 0), dtype=np.int64)
        self._values = np.zeros((count, 0), dtype=np.float32)

    def offer(self, names: np.ndarray, values: np.ndarray) -> None:
        """``values`` (N, b) of the columns ``names`` (b,)."""
        names = np.hstack([self._names, np.broadcast_to(names, values.shape)])
        values = np.hstack([self._values, values])
        if values.shape[1] > self.keep:
            top = np.argpartition(-values, self.keep - 1, axis=1)[:, : self.keep]
            names, values = np.take_along_axis(names, top, axis=1), np.take_along_axis(values, top, axis=1)
        self._names, self._values = names, values

    def normalised(self, num_names: int) -> csr_matrix:
        """(N, ``num_names``), rows divided by their sums."""
        from scipy.sparse import csr_matrix

        total = self._values.sum(axis=1, keepdims=True)
        share = self._values / np.where(total > 0, total, 1.0)
        row, place = np.nonzero(share)
        cells = (share[row, place], (row, self._names[row, place]))
        return csr_matrix(cells, shape=(len(share), num_names), dtype=np.float32)


def _check(affinity: csr_matrix, seeds: csr_matrix, alpha: float, keep: int) -> None:
    if affinity.shape != (seeds.shape[0], seeds.shape[0]):
        raise ValueError(f"affinity {affinity.shape} does not fit seeds {seeds.shape}")
    if not 0.0 <= alpha < 1.0:
        raise ValueError(f"alpha = {alpha} is not in [0, 1)")
    if keep < 1:
        raise ValueError(f"keep = {keep}: at least one name an image")
    if seeds.nnz and float(seeds.data.min()) < 0:
        raise ValueError("seeds are not negative")
