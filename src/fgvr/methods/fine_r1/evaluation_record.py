"""What an examination leaves on disk, and its tables.

::

    FOLDER/
      result.json     figures of every row (the model, then the baselines), protocol, and what the caller adds
      replies.jsonl   one line a reply of the model: what was asked about, what came back, how it was read
      lengths.csv     one row a reply about a picture: tokens, words of thinking, right or not
      table.md        all rows side by side
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.methods.fine_r1.evaluation import Examined
from fgvr.methods.fine_r1.figures import ALL, AVERAGE, SEEN, UNSEEN, Figure
from fgvr.methods.fine_r1.parts import CLOSED, LABELS, OPEN, Part
from fgvr.runs import write_bytes, write_json, write_text

RESULT, REPLIES, LENGTHS, TABLE = "result.json", "replies.jsonl", "lengths.csv", "table.md"
LENGTH_COLUMNS = ("part", "id", "turn", "seen", "tokens", "words", "finish", "right")
COMPARED = ((CLOSED, "strict"), (CLOSED, "official"), (OPEN, "accepted"), (OPEN, "official"), (OPEN, "similarity"))
"""Columns of the table of all rows."""
NOTHING = "-"


def write_examined(folder: Path, rows: Sequence[Examined], *, more: Mapping[str, Any] | None = None) -> None:
    """Write the four files; ``rows``: the model first, then what it is compared with."""
    from fgvr.data import csv_bytes

    first = rows[0]
    write_text(folder / REPLIES, "".join(json.dumps(row) + "\n" for row in first.replies))
    write_bytes(folder / LENGTHS, csv_bytes(LENGTH_COLUMNS, length_rows(first)))
    write_text(folder / TABLE, markdown(*comparison(rows)))
    content = {**first.as_dict(), "baselines": [one.as_dict() for one in rows[1:]], **(more or {})}
    write_json(folder / RESULT, content)


def length_rows(examined: Examined) -> list[tuple[Any, ...]]:
    """Rows of ``LENGTH_COLUMNS``, one a reply about a picture in a shuffled order, or about an open item."""
    return [
        (
            row["part"],
            row["id"],
            row.get("turn", 0),
            row["seen"],
            row["tokens"],
            row["words"],
            row["finish"],
            row["right"] if row["part"] == CLOSED else row["accepted"],
        )
        for row in examined.replies
        if row["reply"] is not None and row.get("control", "picture") == "picture"
    ]


def figure_table(part: Part) -> tuple[list[str], list[list[str]]]:
    """(headers, rows): one row a figure, one column a group."""
    groups = list(part.figures)
    keys = [key for key in LABELS[part.name] if any(key in part.figures[group] for group in groups)]
    rows = [
        [LABELS[part.name][key], *(_text(part.figures[group].get(key), short=False) for group in groups)]
        for key in keys
    ]
    headers = [f"{group} ({part.items.get(group, part.items[ALL])})" for group in groups]
    return [part.name, *headers], rows


def comparison(rows: Sequence[Examined]) -> tuple[list[str], list[list[str]]]:
    """(headers, rows): one row a model; the main figures by group, and the share of questions with a reply."""
    divided = any(SEEN in part.figures and UNSEEN in part.figures for one in rows for part in one.parts.values())
    groups = (SEEN, UNSEEN, AVERAGE) if divided else (ALL,)
    columns = [
        (part, key, group)
        for part, key in COMPARED
        if any(one.figure(part, key) is not None for one in rows)
        for group in groups
    ]
    headers = ["model", *(f"{part} {key} {group}" for part, key, group in columns), "replied"]
    lines = [
        [one.model, *(_text(one.figure(*column), short=True) for column in columns), f"{100 * one.replied:.1f}"]
        for one in rows
    ]
    return headers, lines


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---", *("---:" for _ in headers[1:])], *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _text(figure: Figure | None, *, short: bool) -> str:
    if figure is None:
        return NOTHING
    return figure.interval.percent() if short else figure.text()
