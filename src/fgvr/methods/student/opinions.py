"""What the teacher said about some images of the pool, as numbers. Letters: N pool images, C names, O opinions.

An image may have several opinions: a second question, or a second teacher (``source`` 1, 2, ...). What a person calls
an image has the source ``GIVEN``; it is taken at its word, and nothing a teacher says of that image counts beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fgvr.labels import LabelSpace
from fgvr.types import NamedImage

GIVEN = -1
"""Source of the names that a person gives; below all others, so that it comes first."""


@dataclass(frozen=True)
class Opinions:
    """O replies, in any order; an image without a usable name has label -1."""

    rows: np.ndarray
    """(O,) int64 into the pool; repeats where there is more than one opinion of an image."""
    labels: np.ndarray
    """(O,) int64 into the names, -1 for no name."""
    confidence: np.ndarray
    """(O,) float32 in [0, 1], NaN where the reply gave none."""
    alternatives: tuple[tuple[int, ...], ...]
    """Further names of each reply, best first, as indices; names outside the label space are left out."""
    source: np.ndarray
    """(O,) int64: 0 for the first question to the first teacher, ``GIVEN`` for a person."""

    def where(self, mask: np.ndarray) -> Opinions:
        """Those of ``mask`` (O,) bool."""
        return self.taken(np.flatnonzero(mask))

    def taken(self, order: np.ndarray) -> Opinions:
        """Those at the places ``order``, int64, in that order."""
        return Opinions(
            self.rows[order],
            self.labels[order],
            self.confidence[order],
            tuple(self.alternatives[at] for at in order),
            self.source[order],
        )

    def relabelled(self, mapping: np.ndarray) -> Opinions:
        """The same in another label space: ``mapping`` (C,) int64 gives each name's new index, -1 where it is gone."""
        table = np.append(mapping, -1)
        alternatives = tuple(
            tuple(dict.fromkeys(int(table[one]) for one in several if table[one] >= 0)) for several in self.alternatives
        )
        return replace(self, labels=table[self.labels], alternatives=alternatives)

    @property
    def given_rows(self) -> np.ndarray:
        """Images named by a person, ascending, int64."""
        return np.unique(self.rows[self.source == GIVEN])

    @property
    def named(self) -> Opinions:
        """Those that have a name."""
        return self.where(self.labels >= 0)


def opinions(rows: np.ndarray, named: Sequence[NamedImage], space: LabelSpace, *, source: int = 0) -> Opinions:
    """Parsed replies ``named`` about the pool images ``rows`` (O,), in a label space that knows their names."""
    confidence = [np.nan if one.confidence is None else one.confidence for one in named]
    further = [space.indices(one.alternatives) for one in named]
    return Opinions(
        rows=np.asarray(rows, dtype=np.int64),
        labels=np.asarray(space.indices([one.name for one in named]), dtype=np.int64),
        confidence=np.array(confidence, dtype=np.float32),
        alternatives=tuple(tuple(int(label) for label in some if label >= 0) for some in further),
        source=np.full(len(named), source, dtype=np.int64),
    )


def joined(parts: Sequence[Opinions]) -> Opinions:
    """All opinions of ``parts`` (at least one), one after the other."""
    return Opinions(
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        alternatives=tuple(some for part in parts for some in part.alternatives),
        source=np.concatenate([part.source for part in parts]),
    )


def first_labels(said: Opinions, rows: np.ndarray) -> np.ndarray:
    """(M,) int64: what each of ``rows`` (ascending, all that ``said`` is about) was called by the lowest source that
    has a name for it; -1 where none has."""
    labels = np.full(len(rows), -1, dtype=np.int64)
    named = said.named
    order = np.argsort(-named.source, kind="stable")  # of repeated places the last one written stays
    labels[np.searchsorted(rows, named.rows[order])] = named.labels[order]
    return labels
