"""What a cell of a comparison leaves on disk: its names and its row, complete or ignored."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgvr.compare.row import Row
from fgvr.errors import FgvrError
from fgvr.methods.baselines.task import Naming
from fgvr.runs import settings_digest, write_json, write_text
from fgvr.runs.atomic import json_text
from fgvr.types import ImageItem

RESULT, NAMED, ERROR = "result.json", "named.jsonl", "error.txt"


def folder_name(text: str) -> str:
    """A file name for a method's or collection's: the letters that are safe everywhere, and a digest if some are not.

    ``direct`` stays; ``./mine.py:a=1`` becomes something like ``mine.py-a=1-3f2a91``. Capitals count as unsafe: on some
    file systems ``CUB`` and ``cub`` are one folder.
    """
    plain = re.sub(r"[^A-Za-z0-9._=+-]+", "-", text).strip("-.")[:80]
    safe = plain != "" and plain == text == text.lower()
    return plain if safe else f"{plain or 'unnamed'}-{settings_digest({'text': text})[:6]}"


def keep(folder: Path, digest: str, row: Row, *, items: Sequence[ImageItem] = (), naming: Naming | None = None) -> None:
    """Write a cell's names, if it has any, then its row; the row vouches for both.

    Raises ``RunError`` where the disk refuses, ``TypeError`` or ``ValueError`` for values that JSON cannot hold.
    """
    (folder / NAMED if naming is None else folder / ERROR).unlink(missing_ok=True)  # of an earlier session
    if naming is not None:
        write_text(folder / NAMED, _lines(items, naming))
    stored = {"digest": digest, "row": row.to_dict()}
    write_json(folder / RESULT, {**stored, "sum": _sum(folder, stored)})


def finished(folder: Path, digest: str) -> Row | None:
    """The row of a cell that was made from the very same inputs; a cell with a damaged file counts as none."""
    try:
        stored = json.loads((folder / RESULT).read_bytes())
        sound = stored.pop("sum") == _sum(folder, stored)
        return Row.from_dict(stored["row"]) if sound and stored["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, FgvrError):
        return None


def named(root: Path, row: Row) -> dict[str, str | None]:
    """The names of one cell by image, from the comparison's folder; empty where it has none, or a damaged file."""
    file = root / folder_name(row.collection) / f"seed-{row.seed}" / folder_name(row.method) / NAMED
    try:
        lines = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
        return {str(line["item"]): line["name"] for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _lines(items: Sequence[ImageItem], naming: Naming) -> str:
    chances = (None,) * len(items) if naming.probabilities is None else naming.probabilities
    lines = (
        json_text({"item": item.id, "name": name, "probability": chance})
        for item, name, chance in zip(items, naming.names, chances, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


def _sum(folder: Path, stored: dict[str, Any]) -> str:
    """Of the row and of the names as they lie there."""
    file = folder / NAMED
    names = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
    return settings_digest({**stored, "named": names})
