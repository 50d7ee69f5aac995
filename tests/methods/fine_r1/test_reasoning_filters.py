"""Every filter of rationales: what it lets through, and what it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fgvr.methods.fine_r1 import reasoning_filters as filters
from fgvr.methods.fine_r1.reasoning_filters import Names, Rules, broken_rules, mentions, same_name
from fgvr.methods.fine_r1.reasoning_replies import Sections

FIAT = Names("FIAT 500 Convertible 2012")
WRASSE = Names("Kelp Wrasse")
GOOD = Sections(
    analysis="The fish has a red crown and a forked tail.",
    candidates=("Reef Wrasse", "kelp wrasse", "Tide Goby"),
    comparison="The Reef Wrasse is blue and the Tide Goby has no stripe, so this is the Kelp Wrasse.",
    prediction="kelp-wrasse",
)
RULES = Rules(words=(8, 60))


def broken(names: Names = WRASSE, among: list[str] | None = None, rules: Rules = RULES, **changed: object) -> list[str]:
    return list(broken_rules(replace(GOOD, **changed), names, rules=rules, among=among))  # type: ignore[arg-type]


def test_a_good_rationale_breaks_nothing():
    assert broken() == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"faults": ("no options", "no analysis")}, "format: no options, no analysis"),
        ({"prediction": "Reef Wrasse"}, "label not predicted"),
        ({"prediction": "Kelp Wrasse or Reef Wrasse"}, "label not predicted"),
        ({"prediction": "Wrasse"}, "label not predicted"),
        ({"candidates": ("Reef Wrasse", "Tide Goby")}, "label not among the candidates"),
        ({"candidates": (*GOOD.candidates, "Sand Goby", "Mud Goby")}, "too many candidates"),
        ({"candidates": ("Kelp Wrasse",)}, "too few candidates"),
        ({"candidates": ("Kelp Wrasse", "Reef Wrasse", "reef wrasse")}, "candidate twice"),
        ({"comparison": "The Reef Wrasse is blue and the goby has no stripe."}, "label not in the reasoning"),
        ({"analysis": "鱼 has a red crown and a forked tail."}, "language"),
        ({"analysis": "red " * 80}, "too long"),
        ({"analysis": "Red.", "comparison": "So Kelp Wrasse."}, "too short"),
        ({"analysis": "The label says it has a red crown and a forked tail."}, "speaks of having been told"),
        ({"analysis": "No image is provided, but its crown is red and its tail forked."}, "says it saw no picture"),
    ],
)
def test_each_filter(changed: dict[str, object], reason: str):
    rules = replace(RULES, words=(15, 60)) if reason == "too short" else RULES
    assert reason in broken(rules=rules, **changed)
    assert len(broken(rules=rules, **changed)) == 1


def test_candidates_outside_the_allowed_names():
    assert broken(among=["Reef Wrasse", "Tide Goby"]) == []
    assert broken(among=["Reef Wrasse"]) == ["candidate not allowed"]
    assert broken(among=[], candidates=("Kelp Wrasse", "Tide Goby (young)")) == ["candidate not allowed"]
    assert broken(among=["tide-goby"], candidates=("Kelp Wrasse", "Tide Goby (young)")) == []


def test_the_fault_of_the_released_data():
    """Year and body type are missing where the reasoning speaks of the car: 97 of 404 released rows are like that."""
    reasoning = "Small and round, this is the Fiat 500 Convertible."
    assert filters.not_reasoned(reasoning, FIAT) == "label not in the reasoning"
    assert filters.not_reasoned("The Fiat-500 convertible, 2012, is small.", FIAT) == ""
    assert filters.not_a_candidate(["Fiat 500 Convertible", "Mini Cooper"], FIAT) == "label not among the candidates"


def test_a_name_inside_a_longer_one_is_not_a_mention():
    assert not mentions("A House Wren is brown.", "Wren", among=["House Wren"])
    assert mentions("A House Wren is brown, a Wren too.", "Wren", among=["House Wren"])
    assert mentions("two wrens", "Wren")
    assert not mentions("a wrench", "Wren")
    assert not mentions("anything", "!!")
    assert mentions("The Mercedes A-Class is", "Mercedes-A class")
    assert mentions("  forster’s TERN.", "Forster's Tern")
    assert mentions(f"{'long text ' * 200} Kelp Wrasse", "kelp wrasse")


def test_a_prediction_may_be_a_sentence():
    assert filters.not_predicted("The fish is a Kelp Wrasse.", WRASSE, GOOD.candidates) == ""
    assert filters.not_predicted("House Wren", Names("Wren"), ["Wren", "House Wren"]) == "label not predicted"
    assert filters.not_predicted("Wren", Names("House Wren"), ["Wren", "House Wren"]) == "label not predicted"
    assert filters.not_predicted("House Wren", Names("House Wren"), ["Wren", "House Wren"]) == ""


def test_brackets_behind_a_name():
    assert same_name("Tu-154 (Tupolev)", "TU 154")
    assert not same_name("Tu-134 (not a Tu-154)", "Tu-154")
    assert same_name("CL-600 (CRJ-100)", "CL-600 (CRJ-100)")
    assert not same_name("", "")


@pytest.mark.parametrize(
    ("text", "stopped"),
    [
        ("The crown is red and the façade of Müller's house is naïve.", False),
        ("The crown is 红色 and bright.", True),
        ("The crown is красный and bright.", True),
        ("The crown has a β ring of 3 µm.", False),
        ("The crown is 赤い.", True),
        ("El ala es negra con una banda blanca y la cola es larga.", True),
        ("Der Vogel ist schwarz und die Krone ist rot.", True),
        ("The bird is close to the pomme de terre and les fleurs.", False),
        ("red crown, blue back", False),
        ("", False),
    ],
)
def test_language(text: str, stopped: bool):
    assert bool(filters.other_language(text)) is stopped


def test_names_in_other_scripts_are_allowed():
    assert filters.other_language("It may be a Пингвин, as the crown is black.", ["Пингвин"]) == ""
    assert filters.other_language("It may be a Пингвин, чёрный one.", ["Пингвин"]) == "language"


@pytest.mark.parametrize(
    "text",
    [
        "The label says Kelp Wrasse.",
        "As given, the fish is a Kelp Wrasse.",
        "The picture is said to be a Kelp Wrasse.",
        "The provided label is Kelp Wrasse.",
        "This is consistent with the description.",
        "I was told that it is a Kelp Wrasse.",
        "As you mentioned, the crown is red.",
        "The name as mentioned in the context is Lhasa.",
        "Based on the context given, it is a terrier.",
        "The image is labelled as a Kelp Wrasse.",
        "The given visual features show a red crown.",
        "This matches the ground\ntruth.",
    ],
)
def test_having_been_told(text: str):
    assert filters.was_told(text) == "speaks of having been told"


@pytest.mark.parametrize(
    "text",
    [
        "As indicated by its sleek nose, it is a jet.",
        "The nose matches the description of the Tu-154.",
        "The fish is identified as a Kelp Wrasse.",
        "As described above, the crown is red.",
        "A hint of blue is given by the light.",
        "The picture shows a fish that is known as a Kelp Wrasse.",
        "Given the red crown, this is the Kelp Wrasse.",
    ],
)
def test_honest_reasoning_is_let_through(text: str):
    assert filters.was_told(text) == ""


@pytest.mark.parametrize(
    ("text", "stopped"),
    [
        ("However, there is no image attached to this question.", True),
        ("Without an actual image to analyze, I can only guess.", True),
        ("If an image were available, I would look at it.", True),
        ("I cannot see the image.", True),
        ("The image shows no bird given away by its crown.", False),
        ("No stripe can be seen in the image.", False),
    ],
)
def test_no_picture(text: str, stopped: bool):
    assert bool(filters.saw_nothing(text)) is stopped


def test_length_counts_both_ends():
    assert [filters.wrong_length("a " * count, words=(2, 3)) for count in (1, 2, 3, 4)] == [
        "too short", "", "", "too long",
    ]  # fmt: skip


def test_language_and_telling_can_be_switched_off():
    lax = replace(RULES, english=False, told=False)
    assert broken(rules=lax, analysis="The label says 鱼 has a red crown.") == []
