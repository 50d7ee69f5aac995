"""Closed world: orders, prompts, the strict and the released reading, controls."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data.benchmarks.questions import Question, shuffled
from fgvr.errors import InputError, MllmError
from fgvr.methods.fine_r1.closed import (
    ClosedSettings,
    check_closed_model,
    closed_answers,
    closed_requests,
    closed_scores,
    truth_first,
    truth_within_distractor,
)
from fgvr.mllm.base import BY_ITEM
from fgvr.mllm.scheduler import ask_all
from fgvr.multiple_choice.asking import write_blank

from .examining import asked_about, knowing, options_of, tagged, truth_of, writing


def scores(questions, model, **more):
    """Figures of every question."""
    asked = ClosedSettings(**more)
    answers = ask_all(closed_requests(questions, asked), model, attempts=1)
    return closed_scores(closed_answers(questions, answers, asked))


def mean(values):
    return sum(values) / len(values)


@pytest.fixture
def questions(tmp_path):
    return asked_about(tmp_path / "p")


def test_a_question_is_asked_in_four_rotations_and_in_the_released_order(questions):
    requests = closed_requests(questions[:1], ClosedSettings(seed=3))
    listed = [options_of(one) for one in requests]
    assert len(requests) == len({one.item_id for one in requests}) == 5
    assert listed[0] == list(shuffled(questions[0], seed=3).options)
    assert all(now == before[1:] + before[:1] for before, now in pairwise(listed[:4]))
    assert listed[4] == list(questions[0].options)
    assert requests[4].prompt == (
        "Given the question: What bird is this?, based on the options provided in ['Sedge Warbler', 'Reed Warbler', "
        "'Blue Tit', 'Boeing 747'], output the thinking process in <think> </think> and final choice in <answer> "
        "</answer> tags. The response format should be: <think>...</think> <answer>choice</answer>."
    )
    assert {one.parameters.max_tokens for one in requests} == {2048}
    assert {one.parameters.temperature for one in requests} == {0.0}


def test_the_shuffle_differs_between_questions_and_seeds(questions):
    def first_orders(seed):
        asked = closed_requests(questions, ClosedSettings(seed=seed, rotations=False, official=False))
        return [options_of(one) for one in asked]

    assert first_orders(0) == first_orders(0) != first_orders(1)
    places = {options.index(one.truth) for options, one in zip(first_orders(0), questions, strict=True)}
    assert len(places) > 1


def test_a_question_without_a_text_is_asked_by_a_template(questions):
    bare = [replace(one, text="") for one in questions]
    prompts = [one.prompt for one in closed_requests(bare, ClosedSettings(), super_category="bird")]
    assert all("bird" in prompt for prompt in prompts)
    by_id = closed_requests(bare[:1], ClosedSettings(), super_category={bare[0].id: "car"})
    assert "car" in by_id[0].prompt


def test_the_one_who_knows_is_right_by_every_rule(questions):
    found = scores(questions, writing(knowing))
    assert set(found) == {"strict", "first_order", "all_rotations", "read", "tagged", "substring", "official"}
    assert all(set(values) == {1.0} for values in found.values())


def test_always_the_first_option_is_right_by_the_released_order_and_a_quarter_of_the_time_by_rotations(questions):
    found = scores(questions, writing(lambda _, options: tagged(options[0])))
    assert set(found["official"]) == {1.0}
    assert set(found["strict"]) == set(found["substring"]) == {0.25}
    assert set(found["all_rotations"]) == {0.0}


def test_listing_all_options_is_right_by_the_released_rule_only(questions):
    found = scores(questions, writing(lambda _, options: tagged(", ".join(options))))
    assert set(found["official"]) == set(found["substring"]) == {1.0}
    assert set(found["strict"]) == {0.0}
    assert set(found["tagged"]) == {1.0}
    assert all(map(math.isnan, found["read"]))


def test_without_tags_a_right_name_is_wrong_but_counted_as_untagged(questions):
    found = scores(questions, writing(lambda request, _: str(truth_of(request))))
    assert set(found["strict"]) == set(found["official"]) == set(found["tagged"]) == {0.0}
    assert all(map(math.isnan, found["read"]))


def test_an_unanswered_question_counts_nowhere(questions):
    def silent(request, options):
        if truth_of(request) == "Blue Tit":
            raise MllmError("no reply")
        return knowing(request, options)

    found = scores(questions, writing(silent))
    for values in found.values():
        lost = [math.isnan(value) for value in values]
        assert lost == [one.truth == "Blue Tit" for one in questions]


def test_one_lost_rotation_leaves_the_others_and_no_circular_figure(questions):
    first = options_of(closed_requests(questions[:1], ClosedSettings())[1])

    def losing(request, options):
        if options == first and request.images[0] == questions[0].path:
            raise MllmError("no reply")
        return knowing(request, options)

    found = scores(questions[:1], writing(losing), official=False)
    assert found["strict"] == [1.0]
    assert math.isnan(found["all_rotations"][0])


@pytest.mark.parametrize("dress", ["{}", " {} ", "{}.", "**{}**", "Answer: {}"])
def test_a_letter_or_a_dressed_name_is_a_choice(questions, dress):
    def by_letter(request, options):
        return tagged(dress.format("ABCD"[options.index(truth_of(request))]))

    def by_name(request, options):
        return tagged(dress.format(str(truth_of(request)).upper()))

    assert set(scores(questions, writing(by_letter))["strict"]) == {1.0}
    assert set(scores(questions, writing(by_name))["strict"]) == {1.0}


def test_a_wrong_option_that_contains_the_truth_is_right_by_the_released_rule(questions):
    pears = [replace(questions[0], options=("Pear", "Sand Pear", "Quince", "Apple"))]
    assert truth_within_distractor(pears[0])
    assert not truth_within_distractor(questions[0])
    found = scores(pears, writing(lambda *_: tagged("Sand Pear")))
    assert (found["official"], found["substring"], found["strict"]) == ([1.0], [1.0], [0.0])


def test_two_options_have_no_order_that_is_not_a_rotation_so_nothing_is_asked_twice(questions):
    pairs = [replace(one, options=one.options[:2]) for one in questions]
    model = writing(knowing)
    found = scores(pairs, model)
    assert set(found["official"]) == {1.0}
    assert len(model.asked) == 2 * len(pairs)


def test_underscores_are_shown_as_the_file_has_them_in_the_released_prompt_only(questions):
    named = [replace(questions[0], options=("Blue_Tit", "Reed_Warbler", "Sedge_Warbler"))]
    listed = [options_of(one) for one in closed_requests(named, ClosedSettings())]
    assert sorted(listed[0]) == ["Blue Tit", "Reed Warbler", "Sedge Warbler"]
    assert listed[3] == ["Blue_Tit", "Reed_Warbler", "Sedge_Warbler"]
    found = scores(named, writing(lambda _, options: tagged(next(one for one in options if "Tit" in one))))
    assert (found["strict"], found["official"]) == ([1.0], [1.0])


def test_controls_show_what_options_alone_give_away(questions, tmp_path):
    blank = write_blank(tmp_path / "blank.png")
    model = writing(knowing)
    found = scores(questions, model, blank=blank, text_only=True)
    assert set(found["strict"]) == {1.0}
    assert set(found["blank"]) == set(found["text_only"]) == {0.25}
    shown = {one.images for one in model.asked}
    assert {(blank,), ()} <= shown
    assert "blank" not in scores(questions, writing(knowing))


def test_one_order_has_no_figures_of_rotations(questions):
    found = scores(questions, writing(knowing), rotations=False, official=False)
    assert set(found) == {"strict", "read", "tagged", "substring"}


def test_short_and_plain_wordings_are_asked(questions):
    short = closed_requests(questions[:1], ClosedSettings("short"))[0].prompt
    plain = closed_requests(questions[:1], ClosedSettings("short", thinking=False))[0].prompt
    assert short.endswith("Think in <think> tags, then give one option in <answer> tags.")
    assert plain.endswith("Give one option in <answer> tags.")
    with pytest.raises(InputError):
        ClosedSettings("long")
    with pytest.raises(InputError):
        ClosedSettings(max_tokens=0)


def test_a_recording_is_not_asked_in_another_order():
    recorded = writing(knowing, preprocessing=BY_ITEM)
    with pytest.raises(InputError, match="another order"):
        check_closed_model(recorded, ClosedSettings())
    check_closed_model(recorded, ClosedSettings(rotations=False, official=False))


def test_the_released_order_is_the_truth_and_then_the_others_as_they_stand():
    assert truth_first(Question("a", ("w", "x", "truth", "y"), 2)) == (2, 0, 1, 3)


REPLIES = ("<answer>{}</answer>", "<think>x</think><answer>{}</answer>", "{}", "<answer>{}", "")
NAMED = ("Ant", "Bee", "Carpenter Bee", "Fly")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(REPLIES), st.sampled_from(NAMED)), min_size=5, max_size=5))
def test_figures_agree_with_a_reading_written_out_by_hand(said):
    """Five replies in turn to the four rotations and the released order of one question whose truth is Bee."""
    replies = [form.format(name) for form, name in said]
    with tempfile.TemporaryDirectory() as folder:
        question = replace(asked_about(Path(folder), 1)[0], options=("Bee", "Ant", "Carpenter Bee", "Fly"))
        requests = closed_requests([question], ClosedSettings())
        by_prompt = dict(zip((one.prompt for one in requests), replies, strict=False))
        found = scores([question], writing(lambda request, _: by_prompt[request.prompt]))
    turns = [by_prompt[one.prompt] for one in requests]
    strict = [float("</answer>" in text and text.partition("<answer>")[2] == "Bee</answer>") for text in turns]
    loose = [float("</answer>" in text and "bee" in text.lower()) for text in turns]
    assert found["strict"] == [mean(strict[:4])]
    assert found["first_order"] == [strict[0]]
    assert found["all_rotations"] == [float(all(strict[:4]))]
    assert found["substring"] == [mean(loose[:4])]
    assert found["official"] == [loose[4]]
    assert found["tagged"] == [mean([float("</answer>" in text) for text in turns[:4]])]
