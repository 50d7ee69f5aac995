"""Boxes of detection data sets: annotation JSON as COCO, LVIS and V3Det write it, and the folder of its pictures.

What is read: ``images`` (``file_name``, else LVIS's ``coco_url``; ``width``, ``height``; LVIS's ``neg_category_ids``
and ``not_exhaustive_category_ids``), ``annotations`` (``bbox`` as x, y, width, height in pixels; ``category_id``,
``area``, ``iscrowd``), ``categories`` (``name``, ``synonyms``, LVIS's ``frequency``). Everything else, masks first of
all, is dropped while the file is parsed.

Rules:

1. *Bad entries* are set aside with a reason, the rest is used: ``bad row`` (wrong types, not finite), ``duplicate``
   (an id that was there before; the first wins), ``unknown image``, ``unknown category``, ``no area`` (width or height
   not above zero), ``outside image`` (nothing of the box lies inside). Boxes set aside count neither as found nor as
   missed.
2. *Boxes that reach over the edge* are clipped for cropping; ``Box.bbox`` stays as it was written, so that results name
   the box the data set names.
3. *No area given*: width times height of the box, as COCO results have it.
4. *The file decides its size.* Where a picture's decoded size is not the stated one, but has its proportions within a
   pixel (a reduced copy), boxes are scaled to it; any other picture is set aside (``other size``): where its boxes lie
   cannot be known. Without a stated size boxes are taken as pixels of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fgvr.data.boxes_rows import BadRow, box_of, category_of, clipped, picture_of
from fgvr.data.boxes_rows import Box as Box
from fgvr.data.boxes_rows import Category as Category
from fgvr.data.boxes_rows import Corners as Corners
from fgvr.data.boxes_rows import Picture as Picture
from fgvr.data.paths import Found, Place, clean_id
from fgvr.errors import ManifestError, NoImagesError
from fgvr.types import ImageItem, SetAside

T = TypeVar("T", "Category", "Picture", "Box")
_UNUSED = ("segmentation", "attributes", "keypoints", "licenses", "relation")


@dataclass(frozen=True)
class Boxes:
    """What an annotation file holds, each part sorted by id; neither ``boxes`` nor ``categories`` is empty."""

    pictures: dict[int, Picture]
    boxes: tuple[Box, ...]
    categories: tuple[Category, ...]
    set_aside: tuple[SetAside, ...] = ()


def read_boxes(file: str | os.PathLike[str], *, categories: Iterable[Category] = ()) -> Boxes:
    """Read an annotation file; pictures are not opened.

    Args:
        file: JSON. Masks are dropped on the way, so that memory is about twice the file's size.
        categories: a vocabulary instead of the file's own; boxes of other category ids lose their truth.

    Raises:
        ManifestError: no such file, not JSON, not an object with the three lists, or no usable category.
        NoImagesError: no usable box.
    """
    content = _parsed(Path(file))
    aside: list[SetAside] = []
    given = {category.id: category for category in categories}
    classes = given or _by_id("category", content.get("categories"), category_of, aside)
    if not classes:
        remedy = "It needs a list 'categories' of {id, name}, or give the class names."
        raise ManifestError("the annotation file names no category", remedy=remedy, file=str(file))
    pictures = _by_id("image", content["images"], picture_of, aside)

    def read(row: Mapping[str, Any]) -> Box:
        return box_of(row, pictures, classes, foreign=bool(given))

    boxes = _by_id("annotation", content["annotations"], read, aside)
    if not boxes:
        first = f"; first set aside: {aside[0].id} ({aside[0].reason} {aside[0].detail})" if aside else ""
        remedy = "Check the list 'annotations' and the reasons."
        raise NoImagesError(f"no usable box was found{first}", remedy=remedy, file=str(file), set_aside=len(aside))
    return Boxes(pictures, _in_order(boxes), _in_order(classes), tuple(aside))


def locate(boxes: Boxes, folder: str | os.PathLike[str]) -> tuple[dict[int, ImageItem], tuple[SetAside, ...]]:
    """The files of all pictures with a box, by image id, and the pictures that have none.

    Nothing outside ``folder`` is ever named. Raises ``ManifestError`` for a folder that is not there, ``NoImagesError``
    when no picture was found.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise ManifestError("there is no such image folder", remedy="Check the path.", folder=str(root))
    place, counts = Place(root), _counts(boxes.boxes)
    items: dict[int, ImageItem] = {}
    aside: list[SetAside] = []
    for number, count in counts.items():
        found = _first_found(place, root, boxes.pictures[number])
        if isinstance(found, Found):
            items[number] = ImageItem(found.id, found.path)
        else:
            aside.append(replace(found, detail=f"{found.detail} {count} boxes".strip()))
    if not items:
        first = f"{aside[0].id}: {aside[0].reason} {aside[0].path} {aside[0].detail}"
        remedy = "Name the folder that the annotations' file names start in."
        raise NoImagesError("none of the pictures lies in the folder", remedy=remedy, folder=str(root), first=first)
    return items, tuple(aside)


def corners_in_file(corners: Corners, stated: tuple[int, int] | None, size: tuple[int, int]) -> Corners | None:
    """A box in the pixels of a decoded picture of ``size``, clipped to it; ``None`` where nothing of it is left.

    Raises ``ValueError`` when ``size`` and ``stated`` have other proportions (rule 4).
    """
    across = down = 1.0
    if stated is not None and stated != size:
        across, down = size[0] / stated[0], size[1] / stated[1]
        if abs(size[1] - across * stated[1]) > 1 and abs(size[0] - down * stated[0]) > 1:
            raise ValueError(
                f"the file has {size[0]} x {size[1]} pixels, the annotations say {stated[0]} x {stated[1]}"
            )
    x0, y0, x1, y1 = corners
    return clipped((x0 * across, y0 * down, x1 * across, y1 * down), size)


def read_names(file: str | os.PathLike[str]) -> tuple[Category, ...]:
    """A vocabulary: one name a line (ids 1, 2, ... by line), or ``id TAB name`` on every line.

    Raises ``ManifestError`` when the file cannot be read, holds no name, or an id twice.
    """
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ManifestError(f"cannot read the class names: {error}", file=str(path)) from error
    rows = [line.split("\t", 1) for line in lines if line.strip()]
    with_ids = bool(rows) and all(len(row) == 2 and row[0].strip().isdecimal() for row in rows)
    numbered = [(int(row[0]), row[1]) for row in rows] if with_ids else list(enumerate(map("\t".join, rows), start=1))
    if not numbered or len({number for number, _ in numbered}) < len(numbered):
        raise ManifestError("the file holds no class name, or one id twice", remedy="One name a line.", file=str(path))
    return tuple(Category(number, clean_id(name).strip()) for number, name in numbered)


# --- the file ---------------------------------------------------------------------------------------------------------


def _parsed(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes(), object_hook=_without_masks)
    except OSError as error:
        raise ManifestError(f"cannot read the annotations: {error.strerror}", file=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"the annotations are not JSON: {error}", file=str(file)) from error
    lists = content if isinstance(content, dict) else {}
    missing = [name for name in ("images", "annotations") if not isinstance(lists.get(name), list)]
    if missing:
        remedy = "COCO's layout is {images: [...], annotations: [...], categories: [...]}."
        message = f"the annotation file has no list {' and '.join(missing)}"
        raise ManifestError(message, remedy=remedy, file=str(file))
    return lists


def _without_masks(record: dict[str, Any]) -> dict[str, Any]:
    """While parsing: masks are most of such a file, and would be most of the memory."""
    for key in _UNUSED:
        record.pop(key, None)
    return record


def _by_id(kind: str, rows: object, read: Callable[[Mapping[str, Any]], T], aside: list[SetAside]) -> dict[int, T]:
    """Usable rows by id; the others go to ``aside``."""
    found: dict[int, T] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else []):
        name = f"{kind} {_shown_id(row, number)}"
        try:
            if not isinstance(row, Mapping):
                raise BadRow("bad row", f"{type(row).__name__}, not an object")
            entry = read(row)
            if entry.id in found:
                raise BadRow("duplicate", "this id was there before")
        except BadRow as fault:
            aside.append(SetAside(name, "", fault.reason, fault.detail))
            continue
        found[entry.id] = entry
    return found


# --- small parts ------------------------------------------------------------------------------------------------------


def _shown_id(row: object, number: int) -> str:
    given = row.get("id") if isinstance(row, Mapping) else None
    return str(given) if isinstance(given, (int, str)) and given != "" else f"(row {number + 1})"


def _in_order(entries: Mapping[int, T]) -> tuple[T, ...]:
    return tuple(entries[number] for number in sorted(entries))


def _counts(boxes: Iterable[Box]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for box in boxes:
        counts[box.image] = counts.get(box.image, 0) + 1
    return counts


def _first_found(place: Place, root: Path, picture: Picture) -> Found | SetAside:
    fault = None
    for name in picture.files:
        found = place.resolve(name, base=root, must_exist=True)
        if isinstance(found, Found):
            return found
        fault = fault if fault is not None and fault.reason != "missing" else found
    assert fault is not None  # a picture has at least one name
    return SetAside(f"image {picture.id}", fault.id, fault.reason, fault.detail)
