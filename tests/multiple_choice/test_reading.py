"""From replies to choices: the strict reading, the released rules and their faults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.multiple_choice.reading import (
    answer_between_tags,
    fine_r1_choice,
    fine_r1_official,
    official_choice,
    strict_choice,
)

BIRDS = ("Sooty Albatross", "Laysan Albatross", "Pomarine Jaeger", "Boeing 747")


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        "b",
        "B.",
        " (b) ",
        "[B]",
        "**B**",
        '"B"',
        "Answer: B",
        "answer is (b).",
        "The correct answer is: B",
        "Option B",
        "choice: b",
        "B. Laysan Albatross",
        "(B) laysan albatross.",
        "**B.** Laysan Albatross",
        "B: Laysan-Albatross",
        "Laysan Albatross",
        "the laysan albatross.",
        "Answer: Laysan Albatross",
    ],
)
def test_a_plain_choice_is_read(reply):
    assert strict_choice(reply, BIRDS) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "  ",
        "A or B",
        "A, B",
        "E",
        "Answer: E",
        "Boeing",
        "Birds",
        "birds",
        "A bird",
        "Albatross",
        "B. Sooty Albatross",
        "B. a bird",
        "Laysan Albatross or Sooty Albatross",
        "I think it is B",
        "B because of its bill",
        "B\nThe bill is pink.",
        "B" * 400,
        "Not B",
    ],
)
def test_anything_else_is_unread(reply):
    assert strict_choice(reply, BIRDS) is None


def test_a_letter_that_is_also_a_name_is_read_only_where_both_agree():
    assert strict_choice("B", ("B", "A", "C")) is None
    assert strict_choice("A", ("A", "B")) == 0


def test_a_name_that_begins_with_a_letter_offered_is_that_name():
    assert strict_choice("Boeing 747", BIRDS) == 3
    assert official_choice("Boeing 747") == 1  # the released rule takes B


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("B", 1),
        ("b.", 1),
        ("Answer: C", 2),
        ("Boeing 747", 1),
        ("Bengal", 1),
        ("birds", 1),
        ("A black bird, so D", 0),
        ("Definitely A", 3),
        ("Cannot tell", 2),
        ("(B)", None),
        ("The answer is B", None),
        ("answer: B", 0),  # only "Answer: " is taken out; "answer" begins with a
        ("Laysan Albatross", None),
        ("", None),
    ],
)
def test_the_released_rule_with_its_faults(reply, place):
    assert official_choice(reply) == place


def test_the_released_rule_knows_only_the_letters_offered():
    assert official_choice("Dog", 3) is None


@given(st.text(max_size=80))
def test_no_reply_raises_and_what_is_read_is_offered(reply):
    for options in (BIRDS, BIRDS[:2]):
        assert strict_choice(reply, options) in (None, *range(len(options)))
        assert official_choice(reply, len(options)) in (None, *range(len(options)))


@given(st.sampled_from(range(4)), st.sampled_from(["{}", "{}.", "({})", "Answer: {}", "**{}**", " {}\n"]))
def test_every_letter_in_every_dressing_is_read(place, dressing):
    assert strict_choice(dressing.format("ABCD"[place]), BIRDS) == place


def test_answers_between_tags():
    good = "<think>pink bill</think> <answer>Laysan Albatross</answer>"
    assert answer_between_tags(good) == "Laysan Albatross"
    assert fine_r1_choice(good, BIRDS) == 1
    for bad in ("B", "<answer>B", "<answer>A</answer><answer>B</answer>", "<answer><answer>B</answer></answer>"):
        assert answer_between_tags(bad) is None
        assert fine_r1_choice(bad, BIRDS) is None


def test_an_empty_answer_is_one_and_an_answer_inside_the_thinking_is_none():
    assert answer_between_tags("<answer> </answer>") == ""
    assert fine_r1_choice("<answer> </answer>", BIRDS) is None
    inside = "<think>Perhaps <answer>B</answer>?</think>"
    assert answer_between_tags(inside) is None
    assert answer_between_tags(f"{inside} <answer>C</answer>") is None
    assert fine_r1_choice("<THINK>A or B</THINK>\n<Answer>\nB\n</Answer>", BIRDS) == 1


def test_fine_r1s_released_rule_pays_for_listing_everything():
    everything = f"<answer>{', '.join(BIRDS)}</answer>"
    assert all(fine_r1_official(everything, bird) for bird in BIRDS)
    assert fine_r1_choice(everything, BIRDS) is None
    assert fine_r1_official("<answer>laysan albatross</answer>", "Laysan_Albatross")
    assert not fine_r1_official("Laysan Albatross", "Laysan Albatross")
    assert fine_r1_official("<answer>Great Grayling</answer>", "Ray")  # a substring
