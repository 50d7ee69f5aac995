"""Predictions as files other tools read: JSON Lines, CSV or Parquet, chosen by suffix, written atomically.

Columns: ``image``, ``name``, ``probability``, ``unknown``, ``top`` (pairs of name and probability; as JSON text in CSV
and Parquet). Names come from a model, so no CSV cell may start like a spreadsheet formula: such cells get a leading
apostrophe, which ``read_predictions`` takes off again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, MissingExtraError
from fgvr.runs.atomic import json_text, write_bytes
from fgvr.types import Prediction

EXPORT_SUFFIXES = (".jsonl", ".csv", ".parquet")
_COLUMNS = ("image", "name", "probability", "unknown", "top")
# The last four are the full-width forms, which spreadsheets in some languages treat alike.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_predictions(path: str | os.PathLike[str], predictions: Iterable[Prediction]) -> None:
    """Write all predictions in order. Raises ``InputError`` (suffix), ``MissingExtraError``, ``RunError`` (disk)."""
    write_bytes(path, format_predictions(predictions, suffix=Path(path).suffix))


def format_predictions(predictions: Iterable[Prediction], *, suffix: str = ".jsonl") -> bytes:
    """The bytes of a prediction file, e.g. for standard output."""
    formats = {".jsonl": _to_jsonl, ".csv": _to_csv, ".parquet": _to_parquet}
    return formats[_checked(suffix)](list(predictions))


def read_predictions(path: str | os.PathLike[str]) -> list[Prediction]:
    """What ``write_predictions`` wrote. Raises ``InputError`` naming file and row where it is something else."""
    path = Path(path)
    formats = {".jsonl": _from_jsonl, ".csv": _from_csv, ".parquet": _from_parquet}
    reader = formats[_checked(path.suffix)]
    predictions: list[Prediction] = []
    try:
        predictions.extend(_prediction(record) for record in reader(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        remedy = "Give a file written by 'fgvr predict'."
        message = f"cannot read predictions: {error!r}"
        raise InputError(message, remedy=remedy, file=str(path), after_row=len(predictions)) from error
    return predictions


def _checked(suffix: str) -> str:
    if suffix.lower() not in EXPORT_SUFFIXES:
        remedy = f"End the file name in one of {', '.join(EXPORT_SUFFIXES)}."
        raise InputError(f"predictions cannot be stored as {suffix or 'a file without suffix'!r}", remedy=remedy)
    return suffix.lower()


def _prediction(record: Mapping[str, Any]) -> Prediction:
    top = json.loads(record["top"]) if isinstance(record["top"], str) else record["top"]
    unknown = record["unknown"]
    return Prediction(
        item_id=str(record["image"]),
        name=str(record["name"]),
        probability=float(record["probability"]),
        top=tuple((str(name), float(probability)) for name, probability in top),
        unknown=unknown if isinstance(unknown, bool) else {"true": True, "false": False}[str(unknown).lower()],
    )


def _record(prediction: Prediction) -> dict[str, Any]:
    top = [[name, probability] for name, probability in prediction.top]
    values = (prediction.item_id, prediction.name, prediction.probability, prediction.unknown, top)
    return dict(zip(_COLUMNS, values, strict=True))


# --- formats ----------------------------------------------------------------------------------------------------------


def _to_jsonl(predictions: Sequence[Prediction]) -> bytes:
    return b"".join(json_text(_record(p)).encode("utf-8") + b"\n" for p in predictions)


def _from_jsonl(path: Path) -> Iterable[Mapping[str, Any]]:
    return (json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip())


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> bytes:
    """A table as CSV, in which no cell can be taken for a formula; ``None`` is an empty cell."""
    target = io.StringIO(newline="")
    # All text is quoted: with "\n" line ends some versions of Python leave a bare "\r" in a cell unquoted.
    writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_guarded(cell) if isinstance(cell, str) else cell for cell in row])
    return target.getvalue().encode("utf-8", "backslashreplace")


def _to_csv(predictions: Sequence[Prediction]) -> bytes:
    rows = (
        (p.item_id, p.name, float(p.probability), "true" if p.unknown else "false", json_text(_record(p)["top"]))
        for p in predictions
    )
    return csv_bytes(_COLUMNS, rows)


def _from_csv(path: Path) -> Iterable[Mapping[str, Any]]:
    text = path.read_bytes().decode("utf-8-sig")
    usual = csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # thousands of names make one long ``top``
    try:
        records = [*csv.DictReader(io.StringIO(text, newline=""), strict=True)]
    finally:
        csv.field_size_limit(usual)
    for record in records:
        yield {**record, "image": unguarded(record["image"]), "name": unguarded(record["name"])}


def _to_parquet(predictions: Sequence[Prediction]) -> bytes:
    pyarrow, parquet = _pyarrow()
    records = [{**_record(p), "top": json_text(_record(p)["top"])} for p in predictions]
    types = (pyarrow.string(), pyarrow.string(), pyarrow.float64(), pyarrow.bool_(), pyarrow.string())
    target = io.BytesIO()
    table = pyarrow.Table.from_pylist(records, schema=pyarrow.schema(list(zip(_COLUMNS, types, strict=True))))
    parquet.write_table(table, target)
    return target.getvalue()


def _from_parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        return list(file.read(columns=list(_COLUMNS)).to_pylist())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="parquet") from error
    return pyarrow, parquet


def _guarded(cell: str) -> str:
    return "'" + cell if cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def unguarded(cell: str) -> str:
    """A cell of ``csv_bytes`` as it was before it was guarded."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell
