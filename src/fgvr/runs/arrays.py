"""Arrays on disk as safetensors: written atomically, believed only when the checksum holds. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import RunError
from fgvr.runs.atomic import write_bytes

_CHECKSUM = "fgvr.sha256"


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, metadata: Mapping[str, str] | None = None
) -> str:
    """Write named arrays and string metadata; returns the checksum (SHA-256 over names, types, shapes, values)."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    notes = dict(metadata or {})
    checksum = _checksum(contiguous, notes)
    write_bytes(path, save(contiguous, metadata={**notes, _CHECKSUM: checksum}))
    return checksum


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of ``save_arrays``. Raises ``RunError`` for a missing, damaged or foreign file."""
    from safetensors.numpy import load

    path = Path(path)
    try:
        data = path.read_bytes()
        notes = _metadata(data)
        arrays = load(data)
    except FileNotFoundError as error:
        raise RunError("a stored array file is missing", remedy=_REMEDY, file=str(path)) from error
    except Exception as error:  # safetensors has its own exception; a damaged header can also break struct and json
        raise RunError(f"a stored array file is damaged: {error}", remedy=_REMEDY, file=str(path)) from error
    stored = notes.pop(_CHECKSUM, None)
    if stored != _checksum(arrays, notes):
        what = "has no checksum" if stored is None else "does not match its checksum"
        raise RunError(f"a stored array file {what}", remedy=_REMEDY, file=str(path))
    return arrays, notes


_REMEDY = "Delete the file and run the command again; it will be made anew."


def _metadata(data: bytes) -> dict[str, str]:
    """The ``__metadata__`` of a safetensors file: 8 bytes of little-endian header length, then JSON."""
    (length,) = struct.unpack_from("<Q", data)
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__") or {})


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
