"""Replies kept across runs, keyed by everything that can change an answer and by nothing else.

The key holds the model, its revision, the preprocessing, system text, rendered prompt, decoding parameters, options and
the SHA-256 of each picture's bytes. It does not hold file names, item ids or stages: the same picture under another
name is the same question. Two exceptions, both because picture content does not determine the answer: recorded replies
are keyed by item, and so are sampled answers (temperature above zero without a seed), which are never stored either.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fgvr.errors import RunError
from fgvr.mllm.base import BY_ITEM, Mllm, Parameters, Reply, Request, Sample
from fgvr.types import Usage

logger = logging.getLogger(__name__)

KEY_VERSION = 1
"""Raised whenever the meaning of a key changes: old entries are then no longer found."""

_LITTLE = 2**20
"""Bytes; a disk with less left is full."""


def request_key(request: Request, mllm: Mllm) -> str:
    """SHA-256 (hex) over canonical JSON of all that determines the answer; ``image_hashes`` must be filled."""
    by_item = mllm.preprocessing == BY_ITEM
    if not by_item and len(request.image_hashes) != len(request.images):
        raise ValueError(f"image hashes are missing for item {request.item_id!r}")
    content = {
        "version": KEY_VERSION,
        "model": mllm.name,
        "revision": mllm.revision,
        "preprocessing": mllm.preprocessing,
        "system": request.system,
        "prompt": request.prompt,
        "parameters": _decoding(request.parameters),
        "options": request.options,
        "images": request.image_hashes,
        "item": request.item_id if by_item or not is_repeatable(request.parameters) else None,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _decoding(parameters: Parameters) -> dict[str, Any]:
    """Parameters as the key holds them: the number of samples only where there are several, as older keys have none."""
    fields = asdict(parameters)
    if parameters.samples == 1:
        del fields["samples"]
    return fields


def is_repeatable(parameters: Parameters) -> bool:
    """False for sampling without a seed: such an answer stands for itself only."""
    return parameters.temperature == 0 or parameters.seed is not None


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """A reply as JSON-ready values, without the item id; ``samples`` only where there are some."""
    # By hand: ``asdict`` copies deeply, which shows at hundreds of replies a second.
    fields = {**vars(reply), "usage": dict(vars(reply.usage)), "option_logprobs": list(reply.option_logprobs)}
    del fields["item_id"], fields["cached"], fields["samples"]
    if reply.samples:
        fields["samples"] = [dict(vars(sample)) for sample in reply.samples]
    return fields


def reply_from_json(fields: Mapping[str, Any], *, item_id: str, cached: bool = True) -> Reply:
    """The inverse of :func:`reply_to_json`. Raises KeyError, TypeError or ValueError on anything else."""
    return Reply(
        item_id=item_id,
        text=str(fields["text"]),
        model=str(fields["model"]),
        usage=Usage(**fields["usage"]),
        option_logprobs=tuple(float(value) for value in fields["option_logprobs"]),
        confidence=None if fields["confidence"] is None else float(fields["confidence"]),
        cached=cached,
        attempts=int(fields["attempts"]),
        finish=str(fields["finish"]),
        usage_estimated=bool(fields["usage_estimated"]),
        samples=tuple(sample_from_json(sample) for sample in fields.get("samples", ())),
    )


def sample_from_json(fields: Mapping[str, Any]) -> Sample:
    """One sample of a stored reply. Raises KeyError, TypeError or ValueError on anything else."""
    logprob = fields["logprob"]
    return Sample(str(fields["text"]), None if logprob is None else float(logprob), str(fields["finish"]))


class ResponseCache:
    """Successful replies by key in one SQLite file. Safe for threads and for several processes.

    A file that is not a sound database is renamed (``.corrupt-...``) with a warning, and a new one begun.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = _open(path)
            except sqlite3.DatabaseError as error:
                self._connection = self._start_anew(error)

    def __enter__(self) -> ResponseCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("SELECT COUNT(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file; further use is an error."""
        with self._lock:
            self._connection.close()

    def get(self, key: str, *, item_id: str) -> Reply | None:
        """The reply stored under ``key`` as an answer for ``item_id`` (``cached`` is true), or ``None``."""
        with self._lock, _explained(self.path):
            try:
                row = self._connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._connection = self._start_anew(error)
                return None
        if row is None:
            return None
        try:
            return reply_from_json(json.loads(row[0]), item_id=item_id)
        except (ValueError, TypeError, KeyError) as error:
            logger.warning("ignoring an unreadable entry of the response cache %s: %s", self.path, error)
            return None

    def put(self, key: str, reply: Reply) -> None:
        """Store one successful reply."""
        self.put_many({key: reply})

    def put_many(self, replies: Mapping[str, Reply]) -> None:
        """Store successful replies in one transaction; the first answer under a key stays."""
        rows = [(key, json.dumps(reply_to_json(reply)), time.time()) for key, reply in replies.items()]
        with self._lock, _explained(self.path):
            try:
                self._insert(rows)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._connection = self._start_anew(error)
                self._insert(rows)

    def _insert(self, rows: list[tuple[str, str, float]]) -> None:
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", rows)

    def _start_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        if isinstance(error, sqlite3.OperationalError):
            raise error  # locked, disk full, no permission: the file itself may well be sound
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self._connection.close()
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.path, aside)
        for leftover in ("-wal", "-shm"):
            self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
        logger.warning("the response cache %s was damaged (%s); set aside as %s", self.path, error, aside.name)
        return _open(self.path)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's refusals (disk full, locked, no permission) into ``RunError``."""
    try:
        yield
    except OSError as error:
        from fgvr.runs.atomic import write_error

        raise write_error(error, path) from error
    except sqlite3.OperationalError as error:
        # SQLite says "disk I/O error" where the disk could not take its shared-memory file.
        full = "I/O" in str(error) and shutil.disk_usage(path.parent).free < _LITTLE
        raise RunError(
            f"the response cache cannot be used: {'the disk is full' if full else error}",
            remedy="Free some space or choose another --cache, then run the same command again; finished work is kept.",
            file=str(path),
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL, made REAL NOT NULL)"
        )
        connection.commit()
        if (verdict := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(str(verdict))
    except sqlite3.Error:
        connection.close()
        raise
    return connection
