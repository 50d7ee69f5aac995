"""Rationales composed of a small model's short answers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.errors import InputError
from fgvr.fieldguide.guide import by_key
from fgvr.fieldguide.render import render
from fgvr.methods.fine_r1 import composed_text as text
from fgvr.methods.fine_r1.reasoning import ReasoningSettings, build_reasoning
from fgvr.methods.fine_r1.reasoning_filters import Rules
from fgvr.methods.fine_r1.reasoning_input import Subject
from fgvr.mllm import Budget, Price, Request, load_mllm
from fgvr.types import ImageItem
from tests.methods.fine_r1.reasoners import SHORT, Teacher, pictures

LOOKS = {"0": {"crown colour": "red", "tail shape": "forked"}, "1": {"crown colour": "blue", "tail shape": "forked"}}
LOOKS["2"] = {"crown colour": "green", "tail shape": "none"}


def small(request: Request) -> str:
    """Knows attributes by the picture's number, and takes everything for a Blue Finch."""
    asked = re.match(r"What is the (.+?) of the bird", request.prompt)
    if asked:
        return LOOKS[request.images[0].stem][asked[1]]
    if request.prompt.startswith("Describe"):
        looks = LOOKS[request.images[0].stem]
        return f"A wren with a {looks['crown colour']} crown and {looks['tail shape']} tail."
    return "I think it is a Blue Finch."


@pytest.fixture
def items(tmp_path: Path) -> list[ImageItem]:
    return pictures(tmp_path / "pictures")


def test_answers_become_a_rationale(items: list[ImageItem]):
    teacher = Teacher(small)
    made = build_reasoning(
        items,
        teacher.mllm,
        super_category="bird",
        settings=SHORT,
        how="composed",
        attributes=["crown colour", "tail shape"],
    )
    assert len(teacher.of("look")) == 6
    assert len(teacher.of("name")) == 9
    assert not any("Red Wren" in one.prompt for one in teacher.asked)
    first = made.rationales[0]
    assert set(made.concepts["0.png"]) == {"red crown", "forked tail"}
    assert "red crown" in first.think.splitlines()[0]
    assert set(first.candidates) == {"Red Wren", "Blue Finch", "Green Heron"}
    assert "blue crown" in first.comparison
    assert "Red Wren" in first.comparison
    assert made.notes[1] == "the teacher itself named 1 of 3 pictures rightly, in any of 3 questions"
    assert made.rationales == build_reasoning(
        items, Teacher(small).mllm, super_category="bird", settings=SHORT, how="composed",
        attributes={"bird": ["crown colour", "tail shape"]},
    ).rationales  # fmt: skip


def test_one_description_does_as_well(items: list[ImageItem]):
    teacher = Teacher(small)
    made = build_reasoning(items, teacher.mllm, super_category="bird", settings=SHORT, how="composed")
    assert len(teacher.of("look")) == 3
    assert set(made.concepts["1.png"]) == {"blue crown", "forked tail"}
    assert len(made.rationales) == 3


def test_lookalikes_and_allowed_names(items: list[ImageItem]):
    def made(**more: object):
        return build_reasoning(
            items, Teacher(small).mllm, super_category="bird", settings=SHORT, how="composed", **more
        ).rationales[0]  # type: ignore[arg-type]

    assert "Grey Crow" in made(lookalikes={"Red Wren": ["Grey Crow"]}).candidates
    assert set(made(among=["Red Wren", "Green Heron"]).candidates) == {"Red Wren", "Green Heron"}


def test_a_model_with_nothing_to_say(items: list[ImageItem]):
    teacher = Teacher(lambda one: "" if "0.png" in one.item_id else small(one))
    made = build_reasoning(items, teacher.mllm, super_category="bird", settings=SHORT, how="composed")
    assert [(one.id, one.reason) for one in made.set_aside] == [("0.png", "nothing visible was said")]


def test_filters_hold_for_what_was_composed(items: list[ImageItem]):
    strict = replace(SHORT, rules=Rules(words=(5, 80), least_candidates=4))
    with pytest.raises(InputError, match="too few candidates"):
        build_reasoning(items, Teacher(small).mllm, super_category="bird", settings=strict, how="composed")
    two = replace(SHORT, rules=Rules(words=(5, 80), most_candidates=2))
    made = build_reasoning(items, Teacher(small).mllm, super_category="bird", settings=two, how="composed")
    assert {len(one.candidates) for one in made.rationales} == {2}


def test_a_budget_stops_before_anything_is_composed(items: list[ImageItem]):
    teacher = Teacher(small, local=False, batch_size=1)
    made = build_reasoning(
        items, teacher.mllm, super_category="bird", settings=SHORT, how="composed",
        budget=Budget(0.0), prices={"scripted": Price(1.0, 1.0)},
    )  # fmt: skip
    assert made.stopped == "budget"
    assert (len(made.rationales), {one.reason for one in made.set_aside}) == (0, {"not asked"})


@pytest.mark.parametrize(
    ("attribute", "answer", "phrase"),
    [
        ("crown colour", "Black.", "black crown"),
        ("wing bars", "none", "no wing bars"),
        ("tail shape", "a square tail", "a square tail"),
        ("size", "about as large as a hand", ""),
        ("eye ring", "", ""),
    ],
)
def test_phrases_of_answers(attribute: str, answer: str, phrase: str):
    assert text.trait_phrase(attribute, answer) == phrase


def test_typical_traits_are_the_most_frequent():
    subjects = [Subject(ImageItem(str(n), Path(str(n)), "a"), "a", "?") for n in range(3)]
    traits = {"0": {"c": "red c"}, "1": {"c": "blue c", "t": "long t"}, "2": {"c": "blue c"}}
    assert text.typical_traits(subjects, traits) == {"a": {"c": "blue c", "t": "long t"}}


def test_half_of_ones_own_name_is_no_rival():
    subject = Subject(ImageItem("0", Path("0"), "Amber Warbler"), "Amber Warbler", "?", "bird")
    other = Subject(ImageItem("1", Path("1"), "Coral Warbler"), "Coral Warbler", "?", "bird")
    typical = {"Amber Warbler": {"c": "red c"}, "Coral Warbler": {"c": "red c"}}
    named = ["Warbler", "amber warbler", "Amber Warblers", "Tide Goby"]
    assert text.candidates_for(subject, [subject, other], typical, {"c": "red c"}, named) == [
        "Tide Goby",
        "Coral Warbler",
    ]


def test_the_embedded_model_teaches_itself(tmp_path: Path):
    keys = ("bird_black_capped_warbler", "bird_grey_capped_vireo")
    items = []
    for key in keys:
        path = tmp_path / f"{key}.png"
        render(by_key(key), 7, size=192).image.save(path)
        items.append(ImageItem(key, path, by_key(key).name))
    made = build_reasoning(
        items, load_mllm("fieldguide", batch_size=8), super_category="bird", how="composed",
        settings=ReasoningSettings(length="short"),
    )  # fmt: skip
    assert [one.id for one in made.rationales] == list(keys)
    assert all("crown" in one.think or "throat" in one.think for one in made.rationales)
