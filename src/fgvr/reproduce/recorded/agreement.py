"""Is a label right? Signs that need no truth: another MLLM says the same, a neighbouring image carries the same label.

Agreement is equality after ``labels.normalise``. What counts as right is an accepted name of the class (the listed name
only, where said). The truth is used for scoring, never by a sign or an order.

*Second opinions, bought top-down.* All images have the first MLLM's name; a share of them is shown to the second, the
most doubtful first: those whose nearest neighbour carries another label, the more similar the neighbour the sooner. The
second's name then stands (``replace``), or it stands only where the nearest neighbour's label is the same (``vote``:
two of three). Images bought at random are the comparison: with ``replace`` the expected accuracy is the straight line
between the two MLLMs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.labels import normalise
from fgvr.methods.near.candidates import nearest
from fgvr.metrics import Interval, risk_coverage
from fgvr.metrics.accuracy import hits
from fgvr.metrics.names import codes
from fgvr.reproduce.recorded.material import MaterialError, Recording
from fgvr.reproduce.recorded.scores import class_interval

VOTERS = 5
"""Neighbours whose labels are counted."""
COVERAGES = (0.1, 0.25, 0.5)
"""Shares of the images, the surest first, for which accuracy is printed."""
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the images that are given a second opinion."""
OTHER = "another MLLM says the same"
NEAREST = "nearest image has the same label"
VOTES = f"labels alike among the {VOTERS} nearest"
SIMILAR = "nearest image has the same label, then its similarity"
BOTH = "another MLLM, then the nearest image"


@dataclass(frozen=True)
class Pair:
    """Two MLLMs on the same images."""

    titles: tuple[str, str]
    images: int
    agreed: float
    """Share of images on which both say the same."""
    right_agreed: Interval
    """Accepted, where they agree; then each, where they do not."""
    right_disagreed: tuple[Interval, Interval]
    listed_agreed: float
    """The listed name, where they agree; ``listed_either``: of at least one of them, over all images."""
    listed_either: float
    either: float
    """At least one accepted, over all images."""


@dataclass(frozen=True)
class Sign:
    """How well one sign tells right labels from wrong ones."""

    title: str
    name: str
    accuracy: float
    """Of all labels, accepted."""
    share: float | None
    """Images with the sign, where it is a yes or no."""
    right_with: float | None
    right_without: float | None
    at: tuple[float, ...]
    """Accuracy of the surest `COVERAGES`; images of equal sureness count with their mean."""
    aurc: float
    """Area under the risk-coverage curve, lower is better; without any sign it is 1 - ``accuracy``."""


@dataclass(frozen=True)
class Bought:
    """Accuracy (accepted) after a share of the images has been given a second opinion."""

    titles: tuple[str, str]
    rule: str
    """``replace`` or ``vote``."""
    share: float
    accuracy: Interval
    gain: Interval
    """Against as many bought at random, under the same rule."""


def right_labels(recording: Recording, *, listed: bool = False) -> np.ndarray:
    """(N,) 1.0 where the recorded name is accepted (or the listed one)."""
    return hits([name or "" for name in recording.named], recording.listed if listed else recording.accepted)


def agree(one: Recording, other: Recording) -> np.ndarray:
    """(N,) bool: both MLLMs named the image, and alike. Raises `MaterialError` for recordings of other images."""
    if one.images != other.images:
        raise MaterialError("the two recordings are not of the same images", one=one.title, other=other.title)
    keys = [[normalise(name or "") for name in recording.named] for recording in (one, other)]
    return np.array([first == second != "" for first, second in zip(*keys)], dtype=bool)


def pair_of(one: Recording, other: Recording, *, resamples: int = 1000, seed: int = 0) -> Pair:
    """Agreement of two MLLMs, and what it says."""
    same = agree(one, other)
    right = [right_labels(recording) for recording in (one, other)]
    listed = [right_labels(recording, listed=True) for recording in (one, other)]

    def within(values: np.ndarray, where: np.ndarray) -> Interval:
        if not where.any():
            return Interval(float("nan"), float("nan"), float("nan"), 0.95, 0)
        return class_interval(values[where], one.classes[where], resamples=resamples, seed=seed)

    return Pair(
        (one.title, other.title),
        len(same),
        float(same.mean()),
        within(right[0], same),
        (within(right[0], ~same), within(right[1], ~same)),
        float(listed[0][same].mean()) if same.any() else float("nan"),
        float(np.maximum(*listed).mean()),
        float(np.maximum(*right).mean()),
    )


def neighbour_signs(recording: Recording) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the nearest other image: (N,) bool same label, (N,) cosine; and (N,) how many of `VOTERS` have the label."""
    labels, _ = codes([name or "" for name in recording.named])
    indices, cosines = nearest(recording.features, k=min(VOTERS + 1, len(labels)))
    same = labels[indices[:, 1:]] == labels[:, None]
    return same[:, 0], np.asarray(cosines[:, 1], dtype=np.float64), same.sum(axis=1)


def signs(recording: Recording, other: Recording | None = None) -> list[Sign]:
    """Every sign on one recording; ``other`` is another MLLM's recording of the same images."""
    same, cosine, votes = neighbour_signs(recording)
    closeness = (1 + np.clip(cosine, -1, 1)) / 2
    levels = {
        NEAREST: same.astype(float),
        SIMILAR: (same + closeness) / 2,
        VOTES: votes / VOTERS,
    }
    if other is not None:
        agreed = agree(recording, other)
        levels |= {OTHER: agreed.astype(float), BOTH: (2 * agreed + same) / 3}
    right = right_labels(recording)
    return [sign_of(recording.title, name, sure, right) for name, sure in levels.items()]


def sign_of(title: str, name: str, sure: np.ndarray, right: np.ndarray) -> Sign:
    """A sign from sureness (N,) in [0, 1] and rightness (N,) 0 or 1."""
    yes = sure > 0
    binary = set(np.unique(sure)) <= {0.0, 1.0}
    mixed = binary and bool(yes.any()) and not yes.all()
    return Sign(
        title,
        name,
        float(right.mean()),
        float(yes.mean()) if binary else None,
        float(right[yes].mean()) if mixed else None,
        float(right[~yes].mean()) if mixed else None,
        tuple(accuracy_of_surest(sure, right, share) for share in COVERAGES),
        risk_coverage(sure, right).aurc,
    )


def accuracy_of_surest(sure: np.ndarray, right: np.ndarray, share: float) -> float:
    """Mean of ``right`` over the surest ``share`` (at least one image); ties at the edge count with their mean."""
    count = max(1, round(share * len(sure)))
    edge = np.sort(sure)[::-1][count - 1]
    above, level = sure > edge, sure == edge
    return float((right[above].sum() + (count - above.sum()) * right[level].mean()) / count)


def doubt_order(recording: Recording) -> np.ndarray:
    """(N,) indices, the most doubtful label first; see the module's text. Ties by position."""
    same, cosine, _ = neighbour_signs(recording)
    return np.lexsort((np.where(same, cosine, -cosine), same))


def second_opinions(
    first: Recording, second: Recording, *, shares: tuple[float, ...] = SHARES, resamples: int = 1000, seed: int = 0
) -> list[Bought]:
    """The curve of accuracy against the share of images shown to the second MLLM, under both rules."""
    agree(first, second)  # refuses recordings of other images
    order, before = doubt_order(first), right_labels(first)
    found = []
    for rule in ("replace", "vote"):
        after = np.where(_stands(first, second, rule), right_labels(second), before)
        for share in shares:
            chosen = np.zeros(len(order), dtype=bool)
            chosen[order[: round(share * len(order))]] = True
            bought = np.where(chosen, after, before)
            random = before + chosen.mean() * (after - before)
            accuracy, gain = (
                class_interval(values, first.classes, resamples=resamples, seed=seed)
                for values in (bought, bought - random)
            )
            found.append(Bought((first.title, second.title), rule, share, accuracy, gain))
    return found


def _stands(first: Recording, second: Recording, rule: str) -> np.ndarray:
    """(N,) bool: where the second MLLM's name would be taken if it were asked."""
    if rule == "replace":
        return np.array([name is not None for name in second.named], dtype=bool)
    around = nearest(first.features, k=2)[0][:, 1]
    said = [normalise(name or "") for name in first.named]
    return np.array([said[j] == normalise(name or "") != "" for j, name in zip(around, second.named)], dtype=bool)
