"""A memory on disk: files of rows that are only ever added, and one small manifest that says which of them count.

::

    FOLDER/memory.json                      encoder, classes, version, files of rows, rows taken out of them
    FOLDER/image-<digest>.safetensors       rows (``segments``); likewise text-<digest>
    FOLDER/.lock                            one process saves at a time

1. *Atomic.* New files of rows are written first, under names that no manifest knows; then the manifest is replaced;
   then files it no longer names are removed. A kill at any moment leaves the old version or the new one, whole.
2. *Only what is new.* Taking rows out marks them in the manifest. A file is written anew when more than
   ``MOST_REMOVED`` of its rows are gone, or when it is the last, not full, and at most twice as large as what follows
   it. So files shrink by half from one to the next, and additions leave at most 16 that are not full; a row is written
   again at most 26 times, each time into a file larger by half. What removal thins out is not joined with neighbours.
3. *Bounded.* At most ``SEGMENT_ROWS`` rows are held in memory to be written; vectors are mapped, never read as a whole.
4. *Checked.* The manifest carries its own SHA-256. Sizes, headers, labels, sources and hashes are checked at every
   load; vectors when asked, or when they are at most ``VERIFY_UP_TO`` bytes in all (reading a million takes seconds).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import RunError
from fgvr.memory.header import Header
from fgvr.memory.pieces import Pieces
from fgvr.memory.rows import Rows
from fgvr.memory.segments import REMEDY, Content, Segment, map_vectors, read_segment, write_segment
from fgvr.runs import write_text
from fgvr.runs.atomic import json_text, write_error
from fgvr.runs.lock import FolderLock

FORMAT = 1
MANIFEST = "memory.json"
SEGMENT_ROWS = 32_768
MOST_REMOVED = 0.25
VERIFY_UP_TO = 64 * 2**20
_ROWS_FILE = re.compile(r"(image|text)-[0-9a-f]{16}\.safetensors")
_HALF_WRITTEN = re.compile(r"\.tmp-[0-9a-f]{16}")


@dataclass(frozen=True)
class Origin:
    """The files a memory in this process stands on."""

    folder: Path
    version: int
    manifest: str
    """SHA-256 of the manifest's bytes."""
    segments: tuple[tuple[Segment, np.ndarray], ...]
    """Each file with the ids of its rows."""


def is_memory(folder: Path) -> bool:
    """Whether a memory was saved in this folder."""
    return (folder / MANIFEST).is_file()


# --- saving -----------------------------------------------------------------------------------------------------------


def save(
    folder: str | os.PathLike[str], header: Header, rows: Mapping[Any, Rows], origin: Origin | None
) -> tuple[Origin, dict[str, Pieces]]:
    """Bring the folder to this version; returns what it stands on now, and the vectors as they now lie on disk."""
    place = Path(folder)
    try:
        lock = FolderLock.acquire(place)
    except OSError as error:
        raise write_error(error, place) from error
    try:
        known = _still_ours(place, origin)
        if known is not None and known.version == header.version:
            return known, {}
        stored = known.segments if known is not None else ()
        segments: list[tuple[Segment, np.ndarray]] = []
        for kind, held in rows.items():
            segments += _written(place, kind, held, [pair for pair in stored if pair[0].kind == kind], header)
        text = _manifest_text(header, [segment for segment, _ in segments])
        write_text(place / MANIFEST, text)
        _clear(place, {segment.file for segment, _ in segments})
    finally:
        lock.release()
    now = Origin(place.resolve(), header.version, hashlib.sha256(text.encode()).hexdigest(), tuple(segments))
    return now, {kind: _pieces(place, kind, segments, dim=header.dim) for kind in rows}


def _still_ours(folder: Path, origin: Origin | None) -> Origin | None:
    """The origin where it is this folder's present version; ``None`` where all must be written."""
    if origin is None or origin.folder != folder.resolve() or not is_memory(folder):
        return None
    if hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() != origin.manifest:
        raise RunError(
            "the memory on disk was changed since it was loaded",
            remedy="Load it again and repeat the change.",
            folder=str(folder),
            loaded=origin.version,
        )
    return origin


def _written(
    folder: Path, kind: str, rows: Rows, stored: Sequence[tuple[Segment, np.ndarray]], header: Header
) -> list[tuple[Segment, np.ndarray]]:
    """The files that hold ``rows`` afterwards, in order; the new ones are written."""
    kept = _worth_keeping(stored, rows.ids)
    covered = np.isin(rows.ids, np.concatenate([ids for _, ids in kept] or [np.empty(0, np.int64)]))
    class_ids = np.asarray(header.class_ids, dtype=np.int64)
    for picked in _runs(~covered):
        segment = write_segment(folder, kind, rows, picked, class_ids=class_ids)
        kept.append((segment, rows.ids[picked]))
    return sorted(kept, key=lambda pair: int(pair[1][0]))


def _worth_keeping(stored: Sequence[tuple[Segment, np.ndarray]], ids: np.ndarray) -> list[tuple[Segment, np.ndarray]]:
    """Stored files that go on as they are, with the rows that are gone by now marked."""
    kept = []
    for segment, own in stored:
        gone = ~np.isin(own, ids)
        if gone.mean() <= MOST_REMOVED:
            removed = tuple((run.start, run.stop) for run in _runs(gone, longest=len(gone)))
            kept.append((replace(segment, removed=removed), own))
    loose = len(ids) - sum(segment.alive for segment, _ in kept)
    while loose and kept and kept[-1][0].rows < SEGMENT_ROWS and kept[-1][0].alive <= 2 * loose:
        loose += kept.pop()[0].alive
    return kept


def _runs(mask: np.ndarray, *, longest: int | None = None) -> list[slice]:
    """The runs of true values, none longer than ``longest``."""
    longest = longest or SEGMENT_ROWS
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [slice(at, min(at + longest, last)) for first, last in runs for at in range(first, last, longest)]


def _manifest_text(header: Header, segments: Sequence[Segment]) -> str:
    content = {
        "format": FORMAT,
        "holds": "an fgvr memory",
        **{field.name: getattr(header, field.name) for field in fields(header)},
        "segments": [asdict(segment) for segment in segments],
    }
    return json_text({**content, "sha256": _content_digest(content)}, indent=1) + "\n"


def _content_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _clear(folder: Path, named: set[str]) -> None:
    """Remove files of rows that the manifest does not name, and what a killed save left half-written."""
    for path in folder.iterdir():
        if (_ROWS_FILE.fullmatch(path.name) and path.name not in named) or _HALF_WRITTEN.fullmatch(path.name):
            with suppress(OSError):  # still mapped on Windows; the next save tries again
                path.unlink()


# --- loading ----------------------------------------------------------------------------------------------------------


def load(folder: str | os.PathLike[str], *, verify: bool | None) -> tuple[Header, dict[str, Rows], Origin]:
    """Read a memory. Raises ``RunError``."""
    place = Path(folder)
    data = _manifest_bytes(place)
    while True:
        try:
            return _loaded(place, data, verify=verify)
        except RunError as error:
            again = _manifest_bytes(place)
            if "missing" not in error.context or again == data:
                raise
            data = again  # another process saved a newer version while we read


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        remedy = "Name a folder that a memory was saved in."
        raise RunError("there is no memory in this folder", remedy=remedy, folder=str(folder)) from error
    except OSError as error:
        raise RunError(f"the memory cannot be read: {error}", remedy=REMEDY, folder=str(folder)) from error


def _loaded(folder: Path, data: bytes, *, verify: bool | None) -> tuple[Header, dict[str, Rows], Origin]:
    header, segments = _parsed(folder, data)
    if verify is None:
        verify = sum(segment.rows for segment in segments) * header.dim * 4 <= VERIFY_UP_TO
    contents = [read_segment(folder, segment, dim=header.dim, verify=verify) for segment in segments]
    read = list(zip(segments, contents, strict=True))
    rows = {kind: _rows(header, [pair for pair in read if pair[0].kind == kind]) for kind in ("image", "text")}
    ids = tuple((segment, content.ids) for segment, content in read)
    return header, rows, Origin(folder.resolve(), header.version, hashlib.sha256(data).hexdigest(), ids)


def _parsed(folder: Path, data: bytes) -> tuple[Header, list[Segment]]:
    try:
        content = json.loads(data)
        if content["format"] > FORMAT:
            remedy = "Install a newer fgvr, or make the memory anew."
            raise RunError("the memory was written by a newer fgvr", remedy=remedy, folder=str(folder))
        if content.pop("sha256") != _content_digest(content):
            raise ValueError("it was changed since it was written")
        del content["format"], content["holds"]
        segments = [
            Segment(**{**said, "removed": tuple((a, b) for a, b in said["removed"])})
            for said in content.pop("segments")
        ]
        if not all(_ROWS_FILE.fullmatch(segment.file) for segment in segments):
            raise ValueError("it names files that are not its own")
        names, ids = tuple(content.pop("names")), tuple(content.pop("class_ids"))
        return Header(**content, names=names, class_ids=ids), segments
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"the memory's manifest is damaged: {error}"
        raise RunError(message, remedy=REMEDY, file=str(folder / MANIFEST)) from error


def _rows(header: Header, read: Sequence[tuple[Segment, Content]]) -> Rows:
    """The rows of one kind that still count."""
    known = np.asarray(header.class_ids, dtype=np.int64)
    parts = []
    for segment, content in read:
        mask = segment.mask()
        labels = np.searchsorted(known, content.classes)
        if not np.array_equal(known[np.minimum(labels[mask], len(known) - 1)], content.classes[mask]):
            raise RunError("rows of classes the manifest does not know", remedy=REMEDY, file=segment.file)
        rows = Rows(content.vectors, labels, content.sources, content.hashes, ids=content.ids)
        parts.append(rows if mask.all() else rows.kept(mask))
    pieces = Pieces([piece for part in parts for piece in part.pieces.pieces], dim=header.dim)
    return Rows(
        pieces,
        np.concatenate([part.labels for part in parts] or [np.empty(0, np.int64)]),
        [source for part in parts for source in part.sources],
        [digest for part in parts for digest in part.hashes],
        ids=np.concatenate([part.ids for part in parts] or [np.empty(0, np.int64)]),
    )


def _pieces(folder: Path, kind: str, segments: Sequence[tuple[Segment, np.ndarray]], *, dim: int) -> Pieces:
    """The vectors of a kind as they lie in its files."""
    mapped: list[np.ndarray] = []
    for segment, _ in segments:
        if segment.kind == kind:
            whole = map_vectors(folder, segment)
            mapped += Pieces((whole,), dim=dim).kept(np.flatnonzero(segment.mask())).pieces
    return Pieces(mapped, dim=dim)
