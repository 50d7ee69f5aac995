"""Rows of triplets in Parquet, the released columns first; what they mean is in ``triplets_files``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.data.paths import clean_id
from fgvr.errors import InputError, ManifestError, MissingExtraError
from fgvr.runs import atomic_path

MARK = "<image>"
RELEASED = {
    "problem": "question",
    "answer": "category",
    "images": "anchor",
    "image_noisy": "positive",
    "image_aug": "negative",
}
"""Released column to the field of ``Triplet``."""
OURS = ("id", "negative_category", "super_category", "accepted", "similarity")
_ROWS_AT_ONCE = 32


def parquet_records(path: Path) -> Iterator[tuple[int, object]]:
    """(number from 1, row under the names of ``Triplet``'s fields); an error where the file breaks off.

    Memory is that of one row group. Raises ``ManifestError`` when nothing can be read, ``MissingExtraError``.
    """
    arrow, parquet = _pyarrow()
    number = 0
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            wanted = [name for name in file.schema_arrow.names if name in RELEASED or name in OURS]
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, row_groups=[group], columns=wanted):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, {RELEASED.get(name, name): cell for name, cell in row.items()}
    except (OSError, ValueError, TypeError, arrow.ArrowException) as error:
        if not number:
            remedy = "Give Parquet with the columns problem, answer and images."
            raise ManifestError(f"the triplets cannot be read: {error}", remedy=remedy, file=str(path)) from error
        yield number + 1, error


def write_parquet(path: Path, records: Sequence[Mapping[str, Any]], *, embed: bool) -> None:
    """Write rows under the names of ``Triplet``'s fields, paths relative to ``path``'s folder or absolute.

    A few rows at a time: memory is that of a few pictures, however many are embedded.
    """
    arrow, parquet = _pyarrow()
    text, texts = arrow.string(), arrow.list_(arrow.string())
    pictures = arrow.list_(arrow.struct([("bytes", arrow.binary()), ("path", text)]))
    kinds = [text, text, pictures, pictures, pictures, text, text, text, texts, arrow.float64()]
    schema = arrow.schema([*zip((*RELEASED, *OURS), kinds, strict=True)])
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for start in range(0, len(records), _ROWS_AT_ONCE):
            rows = [_row(one, path.parent, embed) for one in records[start : start + _ROWS_AT_ONCE]]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def _row(record: Mapping[str, Any], folder: Path, embed: bool) -> dict[str, Any]:
    def pictures(field: str) -> list[dict[str, Any]]:
        named = record[field]
        return [{"bytes": _bytes(folder / named) if embed else None, "path": clean_id(named)}] if named else []

    return {
        "problem": clean_id(f"{MARK} {record['question']}"),
        "answer": clean_id(record["category"]),
        **{column: pictures(RELEASED[column]) for column in ("images", "image_noisy", "image_aug")},
        **{name: clean_id(record[name]) for name in ("id", "negative_category", "super_category")},
        "accepted": [clean_id(name) for name in record["accepted"]],
        "similarity": record["similarity"],
    }


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = "Mine triplets of pictures that can be read."
        raise InputError(f"a picture cannot be read: {error.strerror}", remedy=remedy, file=str(path)) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="parquet") from error
    return pyarrow, pyarrow.parquet
