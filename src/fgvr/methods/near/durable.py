"""Files that let a killed fit go on: named by everything they depend on, and complete or ignored.

A name that is a digest of all inputs needs no bookkeeping: other labels, settings or features simply look for another
file. What is damaged is renamed away, for inspection, and computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import RunError
from fgvr.runs import load_arrays

logger = logging.getLogger(__name__)


def inputs_digest(*parts: Any) -> str:
    """SHA-256 of arrays (type, shape and values) and JSON-like values, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            head, data = json.dumps([part.dtype.str, part.shape]).encode(), np.ascontiguousarray(part).tobytes()
        else:
            head, data = b"", json.dumps(part, sort_keys=True).encode()
        digest.update(b"%d:%d:" % (len(head), len(data)) + head + data)
    return digest.hexdigest()


def read_sound(path: Path, *, key: str, value: str) -> dict[str, np.ndarray] | None:
    """Arrays of ``path`` whose metadata hold ``value`` under ``key``; ``None`` when missing, damaged or foreign.

    A damaged or foreign file is renamed to ``*.damaged`` with a warning.
    """
    if not path.exists():
        return None
    try:
        arrays, metadata = load_arrays(path)
        if metadata.get(key) != value:
            raise RunError("a stored array file belongs to other inputs", remedy="None is needed.", file=str(path))
    except RunError as error:
        _put_away(path, error)
        return None
    return arrays


def sound_or_absent(path: Path) -> Path:
    """``path``, from which a damaged file was renamed away, so that whoever reads it meets a whole one or none."""
    if path.exists():
        try:
            load_arrays(path)
        except RunError as error:
            _put_away(path, error)
    return path


def _put_away(path: Path, error: Exception) -> None:
    logger.warning("%s is damaged and will be computed again: %s", path, error)
    with suppress(OSError):
        path.replace(path.with_name(f"{path.name}.damaged"))
