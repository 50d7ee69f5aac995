"""Top-1 and top-5 accuracy of given boxes: over boxes, over classes, by frequency and by size.

Unlike AP (``detection``) no box is compared with another's score, no class is left unverified, and a box nobody
answered is not wrong but missing: coverage says how many were answered. Crowds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.metrics.detection import FREQUENCIES, SIZES
from fgvr.metrics.detection_matching import Detections, Objects, box_numbers, numbered


@dataclass(frozen=True)
class Accuracy:
    """Of one group of boxes."""

    boxes: int
    """Answered ones."""
    classes: int
    """Classes among them."""
    micro: dict[int, float]
    """k to the share of boxes whose class is among the k best, in [0, 1]; NaN without boxes."""
    macro: dict[int, float]
    """k to the mean of that share over classes."""


def true_ranks(objects: Objects, detections: Detections) -> np.ndarray:
    """(G,) int64: place of the true class among a box's detections by falling score, from 0.

    ``NOT_THERE`` where the box has detections but none of its class, ``UNANSWERED`` where it has none (and for crowds).
    Detections are those of a box by ``annotation`` where given, else by equal coordinates. Ties: the earlier detection.
    """
    given, found = box_numbers(objects, detections)
    if detections.annotation is not None:
        own = detections.annotation >= 0
        given_each = np.arange(len(objects))
        ranks = _ranks(given_each, objects, detections.rows(own), detections.annotation[own])
        others = _ranks(given, objects, detections.rows(~own), found[~own])
        ranks = np.where(ranks == UNANSWERED, others, ranks)
    else:
        ranks = _ranks(given, objects, detections, found)
    return np.where(objects.crowd, UNANSWERED, ranks)


NOT_THERE = np.iinfo(np.int64).max
UNANSWERED = -1


def accuracy(ranks: np.ndarray, category: np.ndarray, *, ks: Sequence[int] = (1, 5)) -> Accuracy:
    """Micro and macro top-k of boxes: ``true_ranks`` (G,) and their category ids (G,)."""
    answered = ranks != UNANSWERED
    classes, member = np.unique(category[answered], return_inverse=True)
    if not len(classes):
        nothing = {k: float("nan") for k in ks}
        return Accuracy(0, 0, nothing, dict(nothing))
    size = np.bincount(member)
    hits = {k: (ranks[answered] < k).astype(np.float64) for k in ks}
    return Accuracy(
        int(answered.sum()),
        len(classes),
        {k: float(hit.mean()) for k, hit in hits.items()},
        {k: float((np.bincount(member, weights=hit) / size).mean()) for k, hit in hits.items()},
    )


def accuracy_by_group(
    ranks: np.ndarray, objects: Objects, *, frequency: Mapping[int, str] | None = None, ks: Sequence[int] = (1, 5)
) -> dict[str, Accuracy]:
    """Accuracy of all boxes, by size (COCO's areas) and, where given, by frequency (category id to r, c or f)."""
    groups = {name: (objects.area >= low) & (objects.area <= high) for name, (low, high) in SIZES.items()}
    if frequency:
        letters = np.array([frequency.get(int(number), "") for number in objects.category])
        groups |= {name: letters == letter for letter, name in FREQUENCIES.items()}
    return {name: accuracy(ranks[mask], objects.category[mask], ks=ks) for name, mask in groups.items()}


def coverage(ranks: np.ndarray, objects: Objects) -> float:
    """Share of boxes that were answered, crowds left out."""
    return float((ranks[~objects.crowd] != UNANSWERED).mean())


def _ranks(given: np.ndarray, objects: Objects, detections: Detections, found: np.ndarray) -> np.ndarray:
    """(G,) ranks when the truth's boxes are numbered ``given`` (G,) and the detections' ``found`` (N,), -1 for none."""
    order = np.lexsort((-detections.score, found))
    order = order[found[order] >= 0]
    box = found[order]
    place = np.arange(len(box)) - np.searchsorted(box, box, side="left")
    ranks = np.full(len(given), UNANSWERED, dtype=np.int64)
    ranks[np.isin(given, box)] = NOT_THERE
    target, hit = numbered(
        np.stack([given, objects.category], axis=1), np.stack([box, detections.category[order]], axis=1)
    )
    first = np.full(len(given) + len(box) + 1, NOT_THERE)
    np.minimum.at(first, hit[hit >= 0], place[hit >= 0])
    return np.where(ranks == UNANSWERED, UNANSWERED, first[target])
