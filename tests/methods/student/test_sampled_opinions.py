"""Replies that were drawn several to a call, as numbers: read, renamed, joined, spread over names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.student.evidence import evidence
from fgvr.methods.student.opinions import GIVEN, Opinions, first_labels, first_said, joined, opinions, said_of
from fgvr.methods.student.settings import EvidenceSettings
from fgvr.naming import label_space
from fgvr.types import NamedImage

NAMES = ("Jay", "Owl", "Rook", "Wren")
JAY, OWL, ROOK, WREN = range(4)


def told(*replies: tuple, rows=None, source: int = 0) -> Opinions:
    """Replies as (label, alternatives, chances)."""
    count = len(replies)
    return Opinions(
        np.arange(count) if rows is None else np.array(rows),
        np.array([label for label, *_ in replies]),
        np.full(count, np.nan, np.float32),
        tuple(others for _, others, _ in replies),
        np.full(count, source),
        tuple(chances for *_, chances in replies) if any(chances for *_, chances in replies) else (),
    )


DRAWN = told(
    (JAY, (OWL, ROOK), (0.5, 0.3, 0.1)),
    (OWL, (), ()),
    (-1, (), ()),
    (WREN, (JAY,), (0.6, 0.4)),
)


def said_in(found: Opinions) -> list[dict[int, float]]:
    """What each reply says, by name."""
    replies: list[dict[int, float]] = [{} for _ in found.rows]
    for reply, name, value in zip(*found.shares()):
        assert name not in replies[reply]
        replies[reply][int(name)] = float(value)
    return replies


def test_read_by_hand():
    replies = (
        NamedImage("a", "Jay", alternatives=("Owl", "jay ", "Unheard Of"), chances=(0.4, 0.3, 0.2, 0.1)),
        NamedImage("b", "Owl", alternatives=("Jay",)),
        NamedImage("c", None, status="refused"),
    )
    space, _ = label_space([NamedImage("", "Jay"), NamedImage("", "Owl")], merge=True)
    found = opinions(np.array([5, 3, 4]), replies, space)
    jay, owl = space.names.index("Jay"), space.names.index("Owl")
    assert found.alternatives == ((owl,), (jay,), ())
    assert found.chances[0] == pytest.approx((0.6, 0.3))  # another spelling adds up, an unknown name is left out
    assert found.chances[1:] == ((), ())
    assert opinions(np.array([3]), replies[1:2], space).chances == ()


def test_what_each_reply_says_sums_to_one():
    expected = [{JAY: 5 / 9, OWL: 3 / 9, ROOK: 1 / 9}, {OWL: 1.0}, {}, {WREN: 0.6, JAY: 0.4}]
    assert said_in(DRAWN) == [pytest.approx(one) for one in expected]
    alternatives_without_chances = told((JAY, (OWL, ROOK), ()))
    assert said_in(alternatives_without_chances) == [{JAY: 1.0}]


def test_names_that_become_one_add_up():
    found = DRAWN.relabelled(np.array([0, 0, 1, 0]))  # jay, owl and wren are one
    assert said_in(found) == [pytest.approx(one) for one in ({0: 8 / 9, 1: 1 / 9}, {0: 1.0}, {}, {0: 1.0})]
    assert found.alternatives == ((1,), (), (), ())
    assert found.chances[0] == pytest.approx((0.8, 0.1))


def test_further_names_that_become_one_add_up():
    found = DRAWN.relabelled(np.array([0, 1, 1, 2]))
    assert said_in(found)[0] == pytest.approx({0: 5 / 9, 1: 4 / 9})


def test_dropped_names_give_theirs_to_the_others():
    found = DRAWN.relabelled(np.array([0, -1, 1, 2]))
    assert said_in(found) == [pytest.approx(one) for one in ({0: 5 / 6, 1: 1 / 6}, {}, {}, {2: 0.6, 0: 0.4})]
    assert found.labels.tolist() == [0, -1, -1, 2]


def test_taken_and_joined_keep_chances_with_their_replies():
    assert DRAWN.taken(np.array([3, 0])).chances == ((0.6, 0.4), (0.5, 0.3, 0.1))
    assert DRAWN.named.chances == ((0.5, 0.3, 0.1), (), (0.6, 0.4))
    plain = told((ROOK, (), ()), (OWL, (JAY,), ()), source=1)
    assert plain.taken(np.array([1])).chances == ()
    both = joined([plain, DRAWN])
    assert both.chances == ((), (), *DRAWN.chances)
    assert said_in(both)[:3] == [{ROOK: 1.0}, {OWL: 1.0}, pytest.approx({JAY: 5 / 9, OWL: 3 / 9, ROOK: 1 / 9})]
    assert joined([plain, plain]).chances == ()


@st.composite
def many(draw) -> Opinions:
    """Opinions of few images by several sources, with chances or without; at most one of each source an image."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([GIVEN, 0, 1, 2])), min_size=1, unique=True))
    labels, others, chances = [], [], []
    for _ in pairs:
        names = draw(st.lists(st.integers(0, 3), unique=True, max_size=4))
        weights = draw(st.lists(st.integers(1, 9), min_size=len(names), max_size=len(names)))
        several = draw(st.booleans()) and bool(names)
        labels.append(names[0] if names else -1)
        others.append(tuple(names[1:]))
        chances.append(tuple(weight / (sum(weights) + 1) for weight in weights) if several else ())
    rows, sources = (np.array(part) for part in zip(*pairs))
    confidence = np.full(len(pairs), np.nan, np.float32)
    kept = tuple(chances) if any(chances) else ()
    return Opinions(rows, np.array(labels), confidence, tuple(others), sources, kept)


def plainly(found: Opinions) -> dict[tuple[int, int], float]:
    """By loops: for each image the named opinion of the lowest source, its chances in proportion."""
    cells = {}
    for row in sorted(set(found.rows.tolist())):
        about = [at for at in range(len(found.rows)) if found.rows[at] == row and found.labels[at] >= 0]
        if about:
            best = min(about, key=lambda at: found.source[at])
            chances = found.chances[best] if found.chances else ()
            names = [int(found.labels[best]), *found.alternatives[best]] if chances else [int(found.labels[best])]
            for name, chance in zip(names, chances or (1.0,), strict=True):
                cells[row, name] = chance / sum(chances or (1.0,))
    return cells


@settings(max_examples=60, deadline=None)
@given(many())
def test_said_of_against_loops(found: Opinions):
    rows = np.unique(found.rows)
    table = said_of(found, rows, (7, 4)).toarray()
    cells = plainly(found)
    expected = np.zeros((7, 4))
    for cell, value in cells.items():
        expected[cell] = value
    np.testing.assert_allclose(table, expected)
    sums = table.sum(axis=1)
    np.testing.assert_allclose(sums[sums > 0], 1.0)
    first = first_said(found, rows)
    assert [found.rows[at] for at in first if at >= 0] == [row for row, at in zip(rows, first) if at >= 0]
    np.testing.assert_array_equal(first_labels(found, rows), [found.labels[at] if at >= 0 else -1 for at in first])


@settings(max_examples=60, deadline=None)
@given(many(), st.lists(st.integers(-1, 2), min_size=4, max_size=4))
def test_renaming_against_loops(found: Opinions, mapping: list[int]):
    """What a reply says under other names, as long as its first name is not dropped."""
    renamed = said_in(found.relabelled(np.array(mapping)))
    for before, after, label in zip(said_in(found), renamed, found.labels.tolist(), strict=True):
        if label < 0 or mapping[label] < 0:
            continue
        expected: dict[int, float] = {}
        for name, value in before.items():
            if mapping[name] >= 0:
                expected[mapping[name]] = expected.get(mapping[name], 0.0) + value
        assert after == pytest.approx({name: value / sum(expected.values()) for name, value in expected.items()})


def test_the_first_source_with_a_name_speaks_alone():
    second = told((ROOK, (WREN,), (0.5, 0.5)), (JAY, (), ()), (OWL, (JAY,), (0.75, 0.25)), rows=[0, 1, 2], source=1)
    table = said_of(joined([second, DRAWN]), np.arange(4), (4, 4)).toarray()
    np.testing.assert_allclose(table, [[5 / 9, 3 / 9, 1 / 9, 0], [0, 1, 0, 0], [0.25, 0.75, 0, 0], [0.4, 0, 0, 0.6]])


def test_replies_at_their_word_are_what_was_drawn():
    found = evidence(np.eye(5, dtype=np.float32), DRAWN, 4, EvidenceSettings.off())
    expected = [[5 / 9, 3 / 9, 1 / 9, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0.4, 0, 0, 0.6], [0, 0, 0, 0]]
    np.testing.assert_allclose(found.seeds.toarray(), expected, atol=1e-6)
    assert found.seeds.dtype == np.float32
    np.testing.assert_array_equal(found.rows, np.arange(4))
    np.testing.assert_allclose(found.reliability, [5 / 9, 1.0, 0.0, 0.6], atol=1e-6)
    assert found.noise is None


def test_single_replies_at_their_word_are_certain():
    plain = told((JAY, (OWL,), ()), (-1, (), ()), (ROOK, (), ()))
    found = evidence(np.eye(3, dtype=np.float32), plain, 4, EvidenceSettings.off())
    np.testing.assert_array_equal(found.seeds.toarray(), [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(found.reliability, [1.0, 0.0, 1.0])
