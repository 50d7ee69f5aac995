"""One entry of an annotation file: what it is, and what makes it unusable; for ``boxes``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fgvr.data.paths import clean_id

Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels; x1 and y1 are just past the last pixel."""
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Category:
    """One class of the vocabulary."""

    id: int
    name: str
    frequency: str = ""
    """LVIS: ``r`` (on 1 to 10 training images), ``c`` (11 to 100), ``f``; else empty."""
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as the annotations describe it; ``locate`` finds its file."""

    id: int
    files: tuple[str, ...]
    """Where it may lie in the image folder, the likeliest first."""
    size: tuple[int, int] | None = None
    """(width, height) as stated, in pixels."""
    negative: tuple[int, ...] = ()
    """LVIS: categories known not to be in the picture."""
    not_exhaustive: tuple[int, ...] = ()
    """LVIS: categories of which the picture shows more than is annotated."""


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object."""

    id: int
    image: int
    category: int | None
    """``None`` where the file names no category: something to be named, without a truth."""
    bbox: Corners
    """x, y, width, height in pixels, as written."""
    area: float
    """Square pixels, of the object's mask where the data set has masks."""
    crowd: bool = False
    """COCO: a region of many objects; nothing inside it is scored."""

    @property
    def corners(self) -> Corners:
        """The box as x0, y0, x1, y1; not clipped."""
        x, y, width, height = self.bbox
        return x, y, x + width, y + height


class BadRow(ValueError):
    """An entry that cannot be used: a reason for tallies, and what exactly is wrong."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def category_of(row: Mapping[str, Any]) -> Category:
    """One entry of ``categories``. Raises ``BadRow``."""
    name = row.get("name")
    if not isinstance(name, str) or not name.strip():
        raise BadRow("bad row", "a category without a name")
    frequency = row.get("frequency")
    synonyms = row.get("synonyms")
    return Category(
        _id(row.get("id"), "id"),
        clean_id(name).strip(),
        frequency if frequency in ("r", "c", "f") else "",
        tuple(clean_id(one) for one in synonyms if isinstance(one, str)) if isinstance(synonyms, list) else (),
    )


def picture_of(row: Mapping[str, Any]) -> Picture:
    """One entry of ``images``. Raises ``BadRow``."""
    number = _id(row.get("id"), "id")
    files = _file_names(row)
    if not files:
        raise BadRow("bad row", "neither file_name nor coco_url")
    width, height = row.get("width"), row.get("height")
    size = None
    if width is not None or height is not None:
        size = (_id(width, "width"), _id(height, "height"))
        if min(size) < 1:
            raise BadRow("bad row", f"width and height are {size[0]} and {size[1]}")
    return Picture(number, files, size, _ids(row.get("neg_category_ids")), _ids(row.get("not_exhaustive_category_ids")))


def _file_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """``file_name`` as it is; a ``coco_url`` by its last two parts (LVIS mixes train2017 and val2017), then one."""
    names = [row["file_name"]] if isinstance(row.get("file_name"), str) and row["file_name"] else []
    if isinstance(row.get("coco_url"), str):
        parts = [part for part in row["coco_url"].split("://")[-1].split("/") if part]
        names += ["/".join(parts[-2:]), *parts[-1:]] if len(parts) > 1 else parts
    return tuple(dict.fromkeys(names))


def box_of(
    row: Mapping[str, Any], pictures: Mapping[int, Picture], classes: Mapping[int, Category], *, foreign: bool
) -> Box:
    """One entry of ``annotations``. Raises ``BadRow``.

    ``foreign``: the classes are not the file's own; a category that is none of them is no truth rather than a fault.
    """
    number, image = _id(row.get("id"), "id"), _id(row.get("image_id"), "image_id")
    if image not in pictures:
        raise BadRow("unknown image", f"image_id {image}")
    category = None if row.get("category_id") is None else _id(row["category_id"], "category_id")
    if category is not None and category not in classes:
        if not foreign:
            raise BadRow("unknown category", f"category_id {category}")
        category = None
    sides = row.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4 or not all(_is_number(side) for side in sides):
        raise BadRow("bad row", "bbox is not four finite numbers")
    x, y, width, height = (float(side) for side in sides)
    if width <= 0 or height <= 0:
        raise BadRow("no area", f"{width:g} x {height:g}")
    area = float(row["area"]) if _is_number(row.get("area")) and row["area"] > 0 else width * height
    box = Box(number, image, category, (x, y, width, height), area, bool(row.get("iscrowd")))
    size = pictures[image].size
    if size is not None and clipped(box.corners, size) is None:
        raise BadRow("outside image", f"{x:g}, {y:g}, {width:g}, {height:g} in {size[0]} x {size[1]}")
    return box


def clipped(corners: Corners, size: tuple[int, int]) -> Corners | None:
    """The part inside a picture of ``size``; ``None`` where there is none."""
    x0, y0, x1, y1 = corners
    inside = (max(0.0, x0), max(0.0, y0), min(float(size[0]), x1), min(float(size[1]), y1))
    return inside if inside[0] < inside[2] and inside[1] < inside[3] else None


def _is_number(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12 and math.isfinite(value)
    )


def _id(value: object, name: str) -> int:
    """A whole number, also as 3.0 or "3"."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -LARGEST_ID <= value <= LARGEST_ID:
        raise BadRow("bad row", f"{name} is no whole number")
    return value


def _ids(values: object) -> tuple[int, ...]:
    """LVIS's lists of categories; entries that are no numbers are dropped."""
    numbers = values if isinstance(values, list) else []
    return tuple(value for value in numbers if isinstance(value, int) and not isinstance(value, bool))
