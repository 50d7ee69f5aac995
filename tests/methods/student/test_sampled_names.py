"""Names that were only ever drawn beside a likelier one: which stay, which are kinds of several others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fgvr.methods.student.evidence import evidence
from fgvr.methods.student.label_space import drop_unsupported, kinds
from fgvr.methods.student.opinions import Opinions, joined
from fgvr.methods.student.settings import EvidenceSettings
from tests.methods.student.test_merging import clouds, opinions_of

NAMES = ["Reed Warbler", "Sedge Warbler", "Marsh Warbler", "Warbler", "Aquatic Warbler", "Owl"]
LABELS = np.array([0] * 10 + [1] * 10 + [2] * 10)
PLACES = [0] * 10 + [1] * 10 + [2] * 10


def drawn(*others: tuple[int, ...]) -> Opinions:
    """Every image is called by its label first; the first image's reply also names ``others``."""
    found = opinions_of(LABELS)
    alternatives = ((others[0]), *((),) * 29) if others else ((),) * 30
    chances = ((0.6, *(0.4 / len(others[0]) for _ in others[0])), *((1.0,),) * 29) if others else ()
    return Opinions(found.rows, found.labels, found.confidence, alternatives, found.source, chances)


def kept(said: Opinions) -> tuple[str, ...]:
    features = clouds(PLACES)
    soft = evidence(features, said, len(NAMES), EvidenceSettings.off()).seeds
    return drop_unsupported(NAMES, said, features, soft).names


def test_kinds_are_the_last_word_of_several_names():
    assert kinds(NAMES).tolist() == [False, False, False, True, False, False]
    assert kinds(["Owl", "Barn Owl"]).tolist() == [False, False], "one finer form may be the same bird"
    assert kinds(["OWL", "Barn Owl", "Tawny owl", "Owlet", "Little Owlet"]).tolist() == [True, *[False] * 4]
    assert kinds(["Barn Owl", "Great Barn Owl", "Old Barn Owl"]).tolist() == [False] * 3, "only last words are kinds"
    assert kinds([]).tolist() == []


def test_a_name_that_was_only_drawn_stays():
    assert kept(drawn((4,))) == ("Reed Warbler", "Sedge Warbler", "Marsh Warbler", "Aquatic Warbler")


def test_a_kind_that_was_only_drawn_goes():
    assert kept(drawn((3,))) == ("Reed Warbler", "Sedge Warbler", "Marsh Warbler")
    assert kept(drawn((3, 4))) == ("Reed Warbler", "Sedge Warbler", "Marsh Warbler", "Aquatic Warbler")


def test_a_name_that_only_a_second_opinion_puts_first_stays():
    first = drawn((4,))
    again = opinions_of(np.array([4]))
    assert kept(joined([first, replace(again, source=np.array([1]))])) == kept(first)


def test_without_chances_a_name_that_is_only_listed_goes():
    listed = drawn((4,))
    plain = Opinions(listed.rows, listed.labels, listed.confidence, listed.alternatives, listed.source)
    assert kept(plain) == ("Reed Warbler", "Sedge Warbler", "Marsh Warbler")
