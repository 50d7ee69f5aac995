"""The paper's prompts letter by letter, and lists that survive any name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.methods.rar.prompts import PROMPTS, listed, python_list, ranking_prompt, released_training_prompt, shown

CARS = ["Audi A5 Coupe 2012", "Audi S5 Coupe 2012", "BMW M3 Coupe 2012", "Audi TT", "Audi R8"]
LIST = "['Audi A5 Coupe 2012', 'Audi S5 Coupe 2012', 'BMW M3 Coupe 2012', 'Audi TT', 'Audi R8']"
GOLDEN = {
    # Appendix B, with {top-k} as its own in-context example writes it for five categories.
    "paper": "Please play the role of a classification expert, and sort the provided categories from high to low "
    "according to the top 5 similarity with the input image.Here are the optional categories:" + LIST + ".",
    # The released few-shot notebook.
    "released": "Please play the role of a classification expert, and sort the provided 5 categories from high to low "
    "according to the top 5 similarity with the input image. Here are the optional categories:" + LIST + ".",
    # Appendix B, "structured in-context learning prompt".
    "in_context": "Please play the role of a classification expert, and sort the provided categories from high to low "
    "according to the top 5 similarity with the input image.Here are the optional categories:" + LIST + ".Your answer "
    "should follow the following format, like:['category A', 'category B', 'category C', 'category D', 'category E']. "
    "Only choose five categories, and no further information.",
    # The figure of the error analysis.
    "imagined": "Please play the role of a classification expert, suppose you are given a picture and 5 categories, "
    "then you need to sort the provided 5 categories from high to low according to the top 5 similarity with the input "
    "image. For example, you are given a picture of a chair, and the provided categories are ['armchair', 'recliner', "
    "'chair', 'rocking_chair', 'loveseat'], the sorted categories should be like: \"['chair', 'armchair', "
    "'rocking_chair', 'recliner', 'loveseat']\", and your answer is: \"['chair', 'armchair', 'rocking_chair', "
    "'recliner', 'loveseat']\", no more information. Now, according to the input pictures, sort the provided "
    "categories: " + LIST + ".",
    # Figure 4.
    "short": "Sort the optional categories: [Audi A5 Coupe 2012, Audi S5 Coupe 2012, BMW M3 Coupe 2012, Audi TT, "
    "Audi R8]",
}


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_prompts_are_the_papers_letter_by_letter(kind: str) -> None:
    assert ranking_prompt(CARS, kind=kind) == GOLDEN[kind]  # type: ignore[arg-type]
    assert ranking_prompt(CARS, kind=kind, form=python_list) == GOLDEN[kind]  # type: ignore[arg-type]


def test_every_prompt_has_its_golden_text() -> None:
    assert set(GOLDEN) == set(PROMPTS)


def test_the_default_is_the_papers() -> None:
    assert ranking_prompt(CARS) == GOLDEN["paper"]


def test_the_released_training_prompt() -> None:
    assert released_training_prompt(["707-320", "727-200"]) == (
        "Here is a image:<Img index=1><image></Img>. Please play the role of a aircraft classification expert, and "
        "sort the provided categories from high to low according to the top 2 similarity with the input image. Here "
        "are the optional categories:['707-320', '727-200']."
    )


def test_other_numbers_of_candidates() -> None:
    four = ranking_prompt(CARS[:4], kind="in_context")
    assert "the top 4 similarity" in four
    assert four.endswith(
        "like:['category A', 'category B', 'category C', 'category D']. Only choose four categories, and no further "
        "information."
    )
    many = ranking_prompt([f"class {i}" for i in range(30)], kind="in_context")
    assert "'category Z', 'category AA', 'category AB', 'category AC', 'category AD']" in many
    assert "Only choose 30 categories" in many


def test_the_released_list_changes_its_quotes_at_an_apostrophe_and_so_do_ours() -> None:
    names = ["Forster's_Tern", "rocking_chair"]
    assert python_list(names) == "[\"Forster's_Tern\", 'rocking_chair']"
    assert listed(names) == "[\"Forster's Tern\", 'rocking chair']"
    assert listed(['Heart\'s "Ease"']) == "[\"Heart's 'Ease'\"]"


def test_a_name_cannot_break_the_line_or_fill_a_blank() -> None:
    assert shown("Black\u202e\n_Tern") == "Black Tern"
    assert "{k} {names}" in ranking_prompt(["{k} {names}", "b"])


@given(st.lists(st.text(), min_size=1, max_size=8), st.sampled_from(PROMPTS))
def test_any_names_make_one_line_with_all_of_them(names: list[str], kind: str) -> None:
    prompt = ranking_prompt(names, kind=kind)  # type: ignore[arg-type]
    assert len(prompt.splitlines()) == 1
    assert all(shown(name).replace('"', "'") in prompt.replace('"', "'") for name in names)


def test_an_unknown_kind_or_no_names_is_an_error() -> None:
    with pytest.raises(InputError, match="no such ranking prompt"):
        ranking_prompt(CARS, kind="best")  # type: ignore[arg-type]
    with pytest.raises(InputError):
        ranking_prompt([])
