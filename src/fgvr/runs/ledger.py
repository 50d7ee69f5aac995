"""Append-only JSON Lines: one finished item a line, on disk before ``append`` returns.

A line counts once its newline is there. What a kill or a power cut leaves behind the last newline is ignored by readers
and cut off by the next append; damaged lines in the middle are skipped and counted.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgvr.errors import RunError
from fgvr.runs.atomic import write_error

_BLOCK = 2**16


class Ledger:
    """Thread-safe within one process; between processes the lock of the run folder keeps writers apart.

    ``sync``: wait for the disk on every append, so that a power cut loses nothing either (threads that append at the
    same time share one fsync). Without it a killed process still loses nothing.
    """

    def __init__(self, path: str | os.PathLike[str], *, sync: bool = True) -> None:
        self.path = Path(path)
        self.skipped = 0
        """Damaged lines met by the last ``records()`` or ``latest()``."""
        self._sync = sync
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._handle: int | None = None
        self._written = 0
        self._synced = 0

    def append(self, record: dict[str, Any]) -> None:
        """Add one record. Raises ``TypeError`` or ``ValueError`` (not strict JSON), ``RunError`` (disk full)."""
        line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            with self._write_lock:
                handle = self._open()
                self._write(handle, line)
                self._written += 1
                mine = self._written
            if self._sync:
                self._wait_for_disk(handle, mine)
        except OSError as error:
            raise write_error(error, self.path) from error

    def records(self) -> list[dict[str, Any]]:
        """All whole records, oldest first."""
        return list(self)

    def latest(self, key: str = "item") -> dict[str, dict[str, Any]]:
        """The last record of each value of ``key``, in order of first appearance; records without it are left out."""
        return {str(record[key]): record for record in self if key in record}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.skipped = 0
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return  # torn: its writer never finished
                record = _parsed(line)
                if record is None:
                    self.skipped += 1
                else:
                    yield record

    def close(self) -> None:
        """Release the file; a later append opens it again."""
        with self._sync_lock, self._write_lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.ftruncate(handle, _end_of_last_line(handle))
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
        return self._handle

    def _write(self, handle: int, line: bytes) -> None:
        """One write; if the disk takes only part of the line, that part is taken back."""
        before = os.fstat(handle).st_size
        written = 0
        try:
            written = os.write(handle, line)
        finally:
            if written != len(line):
                os.ftruncate(handle, before)
        if written != len(line):
            raise RunError(
                "the disk took only part of a ledger line",
                remedy="Free some space, then run the same command again; finished work is kept.",
                file=str(self.path),
            )

    def _wait_for_disk(self, handle: int, mine: int) -> None:
        with self._sync_lock:
            if self._synced >= mine:
                return  # another thread's fsync came after our write
            upto = self._written
            if self._handle == handle:  # else it was closed meanwhile
                os.fsync(handle)
            self._synced = max(self._synced, upto)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return record if isinstance(record, dict) else None


def _end_of_last_line(handle: int) -> int:
    """Offset just behind the last newline, 0 if there is none."""
    end = os.fstat(handle).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(handle, end - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
