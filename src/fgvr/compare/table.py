"""The comparison as text: cells, Markdown, CSV, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgvr.compare.differences import COMPARED, Difference, paired_by
from fgvr.compare.row import FIGURES, Row
from fgvr.compare.summary import Line
from fgvr.data import csv_bytes
from fgvr.metrics.bootstrap import Interval
from fgvr.runs import write_json, write_text
from fgvr.runs.atomic import write_bytes

SHOWN = ("cacc", "sacc", "synonym", "siou_split")
HEADS = {"cacc": "cACC", "sacc": "sACC", "synonym": "accuracy", "siou_split": "sIOU"}
HEADERS = ("method", *HEADS.values(), "answered", "names", "truth in names", "calls", "tokens in / out", "money", "s")


def cells(line: Line) -> list[str]:
    """One line of the table as text, for ``HEADERS``; of a failed method its status (why: ``line.errors``)."""
    if not line.figures:
        return [line.title, line.status, *[""] * (len(HEADERS) - 2)]
    marks = "" if line.whole else " *"
    usage = line.usage
    return [
        line.title + marks,
        *(figure(line.figures.get(key)) for key in SHOWN),
        f"{100 * line.coverage:.1f} %",
        f"{line.names:,.0f}",
        "" if line.truth_covered is None else f"{100 * line.truth_covered:.0f} %",
        f"{usage.calls:,}",
        f"{usage.input_tokens:,} / {usage.output_tokens:,}",
        "unknown" if usage.cost is None else f"${usage.cost:.2f}",
        f"{line.seconds:.0f}",
    ]


def partial(lines: Sequence[Line]) -> bool:
    """Whether any line has figures of only a part, hence a star behind its name that wants explaining."""
    return any(line.figures and not line.whole for line in lines)


def figure(value: Interval | None) -> str:
    """``63.5 ± 1.2`` over draws, ``63.5 [61.2, 65.7]`` over images, ``63.5`` where nothing is known of its spread."""
    if value is None:
        return ""
    if value.low == value.high:
        return f"{100 * value.value:.1f}"
    if value.resamples == 0:
        return f"{100 * value.value:.1f} ± {50 * (value.high - value.low):.1f}"
    return value.percent()


def difference_cells(one: Difference) -> list[str]:
    """``method``, then a signed difference in points for each figure; a star where its interval leaves zero out."""
    shown = []
    for key in COMPARED:
        value = one.figures.get(key)
        if value is None:
            shown.append("")
            continue
        half = f"± {50 * (value.high - value.low):.1f}" if value.resamples == 0 else _range(value)
        shown.append(f"{100 * value.value:+.1f} {half}{' *' if one.clear(key) else ''}")
    return [one.method, *shown]


def _range(value: Interval) -> str:
    return f"[{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def markdown(lines: Sequence[Line], compared: Sequence[Difference], protocol: Sequence[str]) -> str:
    """The whole comparison as one Markdown page."""
    text = ["# Comparison", "", *(f"- {_safe(one)}" for one in protocol)]
    for collection in dict.fromkeys(line.collection for line in lines):
        here = [line for line in lines if line.collection == collection]
        text += ["", f"## {_safe(collection)}", "", *grid(HEADERS, [cells(line) for line in here])]
        if partial(here):
            text += ["", "\\* not every draw or image is answered: compare with care."]
        pairs = [one for one in compared if one.collection == collection]
        if pairs:
            heads = (f"minus {pairs[0].against}", *(HEADS[key] for key in COMPARED))
            text += ["", f"Paired by {paired_by(pairs)}, in points; a star where the interval leaves zero out:", ""]
            text += grid(heads, [difference_cells(one) for one in pairs])
        noted = [f"- {line.title}: {note}" for line in here for note in (*line.notes, *line.errors)]
        text += ["", *map(_safe, noted)] if noted else []
    return "\n".join(text) + "\n"


def grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right."""
    head = [" | ".join(map(_safe, headers)), " | ".join([":---", *["---:"] * (len(headers) - 1)])]
    return [f"| {line} |" for line in (*head, *(" | ".join(map(_safe, row)) for row in rows))]


def _safe(text: str) -> str:
    """Names and notes may hold a model's words: no cell breaks, no markup, no link or picture from elsewhere."""
    from fgvr.labels.normalise import without_hidden

    plain = " ".join(without_hidden(text).split())
    for letter, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "'"), ("](", "] (")):
        plain = plain.replace(letter, safe)
    return plain


def csv_of(rows: Sequence[Line | Row]) -> bytes:
    """One row a line (or a method and draw), figures in [0, 1] with the ends of their intervals, for a spreadsheet."""
    flat = [_flat(row) for row in rows]
    heads = list(dict.fromkeys(key for row in flat for key in row))
    return csv_bytes(heads, [[row.get(key) for key in heads] for row in flat])


def _flat(one: Line | Row) -> dict[str, Any]:
    kept = {key: value for key, value in vars(one).items() if isinstance(value, str | int | float) or value is None}
    for key in FIGURES:
        for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            kept[key + suffix] = getattr(one.figures[key], end) if key in one.figures else None
    kept |= {f"usage_{key}": value for key, value in asdict(one.usage).items()}
    return {**kept, "coverage": one.coverage, "notes": "; ".join(one.notes)}


def write_tables(
    out: Path, rows: Sequence[Row], lines: Sequence[Line], compared: Sequence[Difference], protocol: Sequence[str]
) -> None:
    """``table.md``, ``table.csv``, ``rows.csv``, ``comparison.json``, each atomically."""
    write_text(out / "table.md", markdown(lines, compared, protocol))
    write_bytes(out / "table.csv", csv_of(lines))
    write_bytes(out / "rows.csv", csv_of(rows))
    write_json(out / "comparison.json", {"protocol": list(protocol), "rows": [row.to_dict() for row in rows]})
