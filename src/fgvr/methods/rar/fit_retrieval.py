"""How sure may the retriever be: temperatures and weights fitted on the memory itself (ours; the paper has none).

The few labelled images know their class, so each can ask the memory without itself. *Leave-one-shot-out*: image number
j of a class does not see image number j of any class, so that its own class is not the only one that lacks a picture
(plain leave-one-out with two shots compares one image of the right class with two of every wrong one, and learns to be
unsure). Copies of the image (equal content hash) are never seen. Then, by maximum likelihood:

1. the image temperature, and with it the way to draw a class's rows together (``aggregate``, its temperature);
2. the text temperature: labelled images against texts, which need not be left out;
3. the two weights of the fusion. A text side that does not know the names gets a high temperature, which makes it
   flat, or a low weight: it cannot do harm.

Each estimate is drawn weakly to its default (a log-normal prior of standard deviation ``LOG_SPREAD`` on temperatures, a
normal one of ``WEIGHT_SPREAD`` on weights), so that two classes of two images do not end up certain of everything.

*One image a class.* Leaving it out leaves nothing to recognise. Pretending (scores against augmented copies of itself,
say) would only measure how alike copies are. So only the text temperature is fitted; the image temperature stays at
its default (``resolved``), and the weights follow from what the texts tell about the labelled images: with s the share
of the log C nats they save, the text weight is its default times s squared, the image weight 1 - s (1 - its default).
The rule is ours, from the embedded world; texts that tell nothing get no say.
*No labelled images*: the encoder's own scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.retrieve import DEFAULT, MemoryLike, Retriever, RetrieveSettings, class_scores, same_rows
from fgvr.methods.rar.retrieve_scores import AGGREGATES, Aggregate
from fgvr.methods.rar.retrieve_settings import resolved

LOG_SPREAD = 0.5
TEXT_LOG_SPREAD = 2.0
"""Wider: whether texts know these classes is just the question, and every labelled image answers it."""
WEIGHT_SPREAD = 0.5
MOST_WEIGHT = 2.0
SOFT = (0.25, 0.5, 1.0)
"""Temperatures tried for ``softmax-sum``, as parts of the default image temperature."""
WORTH = 1e-4
"""Nats by which another way of drawing rows together must be better to be taken."""
CELLS = 16 * 2**20
"""Most scores (queries x classes) a calibration looks at."""


@dataclass(frozen=True)
class FittedRetrieval:
    """Calibrated settings, and what they rest on."""

    settings: RetrieveSettings
    """Without ``None``."""
    rule: str
    """``leave-one-shot-out``, ``text only`` (one image a class) or ``defaults`` (no labelled images)."""
    queries: int
    """Left-out images that the image temperature and the weights rest on."""
    image_loss: float | None = None
    """Mean negative log-likelihood of the truth in nats, image side alone; likewise the others."""
    text_loss: float | None = None
    fused_loss: float | None = None


def fit_retrieval(
    memory: MemoryLike,
    settings: RetrieveSettings = DEFAULT,
    *,
    aggregates: Sequence[Aggregate] = AGGREGATES,
    most: int = 2000,
    seed: int = 0,
    device: str = "cpu",
) -> FittedRetrieval:
    """Calibrate ``settings`` on the memory's labelled images. Deterministic for a ``seed``.

    Args:
        memory: with image rows, text rows or both.
        settings: the starting point. A given (not ``None``) temperature of ``softmax-sum`` is kept; image and text
            temperatures and the weights are fitted whatever they are.
        aggregates: to choose from by likelihood; one of them to keep it.
        most: images that are left out at most (fewer with very many classes), drawn by ``seed``.

    ``hits`` plays no part in the calibration: it does not change the scores of the best classes.
    """
    start = resolved(settings, memory)
    rows = _drawn(memory, most, seed)
    text = _text_scores(memory, rows, device) if settings.source != "image" else None
    fitted = FittedRetrieval(start, "defaults", 0)
    truth = np.asarray(memory.images.labels)[rows]
    if text is not None:
        fitted = _with_text(fitted, text, truth)
    if settings.source == "text" or not len(rows):
        return fitted
    fitted, image, left = _with_images(fitted, memory, rows, aggregates, settings.temperature is not None, device)
    if text is None or not len(left):
        return fitted
    return _with_weights(fitted, image, text[left], truth[left])


def left_out(
    memory: MemoryLike, settings: RetrieveSettings, *, rows: np.ndarray | None = None, device: str = "cpu"
) -> Candidates:
    """Candidates of the memory's own images, each without itself (as in calibration); ``rows`` (Q,), all by default.

    An image whose class has no other row has the wrong candidates by construction, unless a text speaks for it.
    """
    retriever, queries, pairs, numbers = _leaving_out(memory, settings, rows, device)
    return retriever.candidates(queries, exclude=pairs, leave_out=numbers)


def left_out_log_probs(
    memory: MemoryLike, settings: RetrieveSettings, *, rows: np.ndarray | None = None, device: str = "cpu"
) -> np.ndarray:
    """As ``left_out``: log-probabilities of all classes, (Q, C) float32."""
    retriever, queries, pairs, numbers = _leaving_out(memory, settings, rows, device)
    return retriever.log_probs(queries, exclude=pairs, leave_out=numbers)


def shot_numbers(labels: np.ndarray) -> np.ndarray:
    """(N,) int64: the how-manieth row of its class each row is, from 0."""
    labels = np.asarray(labels, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels) if len(labels) else np.empty(0, np.int64)
    numbers = np.empty(len(labels), dtype=np.int64)
    numbers[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return numbers


def _drawn(memory: MemoryLike, most: int, seed: int) -> np.ndarray:
    """Image rows to leave out, ascending."""
    count = len(memory.images.labels)
    wanted = min(count, most, max(1, CELLS // max(1, len(memory.names))))
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def _leaving_out(
    memory: MemoryLike, settings: RetrieveSettings, rows: np.ndarray | None, device: str
) -> tuple[Retriever, np.ndarray, np.ndarray, np.ndarray | None]:
    chosen = np.arange(len(memory.images.labels)) if rows is None else np.asarray(rows, dtype=np.int64)
    retriever = Retriever.of(memory, settings, leaving_out=True, device=device)
    numbers = None if settings.hits is not None else shot_numbers(memory.images.labels)[chosen]
    return retriever, np.asarray(memory.images.vectors[chosen], dtype=np.float32), twins(memory, chosen), numbers


def twins(memory: MemoryLike, rows: np.ndarray) -> np.ndarray:
    """Pairs (position in ``rows``, image row) of equal content, the row itself included, (E, 2) int64."""
    hashes = memory.images.hashes or ("",) * len(memory.images.labels)
    pairs = same_rows(hashes)
    position = np.full(len(hashes), -1, dtype=np.int64)
    position[rows] = np.arange(len(rows))
    pairs[:, 0] = position[pairs[:, 0]]
    pairs = pairs[pairs[:, 0] >= 0]
    return np.asarray(pairs[np.argsort(pairs[:, 0], kind="stable")])


def _text_scores(memory: MemoryLike, rows: np.ndarray, device: str) -> np.ndarray | None:
    if not len(memory.texts.labels) or not len(rows):
        return None
    queries = np.asarray(memory.images.vectors[rows], dtype=np.float32)
    return class_scores(
        queries, memory.texts.vectors, memory.texts.labels, len(memory.names), aggregate="mean", device=device
    )


def _with_text(fitted: FittedRetrieval, scores: np.ndarray, truth: np.ndarray) -> FittedRetrieval:
    known = np.isfinite(scores[np.arange(len(truth)), truth])
    if not known.any():
        return fitted
    default = _value(fitted.settings.text_temperature)
    temperature, loss = fit_temperature(scores[known], truth[known], default=default, log_spread=TEXT_LOG_SPREAD)
    told = float(np.clip(1.0 - loss / np.log(max(2, scores.shape[1])), 0.0, 1.0))
    image, text = 1.0 - (1.0 - fitted.settings.image_weight) * told, fitted.settings.text_weight * told**2
    settings = replace(fitted.settings, text_temperature=temperature, image_weight=image, text_weight=text)
    return replace(fitted, settings=settings, rule="text only", text_loss=loss)


def _with_images(
    fitted: FittedRetrieval,
    memory: MemoryLike,
    rows: np.ndarray,
    aggregates: Sequence[Aggregate],
    keep_soft: bool,
    device: str,
) -> tuple[FittedRetrieval, np.ndarray, np.ndarray]:
    """Image temperature and aggregate; with the image scores of the rows used, and their positions in ``rows``."""
    settings = fitted.settings
    default, truth = _value(settings.image_temperature), np.asarray(memory.images.labels)[rows]
    leaving = {"exclude": twins(memory, rows), "leave_out": shot_numbers(memory.images.labels)[rows]}
    queries = np.asarray(memory.images.vectors[rows], dtype=np.float32)
    best: tuple[float, RetrieveSettings, np.ndarray, np.ndarray] | None = None
    for aggregate, temperature in _ways(settings, aggregates, keep_soft):
        scores = class_scores(
            queries,
            memory.images.vectors,
            memory.images.labels,
            len(memory.names),
            aggregate=aggregate,
            temperature=temperature,
            device=device,
            **leaving,
        )
        left = np.flatnonzero(np.isfinite(scores[np.arange(len(rows)), truth]))
        if not len(left):
            return fitted, scores, left
        found, loss = fit_temperature(scores[left], truth[left], default=default)
        if best is None or loss < best[0] - WORTH:
            chosen = replace(settings, aggregate=aggregate, temperature=temperature, image_temperature=found)
            best = (loss, chosen, scores[left], left)
    if best is None:
        raise ValueError("at least one aggregate is needed")
    loss, settings, scores, left = best
    done = replace(fitted, settings=settings, rule="leave-one-shot-out", queries=len(left), image_loss=loss)
    return done, scores, left


def _ways(
    settings: RetrieveSettings, aggregates: Sequence[Aggregate], keep_soft: bool
) -> list[tuple[Aggregate, float]]:
    """(aggregate, its temperature) to try, those of the settings first: with two images a class all are equal."""
    own = _value(settings.temperature)
    soft = [own] if keep_soft else [own, *(part * _value(settings.image_temperature) for part in SOFT)]
    ways = [(one, t) for one in aggregates for t in (soft if one == "softmax-sum" else soft[:1])]
    return sorted(dict.fromkeys(ways), key=lambda way: way[0] != settings.aggregate)


def _with_weights(fitted: FittedRetrieval, image: np.ndarray, text: np.ndarray, truth: np.ndarray) -> FittedRetrieval:
    settings = fitted.settings
    a = log_softmax(image / _value(settings.image_temperature))
    b = log_softmax(text / _value(settings.text_temperature))
    a, b = np.where(np.isfinite(a), a, b), np.where(np.isfinite(b), b, a)
    weights, loss = fit_weights(a, b, truth, default=(settings.image_weight, settings.text_weight))
    settings = replace(settings, image_weight=weights[0], text_weight=weights[1])
    return replace(fitted, settings=settings, fused_loss=loss)


def fit_temperature(
    scores: np.ndarray, truth: np.ndarray, *, default: float, log_spread: float = LOG_SPREAD
) -> tuple[float, float]:
    """Temperature of a softmax over scores (Q, C), -inf allowed off the truth (Q,); and the mean loss in nats.

    Searched between a twentieth and a hundred times ``default``, which is also the prior's centre.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_ratio: float) -> float:
        return float(-_picked(log_softmax(scores / (default * np.exp(log_ratio))), truth).sum())

    def penalised(log_ratio: float) -> float:
        return loss(log_ratio) + 0.5 * (log_ratio / log_spread) ** 2

    found = float(minimize_scalar(penalised, bounds=(-np.log(20.0), np.log(100.0)), method="bounded").x)
    return float(default * np.exp(found)), loss(found) / len(truth)


def fit_weights(
    image: np.ndarray, text: np.ndarray, truth: np.ndarray, *, default: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    """Weights in [0, ``MOST_WEIGHT``] of two sides' log-probabilities (Q, C) in their pool; and the mean loss in nats.

    The problem is convex: one answer whatever the start. -inf only where both sides have it.
    """
    from scipy.optimize import minimize

    both = np.isfinite(image)
    sides = [np.where(both, side, 0.0) for side in (image, text)]
    centre = np.asarray(default)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        pooled = log_softmax(np.where(both, weights[0] * sides[0] + weights[1] * sides[1], -np.inf))
        chance = np.exp(pooled)
        slope = [float((chance * side).sum() - _picked(side, truth).sum()) for side in sides]
        return float(-_picked(pooled, truth).sum()), np.asarray(slope)

    def penalised(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(weights)
        off = (weights - centre) / WEIGHT_SPREAD
        return value + 0.5 * float(off @ off), slope + off / WEIGHT_SPREAD

    found = minimize(penalised, centre, jac=True, method="L-BFGS-B", bounds=[(0.0, MOST_WEIGHT)] * 2).x
    return (float(found[0]), float(found[1])), loss(found)[0] / len(truth)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, float64; -inf stays -inf, and a row without a finite score is all -inf."""
    scores = np.asarray(scores, dtype=np.float64)
    best = scores.max(axis=-1, keepdims=True)
    shifted = scores - np.where(np.isfinite(best), best, 0.0)
    total = np.exp(shifted).sum(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.maximum(total, np.finfo(np.float64).tiny)))


def _picked(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.arange(len(truth)), truth])


def _value(number: float | None) -> float:
    assert number is not None
    return number
