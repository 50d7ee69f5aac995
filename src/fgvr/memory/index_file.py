"""A faiss index as bytes in a safetensors file of our own, written and read piece by piece.

The file is what ``fgvr.runs.save_arrays`` would write with the index as a uint8 array, checksum included
(``load_arrays`` reads it), but gigabytes never lie in memory a second time. faiss's reader is never shown bytes whose
checksum does not hold: it trusts lengths it finds in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import RunError
from fgvr.memory.ann import load_faiss
from fgvr.memory.tensors import mapped, tensor_table
from fgvr.runs.atomic import atomic_path

INDEX = "index"
PIECE = 4 * 2**20
_NAMES = {"int64": "I64", "uint8": "U8"}
REMEDY = "Build the index anew; the memory itself is not touched."


def write_index_file(path: str | os.PathLike[str], index: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an index and small int64 or uint8 arrays atomically. Raises ``RunError`` when the system refuses."""
    sizes: list[int] = []
    _serialise(index, lambda data: sizes.append(len(data)))
    size = sum(sizes)
    header: dict[str, Any] = {"__metadata__": {"fgvr.sha256": _checksum(arrays, size, partial(_serialise, index))}}
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # the widest first: all are aligned
    at = 0
    for name in ordered:
        array = arrays[name]
        said = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        header[name] = said
        at += array.nbytes
    header[INDEX] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in ordered:
            file.write(arrays[name].tobytes())
        _serialise(index, file.write)


def read_index_file(path: str | os.PathLike[str]) -> tuple[Any, dict[str, np.ndarray]]:
    """The index and the arrays. Raises ``RunError`` for a missing, truncated, changed or foreign file."""
    path = Path(path)
    try:
        tensors, checksum = tensor_table(path, path.stat().st_size)
        arrays = {name: np.array(mapped(path, said)) for name, said in tensors.items() if name != INDEX}
        start, size = tensors[INDEX]["offset"], tensors[INDEX]["shape"][0]
        if tensors[INDEX]["dtype"] != "U8" or checksum != _checksum(
            arrays, size, partial(_stored_bytes, path, start, size)
        ):
            raise ValueError("it does not match its checksum")
        return _deserialised(path, start), arrays
    except FileNotFoundError as error:
        raise RunError("there is no index here", remedy=REMEDY, file=str(path)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, struct.error) as error:
        raise RunError(f"the index is damaged: {error}", remedy=REMEDY, file=str(path)) from error


def _serialise(index: Any, take: Callable[[bytes], object]) -> None:
    """Hand the index's bytes to ``take``, piece by piece."""
    faiss = load_faiss()
    faiss.write_index(index, faiss.PyCallbackIOWriter(take, PIECE))


def _deserialised(path: Path, start: int) -> Any:
    faiss = load_faiss()
    with path.open("rb") as file:
        file.seek(start)
        try:
            return faiss.read_index(faiss.PyCallbackIOReader(file.read, PIECE))
        except RuntimeError as error:
            raise ValueError(f"faiss cannot read it: {error}") from error


def _stored_bytes(path: Path, start: int, size: int, take: Callable[[bytes], object]) -> None:
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(min(size, PIECE)):
            take(data)
            size -= len(data)


def _checksum(arrays: Mapping[str, np.ndarray], size: int, stream: Callable[[Callable[[bytes], object]], None]) -> str:
    """That of ``save_arrays``, of ``arrays`` and of an index of ``size`` bytes which ``stream`` hands over."""
    digest = hashlib.sha256(b"[]")  # no metadata
    for name in sorted([*arrays, INDEX]):
        dtype, shape = ("|u1", [size]) if name == INDEX else (arrays[name].dtype.str, list(arrays[name].shape))
        digest.update(json.dumps([name, dtype, shape]).encode())
        stream(digest.update) if name == INDEX else digest.update(arrays[name].tobytes())
    return digest.hexdigest()
