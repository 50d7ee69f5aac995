"""One file of a memory: rows of one kind, written once and never changed.

A safetensors file of ``fgvr.runs.save_arrays``: ``vectors`` (n, D) float32, ``ids`` and ``classes`` (n,) int64, sources
and hashes as UTF-8 end to end with the end of each. Its name comes from its content.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from fgvr.errors import RunError
from fgvr.memory.rows import Rows
from fgvr.memory.tensors import mapped, tensor_table
from fgvr.runs import load_arrays, save_arrays

REMEDY = "Restore the folder from a copy, or make the memory anew."
_SMALL = ("ids", "classes", "sources", "source_ends", "hashes", "hash_ends")


@dataclass(frozen=True)
class Segment:
    """What the manifest says of a file."""

    file: str
    kind: str
    rows: int
    bytes: int
    sha256: str
    """Of everything in it, as ``save_arrays`` returns it."""
    rows_sha256: str
    """Of all but the vectors: small, so always checked."""
    removed: tuple[tuple[int, int], ...] = ()
    """Runs [first, last) of rows that were taken out since."""

    @property
    def alive(self) -> int:
        """Rows that still count."""
        return self.rows - sum(last - first for first, last in self.removed)

    def mask(self) -> np.ndarray:
        """(n,) bool: the rows that still count."""
        mask = np.ones(self.rows, dtype=bool)
        for first, last in self.removed:
            mask[first:last] = False
        return mask


@dataclass(frozen=True)
class Content:
    """A segment's arrays; ``vectors`` memory-mapped."""

    vectors: np.ndarray
    ids: np.ndarray
    classes: np.ndarray
    sources: tuple[str, ...]
    hashes: tuple[str, ...]


def write_segment(folder: Path, kind: str, rows: Rows, picked: slice, *, class_ids: np.ndarray) -> Segment:
    """Write the rows of a slice; complete under its name when this returns. Raises ``RunError``."""
    small = {
        "ids": rows.ids[picked],
        "classes": class_ids[rows.labels[picked]],
        **dict(zip(("sources", "source_ends"), _packed(rows.sources[picked]), strict=True)),
        **dict(zip(("hashes", "hash_ends"), _packed(rows.hashes[picked]), strict=True)),
    }
    vectors = rows.take(np.arange(picked.start, picked.stop))
    digest = _rows_digest(small)
    name = hashlib.sha256(digest.encode() + hashlib.sha256(vectors.data).digest()).hexdigest()[:16]
    path = folder / f"{kind}-{name}.safetensors"
    sha256 = save_arrays(path, {"vectors": vectors, **small})
    return Segment(path.name, kind, len(vectors), path.stat().st_size, sha256, digest)


def read_segment(folder: Path, segment: Segment, *, dim: int, verify: bool) -> Content:
    """Check a segment and map it. Raises ``RunError``, also ``missing=True`` in its context where there is no file."""
    path = folder / segment.file
    try:
        size = path.stat().st_size
        if size != segment.bytes:
            what = "truncated" if size < segment.bytes else "longer than it was written"
            raise ValueError(f"it is {what}: {size} bytes, not {segment.bytes}")
        tensors, checksum = tensor_table(path, size)
        shapes = {"vectors": ("F32", [segment.rows, dim]), "ids": ("I64", [segment.rows])}
        for name, expected in shapes.items():
            if (tensors[name]["dtype"], tensors[name]["shape"]) != expected:
                raise ValueError(f"{name} is {tensors[name]['dtype']} {tensors[name]['shape']}, not {expected}")
        if checksum != segment.sha256:
            raise ValueError("it is not the file that was written")
        small = {name: np.array(mapped(path, tensors[name])) for name in _SMALL}
        if _rows_digest(small) != segment.rows_sha256:
            raise ValueError("labels, sources or hashes were changed")
        if verify:
            load_arrays(path)
        sources = _unpacked(small["sources"], small["source_ends"])
        hashes = _unpacked(small["hashes"], small["hash_ends"])
        return Content(mapped(path, tensors["vectors"]), small["ids"], small["classes"], sources, hashes)
    except FileNotFoundError as error:
        raise RunError("a file of the memory is missing", remedy=REMEDY, file=str(path), missing=True) from error
    except RunError as error:
        raise RunError(f"a file of the memory is damaged: {error.message}", remedy=REMEDY, file=str(path)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise RunError(f"a file of the memory is damaged: {error}", remedy=REMEDY, file=str(path)) from error


def map_vectors(folder: Path, segment: Segment) -> np.ndarray:
    """The vectors (n, D) of a file that was just written."""
    path = folder / segment.file
    return mapped(path, tensor_table(path, segment.bytes)[0]["vectors"])


def _rows_digest(small: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in _SMALL:
        digest.update(f"{name} {small[name].shape} ".encode())
        digest.update(small[name].tobytes())
    return digest.hexdigest()


def _packed(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Texts end to end, uint8, and the end of each, int64. Lone surrogates (file names that are not UTF-8) survive."""
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([len(one) for one in data], dtype=np.int64)
    return np.frombuffer(b"".join(data), dtype=np.uint8), ends


def _unpacked(data: np.ndarray, ends: np.ndarray) -> tuple[str, ...]:
    whole, bounds = data.tobytes(), [0, *ends.tolist()]
    return tuple(whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds))
