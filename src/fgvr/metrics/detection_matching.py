"""Given boxes and predicted classes as arrays, and which detection aims at which object; for ``detection``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Objects:
    """The truth: G annotated boxes."""

    image: np.ndarray
    """(G,) int64 image ids."""
    box: np.ndarray
    """(G, 4) float64: x, y, width, height in pixels."""
    category: np.ndarray
    """(G,) int64 category ids."""
    area: np.ndarray
    """(G,) float64 square pixels."""
    crowd: np.ndarray
    """(G,) bool"""

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class Detections:
    """N predicted classes of given boxes, in the order in which ties are broken."""

    image: np.ndarray
    """(N,) int64 image ids."""
    box: np.ndarray
    """(N, 4) float64: x, y, width, height, equal to the last digit to those of ``Objects``."""
    category: np.ndarray
    """(N,) int64 category ids."""
    score: np.ndarray
    """(N,) float, finite."""
    annotation: np.ndarray | None = None
    """(N,) int64 index into ``Objects`` of the box that was classified, -1 unknown; used for accuracy alone."""

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, chosen: np.ndarray) -> Detections:
        """Some of them: indices or a mask (N,)."""
        annotation = None if self.annotation is None else self.annotation[chosen]
        return Detections(self.image[chosen], self.box[chosen], self.category[chosen], self.score[chosen], annotation)


@dataclass(frozen=True)
class Federation:
    """LVIS: what is known of classes that are not annotated in a picture."""

    negative: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    """(M, 2) pairs (image id, category id): the class is not in the picture."""
    not_exhaustive: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    """(P, 2) pairs: there are more of the class than are annotated."""


def box_numbers(objects: Objects, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as numbers: (G,) of the truth, equal for identical boxes of a picture; (N,) of detections, -1 for no such
    box.
    """
    return numbered(_box_keys(objects.image, objects.box), _box_keys(detections.image, detections.box))


def numbered(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of int64 as numbers: (G,) for ``known`` (G, C), and (N,) for ``asked`` (N, C), -1 where not a known row.

    Column by column, by binary search in the known values; equal rows that follow each other are looked up once, as the
    many classes of one box do. Sorting the rows of both would take ten times as long.
    """
    starts = np.flatnonzero(np.r_[True, (asked[1:] != asked[:-1]).any(axis=1)]) if len(asked) else np.zeros(0, np.int64)
    ours, theirs = np.zeros(len(known), dtype=np.int64), np.zeros(len(starts), dtype=np.int64)
    for column in range(known.shape[1]):
        values, own = np.unique(known[:, column], return_inverse=True)
        place = _place(values, asked[starts, column])
        together, ours = np.unique(ours * len(values) + own, return_inverse=True)
        theirs = _place(together, np.where((theirs >= 0) & (place >= 0), theirs * len(values) + place, -1))
    return ours, np.repeat(theirs, np.diff(np.r_[starts, len(asked)]))


def _place(values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Index of each ``asked`` in the sorted ``values``, -1 where it is not there."""
    if not len(values):
        return np.full(len(asked), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    return np.where(values[place] == asked, place, -1)


@dataclass(frozen=True)
class Matching:
    """Which object each detection aims at."""

    target: np.ndarray
    """(G,) int64: a number for each (picture, box, class, crowd or not) of the truth."""
    hit: np.ndarray
    """(N,) int64: the target a detection aims at, -1 where the box has no such object; never a crowd."""
    box: np.ndarray
    """(N,) int64: the given box, -1 where it is none."""

    @classmethod
    def of(cls, objects: Objects, detections: Detections) -> Matching:
        """Detections in any order; those of one box are found faster together."""
        given, found = box_numbers(objects, detections)
        target, hit = numbered(
            np.stack([given, objects.category, objects.crowd.astype(np.int64)], axis=1),
            np.stack([found, detections.category, np.zeros(len(found), dtype=np.int64)], axis=1),
        )
        return cls(target, hit, found)

    def places(self, order: np.ndarray) -> np.ndarray:
        """(N,) int64 how many detections aim at the same target and come earlier in ``order``; in that order."""
        places = np.zeros(len(order), dtype=np.int64)
        aimed = np.flatnonzero(self.hit[order] >= 0)
        hits = self.hit[order][aimed]
        by_target = np.argsort(hits, kind="stable")
        together = hits[by_target]
        places[aimed[by_target]] = np.arange(len(together)) - np.searchsorted(together, together, side="left")
        return places


def _box_keys(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(N, 5) int64 that are equal where picture and box are: the bits of the coordinates."""
    bits = np.ascontiguousarray(box + 0.0, dtype=np.float64).view(np.int64)  # + 0.0: no negative zero
    return np.concatenate([image[:, None].astype(np.int64), bits.reshape(len(image), 4)], axis=1)


def pairs_in(image: np.ndarray, category: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(N,) bool: whether (image, category) is one of ``pairs`` (M, 2)."""
    _, found = numbered(pairs.reshape(-1, 2).astype(np.int64), np.stack([image, category], axis=1).astype(np.int64))
    return found >= 0


def verified(detections: Detections, objects: Objects, federation: Federation) -> np.ndarray:
    """(N,) bool: the class is known to be, or not to be, in the picture."""
    positive = np.stack([objects.image, objects.category], axis=1)
    return pairs_in(detections.image, detections.category, np.concatenate([positive, federation.negative]))


def inside_a_crowd(detections: Detections, objects: Objects) -> np.ndarray:
    """(N,) bool: the box lies in a crowd of its class, as COCO counts it (overlap / own area is 1)."""
    inside = np.zeros(len(detections), dtype=bool)
    for index in np.flatnonzero(objects.crowd):
        near = np.flatnonzero(
            (detections.image == objects.image[index]) & (detections.category == objects.category[index])
        )
        x, y, width, height = objects.box[index]
        left, top, across, down = detections.box[near].T
        overlap = np.clip(np.minimum(left + across, x + width) - np.maximum(left, x), 0, None)
        overlap = overlap * np.clip(np.minimum(top + down, y + height) - np.maximum(top, y), 0, None)
        inside[near] |= overlap >= (1 - 1e-10) * across * down
    return inside
