"""Labelled images as a JSONL manifest, which every verb that takes images reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fgvr.errors import InputError, NoImagesError
from fgvr.runs.atomic import json_text, write_text
from fgvr.types import ImageItem


def write_manifest(path: str | os.PathLike[str], images: Sequence[ImageItem], *, part: str | None = None) -> int:
    """Write rows of image, label, accepted and split; returns how many. ``part`` keeps one of train, val, test.

    Images are named relative to the manifest's folder, outside of which no verb opens anything. Raises ``InputError``
    when some lie elsewhere, ``NoImagesError`` when nothing is in ``part``, ``RunError`` when it cannot be written.
    """
    items = [item for item in images if part is None or item.split == part]
    if not items:
        known = sorted({str(item.split) for item in images})
        raise NoImagesError(f"no image is in {part!r}", remedy=f"There are: {', '.join(known)}.")
    home = Path(os.path.realpath(Path(path).parent))
    places = [Path(os.path.realpath(item.path)) for item in items]
    outside = [place for place in places if not place.is_relative_to(home)]
    if outside:
        raise InputError(
            "a manifest names images in or below its own folder only",
            remedy=f"Write it into {os.path.commonpath([place.parent for place in places])}.",
            manifest=path,
            first=outside[0],
        )
    rows = (
        {
            "image": place.relative_to(home).as_posix(),
            "label": item.label,
            "accepted": list(item.accepted),
            "split": item.split,
        }
        for item, place in zip(items, places, strict=True)
    )
    write_text(path, "".join(f"{json_text(row)}\n" for row in rows))
    return len(items)
