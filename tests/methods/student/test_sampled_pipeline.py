"""A teacher whose second word is often the right one: what the student makes of several replies a call."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fgvr.encoders.zero_shot import text_classifier
from fgvr.methods.near.baselines import TEMPLATES
from fgvr.methods.student.pipeline import each_name, learn, read, single, under_settled_names
from fgvr.methods.student.pool import graph_of, pool_of
from fgvr.methods.student.settings import HeadSettings, SelfTrainingSettings, StudentSettings
from fgvr.types import NamedImage

from .clusters import STRONG, NamesTower, World, world

KIND = "Finch"
"""Two names of the worlds end in it."""
QUICK = StudentSettings(heads=HeadSettings(heads=("em",), folds=2), self_training=SelfTrainingSettings(rounds=1))
SINGLE = replace(QUICK, sampled=False)


def overshadowed(one: World) -> list[NamedImage]:
    """Of every other class each image is called by the next class's name first, by its own second."""
    found = []
    for at, label in enumerate(one.true.tolist()):
        own = one.names[label]
        if label % 2:
            found.append(NamedImage(str(at), own, chances=(0.9,)))
        else:
            found.append(NamedImage(str(at), one.names[label + 1], alternatives=(own,), chances=(0.55, 0.35)))
    return found


@pytest.fixture(scope="module")
def planted() -> tuple[World, np.ndarray, list[NamedImage]]:
    one = world(5, classes=6, per_class=20, dim=16, tested=300)
    rows = np.sort(np.random.default_rng(0).permutation(len(one.features))[:60])
    said = overshadowed(one)
    return one, rows, [said[row] for row in rows]


@pytest.mark.parametrize("tower", [False, True])
def test_the_second_words_name_what_the_first_words_cannot(planted, tower: bool):
    one, rows, named = planted
    encoder = one.tower(STRONG) if tower else None
    several, alone = (learn(one.features, rows, named, encoder, how) for how in (QUICK, SINGLE))
    assert set(several.names) == set(one.names)
    assert set(alone.names) == set(one.names[1::2])
    assert one.accuracy(several.names, several.head.logits(one.test)) > 0.9
    assert one.accuracy(alone.names, alone.head.logits(one.test)) < 0.55


def test_the_pools_own_images_are_righted(planted):
    """Images whose first name is wrong are taken for their second one."""
    one, rows, named = planted
    learned = learn(one.features, rows, named, None, QUICK)
    best = [learned.names[label] for label in np.asarray(learned.head.logits(one.features)).argmax(axis=1)]
    wrong = [row for row, reply in zip(rows, named) if reply.name != one.names[one.true[row]]]
    assert len(wrong) > 20
    assert np.mean([best[row] == one.names[one.true[row]] for row in wrong]) > 0.9


def test_switched_off_it_learns_from_the_likeliest_names_alone(planted):
    one, rows, named = planted
    off = learn(one.features, rows, named, None, SINGLE)
    for how in (QUICK, SINGLE):
        plain = learn(one.features, rows, [single(reply) for reply in named], None, how)
        assert plain.names == off.names
        np.testing.assert_array_equal(plain.head.logits(one.test), off.head.logits(one.test))
        np.testing.assert_array_equal(plain.held_out, off.held_out)


def test_a_certain_distribution_is_a_single_reply():
    one = world(1, classes=5, per_class=12, dim=16, tested=100)
    rows, named = one.asked(40)
    certain = [replace(reply, chances=(1.0,)) for reply in named]
    several, alone = (learn(one.features, rows, replies, one.tower(STRONG), QUICK) for replies in (certain, named))
    assert several.names == alone.names
    np.testing.assert_array_equal(several.head.logits(one.test), alone.head.logits(one.test))


def test_second_opinions_may_be_drawn_too(planted):
    one, rows, named = planted
    again = rows[::3]
    sure = [NamedImage(str(row), one.names[one.true[row]], chances=(0.8,)) for row in again]
    learned = learn(one.features, rows, named, None, QUICK, second=(again, sure))
    assert one.accuracy(learned.names, learned.head.logits(one.test)) > 0.9


def test_all_drawn_names_are_read_and_listed_ones_only_where_they_were_drawn():
    drawn = NamedImage("a", "Jay", alternatives=("Owl", "Rook"), chances=(0.5, 0.3, 0.1))
    listed = NamedImage("b", "Wren", alternatives=("Swift",))
    assert [one.name for one in each_name(drawn)] == ["Jay", "Owl", "Rook"]
    assert each_name(listed) == [listed]
    names, said = read(np.array([0, 1]), [drawn, listed], None, merge=True)
    assert set(names) == {"Jay", "Owl", "Rook", "Wren"}
    assert said.chances == ((0.5, 0.3, 0.1), ())
    names, said = read(np.array([0, 1]), [drawn, listed], None, merge=True, sampled=False)
    assert (set(names), said.chances) == ({"Jay", "Wren"}, ())


def test_the_likeliest_name_as_if_it_alone_had_been_asked_for():
    drawn = NamedImage("a", "Jay", alternatives=("Owl",), confidence=0.5, chances=(0.5, 0.3), reply="a jay")
    assert single(drawn) == NamedImage("a", "Jay", confidence=0.5, reply="a jay")
    listed = NamedImage("b", "Wren", alternatives=("Swift",))
    assert single(listed) is listed


def test_a_person_is_believed_before_all_that_was_drawn(planted):
    _, rows, named = planted
    names, said = read(rows, named, None, (rows[:2], [NamedImage("", "Gnome")] * 2), merge=True)
    shares = {int(said.rows[reply]): (names[name], value) for reply, name, value in zip(*said.shares())}
    assert [shares[row] for row in rows[:2].tolist()] == [("Gnome", 1.0)] * 2


def test_settled_names_are_not_encoded_twice():
    """A kind that every reply also names goes; the texts of the other names stay theirs."""
    one = world(2, classes=6, per_class=12, dim=16, noise=0.0, spread=0.5)
    rows, named = one.asked(50)
    drawn = [replace(reply, alternatives=(KIND,), chances=(0.8, 0.2)) for reply in named]
    names, said = read(rows, drawn, None, merge=True)
    assert KIND in names
    asked: list[str] = []

    class Counting(NamesTower):
        def encode_texts(self, texts):
            asked.extend(texts)
            return super().encode_texts(texts)

    vectors = {**one.tower(STRONG).vectors, KIND: one.means[0]}
    tower = Counting({name: vectors.get(name, one.means[1]) for name in names}, "counting")
    edges = graph_of(one.features, QUICK)
    under = partial(pool_of, one.features, edges, encoder=tower, settings=QUICK, sentence_encoder=None, seed=0)
    pool, *_ = under_settled_names(under, names, said)
    assert set(pool.names) == set(one.names)
    assert len(asked) == len(names) * len(TEMPLATES)
    np.testing.assert_array_equal(pool.text, text_classifier(tower, pool.names, templates=TEMPLATES))
