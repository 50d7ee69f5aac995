"""Content hashes without rereading: what a file's SHA-256 was, as long as its path, size and modification time stand.

The trust is that of ``make`` and ``rsync``: a file rewritten with the same size *and* the same time stamp (to the
nanosecond) is believed unchanged. ``verify=True`` reads every byte instead.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fgvr.errors import ImageError
from fgvr.images import content_hash
from fgvr.runs.atomic import write_text

Stamp = tuple[int, int]
"""Size in bytes, modification time in nanoseconds."""


class HashMemo:
    """SHA-256 by path, kept in ``folder`` as JSON lines, one file per process that learnt something."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[str] = set()
        self._known: dict[str, tuple[Stamp, str]] = {}

    def hashes(self, paths: Sequence[Path], *, threads: int = 2, verify: bool = False) -> list[str | None]:
        """SHA-256 of each file, ``None`` where it cannot be read (the decoder will say why)."""
        self._refresh()
        stamps = [_stamp(path) for path in paths]
        found = [None if verify else self._remembered(path, stamp) for path, stamp in zip(paths, stamps, strict=True)]
        missing = [index for index, sha256 in enumerate(found) if sha256 is None and stamps[index] is not None]
        with ThreadPoolExecutor(threads) as pool:
            for index, sha256 in zip(missing, pool.map(_hash_or_none, [paths[i] for i in missing]), strict=True):
                found[index] = sha256
        self._learn([(paths[i], stamps[i], found[i]) for i in missing])
        return found

    def _remembered(self, path: Path, stamp: Stamp | None) -> str | None:
        known = self._known.get(os.path.abspath(path))
        return known[1] if known is not None and known[0] == stamp else None

    def _refresh(self) -> None:
        """Read the memo files that appeared since; a torn last line (a killed process) is skipped."""
        if not self._folder.is_dir():
            return
        for file in sorted(self._folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            if file.name in self._read:
                continue
            self._read.add(file.name)
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    path, size, mtime, sha256 = json.loads(line)
                    self._known[str(path)] = ((int(size), int(mtime)), str(sha256))
                except (ValueError, TypeError):
                    continue

    def _learn(self, rows: Sequence[tuple[Path, Stamp | None, str | None]]) -> None:
        lines = []
        for path, stamp, sha256 in rows:
            if stamp is None or sha256 is None or _stamp(path) != stamp:  # changed while it was read
                continue
            name = os.path.abspath(path)
            if self._known.get(name) != (stamp, sha256):
                self._known[name] = (stamp, sha256)
                lines.append(json.dumps([name, *stamp, sha256]))
        if not lines:
            return
        file = self._folder / f"{uuid.uuid4().hex}.jsonl"
        self._read.add(file.name)
        write_text(file, "\n".join(lines) + "\n")


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _hash_or_none(path: Path) -> str | None:
    try:
        return content_hash(path)
    except ImageError:
        return None
