"""Names that a person gives to images: a table filled in by hand becomes opinions that are trusted.

The table is the one on the report page (``group, name, item``), which a run also writes as ``groups_to_name.csv``. A
name beside any image of a group holds for the whole group, unless the group has several names: then each holds for its
own line only. ``-`` beside an image, or no line for it, leaves it out. ``group`` may be missing: one image a line.

In a run folder ``names.csv`` keeps all names given so far. Edited or deleted, it is what the next fit goes by.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fgvr.data.exports import csv_bytes, unguarded
from fgvr.errors import InputError
from fgvr.labels.normalise import without_hidden
from fgvr.runs import write_text
from fgvr.types import ImageItem, NamedImage

NAMES = "names.csv"
GROUPS = "groups_to_name.csv"
COLUMNS = ("group", "name", "item")
LEFT_OUT = "-"
LONGEST = 200
"""Characters of a name; what is longer is no name."""
REMEDY = "Give a CSV with the columns group, name and item, as on the report page; group may be missing."
Given = tuple[np.ndarray, Sequence[NamedImage]]
"""Rows of the pool (int64, ascending) and what a person calls them."""


def read_names(file: str | os.PathLike[str]) -> dict[str, str]:
    """Item id to name, of a table that may be filled in only in part. Commas or semicolons, UTF-8.

    Raises ``InputError`` for a file that cannot be read or has other columns, and for a name that is none.
    """
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
        first = text.splitlines()[0] if text.strip() else ""
        between = ";" if first.count(";") > first.count(",") else ","
        lines = [*csv.DictReader(io.StringIO(text, newline=""), delimiter=between, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the names cannot be read: {error}", remedy=REMEDY, file=str(file)) from error
    if lines and not {"name", "item"} <= lines[0].keys():
        raise InputError("the table of names has other columns", remedy=REMEDY, file=str(file), found=list(lines[0]))
    rows = [(_cell(line.get("group")), _cell(line["name"]), _cell(line["item"])) for line in lines]
    if long := [name for _, name, _ in rows if len(name) > LONGEST]:
        remedy = f"Names have at most {LONGEST} characters."
        raise InputError("a cell of the table is no name", remedy=remedy, file=str(file), begins=long[0][:40])
    return named_by_group(rows)


def named_by_group(rows: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    """Item to name from lines of (group, name, item), by the rule of this file."""
    names: dict[str, set[str]] = {}
    for group, name, _ in rows:
        if group and name and name != LEFT_OUT:
            names.setdefault(group, set()).add(name)
    common = {group: next(iter(some)) for group, some in names.items() if len(some) == 1}
    told = ((item, name or common.get(group, "")) for group, name, item in rows if item)
    return {item: name for item, name in told if name and name != LEFT_OUT}


def names_in(run: Path) -> dict[str, str]:
    """The names a run has been given so far."""
    file = run / NAMES
    return read_names(file) if file.exists() else {}


def keep_names(run: Path, names: Mapping[str, str]) -> None:
    """Write all names given so far, by item."""
    rows = [("", name, item) for item, name in sorted(names.items())]
    write_text(run / NAMES, csv_bytes(COLUMNS, rows).decode("utf-8"))


def offer_groups(run: Path, groups: Sequence[Sequence[str]]) -> None:
    """Write the table to fill in, an item a line. One that somebody has begun to fill in is kept beside it."""
    file = run / GROUPS
    if _begun(file):
        os.replace(file, file.with_suffix(".filled.csv"))
    rows = [(str(number), "", item) for number, items in enumerate(groups, start=1) for item in items]
    write_text(file, csv_bytes(COLUMNS, rows).decode("utf-8"))


def given_opinions(names: Mapping[str, str], items: Sequence[ImageItem]) -> Given:
    """The names of ``items`` (a pool, in order). Raises ``InputError`` where there are names and none is of the pool.

    The report drops hidden characters from ids, so that an id is also known without them.
    """
    row = {without_hidden(item.id).strip(): index for index, item in enumerate(items)}
    row |= {item.id: index for index, item in enumerate(items)}
    found = {row[item]: name for item, name in names.items() if item in row}
    if names and not found:
        raise InputError(
            f"none of the {len(names)} named images is in the collection",
            remedy="The item column holds ids as the report shows them, relative to the folder of images.",
            first=next(iter(names)),
        )
    rows = np.array(sorted(found), dtype=np.int64)
    return rows, [NamedImage(items[at].id, found[at]) for at in rows.tolist()]


def _begun(file: Path) -> bool:
    try:
        return bool(read_names(file))
    except InputError:
        return file.exists()


def _cell(value: str | None) -> str:
    return without_hidden(unguarded((value or "").strip())).strip()
