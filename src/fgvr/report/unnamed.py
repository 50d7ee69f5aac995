"""Groups that nobody has named, as the page shows them: pictures, the names their images got, a line to fill in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.data.exports import csv_bytes
from fgvr.labels.normalise import without_hidden
from fgvr.report.data import UnnamedGroup
from fgvr.report.sheet import ITEM_CHARACTERS
from fgvr.report.thumbs import Thumbnails
from fgvr.report.words import finite, name_shown, probability, shown

GROUPS_SHOWN = 20
PICTURES_SHOWN = 8
NAMES_SHOWN = 4
TABLE_CHARACTERS = 40_000
"""Of the table to copy; a group that would pass it ends it."""
COLUMNS = ("group", "name", "item")


def unnamed_groups(
    groups: Sequence[UnnamedGroup], paths: Mapping[str, Path], thumbs: Thumbnails
) -> list[dict[str, Any]]:
    """What the template prints of each group; every group gets its first picture before any gets its second."""
    kept = [one for one in groups if one.item_ids][:GROUPS_SHOWN]
    uris: list[list[str | None]] = [[] for _ in kept]
    for place in range(PICTURES_SHOWN):
        for found, one in zip(uris, kept, strict=True):
            if place < len(one.item_ids):
                found.append(thumbs.get(paths.get(one.item_ids[place])))
    return [
        _group(number, one, pictures) for number, (one, pictures) in enumerate(zip(kept, uris, strict=True), start=1)
    ]


def names_table(groups: Sequence[UnnamedGroup]) -> dict[str, Any]:
    """The ``lines`` of a CSV to copy and fill in (one an image, ``name`` empty), and how many ``groups`` it holds.

    Whole groups only. No cell can be taken for a formula, as in every export; hidden characters are dropped here
    already, so that no item can begin a line of its own.
    """
    kept = [one for one in groups if one.item_ids][:GROUPS_SHOWN]
    rows: list[tuple[str, str, str]] = []
    held = size = 0
    for number, one in enumerate(kept, start=1):
        size += sum(len(item) + 10 for item in one.item_ids)
        if size > TABLE_CHARACTERS:
            break
        rows += [(str(number), "", without_hidden(item)) for item in one.item_ids]
        held = number
    return {"lines": csv_bytes(COLUMNS, rows).decode("utf-8").splitlines(), "groups": held}


def _group(number: int, one: UnnamedGroup, uris: Sequence[str | None]) -> dict[str, Any]:
    pictures = [
        (shown(item, ITEM_CHARACTERS), uri) for item, uri in zip(one.item_ids, uris, strict=False) if uri is not None
    ]
    got = [
        (name_shown(name), probability(share), f"{100 * min(1.0, max(0.0, share)) if finite(share) else 0:.1f}")
        for name, share in one.names[:NAMES_SHOWN]
    ]
    facts = [
        (label, f"{value:.2f}")
        for label, value in (("distance to a named image", one.distance), ("cohesion", one.cohesion))
        if value is not None and finite(value)
    ]
    return {
        "number": number,
        "first": shown(one.item_ids[0], ITEM_CHARACTERS),
        "count": len(one.item_ids),
        "pictures": pictures,
        "hidden": len(one.item_ids) - len(pictures),
        "names": got,
        "more": len(one.names) - len(got),
        "facts": facts,
    }
