"""Vectors that other software made, as a memory: a ``.npy`` matrix, a table of rows, a list of class names.

Such files do not say which encoder made them, so whoever reads them must. The encoder's declared name becomes part of
the memory's fingerprint: two memories declared alike can be merged, any others are refused, and so is a loaded encoder,
unless its own fingerprint is given because the vectors are known to be its.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgvr.errors import EncoderError, ManifestError
from fgvr.memory.memory import Memory

ROW_COLUMNS = ("row", "class_id", "file")
StrPath = str | os.PathLike[str]


def read_image_vectors(
    vectors: StrPath,
    rows: StrPath,
    names: StrPath,
    *,
    encoder: str,
    fingerprint: str | None = None,
    logit_scale: float = 100.0,
) -> Memory:
    """Image rows: one a line of ``rows``, in the order of the table.

    Args:
        vectors: ``.npy``, (N, D) of any float type; divided by their norms.
        rows: CSV with the columns ``row`` (into the vectors), ``class_id`` (line of ``names``, from 0) and ``file``.
        names: class names, as ``read_names`` takes them.
        encoder: what made the vectors, e.g. ``openai/clip-vit-base-patch16``.
        fingerprint: of a loaded encoder, where the vectors are known to be its.
        logit_scale: of that encoder; CLIP's is 100.

    Raises ``ManifestError`` for files that cannot be read or do not fit each other, ``EncoderError`` for vectors that
    are zero or not finite.
    """
    matrix, known, table = read_matrix(vectors), read_names(names), _read_rows(rows)
    wrong = [line for line in table if not (0 <= line[0] < len(matrix) and 0 <= line[1] < len(known))]
    if wrong:
        raise ManifestError(
            f"a row of the table has no vector or no class name: {wrong[0]}",
            remedy="Give vectors, rows and names that belong together.",
            rows=os.fspath(rows),
            vectors=len(matrix),
            names=len(known),
        )
    memory = _empty(encoder, fingerprint, matrix.shape[1], logit_scale)
    picked = matrix[[row for row, _, _ in table]]
    memory.add("image", [known[label] for _, label, _ in table], picked, sources=[file for _, _, file in table])
    return memory


def read_text_vectors(
    vectors: StrPath,
    names: StrPath,
    *,
    encoder: str,
    template: str = "{}",
    fingerprint: str | None = None,
    logit_scale: float = 100.0,
) -> Memory:
    """Text rows: one vector a name, in order. ``template``: how the names were put before the encoder.

    The other arguments and what is raised are those of ``read_image_vectors``.
    """
    matrix, known = read_matrix(vectors), read_names(names)
    if len(matrix) != len(known):
        raise ManifestError(
            f"{len(matrix)} vectors for {len(known)} names",
            remedy="Give vectors and names that belong together.",
            vectors=os.fspath(vectors),
            names=os.fspath(names),
        )
    memory = _empty(encoder, fingerprint, matrix.shape[1], logit_scale)
    texts = [template.replace("{}", name) for name in known]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    memory.add("text", known, matrix, sources=texts, hashes=hashes)
    return memory


def read_matrix(path: StrPath) -> np.ndarray:
    """A ``.npy`` matrix (N, D) as float32 of unit norm; N and D at least 1. Nothing is unpickled.

    Raises ``ManifestError`` for a file that holds none, ``EncoderError`` for rows that are zero or not finite.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind != "f" or not found.size:
            raise ValueError("it holds no matrix of real numbers")
    except (OSError, ValueError, EOFError) as error:
        remedy = "Save the vectors with numpy.save, one row a vector."
        raise ManifestError(f"the vectors cannot be read: {error}", remedy=remedy, file=os.fspath(path)) from error
    matrix = found.astype(np.float64)
    norms = np.linalg.norm(matrix, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        remedy = "Leave such rows out."
        raise EncoderError("a vector is zero or not finite", remedy=remedy, file=os.fspath(path), row=int(bad[0]))
    return np.asarray(matrix / norms[:, None], dtype=np.float32)


def read_names(path: StrPath) -> tuple[str, ...]:
    """Class names, underscores as spaces: a text file, one a line; or JSON, a list of objects with ``id``, ``name``.

    Objects are sorted by ``id`` (LVIS, COCO categories). Raises ``ManifestError``; also for a name that comes twice,
    since two classes of one name would become one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            lines = [str(entry["name"]) for entry in sorted(json.loads(text), key=lambda entry: int(entry["id"]))]
        else:
            lines = [line for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        remedy = "Give a UTF-8 text file with one name a line, or a JSON list of categories."
        raise ManifestError(f"the names cannot be read: {error!r}", remedy=remedy, file=str(path)) from error
    names = [" ".join(line.replace("_", " ").split()) for line in lines]
    return _distinct(names, path)


def _distinct(names: Sequence[str], path: Path) -> tuple[str, ...]:
    if not names:
        raise ManifestError("the file holds no names", remedy="Write one name a line.", file=str(path))
    seen: set[str] = set()
    for name in names:
        if name in seen:
            remedy = "Give each class a name of its own."
            raise ManifestError("a class name comes twice", remedy=remedy, file=str(path), name=name)
        seen.add(name)
    return tuple(names)


def _read_rows(path: StrPath) -> list[tuple[int, int, str]]:
    """(row, class id, file) of each line."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(ROW_COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"it lacks the columns {', '.join(sorted(missing))}")
            table = [(int(line["row"]), int(line["class_id"]), str(line["file"])) for line in reader]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        remedy = f"Give a CSV file with the columns {', '.join(ROW_COLUMNS)}."
        raise ManifestError(f"the rows cannot be read: {error}", remedy=remedy, file=os.fspath(path)) from error
    if not table:
        raise ManifestError("the table holds no rows", remedy="Give one line a vector.", file=os.fspath(path))
    return table


def _empty(encoder: str, fingerprint: str | None, dim: int, logit_scale: float) -> Memory:
    declared = hashlib.sha256(f"vectors declared to be of {encoder}".encode()).hexdigest()
    return Memory.create(encoder, fingerprint or declared, dim, logit_scale)
