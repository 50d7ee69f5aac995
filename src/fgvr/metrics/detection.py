"""Average precision where the boxes are given and only their classes are predicted (RAR, "zero-shot region
recognition").

Definition. A detection is a given box, a class and a score. It is *right* when the data set has an object of that class
with exactly that box: a box overlaps itself with IoU 1, and no other box counts, so the ten IoU thresholds of COCO
are one. This is COCO's AP at IoU 1 (pycocotools with ``iouThrs = [1.0]``), and equals AP at every threshold where no
two boxes of a picture overlap by half.

1. *300 detections.* Of each picture the ``max_detections`` best by score count, over all classes together (LVIS; COCO
   cuts each class of a picture on its own). A box may carry several classes. Ties: the earlier detection.
2. *Matching.* Per class, all pictures together, by falling score; ties by ascending image id, then by order given. Each
   object is found once: of n objects of a class in identical boxes, the n best detections are right, the next is wrong.
3. *Precision.* At 101 recalls 0, 0.01, ..., 1, the best precision at that recall or beyond; AP is their mean; a class
   without an object has none (NaN) and does not enter the mean over classes.
4. *Sizes.* For small, medium and large, objects of other areas (the annotation's ``area``: of the mask, where there is
   one) are ignored, and so are wrong detections whose box (width x height) has another size. Bounds belong to both
   sides.
5. *Crowds* are ignored; so are detections of their class inside them that are not right.
6. *Federated* (LVIS): a class counts in a picture only where it is annotated or in ``negative``; other detections are
   dropped, after rule 1. Wrong detections of a class in ``not_exhaustive`` are ignored. With given boxes this
   flatters rare classes: a wrong rare class costs nothing in pictures where nobody looked for it. Read AP_r with
   accuracy.
7. A box without detections counts as missed, as everywhere in detection; accuracy (``detection_accuracy``) leaves it
   out and states the coverage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.metrics.detection_matching import Detections as Detections
from fgvr.metrics.detection_matching import Federation as Federation
from fgvr.metrics.detection_matching import Matching, inside_a_crowd, pairs_in, verified
from fgvr.metrics.detection_matching import Objects as Objects

MAX_DETECTIONS = 300
RECALLS = np.linspace(0.0, 1.0, 101)
SIZES: Mapping[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's areas in square pixels, both ends included."""
FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True)
class AveragePrecision:
    """AP of every class at every size."""

    categories: np.ndarray
    """(C,) int64 category ids."""
    per_category: dict[str, np.ndarray]
    """Size to (C,) float64 AP in [0, 1], NaN where the class has no object of that size."""
    objects: np.ndarray
    """(C,) int64: objects of each class, crowds left out."""
    used: int
    """Detections that entered, after rules 1 and 6."""
    unmatched_boxes: int
    """Of them, those whose box is none of the given ones: wrong by definition."""

    def mean(self, size: str = "all", *, of: np.ndarray | None = None) -> float:
        """Mean AP over classes, or over those of a mask (C,); NaN where none of them has an object."""
        values = self.per_category[size] if of is None else self.per_category[size][of]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def by_frequency(self, frequency: Mapping[int, str]) -> dict[str, float]:
        """AP_r, AP_c and AP_f; ``frequency``: category id to ``r``, ``c`` or ``f``."""
        groups = np.array([frequency.get(int(number), "") for number in self.categories])
        return {letter: self.mean(of=groups == letter) for letter in FREQUENCIES}


def average_precision(
    objects: Objects,
    detections: Detections,
    *,
    categories: Sequence[int],
    federation: Federation | None = None,
    max_detections: int = MAX_DETECTIONS,
    sizes: Mapping[str, tuple[float, float]] = SIZES,
) -> AveragePrecision:
    """AP per class and size as the module docstring defines it.

    Args:
        objects: with at least one object that is not a crowd.
        detections: of any classes; those not in ``categories`` take part in rule 1 only.
        categories: ids of all classes, each once.
        federation: apply LVIS's rules; ``None``: every class is known in every picture.

    Raises ``ValueError`` for an empty truth, a class given twice, and scores that are not finite.
    """
    classes = np.asarray(categories, dtype=np.int64)
    if len(set(classes.tolist())) < len(classes) or not len(classes):
        raise ValueError("categories must be given, each once")
    if objects.crowd.all():
        raise ValueError("there is no object to be found")
    if not np.isfinite(detections.score).all():
        raise ValueError("scores must be finite")
    kept = detections.rows(best_of_each_image(detections, max_detections))
    kept = kept.rows(np.isin(kept.category, classes))
    ignored_if_wrong = np.zeros(len(kept), dtype=bool)
    if federation is not None:
        kept = kept.rows(verified(kept, objects, federation))
        ignored_if_wrong = pairs_in(kept.image, kept.category, federation.not_exhaustive)
    ignored_if_wrong |= inside_a_crowd(kept, objects)
    matching = Matching.of(objects, kept)
    ranked = _Ranked.of(kept, matching, ignored_if_wrong)
    column = {int(number): index for index, number in enumerate(classes)}
    per_category = {name: _per_category(ranked, matching, objects, bounds, column) for name, bounds in sizes.items()}
    counts = np.zeros(len(classes), dtype=np.int64)
    for number, count in zip(*np.unique(objects.category[~objects.crowd], return_counts=True), strict=True):
        if int(number) in column:
            counts[column[int(number)]] = count
    return AveragePrecision(classes, per_category, counts, len(kept), int((matching.box < 0).sum()))


def best_of_each_image(detections: Detections, most: int) -> np.ndarray:
    """Indices of the ``most`` best-scored detections of each picture, ascending; ties: the earlier."""
    held = np.unique(detections.image, return_counts=True)[1]
    if not len(held) or held.max() <= most:
        return np.arange(len(detections))
    order = np.lexsort((-detections.score, detections.image))
    images = detections.image[order]
    starts = np.flatnonzero(np.r_[True, images[1:] != images[:-1]])
    place = np.arange(len(images)) - np.repeat(starts, np.diff(np.r_[starts, len(images)]))
    return np.sort(order[place < most])


def interpolated_precision(right: np.ndarray, wrong: np.ndarray, objects: int) -> float:
    """COCO's AP of one class: (N,) bool each, by falling score, and how many objects there are (at least 1)."""
    found, missed = np.cumsum(right, dtype=np.float64), np.cumsum(wrong, dtype=np.float64)
    precision = found / (found + missed + np.spacing(1))
    best_beyond = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / objects, RECALLS, side="left")
    reached = at < len(best_beyond)
    return float(best_beyond[at[reached]].sum() / len(RECALLS))


@dataclass(frozen=True)
class _Ranked:
    """Detections sorted by class, then falling score, then image id, then order given."""

    category: np.ndarray
    hit: np.ndarray
    place: np.ndarray
    """Better-scored detections that aim at the same object."""
    area: np.ndarray
    ignored_if_wrong: np.ndarray

    @classmethod
    def of(cls, kept: Detections, matching: Matching, ignored_if_wrong: np.ndarray) -> _Ranked:
        order = np.lexsort((kept.image, -kept.score, kept.category))  # stable
        area = kept.box[:, 2] * kept.box[:, 3]
        places = matching.places(order)
        return cls(kept.category[order], matching.hit[order], places, area[order], ignored_if_wrong[order])


def _per_category(
    ranked: _Ranked, matching: Matching, objects: Objects, bounds: tuple[float, float], column: Mapping[int, int]
) -> np.ndarray:
    """(C,) AP of every class at one size; NaN without objects."""
    low, high = bounds
    counted = ~objects.crowd & (objects.area >= low) & (objects.area <= high)
    targets = int(matching.target.max()) + 1
    inside = np.bincount(matching.target[counted], minlength=targets)
    outside = np.bincount(matching.target[~counted & ~objects.crowd], minlength=targets)
    aimed = ranked.hit >= 0
    right = aimed & (ranked.place < inside[ranked.hit])
    spare = aimed & ~right & (ranked.place < (inside + outside)[ranked.hit])  # found an object that is not counted
    wrong = ~right & ~spare & ~ranked.ignored_if_wrong & (ranked.area >= low) & (ranked.area <= high)
    values = np.full(len(column), np.nan)
    numbers, counts = np.unique(objects.category[counted], return_counts=True)
    starts, ends = (np.searchsorted(ranked.category, numbers, side=side) for side in ("left", "right"))
    for number, count, start, end in zip(numbers, counts, starts, ends, strict=True):
        if int(number) in column:
            here = slice(start, end)
            values[column[int(number)]] = interpolated_precision(right[here], wrong[here], int(count))
    return values
