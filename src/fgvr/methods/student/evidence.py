"""What is known of every image the teacher was asked about: a calibrated soft label, not a set of candidates.

Letters: N pool images, M asked images, O opinions, C names, W names in question for an image. A naive-Bayes model with
the true name ``z`` of an image in the middle:

* its replies, through the noise channel of ``noise.py`` (accuracy per source, similar names, confidence, alternatives);
* its k nearest labelled images: each has the same true name with probability ``h`` (rising with the cosine), else a
  similar one or any, and votes with what its own replies say of it, ``(1 - h) kin + h P(z | its replies) / P(z)``, to
  the power ``temper``, and half of that where the image is no neighbour of the neighbour;
* the share of each name among the labels, smoothed, as the prior.

The posterior is the soft label, and its value at the image's first label the reliability of that label. So an agreeing
neighbour marks a right label, the finding on recorded labels. The free numbers are learned from the labelled images
only: they maximise the likelihood of every image's replies given its neighbours' (leave-one-out) plus a weak prior.

1. *Agreement.* Beyond Bayes, a label is trusted more where the neighbours agree among themselves (its own label left
   out): there the teacher finds it easy. Without ``agreement`` all labels of a source are trusted alike, and the
   neighbours only say which other names come into question.
2. *Unnamed.* An image without a usable reply has its neighbours' votes and the prior, never an invented name.
3. *Word.* Without ``neighbours`` and ``agreement`` nothing but the teacher tells right labels from wrong ones: a reply
   is taken at its word, one-hot, or at its chances where several were drawn in its call.
4. *Sparse.* Names in question are those replied or listed for the image and its neighbours; all others share one
   column, whose probability is left out of the soft label: its sum falls short of one by it. Similarity of names only
   weighs names that somebody said: on a development draw, mass on names that nobody said made prototypes of them.
5. *Weight.* Reliability does not weigh the image beyond that: on the same draw it made no difference to prototypes.
6. *Shared errors.* Where the teacher calls a whole neighbourhood wrongly, the labels alone cannot show it. There the
   reliability is too high, as every calibration against the teacher's own names is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.student.evidence_table import Table, evidence_table
from fgvr.methods.student.noise import TINY, Rates, Replies, lifts, log_odds, sigmoid
from fgvr.methods.student.opinions import Opinions, first_labels, said_of
from fgvr.methods.student.settings import EvidenceSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FIT = 600
"""Images at most from which the free numbers are learned, evenly spaced."""
STEPS = 5
"""Of golden section."""
SWEEPS = (1.0, 0.3, 0.1)
"""Share of a number's range that is searched in each sweep over the numbers, around the value so far."""
STARTS = ((Rates().accuracy[0], Rates().same), (0.5, 0.9))
"""Accuracy and ``same`` that learning starts from: a good teacher among strangers looks like a poor one at home."""
SLOPES = ("confidence", "agreement", "cosine")
NUMBERS = ("same", "cosine", "temper", "similar", "kin", "listed", "confidence", "agreement")
SMALL = 1e-4
"""Probabilities below are left out of the soft label."""


@dataclass(frozen=True)
class Evidence:
    """Soft labels of the asked images, and how they came about."""

    seeds: csr_matrix
    """(N, C) float32; rows at asked images only; a row sums to at most 1."""
    rows: np.ndarray
    """(M,) int64: the asked images, ascending."""
    reliability: np.ndarray
    """(M,) float64 in [0, 1]: that the first label is right; 0 where there is none."""
    noise: Rates | None
    """The learned numbers; ``None`` where labels were taken at their word."""
    notes: tuple[str, ...] = ()


def evidence(
    features: np.ndarray,
    opinions: Opinions,
    num_names: int,
    settings: EvidenceSettings,
    *,
    name_similarity: np.ndarray | None = None,
    rates: Rates | None = None,
) -> Evidence:
    """Soft labels of the asked images from all opinions about them.

    Args:
        features: (N, D) float32, unit norm, of the whole pool.
        opinions: O replies; at least one with a name.
        num_names: C.
        settings: every kind of evidence has its own switch.
        name_similarity: (C, C) in [0, 1], diagonal 1, see ``name_similarity``; used with ``settings.names``.
        rates: the free numbers where they are known; learned from the labelled images by default.

    Raises ``InputError`` for opinions outside the pool or the names, and where no opinion has a name.
    """
    _check(features, opinions, num_names)
    rows, image = np.unique(opinions.rows, return_inverse=True)
    image = image.ravel()
    first = first_labels(opinions, rows)
    if not (settings.neighbours or settings.agreement):
        return _at_their_word(rows, opinions, (len(features), num_names))
    table = evidence_table(features[rows], image, opinions, num_names, settings, name_similarity)
    learned = learn(table, settings, sources=int(opinions.source.max()) + 1) if rates is None else rates
    chances = _chances(table, learned, first, settings)
    own = (table.names == first[:, None]) & (table.names >= 0)
    reliability = np.where(own, chances, 0.0).sum(axis=1)
    return Evidence(_seeds(table.names, chances, rows, (len(features), num_names)), rows, reliability, learned)


def posterior(table: Table, rates: Rates) -> np.ndarray:
    """(M, W) float64: probability of every name in question, the last column that of all others; rows sum to one."""
    joint = (
        table.prior
        + _votes(table, rates, slice(None))
        + lifts(table.replies, rates, len(table.names), agreement=table.agreement)
    )
    return np.asarray(np.exp(joint - _log_sum(joint)[:, None]))


def log_likelihood(table: Table, rates: Rates, images: np.ndarray) -> float:
    """Mean over ``images`` of the log-probability of their replies given their neighbours', over that by chance."""
    own = lifts(table.replies, rates, len(table.names), agreement=table.agreement)[images]
    expected = table.prior[images] + _votes(table, rates, images)
    return float((_log_sum(expected + own) - _log_sum(expected)).mean())


def _votes(table: Table, rates: Rates, images: np.ndarray | slice) -> np.ndarray:
    """(I, W) float64: what the neighbours of ``images`` say, as log-likelihood ratios."""
    said = table.prior + lifts(table.replies, rates, len(table.names))
    known = np.where(np.isneginf(table.prior), 0.0, table.prior)
    density = np.exp(np.where(np.isneginf(said), 0.0, said - known) - _log_sum(said)[:, None])
    same = sigmoid(log_odds(np.asarray(rates.same)) + rates.cosine * table.cosine[images])[:, :, None]
    other = (1.0 - rates.kin) + rates.kin * table.kin[images]
    ratio = np.log((1.0 - same) * other + same * density.ravel()[table.place[images]])
    return np.asarray(rates.temper * (table.weight[images][:, :, None] * ratio).sum(axis=1))


def learn(table: Table, settings: EvidenceSettings, *, sources: int) -> Rates:
    """The free numbers, one after the other by golden section: likelihood of the replies plus a weak prior."""
    named = np.unique(table.replies.image)
    images = named[np.linspace(0, len(named) - 1, min(FIT, len(named))).astype(np.int64)]

    def score(tried: Rates) -> float:
        return len(named) * log_likelihood(table, tried, images) - _strain(tried)

    def climbed(rates: Rates) -> Rates:
        for share in SWEEPS:
            for number in _free(table, settings, sources):
                rates = _best(score, rates, number, share=share)
        return rates

    starts = [Rates(accuracy=(accuracy,) * sources, same=same) for accuracy, same in STARTS]
    return _plain(max(map(climbed, starts), key=score))


def _plain(rates: Rates) -> Rates:
    """The same as Python's own numbers, fit for JSON."""
    single: dict[str, Any] = {name: float(getattr(rates, name)) for name in NUMBERS}
    return replace(rates, accuracy=tuple(float(one) for one in rates.accuracy), **single)


def _free(table: Table, settings: EvidenceSettings, sources: int) -> list[str | int]:
    """The numbers that the settings and the replies leave free; an integer is a source's accuracy."""
    replies = table.replies
    asked: list[tuple[str, bool]] = [
        ("same", True),
        ("cosine", True),
        ("temper", True),
        ("similar", bool((replies.alike != 1.0).any())),
        ("kin", bool((table.kin != 1.0).any())),
        ("listed", bool(np.isfinite(replies.listed).any())),
        ("confidence", bool(replies.confidence.any())),
        ("agreement", settings.agreement and bool(table.agreement.any())),
    ]
    return [*range(sources), *(name for name, on in asked if on)]


def _value(rates: Rates, number: str | int) -> float:
    """On the scale that is searched: log-odds of probabilities, logarithm of the temper, slopes as they are."""
    raw = rates.accuracy[number] if isinstance(number, int) else getattr(rates, number)
    if number == "temper":
        return float(np.log(raw))
    return float(raw) if number in SLOPES else float(log_odds(np.asarray(raw)))


def _with(rates: Rates, number: str | int, value: float) -> Rates:
    if number == "temper":
        return replace(rates, temper=float(np.exp(value)))
    raw = value if number in SLOPES else float(sigmoid(np.asarray(value)))
    if isinstance(number, int):
        return replace(rates, accuracy=(*rates.accuracy[:number], raw, *rates.accuracy[number + 1 :]))
    changed: dict[str, Any] = {number: raw}
    return replace(rates, **changed)


def _range(number: str | int) -> tuple[float, float, float]:
    """Lowest, highest and typical distance from the start, on the searched scale."""
    if number == "temper":
        return float(np.log(0.2)), 0.0, 0.3
    if number in SLOPES:
        return 0.0, 2.0, 0.3
    return (-1.5, 3.0, 0.5) if isinstance(number, int) else (-4.0, 4.0, 1.0)


def _strain(rates: Rates) -> float:
    """Minus the logarithm of the weak prior, a normal one around the start, up to a constant."""
    start = Rates(accuracy=(Rates().accuracy[0],) * len(rates.accuracy))
    numbers: list[str | int] = [*range(len(rates.accuracy)), *NUMBERS]
    return sum(((_value(rates, one) - _value(start, one)) / _range(one)[2]) ** 2 / 2.0 for one in numbers)


def _best(score: Callable[[Rates], float], rates: Rates, number: str | int, *, share: float) -> Rates:
    """Golden section over ``share`` of one number's range; the old value stays where nothing found is better."""
    low, high, _ = _range(number)
    if share < 1.0:
        reach, now = share * (high - low) / 2.0, _value(rates, number)
        low, high = max(low, now - reach), min(high, now + reach)
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = score(_with(rates, number, left)), score(_with(rates, number, right))
    for _ in range(STEPS):
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = score(_with(rates, number, left))
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = score(_with(rates, number, right))
    found = _with(rates, number, left if at_left >= at_right else right)
    return found if score(found) > score(rates) else rates


def _chances(table: Table, rates: Rates, first: np.ndarray, settings: EvidenceSettings) -> np.ndarray:
    """(M, W): the posterior, or what is left of it where agreement or neighbours are switched off."""
    full = posterior(table, rates)
    if settings.neighbours and settings.agreement:
        return full
    own = (table.names == first[:, None]) & (table.names >= 0)
    alone = table.prior + lifts(table.replies, rates, len(first))
    alone = np.exp(alone - _log_sum(alone)[:, None])
    others = np.where(own, 0.0, full if settings.neighbours else alone)
    others /= np.maximum(others.sum(axis=1, keepdims=True), TINY)
    trusted = np.where(own, full if settings.agreement else alone, 0.0).sum(axis=1)
    if not settings.agreement:
        trusted = _trust(table.replies, rates, len(first))
    chances = np.where(own, trusted[:, None], (1.0 - trusted)[:, None] * others)
    if not settings.neighbours:
        chances[first < 0] = 0.0
    return np.asarray(chances)


def _trust(replies: Replies, rates: Rates, count: int) -> np.ndarray:
    """(M,): accuracy of the source of each image's first label, moved by confidence; 0 without a label."""
    trust = np.zeros(count)
    order = np.argsort(replies.source, kind="stable")[::-1]
    odds = log_odds(np.asarray(rates.accuracy))[replies.source] + rates.confidence * replies.confidence
    trust[replies.image[order]] = sigmoid(odds)[order]
    return trust


def _at_their_word(rows: np.ndarray, opinions: Opinions, shape: tuple[int, int]) -> Evidence:
    seeds = said_of(opinions, rows, shape).astype(np.float32)
    known = np.asarray(seeds[rows].max(axis=1).todense()).ravel() if len(rows) else np.zeros(0)
    return Evidence(seeds, rows, known.astype(np.float64), None)


def _seeds(names: np.ndarray, chances: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """Every named column of weight, the row's sum one less the probability of other names."""
    image, column = np.nonzero((names >= 0) & (chances >= SMALL))
    return _csr(rows[image], names[image, column], chances[image, column], shape)


def _csr(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((values.astype(np.float32), (rows, columns)), shape=shape)


def _log_sum(joint: np.ndarray) -> np.ndarray:
    """(M,): logarithm of the sum of exponentials of every row."""
    top = joint.max(axis=1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(axis=1)))


def _check(features: np.ndarray, opinions: Opinions, num_names: int) -> None:
    rows, labels = opinions.rows, opinions.labels
    if rows.size and (rows.min() < 0 or rows.max() >= len(features)):
        raise InputError("an opinion is about an image outside the pool", remedy="Give rows of the feature table.")
    if labels.size and (labels.min() < -1 or labels.max() >= num_names):
        raise InputError("a label lies outside the names", names=num_names, remedy="Map it with the label space.")
    if not (labels >= 0).any():
        raise InputError("no opinion has a name", remedy="Ask about more images, or look at the refusals.")
