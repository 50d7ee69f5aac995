"""Look into a file of ``fgvr.runs.save_arrays`` without reading it.

safetensors: 8 bytes of header length, a header in JSON, data.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}


def tensor_table(path: Path, size: int) -> tuple[dict[str, Any], str]:
    """Name to dtype, shape and absolute ``offset``, from the header of a file of ``size`` bytes; the stored checksum.

    Raises ``ValueError``, ``KeyError``, ``struct.error`` and kin for what is no such file.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size - 8:
            raise ValueError("this is no safetensors file")
        header = json.loads(file.read(length))
    checksum = header.pop("__metadata__", {}).get("fgvr.sha256", "")
    tensors = {}
    for name, said in header.items():
        begin, end = said["data_offsets"]
        width = _DTYPES[said["dtype"]].itemsize * int(np.prod(said["shape"], dtype=object))
        if not 0 <= begin <= end <= size - 8 - length or end - begin != width:
            raise ValueError(f"the header lies about {name}")
        tensors[name] = {**said, "offset": 8 + length + begin}
    return tensors, str(checksum)


def mapped(path: Path, tensor: Mapping[str, Any]) -> np.ndarray:
    """One tensor of the table, read-only, memory-mapped."""
    shape, dtype = tuple(tensor["shape"]), _DTYPES[tensor["dtype"]]
    if 0 in shape:
        return np.empty(shape, dtype)  # nothing cannot be mapped
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=tensor["offset"], shape=shape))
