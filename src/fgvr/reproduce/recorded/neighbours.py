"""What visual neighbours add to the recorded labels: coverage of candidate sets, purity, agreement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.labels import normalise
from fgvr.methods.near.candidates import CandidateSets, candidate_sets, coverage, nearest, random_sets
from fgvr.metrics import Interval
from fgvr.metrics.names import codes
from fgvr.metrics.semantic import TextEncoder
from fgvr.reproduce.recorded.material import Recording
from fgvr.reproduce.recorded.scores import class_interval

PairScores = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Coverage:
    """Candidate sets of one size on one recording."""

    title: str
    k: int
    listed: Interval
    """Share of images whose set holds the listed name exactly; interval over classes."""
    accepted: Interval
    best: Interval
    """Mean over images of the best cosine between the set's names and the listed name."""
    size: float
    """Mean number of distinct labels in a set."""
    random_listed: Interval
    """The same with random sets: mean over draws, central 95 % of the draws; at k = 1 nothing is drawn."""
    random_accepted: Interval
    random_best: Interval
    random_size: float
    gain: Interval
    """``listed`` minus the random sets' mean, interval over classes."""


@dataclass(frozen=True)
class Neighbours:
    """Neighbour purity by true class, and what it says when the nearest image carries the same label."""

    title: str
    nearest: float
    k3: float
    mutual: float
    mutual_pairs: int
    agreeing: float
    """Share of images whose nearest neighbour carries the same normalised label."""
    right_agreeing: float
    """Share of listed-exact labels among those; ``right_otherwise``: among the rest."""
    right_otherwise: float


def label_scores(recording: Recording, encoder: TextEncoder) -> tuple[np.ndarray, PairScores]:
    """(N,) normalised-label codes, and (C, T) exact, accepted and cosine of every label against every class."""
    names = [name or "" for name in recording.named]
    labels, keys = codes(names)
    written = dict(zip((keys[c] for c in labels), names))
    class_names = list(recording.class_names)
    forms = dict(zip(recording.classes.tolist(), recording.accepted))
    exact = np.array([[key == normalise(name) for name in class_names] for key in keys])
    several = [{normalise(form) for form in forms[c]} for c in range(len(class_names))]
    accepted = np.array([[key in forms_of for forms_of in several] for key in keys])
    cosine = encoder.encode([written[key] for key in keys]) @ encoder.encode(class_names).T
    return labels, (exact, accepted, cosine)


def best_of_sets(sets: CandidateSets, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N,) best of ``scores`` (C, T) over each set's labels against the image's own class."""
    return np.array([scores[sets[i], classes[i]].max() for i in range(len(sets))], dtype=np.float64)


def coverage_at(
    recording: Recording, labels: np.ndarray, pairs: PairScores, *, k: int, draws: int, resamples: int, seed: int
) -> Coverage:
    """Neighbour sets against ``draws`` random sets of the same k; see `label_scores` for ``labels`` and ``pairs``."""
    sets = candidate_sets(recording.features, labels, k=k, policy="set")
    near = [best_of_sets(sets, scores, recording.classes) for scores in pairs]
    _cross_check(sets, pairs[0], recording.classes, near[0])
    others = [
        random_sets(labels, k=k, num_labels=len(pairs[0]), policy="set", seed=seed + draw) for draw in range(draws)
    ]
    random = [np.stack([best_of_sets(one, scores, recording.classes) for one in others]) for scores in pairs]

    def interval(values: np.ndarray) -> Interval:
        return class_interval(values, recording.classes, resamples=resamples, seed=seed)

    found, drawn = [interval(values) for values in near], [_over_draws(values.mean(axis=1)) for values in random]
    return Coverage(
        title=recording.title,
        k=k,
        listed=found[0],
        accepted=found[1],
        best=found[2],
        size=float(sets.sizes.mean()),
        random_listed=drawn[0],
        random_accepted=drawn[1],
        random_best=drawn[2],
        random_size=float(np.mean([one.sizes.mean() for one in others])),
        gain=interval(near[0] - random[0].mean(axis=0)),
    )


def _cross_check(sets: CandidateSets, exact: np.ndarray, classes: np.ndarray, near: np.ndarray) -> None:
    """The library's `coverage` and the per-image scores here must agree."""
    true = np.where(exact.any(axis=0), exact.argmax(axis=0), -1)[classes]
    if not np.isclose(coverage(sets, true), near.mean()):
        raise AssertionError("coverage computed in two ways disagrees")


def _over_draws(means: np.ndarray) -> Interval:
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(means.mean()), float(low), float(high), 0.95, len(means))


def neighbours(recording: Recording, labels: np.ndarray, exact: np.ndarray) -> Neighbours:
    """Purity and agreement; ``exact`` (C, T) says which label is which class's listed name."""
    indices, _ = nearest(recording.features, k=3)
    same = recording.classes[indices[:, 1:]] == recording.classes[:, None]
    first = indices[:, 1]
    mutual = first[first] == np.arange(len(first))
    agreeing = labels[first] == labels
    right = exact[labels, recording.classes]
    return Neighbours(
        recording.title,
        float(same[:, 0].mean()),
        float(same.mean()),
        float(same[mutual, 0].mean()) if mutual.any() else float("nan"),
        int(mutual.sum()) // 2,
        float(agreeing.mean()),
        float(right[agreeing].mean()) if agreeing.any() else float("nan"),
        float(right[~agreeing].mean()) if (~agreeing).any() else float("nan"),
    )
