"""Retriever and MLLM decide together, and how much the MLLM's word counts is learned.

The paper lets the MLLM overrule the retriever without conditions; where it does not know the names this costs up to 24
points (Flowers102, table 7). Here

    log p(c | image) = r_c / temperature + weight * m_c  (normalised over the candidates),

with r the retriever's log-probabilities and m the MLLM's after `bounded`: an MLLM is often certain and wrong, so its
word is mixed with the doubt that it says nothing, ``k ((1 - doubt) p + doubt / k)``. At doubt 0.2 and k = 5 no answer
speaks for a candidate by more than 4.2 to 1, nor against it by more than 5 to 1 (at weight 1).

Three ways to learn the weight; each gives 0 unless what the MLLM adds is beyond chance (``z`` standard errors):

- `fit_weight`: labelled images whose candidates came from a memory without them (leave-one-out).
- `agreement_weight`: images without labels.
- `truth_in_set_weight`: one labelled image a class, where leave-one-out retrieval cannot find the truth.

Rows of NaN (not asked, not answered) keep the retriever's word untouched. All arrays are (N, k), natural logs, -inf
where a row has fewer candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgvr.methods.rar.fuse_numerics import Array, derangement, fit_slopes, largest, log_softmax, log_sum

DOUBT = 0.2
"""Probability that an answer says nothing. On the embedded world anything from 0.05 to 0.4 does nearly as well."""
SIGNIFICANCE = 1.64
"""Standard errors by which the MLLM must help: one-sided 5 %."""
FOLDS = 5
LEAST = 20
"""Images; from fewer no weight is learned."""
SHRINK = 0.5
"""Share of a weight learned without the retriever's own labelled mistakes that is believed."""
_LOW = -60.0


@dataclass(frozen=True)
class Weight:
    """What was learned. The defaults are the retriever alone."""

    weight: float = 0.0
    temperature: float = 1.0
    gain: float = 0.0
    """Held-out gain in log-likelihood per image, nats (of agreement: in the log of agreement), before the guard."""
    error: float = 0.0
    """Its standard error."""
    images: int = 0
    """Used for the fit."""
    note: str = ""
    """Why the weight is 0, in words."""


def bounded(mllm_log_probs: ArrayLike, *, doubt: float = DOUBT) -> Array:
    """(N, k) evidence ``log(k ((1 - doubt) p + doubt / k))`` with p normalised over a row's candidates; 0 says nothing.

    Rows with a NaN become rows of 0. ``doubt`` in [0, 1].
    """
    scores = np.asarray(mllm_log_probs, dtype=np.float64)
    filled = ~np.isneginf(scores)
    silent = np.isnan(scores).any(axis=1, keepdims=True) | ~filled.any(axis=1, keepdims=True)
    said = np.exp(log_softmax(np.where(silent, 0.0, scores)))
    size = filled.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        evidence = np.log(size * (1.0 - doubt) * said + doubt)
    return np.where(silent | ~filled, 0.0, np.maximum(evidence, _LOW))


def fuse(
    retrieval_log_probs: ArrayLike,
    mllm_log_probs: ArrayLike,
    weight: float,
    *,
    temperature: float = 1.0,
    doubt: float = DOUBT,
) -> Array:
    """(N, k) float64 log-probabilities over each row's candidates, see the module docstring.

    A row of NaN in ``mllm_log_probs`` gives the retriever's row, normalised, at temperature 1; so does weight 0 at
    temperature 1. Raises ValueError for other shapes, a negative weight or a temperature that is not positive.
    """
    retrieval, scores = _pair(retrieval_log_probs, mllm_log_probs)
    if not (weight >= 0 and temperature > 0):
        raise ValueError(f"weight must be at least 0 and temperature positive: {weight}, {temperature}")
    silent = np.isnan(scores).any(axis=1, keepdims=True)
    fused = retrieval / temperature + weight * bounded(scores, doubt=doubt)
    return log_softmax(np.where(silent, retrieval, fused))


def fit_weight(
    retrieval_log_probs: ArrayLike,
    mllm_log_probs: ArrayLike,
    truth: ArrayLike,
    *,
    doubt: float = DOUBT,
    z: float = SIGNIFICANCE,
    folds: int = FOLDS,
    seed: int = 0,
) -> Weight:
    """Temperature and weight of greatest likelihood on labelled images, guarded by cross-validation.

    Args:
        truth: (N,) position of the true class among the candidates, -1 where it is not among them (nothing to learn).
        z, folds: the weight is kept only if, on images left out of the fit in turn, the mean gain in log-likelihood
            over the retriever alone (with its own fitted temperature) is above ``z`` standard errors, and no more
            images are named wrongly. Else weight 0 and temperature 1: retrieval as it was.

    The likelihood is concave in (1 / temperature, weight), so the fit has one answer.
    """
    retrieval, scores = _pair(retrieval_log_probs, mllm_log_probs)
    position = np.asarray(truth, dtype=np.int64)
    used = (position >= 0) & ~np.isnan(scores).any(axis=1) & ((~np.isneginf(retrieval)).sum(axis=1) > 1)
    if int(used.sum()) < LEAST:
        return Weight(images=int(used.sum()), note=f"fewer than {LEAST} images to learn from")
    retrieval, evidence, position = retrieval[used], bounded(scores[used], doubt=doubt), position[used]
    gains, better = _held_out(retrieval, evidence, position, folds=folds, seed=seed)
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    slope, weight = fit_slopes(retrieval, evidence, position)
    if gain <= z * error or weight <= 0:
        return Weight(0.0, 1.0, gain, error, len(gains), "the gain in likelihood is not beyond chance")
    if better < 0:
        return Weight(0.0, 1.0, gain, error, len(gains), "fewer images would be named rightly")
    return Weight(weight, 1.0 / max(slope, 1e-3), gain, error, len(gains))


def agreement_weight(
    retrieval_log_probs: ArrayLike,
    mllm_log_probs: ArrayLike,
    *,
    shrink: float = SHRINK,
    doubt: float = DOUBT,
    z: float = SIGNIFICANCE,
    seed: int = 0,
) -> Weight:
    """The weight under which two witnesses agree most, from images without labels.

    Maximises ``mean_i log sum_c p_retrieval(c | i) softmax(weight m_i)_c``. If the MLLM's answers have nothing to do
    with the images, the mean of the softmax over images is flat where candidates are exchangeable, and by Jensen's
    inequality (the log is concave) any weight above 0 loses. Candidates are not quite exchangeable: an MLLM that always
    prefers the first place agrees with the retriever for no good reason. So the gain must be above ``z`` standard
    errors *beyond* what the same answers gain when dealt out to the wrong images. Errors that both share cannot be seen
    here, so only the share ``shrink`` of the weight is believed; prefer `fit_weight` where there are labels.
    """
    retrieval, scores = _pair(retrieval_log_probs, mllm_log_probs)
    used = ~np.isnan(scores).any(axis=1) & ((~np.isneginf(retrieval)).sum(axis=1) > 1)
    count = int(used.sum())
    if count < LEAST:
        return Weight(images=count, note=f"fewer than {LEAST} images to learn from")
    chances, evidence = log_softmax(retrieval[used]), bounded(scores[used], doubt=doubt)
    open_ = ~np.isneginf(chances)

    def agreement(weight: float, said: Array) -> Array:
        return log_sum(chances + log_softmax(np.where(open_, weight * said, -np.inf)))

    weight = largest(lambda value: float(agreement(value, evidence).mean()))
    flat = agreement(0.0, evidence)
    dealt = np.random.default_rng(seed)
    wrong = np.mean([agreement(weight, evidence[derangement(count, dealt)]) for _ in range(FOLDS)], axis=0)
    gains = agreement(weight, evidence) - flat
    surplus = gains - np.maximum(0.0, (wrong - flat).mean())
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(count))
    if weight <= 0 or float(surplus.mean()) <= z * error:
        return Weight(0.0, 1.0, gain, error, count, "no agreement beyond chance")
    return Weight(shrink * weight, 1.0, gain, error, count)


def truth_in_set_weight(
    mllm_log_probs: ArrayLike,
    truth: ArrayLike,
    *,
    shrink: float = SHRINK,
    doubt: float = DOUBT,
    z: float = SIGNIFICANCE,
) -> Weight:
    """The MLLM's own calibration: the weight under which its evidence alone fits the truth best, times ``shrink``.

    For one shot a class: ask about each image with a set of its true class and the k - 1 classes nearest to it, the
    truth at a random place. Such sets are not the retriever's mistakes, on which an MLLM tends to fail as well, so only
    the share ``shrink`` of the fitted weight is believed. ``truth``: (N,) its position, -1 to leave an image out.
    """
    scores = np.asarray(mllm_log_probs, dtype=np.float64)
    position = np.asarray(truth, dtype=np.int64)
    used = (position >= 0) & ~np.isnan(scores).any(axis=1)
    count = int(used.sum())
    if count < LEAST:
        return Weight(images=count, note=f"fewer than {LEAST} images to learn from")
    scores, position, rows = scores[used], position[used], np.arange(count)
    open_, evidence = ~np.isneginf(scores), bounded(scores, doubt=doubt)

    def likelihood(weight: float) -> Array:
        return log_softmax(np.where(open_, weight * evidence, -np.inf))[rows, position]

    weight = largest(lambda value: float(likelihood(value).mean()))
    gains = likelihood(weight) - likelihood(0.0)
    gain, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(count))
    if weight <= 0 or gain <= z * error:
        return Weight(0.0, 1.0, gain, error, count, "the MLLM does not tell these classes apart")
    return Weight(shrink * weight, 1.0, gain, error, count)


def position_of(classes: ArrayLike, true: ArrayLike) -> NDArray[np.int64]:
    """(N,) where the true class (N,) stands in its row of ``classes`` (N, k); -1 where it does not."""
    hits = np.asarray(classes) == np.asarray(true)[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), -1)


def _pair(retrieval_log_probs: ArrayLike, mllm_log_probs: ArrayLike) -> tuple[Array, Array]:
    retrieval = np.asarray(retrieval_log_probs, dtype=np.float64)
    scores = np.asarray(mllm_log_probs, dtype=np.float64)
    if retrieval.ndim != 2 or retrieval.shape != scores.shape:
        raise ValueError(f"both must be (N, k): {retrieval.shape} and {scores.shape}")
    return retrieval, np.where(np.isneginf(retrieval), -np.inf, scores)


def _held_out(
    retrieval: Array, evidence: Array, truth: NDArray[np.int64], *, folds: int, seed: int
) -> tuple[Array, int]:
    """Per image the gain in log-likelihood when left out, and by how many more images are named rightly."""
    count = len(truth)
    fold = np.random.default_rng(seed).permutation(count) % folds
    gains, better = np.zeros(count), 0
    for number in range(folds):
        inside, out = fold != number, fold == number
        rows = np.arange(int(out.sum()))
        slope, weight = fit_slopes(retrieval[inside], evidence[inside], truth[inside])
        alone, _ = fit_slopes(retrieval[inside], None, truth[inside])
        fused = log_softmax(slope * retrieval[out] + weight * evidence[out])
        before = log_softmax(alone * retrieval[out])
        gains[out] = fused[rows, truth[out]] - before[rows, truth[out]]
        better += int((fused.argmax(axis=1) == truth[out]).sum() - (before.argmax(axis=1) == truth[out]).sum())
    return gains, better
