"""Replies as numbers: by hand, picked, joined, under other names."""

from __future__ import annotations

import numpy as np

from fgvr.methods.student.opinions import GIVEN, Opinions, first_labels, joined, opinions
from fgvr.naming import label_space
from fgvr.types import NamedImage

REPLIES = (
    NamedImage("a", "Red Wren", confidence=0.5, alternatives=("Grey Heron", "Unheard Of")),
    NamedImage("b", None, status="refused"),
    NamedImage("c", "Grey Heron"),
    NamedImage("d", "red wren"),
)


def said(rows=(4, 2, 9, 0), *, source: int = 0) -> tuple[tuple[str, ...], Opinions]:
    space, _ = label_space(list(REPLIES), merge=True)
    return tuple(space.names), opinions(np.array(rows), REPLIES, space, source=source)


def test_by_hand():
    names, found = said()
    wren, heron = names.index("Red Wren"), names.index("Grey Heron")
    assert found.rows.tolist() == [4, 2, 9, 0]
    assert found.labels.tolist() == [wren, -1, heron, wren]
    np.testing.assert_array_equal(found.confidence, np.array([0.5, np.nan, np.nan, np.nan], dtype=np.float32))
    assert found.alternatives == ((heron,), (), (), ())  # a name outside the names is left out
    assert found.source.tolist() == [0, 0, 0, 0]
    assert found.rows.dtype == found.labels.dtype == found.source.dtype == np.int64


def test_picking_keeps_all_parts_together():
    _, found = said()
    assert found.named.rows.tolist() == [4, 9, 0]
    some = found.where(np.array([True, False, False, True]))
    assert (some.rows.tolist(), some.alternatives) == ([4, 0], (found.alternatives[0], ()))
    assert found.taken(np.array([2, 0])).rows.tolist() == [9, 4]


def test_joined_keeps_the_sources_apart():
    (_, one), (_, other) = said(), said(source=1)
    both = joined([one, other])
    assert both.source.tolist() == [0] * 4 + [1] * 4
    assert both.alternatives == one.alternatives * 2
    np.testing.assert_array_equal(both.labels, np.tile(one.labels, 2))


def test_under_other_names():
    """Two names become one: an alternative is listed once; a dropped name is no name."""
    found = Opinions(
        np.arange(4), np.array([0, 1, 2, -1]), np.zeros(4, np.float32), ((1, 2), (2,), (), (0,)), np.zeros(4, int)
    )
    one = found.relabelled(np.array([0, 0, 0]))
    assert (one.labels.tolist(), one.alternatives) == ([0, 0, 0, -1], ((0,), (0,), (), (0,)))
    less = found.relabelled(np.array([1, -1, 0]))
    assert (less.labels.tolist(), less.alternatives) == ([1, -1, 0, -1], ((0,), (0,), (), (1,)))


def test_the_first_label_is_the_lowest_source_that_has_a_name():
    rows = np.array([3, 1, 3, 5, 1, 5])
    labels = np.array([-1, 2, 4, 0, 3, 6])
    source = np.array([0, 1, 1, 0, 0, GIVEN])
    found = Opinions(rows, labels, np.zeros(6, np.float32), ((),) * 6, source)
    assert first_labels(found, np.array([1, 3, 5])).tolist() == [3, 4, 6]
    for order in (np.arange(6)[::-1], np.array([2, 4, 0, 5, 1, 3])):
        assert first_labels(found.taken(order), np.array([1, 3, 5])).tolist() == [3, 4, 6]
