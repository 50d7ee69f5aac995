"""Reading a caption database for CaSED: a text file with one caption a line, or Parquet.

1. *Repetitions.* The released index holds every row, so that ten captions may be one caption ten times; near-duplicates
   are then removed and little is left. Here a caption that was read before is not read again.
2. *Bad rows* (not UTF-8, no letters, longer than ``LONGEST`` characters, not text) are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, MissingExtraError
from fgvr.labels.normalise import without_hidden

COLUMNS = ("caption", "captions", "text", "alt", "title")
"""Names of a Parquet file's column of captions (any case), the first that is there."""
LONGEST = 2_000
REMEDY = "Give a text file with one caption a line, or Parquet with a column named caption or text."


@dataclass(frozen=True)
class Captions:
    """What a database holds."""

    texts: tuple[str, ...]
    """Distinct, in order of first appearance, never empty."""
    skipped: int = 0
    """Rows that are no captions."""
    repeated: int = 0


def read_captions(path: Path) -> Captions:
    """Read a caption database. Raises ``InputError`` when it cannot be read or holds no caption."""
    path = Path(path).expanduser()
    try:
        found = gathered(_parquet_rows(path) if _is_parquet(path) else _lines(path))
    except OSError as error:
        raise InputError("the captions cannot be read", remedy=REMEDY, file=str(path), reason=error) from error
    if not found.texts:
        raise InputError("the file holds no caption", remedy=REMEDY, file=str(path), skipped=found.skipped)
    return found


def gathered(rows: Iterable[Any]) -> Captions:
    """Captions among ``rows`` of anything; see the module's notes on what is skipped."""
    texts: dict[str, None] = {}
    skipped = repeated = 0
    for row in rows:
        text = _caption(row)
        if text is None:
            skipped += 1
        elif text in texts:
            repeated += 1
        else:
            texts[text] = None
    return Captions(tuple(texts), skipped, repeated)


def _caption(row: Any) -> str | None:
    if isinstance(row, bytes):
        try:
            row = row.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if not isinstance(row, str) or len(row) > LONGEST:
        return None
    text = " ".join(without_hidden(row).split())
    return text if any(char.isalpha() for char in text) else None


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if line.strip():  # an empty line is no row
                yield line


def _is_parquet(path: Path) -> bool:
    """By its first bytes: a text file may have any ending."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="parquet") from error
    try:
        with parquet.ParquetFile(path) as file:
            column = _column(file.schema_arrow.names)
            if column is None:
                raise InputError(
                    "no column of captions", remedy=REMEDY, file=str(path), columns=file.schema_arrow.names
                )
            for batch in file.iter_batches(columns=[column]):
                yield from batch.column(0).to_pylist()
    except pyarrow.ArrowException as error:
        raise InputError("the captions cannot be read", remedy=REMEDY, file=str(path), reason=error) from error


def _column(names: list[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in COLUMNS if name in lower), None)
