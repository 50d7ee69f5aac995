"""What the teacher said about some images of the pool, as numbers. Letters: N pool images, C names, O opinions.

An image may have several opinions: a second question, or a second teacher (``source`` 1, 2, ...). What a person calls
an image has the source ``GIVEN``; it is taken at its word, and nothing a teacher says of that image counts beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fgvr.labels import LabelSpace
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

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
    chances: tuple[tuple[float, ...], ...] = ()
    """Of each reply the probability of its label, then of its alternatives, where several replies were drawn in its
    call, else (); at most 1 in all. Empty for all is also ``()``."""

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
            tuple(self.chances[at] for at in order) if self.chances else (),
        )

    def relabelled(self, mapping: np.ndarray) -> Opinions:
        """The same in another label space: ``mapping`` (C,) int64 gives each name's new index, -1 where it is gone."""
        table = np.append(mapping, -1)
        several = self.chances or ((),) * len(self.labels)
        replies = [
            _joined([int(table[one]) for one in (label, *others)], chances)
            for label, others, chances in zip(self.labels, self.alternatives, several)
        ]
        return replace(
            self,
            labels=np.array([label for label, *_ in replies], dtype=np.int64),
            alternatives=tuple(others for _, others, _ in replies),
            chances=tuple(chances for *_, chances in replies) if self.chances else (),
        )

    def shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What each named reply says, as (reply, name, probability), int64, int64 and float64, ascending by reply.

        A reply without ``chances`` says its label with certainty. The probabilities of a reply sum to one: what was
        drawn without a name, or with a name that is left out of the label space, goes to its other names.
        """
        replies, names, values = [], [], []
        for at in np.flatnonzero(self.labels >= 0).tolist():
            some = self.chances[at] if self.chances and self.chances[at] else (1.0,)
            replies += [at] * len(some)
            names += [int(self.labels[at]), *self.alternatives[at]][: len(some)]
            values += [one / sum(some) for one in some]
        return np.array(replies, dtype=np.int64), np.array(names, dtype=np.int64), np.array(values)

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
    replies = [_joined(space.indices([one.name, *one.alternatives]).tolist(), one.chances) for one in named]
    return Opinions(
        rows=np.asarray(rows, dtype=np.int64),
        labels=np.array([label for label, *_ in replies], dtype=np.int64),
        confidence=np.array(confidence, dtype=np.float32),
        alternatives=tuple(others for _, others, _ in replies),
        source=np.full(len(named), source, dtype=np.int64),
        chances=tuple(chances for *_, chances in replies) if any(one.chances for one in named) else (),
    )


def _joined(names: Sequence[int], chances: Sequence[float]) -> tuple[int, tuple[int, ...], tuple[float, ...]]:
    """Label, further names and chances of a reply, each name once and without those left out (-1).

    Names that became one add their chances up, and the likeliest is the label. Without ``chances`` the first name is,
    -1 where it is left out.
    """
    if not chances:
        return names[0], tuple(dict.fromkeys(one for one in names[1:] if one >= 0)), ()
    total: dict[int, float] = {}
    for name, chance in zip(names, chances, strict=True):
        if name >= 0:
            total[name] = total.get(name, 0.0) + chance
    if not total:
        return -1, (), ()
    label, *others = sorted(total, key=lambda name: -total[name])
    return label, tuple(others), tuple(total[name] for name in (label, *others))


def joined(parts: Sequence[Opinions]) -> Opinions:
    """All opinions of ``parts`` (at least one), one after the other."""
    return Opinions(
        rows=np.concatenate([part.rows for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        alternatives=tuple(some for part in parts for some in part.alternatives),
        source=np.concatenate([part.source for part in parts]),
        chances=tuple(some for part in parts for some in part.chances or ((),) * len(part.rows))
        if any(part.chances for part in parts)
        else (),
    )


def first_labels(said: Opinions, rows: np.ndarray) -> np.ndarray:
    """(M,) int64: what each of ``rows`` (ascending, all that ``said`` is about) was called by the lowest source that
    has a name for it; -1 where none has."""
    first = first_said(said, rows)
    return np.where(first >= 0, np.append(said.labels, -1)[first], -1)


def first_said(said: Opinions, rows: np.ndarray) -> np.ndarray:
    """(M,) int64: which of ``said`` is the one of the lowest source that has a name for each of ``rows``; -1: none has.

    ``rows``: ascending, all that ``said`` is about.
    """
    found = np.full(len(rows), -1, dtype=np.int64)
    named = np.flatnonzero(said.labels >= 0)
    order = named[np.argsort(-said.source[named], kind="stable")]  # of repeated places the last one written stays
    found[np.searchsorted(rows, said.rows[order])] = order
    return found


def said_of(said: Opinions, rows: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """(N, C) float64: what each of ``rows`` (ascending, all that ``said`` is about) was called, as in ``first_labels``:
    a row sums to one, over the names of several replies where several were drawn, or is empty."""
    from scipy.sparse import csr_matrix

    first = first_said(said, rows)
    replies, names, values = said.taken(first[first >= 0]).shares()
    return csr_matrix((values, (rows[first >= 0][replies], names)), shape=shape)
