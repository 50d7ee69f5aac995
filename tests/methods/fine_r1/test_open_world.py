"""Open world: what counts as the name, by the released rule and by ours."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.methods.fine_r1.open_world import (
    OpenAnswer,
    OpenSettings,
    official_answer,
    open_answers,
    open_requests,
    open_scores,
    text_inclusion,
)
from fgvr.methods.fine_r1.prompts import QUESTIONS
from fgvr.mllm import Reply
from fgvr.mllm.outcomes import Answers
from fgvr.types import ImageItem, Usage

from .examining import Texts, tagged

TIT = ImageItem("birds/tit.jpg", Path("tit.jpg"), "Blue Tit", ("Eurasian Blue Tit",))


def answers(*replies, item=TIT, free=False, kind=None):
    """Answers to the same item under several ids."""
    items = [replace(item, id=f"{number}/{item.id}") for number in range(len(replies))]
    given = {
        one.id: Reply(one.id, text, "m", Usage(1)) for one, text in zip(items, replies, strict=True) if text is not None
    }
    return open_answers(items, Answers(given, {}, (), Usage(), Usage()), OpenSettings(free=free), super_category=kind)


@pytest.mark.parametrize(
    ("reply", "strict", "accepted", "inclusion", "official", "in_tags"),
    [
        (tagged("Blue Tit"), 1, 1, 1, 1, 1),
        (tagged("the blue-tit."), 1, 1, 1, 0, 1),
        (tagged("Eurasian Blue Tit"), 0, 1, 1, 1, 1),
        (tagged("Blue Tit, Reed Warbler"), 0, 0, 1, 1, 1),
        (tagged("Blue Titmouse"), 0, 0, 0, 1, 1),
        (tagged("Reed Warbler", thinking="not a Blue Tit"), 0, 0, 0, 0, 1),
        ("It is a Blue Tit.", 0, 0, 1, 1, 0),
        ("<answer>Blue Tit", 0, 0, 1, 1, 0),
        ("<answer>Reed Warbler</answer> or <answer>Blue Tit</answer>", 0, 0, 1, 1, 0),
        ("<answer></answer> Blue Tit", 0, 0, 1, 1, 1),
        (tagged("Tit"), 0, 0, 0, 0, 1),
    ],
)
def test_what_counts_as_right(reply, strict, accepted, inclusion, official, in_tags):
    found = {key: values[0] for key, values in open_scores(answers(reply)).items()}
    by_rule = {"strict": strict, "accepted": accepted, "inclusion": inclusion, "official": official}
    assert found == {**by_rule, "tagged": in_tags}


def test_inclusion_is_by_words_in_what_the_released_rule_looks_at():
    replies = [tagged("a Blue Tit or so"), tagged("Blue Titmouse"), "no tags: Eurasian Blue Tit", tagged("blue-tit")]
    assert open_scores(answers(*replies))["inclusion"] == [1, 0, 1, 1]


def test_the_released_answer_runs_from_the_first_tag_to_the_last():
    assert official_answer("x <answer> a </answer> <answer>b</answer> y") == "a </answer> <answer>b"
    assert official_answer("no tags") == "no tags"
    assert official_answer("<answer> </answer>") == "<answer> </answer>"


def test_of_cars_the_last_two_words_are_dropped_and_classes_merge():
    assert text_inclusion("Audi S4 Sedan 2012", "Audi S4 Sedan 2007", is_car=True)
    assert not text_inclusion("Audi S4 Sedan 2012", "Audi S4 Sedan 2007")
    assert not text_inclusion("anything", "Tesla Roadster", is_car=True)  # nothing would be left of two words
    assert text_inclusion("a blue tit", "Blue_Tit")


@pytest.mark.parametrize(("item_id", "kind"), [("stanford_cars/1.jpg", None), ("1.jpg", "car")])
def test_a_car_is_known_by_its_path_or_its_super_category(item_id, kind):
    car = ImageItem(item_id, Path("1.jpg"), "Audi S4 Sedan 2007")
    assert open_scores(answers(tagged("Audi S4 Coupe 2012"), item=car))["official"] == [float("cars" in item_id)]
    assert open_scores(answers(tagged("Audi S4 Coupe 2012"), item=car, kind="car"))["official"] == [1.0]


def test_an_item_without_a_reply_counts_nowhere():
    found = open_scores(answers(None, tagged("Blue Tit")), sentences=Texts())
    assert all(math.isnan(values[0]) for values in found.values())
    assert found["strict"][1] == 1


def test_free_reads_the_name_of_a_sentence_and_a_reply_without_one_is_wrong():
    found = open_scores(answers("I think it is a Blue Tit.", "I'm sorry, I can't tell.", free=True), free=True)
    assert (found["strict"], found["named"], found["official"]) == ([1, 0], [1, 0], [1, 0])
    assert "tagged" not in found


def test_requests_carry_the_files_question_or_one_of_the_ten():
    items = [replace(TIT, id=f"{number}") for number in range(40)]
    asked = open_requests(items, OpenSettings(), super_category="bird", texts={"0": "Which bird?"})
    assert asked[0].prompt == (
        "Given the question: Which bird?. This is a fine-grained question. Output reasoning in <think></think> and the "
        "final answer in <answer></answer>."
    )
    said = {one.prompt.removeprefix("Given the question: ").partition("?")[0] for one in asked[1:]}
    possible = {line.replace("{unit}", "species").replace("{kind}", "bird").rstrip("?") for line in QUESTIONS}
    assert said <= possible
    assert len(said) > 5
    assert asked == open_requests(items, OpenSettings(), super_category="bird", texts={"0": "Which bird?"})
    free = open_requests(items[:1], OpenSettings(free=True))
    assert free[0].prompt == "Provide a best fine-grained class label for this image"


def test_similarity_needs_a_super_category_and_an_answer_without_tags_scores_nothing():
    texts = Texts(**{"blue tit": (1, 0), "bird": (0.6, 0.8), "great tit": (0.8, 0.6)})
    replies = answers(tagged("Great Tit"), "Blue Tit", kind="bird")
    found = open_scores(replies, sentences=texts)["similarity"]
    assert found == pytest.approx([(0.8 - 0.6) / (1 - 0.6), 0.0])
    assert math.isnan(open_scores(answers(tagged("Great Tit")), sentences=texts)["similarity"][0])


def test_an_answer_of_signs_is_no_name():
    signs = OpenAnswer(replace(TIT, label="..."), None, tagged("!"), "!", "!")
    assert open_scores([signs])["strict"] == [0.0]
