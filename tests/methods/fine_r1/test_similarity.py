"""Relative semantic similarity: the formula, its edges, the released choice of the super-category."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.fine_r1.similarity import (
    DualTexts,
    official_kind,
    official_similarities,
    relative_similarities,
    relative_similarity,
)

from .examining import Colours, Texts

COSINES = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("to_truth", "kind", "expected"),
    [(1.0, 0.5, 1.0), (0.75, 0.5, 0.5), (0.5, 0.5, 0.0), (0.2, 0.5, 0.0), (0.9, 0.0, 0.9), (0.5, -1.0, 0.75)],
)
def test_the_formula(to_truth, kind, expected):
    assert relative_similarity(to_truth, kind) == pytest.approx(expected)


def test_where_the_super_category_is_the_name_only_the_name_itself_scores():
    assert relative_similarity(1.0, 1.0) == 1.0
    assert relative_similarity(0.99, 1.0) == 0.0
    assert relative_similarity(1 - 1e-7, 1 - 1e-7) == 1.0


@given(COSINES, COSINES, COSINES)
def test_it_lies_between_nothing_and_one_and_never_falls_as_the_answer_comes_closer(one, other, kind):
    low, high = sorted((one, other))
    assert 0 <= relative_similarity(low, kind) <= relative_similarity(high, kind) <= 1


TOY = {"blue tit": (1.0, 0.0), "bird": (0.6, 0.8), "great tit": (0.8, 0.6), "object": (0.0, 1.0)}


def test_by_hand_with_each_text_embedded_once():
    texts = Texts(**TOY)
    answers = ["Great Tit", "Blue-Tit", None, "", "Great Tit", "bird"]
    found = relative_similarities(answers, ["Blue Tit"] * 6, ["bird"] * 6, texts)
    assert found == pytest.approx([0.5, 1.0, 0.0, 0.0, 0.5, 0.0], abs=1e-6)
    assert sorted(texts.asked) == ["bird", "blue tit", "great tit"]


def test_without_a_super_category_there_is_no_figure():
    found = relative_similarities(["Great Tit", "Great Tit"], ["Blue Tit"] * 2, [None, "bird"], Texts(**TOY))
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(0.5)


def test_nothing_to_compare_asks_no_encoder():
    texts = Texts()
    assert relative_similarities([], [], [], texts) == []
    assert texts.asked == []


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/data/fgvc_aircraft/1.jpg", "aircraft"),
        ("/data/birds/1.jpg", "bird"),
        ("/data/stanford_cars/1.jpg", "car"),
        ("/data/flowers102/1.jpg", "flower"),
        ("/data/CUB_200_2011/images/1.jpg", "object"),
        ("/data/dogs/1.jpg", "object"),
    ],
)
def test_the_released_super_category_is_what_the_path_contains(path, word):
    assert official_kind(path) == word


def test_the_released_figure_of_a_bird_is_against_object_where_its_path_does_not_say_birds():
    texts = Texts(**TOY)
    by_path = official_similarities(["great tit"] * 2, ["blue tit"] * 2, ["CUB/1.jpg", "birds/1.jpg"], texts)
    assert by_path == pytest.approx([0.8, 0.5], abs=1e-6)


def test_the_released_figure_takes_texts_as_they_are_and_needs_an_output():
    found = official_similarities([None, "", "Blue_Tit"], ["blue tit"] * 3, ["birds/1.jpg"] * 3, Texts(**TOY))
    assert math.isnan(found[0])
    assert found[1:] == [0.0, 0.0]  # "Blue_Tit" as written is another text for this encoder


def test_a_dual_encoder_embeds_each_text_once():
    encoder = Colours()
    texts = DualTexts(encoder)
    first = texts.encode(["Blue Tit", "Reed Warbler", "Blue Tit"])
    again = texts.encode(["Reed Warbler"])
    assert encoder.texts == ["Blue Tit", "Reed Warbler"]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], again[0])
    assert texts.encode([]).shape == (0, encoder.dim)
