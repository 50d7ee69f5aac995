"""What RAR retrieves from: embeddings of labelled images and of class names, which grows and shrinks without training.

Rules.

1. A class exists as long as it has a row of either kind; names are kept as given, in order of first appearance.
2. The same content (hash) twice in one class and kind is kept once; in two classes it is kept in both.
3. A vector within ``rows.OFF_UNIT`` of unit norm is renormalised (within ``rows.ROUNDED`` kept bit for bit); anything
   further off is refused, and so is one that is not finite.
4. A memory without rows can be made, saved and searched; nothing is found in it.
5. Row numbers are those of the rows that are left: taking rows out closes the gap. ``Rows.ids`` never change.
6. ``version`` grows by one with every change, and not without one.

Deviation from RAR (paper section 3.1 and released code), which keep every memory in HNSW: exact search is the default
(``search``), HNSW an option (``hnsw``). See ``reduce`` for what the paper calls dimension reduction.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from fgvr.errors import EncoderError, InputError
from fgvr.memory import storage
from fgvr.memory.header import Header
from fgvr.memory.rows import Rows as Rows
from fgvr.memory.rows import no_rows, unit_rows

Kind = Literal["image", "text"]
KINDS: tuple[Kind, ...] = ("image", "text")


class Encoding(Protocol):
    """What ``check_encoder`` looks at: a dual encoder, or another memory's header."""

    name: str
    fingerprint: str
    dim: int


class Memory:
    """Image rows and text rows of named classes in one encoder's space. Make one with ``create`` or ``load``."""

    def __init__(self, header: Header, images: Rows, texts: Rows, *, origin: storage.Origin | None) -> None:
        self._header = header
        self._rows: dict[Kind, Rows] = {"image": images, "text": texts}
        self._origin = origin

    @classmethod
    def create(cls, encoder: str, fingerprint: str, dim: int, logit_scale: float) -> Memory:
        """An empty memory, version 0. The arguments are the dual encoder's ``name`` and so on."""
        header = Header(encoder, fingerprint, int(dim), float(logit_scale))
        return cls(header, no_rows(dim), no_rows(dim), origin=None)

    @property
    def encoder(self) -> str:
        """The encoder's name, as the user gave it."""
        return self._header.encoder

    @property
    def fingerprint(self) -> str:
        """Digest of the encoder's weights and preprocessing."""
        return self._header.fingerprint

    @property
    def dim(self) -> int:
        """D of every vector."""
        return self._header.dim

    @property
    def logit_scale(self) -> float:
        """The encoder's; cosine times this is a logit."""
        return self._header.logit_scale

    @property
    def version(self) -> int:
        """Changes so far."""
        return self._header.version

    @property
    def names(self) -> tuple[str, ...]:
        """The classes; labels are indices into this."""
        return self._header.names

    @property
    def images(self) -> Rows:
        """Image rows."""
        return self._rows["image"]

    @property
    def texts(self) -> Rows:
        """Text rows."""
        return self._rows["text"]

    def __repr__(self) -> str:
        parts = f"{len(self.names)} classes, {len(self.images)} images, {len(self.texts)} texts"
        return f"Memory({self.encoder}, {self.dim}-d, {parts}, version {self.version})"

    def counts(self, kind: Kind) -> np.ndarray:
        """(C,) int64: rows of each class."""
        return np.bincount(self._of(kind).labels, minlength=len(self.names))

    # --- changes ------------------------------------------------------------------------------------------------------

    def add(
        self,
        kind: Kind,
        names: Sequence[str],
        vectors: np.ndarray,
        *,
        sources: Sequence[str] | None = None,
        hashes: Sequence[str] | None = None,
    ) -> int:
        """Put rows in; returns how many were new (rule 2). Names not known before become new classes.

        Args:
            kind: ``image`` or ``text``.
            names: N class names, one a row.
            vectors: (N, D), unit norm.
            sources: N paths or embedded texts; empty by default.
            hashes: N content hashes; by default SHA-256 of the vector's bytes.

        Raises ``EncoderError`` for another dimension, values not finite or norms not 1; ``InputError`` for the rest.
        Nothing is changed then.
        """
        fresh = self._checked(kind, names, vectors, sources, hashes)
        header = self._header.with_names(names)
        labels = header.labels_of(names)
        old = self._of(kind)
        near = np.isin(old.labels, np.unique(labels))
        seen = {(int(label), old.hashes[row]) for row, label in zip(np.flatnonzero(near), old.labels[near])}
        mask = np.zeros(len(labels), dtype=bool)
        for row, key in enumerate(zip(labels.tolist(), fresh.hashes)):
            mask[row] = key not in seen
            seen.add(key)
        if not mask.any():
            return 0
        ids = header.next_row + np.arange(int(mask.sum()))
        new = fresh.relabelled(labels).kept(mask) if not mask.all() else fresh.relabelled(labels)
        new = Rows(new.pieces, new.labels, new.sources, new.hashes, ids=ids)
        self._rows[kind] = old.followed_by(new)
        self._header = header.changed(next_row=header.next_row + len(ids))
        return len(ids)

    def remove(self, name: str) -> None:
        """Forget a class: its images and its texts. Raises ``InputError`` for a name that is not there."""
        label = self._label(name)
        for kind in KINDS:
            self._rows[kind] = self._of(kind).kept(self._of(kind).labels != label)
        self._header = self._header.changed()
        self._drop_empty_classes()

    def update(
        self,
        kind: Kind,
        name: str,
        vectors: np.ndarray,
        *,
        sources: Sequence[str] | None = None,
        hashes: Sequence[str] | None = None,
    ) -> None:
        """Replace a class's rows of one kind by ``vectors`` (n, D), as one change; n may be 0 (rule 1 then applies).

        Raises as ``add`` and ``remove`` do; nothing is changed then.
        """
        label = self._label(name)
        names = [name] * len(vectors)
        self._checked(kind, names, vectors, sources, hashes)
        version, old = self.version, self._of(kind)
        self._rows[kind] = old.kept(old.labels != label)
        self.add(kind, names, vectors, sources=sources, hashes=hashes)
        self._header = self._header.changed(version=version + 1)
        self._drop_empty_classes()

    def rename(self, name: str, new: str) -> None:
        """Call a class something else. Its text rows still embed the old words: ``update`` them.

        Raises ``InputError`` when ``name`` is not there or ``new`` already is.
        """
        label = self._label(name)
        _check_names([new])
        if new in self.names and new != name:
            remedy = "Remove one of the two, or add its images to the other."
            raise InputError("the memory already has a class of this name", remedy=remedy, name=new)
        if new != name:
            self._header = self._header.renamed(label, new)

    def merge(self, other: Memory) -> int:
        """Add all rows of another memory of the same encoder; returns how many were new. Raises ``EncoderError``."""
        self.check_same_encoder(other)
        added = 0
        for kind in KINDS:
            rows = other._of(kind)
            for first, vectors in rows.blocks():
                part = slice(first, first + len(vectors))
                names = [other.names[label] for label in rows.labels[part]]
                added += self.add(kind, names, vectors, sources=rows.sources[part], hashes=rows.hashes[part])
        return added

    # --- one space ----------------------------------------------------------------------------------------------------

    def check_encoder(self, encoder: Encoding) -> None:
        """Raise ``EncoderError`` unless the encoder's vectors can be compared with these."""
        self._check_space(encoder.name, encoder.fingerprint, encoder.dim)

    def check_same_encoder(self, other: Memory) -> None:
        """Raise ``EncoderError`` unless the other memory's vectors can be compared with these."""
        self._check_space(other.encoder, other.fingerprint, other.dim)

    def _check_space(self, name: str, fingerprint: str, dim: int) -> None:
        remedy = "Use the encoder the memory was made with, or make the memory anew."
        if dim != self.dim:
            message = f"the memory holds vectors of {self.dim} dimensions, this encoder makes {dim}"
        elif fingerprint == self.fingerprint:
            return
        elif name == self.encoder:
            message = "the memory was made with other weights, preprocessing or precision of this encoder"
        else:
            message = "the memory was made with another encoder; their vectors cannot be compared"
        raise EncoderError(message, remedy=remedy, memory=self.encoder, given=name)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write what is new and put the new manifest in place, atomically; see ``storage``.

        A memory that was loaded from (or saved to) this folder writes only what has changed since, and lets go of the
        copies of its new vectors in memory. Any other memory replaces what is there.

        Raises ``RunError`` when the folder's memory was changed by someone else in the meantime, when another process
        is saving to it, or when the system refuses.
        """
        self._origin, pieces = storage.save(folder, self._header, self._rows, self._origin)
        for kind in KINDS if pieces else ():
            rows = self._rows[kind]
            self._rows[kind] = rows.relabelled(rows.labels, pieces=pieces[kind])

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, verify: bool | None = None) -> Memory:
        """Read a saved memory; vectors stay on disk, memory-mapped.

        ``verify``: check the vectors' checksums too, which reads them all. By default only where they are at most
        ``storage.VERIFY_UP_TO`` bytes; everything else about the files is always checked.

        Raises ``RunError`` for a folder without a memory, a missing, truncated, changed or foreign file, and a memory
        of a newer fgvr.
        """
        header, rows, origin = storage.load(folder, verify=verify)
        return cls(header, rows["image"], rows["text"], origin=origin)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _of(self, kind: Kind) -> Rows:
        if kind not in KINDS:
            raise InputError("there is no such kind of rows", remedy="Use 'image' or 'text'.", kind=kind)
        return self._rows[kind]

    def _label(self, name: str) -> int:
        if name not in self.names:
            remedy = "Names are compared letter by letter; list them with fgvr memory show."
            raise InputError("the memory has no class of this name", remedy=remedy, name=name)
        return self.names.index(name)

    def _drop_empty_classes(self) -> None:
        used = (self.counts("image") + self.counts("text")) > 0
        if not used.all():
            place = np.cumsum(used) - 1
            self._header = self._header.keeping(used)
            for kind, rows in self._rows.items():
                self._rows[kind] = rows.relabelled(place[rows.labels])

    def _checked(
        self,
        kind: Kind,
        names: Sequence[str],
        vectors: np.ndarray,
        sources: Sequence[str] | None,
        hashes: Sequence[str] | None,
    ) -> Rows:
        """Rows as they would be added, without labels and ids. Changes nothing."""
        self._of(kind)
        matrix = unit_rows(vectors, dim=self.dim)
        sources = [""] * len(matrix) if sources is None else [str(source) for source in sources]
        hashes = [hashlib.sha256(row).hexdigest() for row in matrix] if hashes is None else [*hashes]
        if not len(names) == len(sources) == len(hashes) == len(matrix):
            lengths = {"names": len(names), "sources": len(sources), "hashes": len(hashes), "vectors": len(matrix)}
            raise InputError("there must be one name, source and hash a row", remedy="Check the lengths.", **lengths)
        _check_names(names)
        return Rows(matrix, np.zeros(len(matrix), np.int64), sources, hashes)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise InputError("a class needs a name", remedy="Leave out rows without a label.", name=repr(name))
