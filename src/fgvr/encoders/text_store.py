"""Text features of long lists, kept on disk: the nouns of a dictionary, the captions of a database.

::

    FOLDER/<encoder>/<digest>.safetensors      "features" (n, D) float32, unit norm, for one chunk of n texts

A chunk's name is a digest over what its rows follow from: the encoder's fingerprint, the templates, the texts. So a
list is encoded once for every run and method; a list that grew at its end keeps the chunks before; and a chunk is
complete or ignored: written under another name first, checked against its own checksum when it is opened. A killed run
loses the chunk at hand. Any number of processes may share a folder: of two that compute the same chunk either is right.

Memory: one chunk while it is computed; what is read is memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.errors import EncoderError, RunError
from fgvr.runs.arrays import load_arrays, save_arrays

if TYPE_CHECKING:
    from fgvr.memory.pieces import Pieces

VERSION = 1
CHUNK = 4096
"""Texts a chunk: seconds of work on two cores for a tiny text tower, about a minute for CLIP's."""

_log = logging.getLogger(__name__)


def text_features(
    texts: Sequence[str],
    encoder: DualEncoder,
    folder: Path,
    *,
    templates: Sequence[str] = ("{}",),
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> Pieces:
    """Features of ``texts`` in order, (N, D) float32, unit norm, memory-mapped: computed where they are not known.

    Args:
        templates: each with one ``{}`` for the text; the mean of several, renormalised, as in ``text_classifier``.
        chunk: texts a file; another value computes anew.
        progress: called with (texts done, texts wanted) after every chunk.

    Raises:
        EncoderError: the encoder's features have another shape than it says, or are not finite.
        RunError: the system refuses to write.
    """
    from fgvr.memory.pieces import Pieces

    place = Path(folder) / encoder.fingerprint[:16]
    pieces = []
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        file = place / f"{_digest(part, encoder, templates)}.safetensors"
        rows = _opened(file, shape=(len(part), encoder.dim))
        if rows is None:
            save_arrays(file, {"features": _encoded(part, encoder, templates)})
            rows = _mapped(file)
        pieces.append(rows)
        if progress is not None:
            progress(start + len(part), len(texts))
    return Pieces(pieces, dim=encoder.dim)


def _digest(texts: Sequence[str], encoder: DualEncoder, templates: Sequence[str]) -> str:
    """32 hexadecimal digits over all that a chunk's rows follow from."""
    said = json.dumps([VERSION, encoder.fingerprint, encoder.dim, [*templates], [*texts]])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _opened(file: Path, *, shape: tuple[int, int]) -> np.ndarray | None:
    """A finished chunk, memory-mapped; ``None`` where there is none, or one that was damaged since."""
    if not file.is_file():
        return None
    try:
        arrays, _ = load_arrays(file)  # read once, for the checksum, and let go
        if arrays["features"].shape != shape or arrays["features"].dtype != np.float32:
            raise RunError(f"features of shape {arrays['features'].shape}; expected {shape}", file=str(file))
        return _mapped(file)
    except (RunError, KeyError) as error:
        _log.warning("text features are damaged and will be computed again: %s", error)
        return None


def _mapped(file: Path) -> np.ndarray:
    from fgvr.memory.tensors import mapped, tensor_table

    tensors, _ = tensor_table(file, file.stat().st_size)
    return mapped(file, tensors["features"])


def _encoded(texts: Sequence[str], encoder: DualEncoder, templates: Sequence[str]) -> np.ndarray:
    """Rows in the order of ``texts``; encoded by length, since a batch is padded to its longest text."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    rows = text_classifier(encoder, [texts[index] for index in order], templates=templates)
    if rows.shape != (len(texts), encoder.dim) or not np.isfinite(rows).all():
        raise EncoderError(
            f"the encoder returned text features of shape {rows.shape} or values that are not finite",
            remedy="Check the encoder; try dtype float32.",
            encoder=encoder.name,
            expected=(len(texts), encoder.dim),
        )
    return rows[np.argsort(order)]
