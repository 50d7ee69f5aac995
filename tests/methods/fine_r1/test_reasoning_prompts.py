"""The wording of the reasoning prompts, to the letter."""

from __future__ import annotations

import pytest

from fgvr.errors import InputError
from fgvr.methods.fine_r1.reasoning_prompts import CAPTIONS, caption_prompts, structured_prompt

PUBLISHED = (
    "Note that you MUST first analyze the visual features that help you provide at most four candidate subcategories "
    "of the same super-category, then pay attention to the differences between candidate subcategories and make a "
    "detailed comparison"
)


def test_the_full_prompt():
    prompt = structured_prompt("Kelp Wrasse", ["red crown", "forked tail"], "What kind of fish is this?", kind="fish")
    assert prompt == (
        "This is a picture of a Kelp Wrasse with the following visual features: red crown, forked tail.\n"
        "Question: What kind of fish is this?.\n"
        f"{PUBLISHED} that leads to your prediction. Write in English, and as someone who sees only the picture: say "
        "nothing of this description, and nothing of having been told the name. Write four sections, each between its "
        "tags, in this order:\n"
        "<analysis>What can be seen of the fish, part by part, and what it tells.</analysis>\n"
        "<options>The candidate subcategories, at most four, one on each line, your prediction among them.</options>\n"
        "<comparison>How the candidates differ, which of the differences this picture shows, and which candidate that "
        "leaves, by name.</comparison>\n"
        "<prediction>The name of the subcategory alone, spelt as above.</prediction>"
    )


def test_the_short_prompt_without_concepts():
    prompt = structured_prompt(
        "Kelp\nWrasse", [], "What is  this?", kind="fish", length="short", among=["Kelp Wrasse", "Reef Wrasse"]
    )
    assert prompt == (
        "This is a picture of a Kelp Wrasse.\n"
        "Question: What is this?.\n"
        "Be brief, and say nothing of having been told the name. Write <analysis>a sentence on what can be "
        "seen</analysis> <options>at most four names of similar fish subcategories, the right one among them, with "
        "commas</options> <comparison>a sentence or two on how they differ, ending with the right name</comparison> "
        "<prediction>the name alone</prediction>\n"
        "Candidates only from: Kelp Wrasse, Reef Wrasse"
    )


def test_braces_in_names_and_concepts_stay():
    prompt = structured_prompt("{concepts} {kind}", ["{label} x"], "{concepts}?")
    assert prompt.splitlines()[:2] == [
        "This is a picture of a {concepts} {kind} with the following visual features: {label} x.",
        "Question: {concepts}?.",
    ]
    assert "of the object," in prompt


def test_captions_each_emphasise_something_else_and_name_no_class():
    asked = caption_prompts("bird")
    assert len(set(asked)) == len(CAPTIONS) == 6
    assert all("the bird in this image" in text for text in asked)
    assert caption_prompts(None, templates=["A {kind}?"]) == ("A object?",)


def test_an_unknown_length():
    with pytest.raises(InputError, match="length"):
        structured_prompt("a", [], "b", length="long")  # type: ignore[arg-type]
