"""Boxes with predicted classes: COCO results JSON in and out, and annotations as the metric takes them.

A results file is a JSON list of ``{"image_id", "category_id", "bbox", "score"}``, as COCO's and LVIS's own tools read
it; ``annotation_id`` is added, which they ignore: it says which of two identical boxes is meant.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.data.boxes import Box, Boxes
from fgvr.errors import ManifestError
from fgvr.metrics.detection import Detections, Federation, Objects
from fgvr.runs.atomic import atomic_path
from fgvr.types import SetAside

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Results:
    """M predicted classes of B boxes; the classes of a box stand together, best first."""

    boxes: tuple[Box, ...]
    row: np.ndarray
    """(M,) int64 indices into ``boxes``."""
    category: np.ndarray
    """(M,) int64 category ids."""
    score: np.ndarray
    """(M,) float64"""

    def __len__(self) -> int:
        return len(self.row)


def objects_of(boxes: Boxes) -> Objects:
    """The boxes whose category is known, as truth, in the order of their ids. Raises ``ManifestError`` for none."""
    known = known_boxes(boxes)
    if not any(not box.crowd for box in known):
        remedy = "Evaluation needs annotations with category_id."
        raise ManifestError("no box has a known category, or all are crowds", remedy=remedy)
    return Objects(
        np.array([box.image for box in known], dtype=np.int64),
        np.array([box.bbox for box in known], dtype=np.float64),
        np.array([box.category for box in known], dtype=np.int64),
        np.array([box.area for box in known], dtype=np.float64),
        np.array([box.crowd for box in known], dtype=bool),
    )


def known_boxes(boxes: Boxes) -> list[Box]:
    """The boxes with a category: rows of ``objects_of``."""
    return [box for box in boxes.boxes if box.category is not None]


def federation_of(boxes: Boxes) -> Federation:
    """LVIS's lists of absent and not fully annotated classes of every picture."""

    def pairs(name: str) -> np.ndarray:
        rows = [(picture.id, number) for picture in boxes.pictures.values() for number in getattr(picture, name)]
        return np.array(rows, dtype=np.int64).reshape(-1, 2)

    return Federation(pairs("negative"), pairs("not_exhaustive"))


def detections_of(results: Results, boxes: Boxes) -> Detections:
    """Results as the metric takes them, without a file in between."""
    place = {box.id: index for index, box in enumerate(known_boxes(boxes))}
    image, sides, annotation = (
        np.array([box.image for box in results.boxes], dtype=np.int64),
        np.array([box.bbox for box in results.boxes], dtype=np.float64).reshape(-1, 4),
        np.array([place.get(box.id, -1) for box in results.boxes], dtype=np.int64),
    )
    row = results.row
    return Detections(image[row], sides[row], results.category, results.score, annotation[row])


def write_results(path: str | os.PathLike[str], results: Results) -> None:
    """Write COCO results JSON atomically, in pieces. Raises ``RunError`` when the system refuses."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for start in range(0, len(results), _ROWS_AT_ONCE):
            rows = [_row(results, index) for index in range(start, min(start + _ROWS_AT_ONCE, len(results)))]
            file.write((",\n" if start else "\n") + ",\n".join(rows))
        file.write("\n]\n")


def read_results(file: str | os.PathLike[str], boxes: Boxes) -> tuple[Detections, tuple[SetAside, ...]]:
    """Read COCO results JSON about annotated boxes.

    A row with an ``annotation_id`` of the annotations takes that box's own coordinates (other tools round them); other
    rows are compared by coordinates. Rows that are no results are set aside (``bad row``, ``unknown image``).
    Raises ``ManifestError`` when the file cannot be read or is no list.
    """
    path = Path(file)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"cannot read the results: {error}", file=str(path)) from error
    if not isinstance(content, list):
        remedy = "COCO results are a list of {image_id, category_id, bbox, score}."
        raise ManifestError("the results are no list", remedy=remedy, file=str(path))
    place = {box.id: index for index, box in enumerate(known_boxes(boxes))}
    known, rows, aside = known_boxes(boxes), [], []
    for number, row in enumerate(content, start=1):
        fault = _fault(row, boxes)
        if fault is not None:
            aside.append(SetAside(f"result {number}", "", *fault))
            continue
        index = place.get(row.get("annotation_id"), -1) if isinstance(row.get("annotation_id"), int) else -1
        if index >= 0 and known[index].image != row["image_id"]:
            aside.append(SetAside(f"result {number}", "", "bad row", "annotation_id is of another image"))
            continue
        sides = known[index].bbox if index >= 0 else row["bbox"]
        rows.append((row["image_id"], sides, row["category_id"], row["score"], index))
    return _detections(rows), tuple(aside)


def _row(results: Results, index: int) -> str:
    box = results.boxes[int(results.row[index])]
    record = {
        "image_id": box.image,
        "category_id": int(results.category[index]),
        "bbox": list(box.bbox),
        "score": float(results.score[index]),
        "annotation_id": box.id,
    }
    return json.dumps(record, allow_nan=False)


def _fault(row: Any, boxes: Boxes) -> tuple[str, str] | None:
    """(reason, detail) for a row that is no result."""
    if not isinstance(row, dict):
        return "bad row", f"{type(row).__name__}, not an object"
    for key in ("image_id", "category_id"):
        value = row.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            return "bad row", f"{key} is no whole number"
    sides = row.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4 or not all(map(_is_finite, sides)):
        return "bad row", "bbox is not four finite numbers"
    if not _is_finite(row.get("score")):
        return "bad row", "score is no finite number"
    return None if row["image_id"] in boxes.pictures else ("unknown image", f"image_id {row['image_id']}")


def _is_finite(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
    )


def _detections(rows: Sequence[tuple[int, Sequence[float], int, float, int]]) -> Detections:
    if not rows:
        empty = np.zeros(0, dtype=np.int64)
        return Detections(empty, np.zeros((0, 4)), empty, np.zeros(0), empty)
    image, sides, category, score, annotation = zip(*rows, strict=True)
    return Detections(
        np.array(image, dtype=np.int64),
        np.array(sides, dtype=np.float64),
        np.array(category, dtype=np.int64),
        np.array(score, dtype=np.float64),
        np.array(annotation, dtype=np.int64),
    )
