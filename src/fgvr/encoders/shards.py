"""The feature store's files: one folder an encoder, append-only shards, no central index.

::

    FOLDER/<unique>.npy     (n, D) float32
    FOLDER/<unique>.json    {"version", "dim", "sha256" of the .npy, "keys": [[image sha256, view], ...]}

The companion is written after its array, so a shard without one was never finished and is not seen. Unique names let
any number of processes append; two that compute the same row both keep theirs, and either is right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fgvr.errors import RunError
from fgvr.runs.atomic import atomic_path, write_text

VERSION = 1
Key = tuple[str, str]
"""(SHA-256 of the image's bytes, view)."""

_log = logging.getLogger(__name__)


@dataclass
class ShardFolder:
    """The shards of one encoder. ``refresh`` before reading; ``append`` when rows are ready."""

    path: Path
    dim: int
    _where: dict[Key, tuple[str, int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def __contains__(self, key: Key) -> bool:
        return key in self._where

    def __len__(self) -> int:
        return len(self._where)

    def refresh(self) -> None:
        """Index the shards that appeared since the last call; a damaged one is renamed away with a warning."""
        if not self.path.is_dir():
            return
        for companion in sorted(self.path.glob("*.json")):
            if companion.stem in self._seen:
                continue
            self._seen.add(companion.stem)
            try:
                keys = _checked_keys(companion, dim=self.dim)
            except Exception as error:  # numpy and json have many ways of saying that a file is damaged
                self._put_away(companion.stem, error)
                continue
            for row, key in enumerate(keys):
                self._where.setdefault(key, (companion.stem, row))

    def append(self, keys: Sequence[Key], features: np.ndarray) -> None:
        """Write one shard: rows (n, D) float32 for n keys. Complete when this returns, invisible before.

        Raises ``RunError`` when the system refuses (disk full); nothing half-written is left under a name that is read.
        """
        stem = uuid.uuid4().hex
        array = self.path / f"{stem}.npy"
        with atomic_path(array) as temporary, temporary.open("wb") as file:
            np.save(file, np.ascontiguousarray(features, dtype=np.float32))
        digest = _digest(array)
        companion = {"version": VERSION, "dim": self.dim, "sha256": digest, "keys": [list(key) for key in keys]}
        write_text(self.path / f"{stem}.json", json.dumps(companion))
        self._seen.add(stem)
        for row, key in enumerate(keys):
            self._where.setdefault(key, (stem, row))

    def read(self, keys: Sequence[Key]) -> np.ndarray:
        """Rows (n, D) float32 of keys that are all present, through a memory map of each shard.

        Raises ``RunError`` when a shard vanished or was changed since ``refresh`` looked at it.
        """
        rows = np.empty((len(keys), self.dim), dtype=np.float32)
        wanted: dict[str, list[tuple[int, int]]] = {}
        for target, key in enumerate(keys):
            stem, source = self._where[key]
            wanted.setdefault(stem, []).append((target, source))
        for stem, pairs in wanted.items():
            targets, sources = np.array(pairs).T
            try:
                shard = np.load(self.path / f"{stem}.npy", mmap_mode="r", allow_pickle=False)
                rows[targets] = shard[sources]
            except (OSError, ValueError, IndexError) as error:
                remedy = "Run the same command again: what is damaged is put away and computed anew."
                raise RunError(f"a feature shard cannot be read: {error}", remedy=remedy, file=stem) from error
        return rows

    def _put_away(self, stem: str, error: Exception) -> None:
        """Keep a damaged shard for inspection under a name nobody reads; its rows are computed again."""
        _log.warning("feature shard %s is damaged and will be computed again: %s", self.path / stem, error)
        for suffix in (".json", ".npy"):
            path = self.path / f"{stem}{suffix}"
            with suppress(OSError):  # another process was faster, or there is no such part
                path.replace(path.with_suffix(f"{suffix}.damaged"))


def _checked_keys(companion: Path, *, dim: int) -> list[Key]:
    """Keys of a shard whose array is the one it was written with. Raises ``ValueError`` and kin otherwise."""
    content = json.loads(companion.read_text(encoding="utf-8"))
    if content["version"] != VERSION or content["dim"] != dim:
        raise ValueError(f"version {content['version']}, dimension {content['dim']}; expected {VERSION}, {dim}")
    keys = [(str(sha256), str(view)) for sha256, view in content["keys"]]
    array = companion.with_suffix(".npy")
    shape = np.load(array, mmap_mode="r", allow_pickle=False).shape
    if shape != (len(keys), dim):
        raise ValueError(f"array of shape {shape}; expected {(len(keys), dim)}")
    if _digest(array) != content["sha256"]:
        raise ValueError("the array's bytes are not those that were written")
    return keys


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
