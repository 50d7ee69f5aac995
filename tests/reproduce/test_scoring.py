"""Scores as published and as they should be, by hand on a few names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.data.benchmarks.names import accepted_names, class_names, corrected_name
from fgvr.errors import EvaluationError, InputError
from fgvr.reproduce.scoring import before, published_truth, scored
from fgvr.types import ImageItem
from tests.reproduce.words import WordEncoder


def item(number: int, listed: str, dataset: str) -> ImageItem:
    names = accepted_names(listed, dataset)
    return ImageItem(str(number), Path(f"{number}.jpg"), label=corrected_name(listed, dataset), accepted=names[1:])


def test_published_scores_are_against_the_listed_names_with_their_errors() -> None:
    truth = [item(0, "Artic Tern", "cub200"), item(1, "Cardinal", "cub200"), item(2, "Cardinal", "cub200")]
    found = scored(["Arctic Tern", "Northern Cardinal", "northern cardinal"], truth, "cub200", resamples=5)
    assert (found.images, found.answered) == (3, 3)
    # "Arctic" is not "Artic": one word of three; "Cardinal" one of two, twice.
    assert found.published["siou"].value == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert found.accepted["siou"].value == 1.0
    # Two spellings of one name are two clusters as published, and one here.
    assert found.published["cacc"].value == pytest.approx(2 / 3)
    assert found.accepted["cacc"].value == 1.0
    assert "sacc" not in found.published
    assert found.unshifted == {}


def test_sacc_as_published_takes_one_name_a_class() -> None:
    truth = [item(0, "Cardinal", "cub200")]
    found = scored(["Northern Cardinal"], truth, "cub200", sentence_encoder=WordEncoder(), resamples=5)
    assert found.published["sacc"].value == pytest.approx(1 / 2**0.5)
    assert found.accepted["sacc"].value == pytest.approx(1.0)


def test_cars_are_scored_against_the_class_before_and_against_their_own() -> None:
    names = class_names("cars196", original=True)
    truth = [item(i, name, "cars196") for i, name in enumerate(names[:3])]
    found = scored(list(names[:3]), truth, "cars196", sentence_encoder=WordEncoder(), resamples=5)
    assert found.unshifted["siou"].value == 1.0
    assert found.unshifted["sacc"].value == pytest.approx(1.0)
    # A perfect namer, as the released code scores it. The first class is held against the last of the list.
    expected = [set(names[i].lower().split()) for i in (-1, 0, 1)]
    own = [set(name.lower().split()) for name in names[:3]]
    siou = sum(len(a & b) / len(a | b) for a, b in zip(own, expected)) / 3
    assert found.published["siou"].value == pytest.approx(siou, abs=1e-9)
    assert found.published["siou"].value < 0.7
    assert found.published["sacc"].value < found.unshifted["sacc"].value
    assert found.published["cacc"].value == 1.0
    assert "cacc" not in found.unshifted


def test_a_namer_that_is_shifted_itself_shines_as_published_only() -> None:
    names = class_names("cars196", original=True)
    truth = [item(i, names[i], "cars196") for i in (5, 60, 100)]
    said = [names[i - 1] for i in (5, 60, 100)]
    found = scored(said, truth, "cars196", resamples=5)
    assert found.published["siou"].value == 1.0
    assert found.unshifted["siou"].value < 0.7


@given(st.integers(0, 195))
def test_before_is_the_name_that_stands_before(number: int) -> None:
    names = class_names("cars196", original=True)
    assert before([names[number]]) == [names[number - 1]]


def test_names_of_other_data_sets_are_taken_as_they_are() -> None:
    truth = [ImageItem("a", Path("a"), label="Boeing 717")]
    assert published_truth(truth, "aircraft100") == ["Boeing 717"]
    with pytest.raises(InputError, match="no class 'Boeing 717'"):
        published_truth(truth, "cub200")


def test_unanswered_images_are_left_out_and_counted() -> None:
    truth = [item(i, "Cardinal", "cub200") for i in range(3)]
    found = scored(["Cardinal", None, None], truth, "cub200", resamples=5)
    assert (found.images, found.answered, found.published["siou"].value) == (3, 1, 1.0)
    with pytest.raises(EvaluationError):
        scored([None, None, None], truth, "cub200")
