"""The field guide as a teacher of reasoning."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fgvr.errors import InputError
from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.guide import accepted_names, all_species, by_key, split_seen_unseen
from fgvr.fieldguide.language import FieldGuideText, reply_to
from fgvr.fieldguide.language_knowledge import names_in, species_called
from fgvr.fieldguide.rationales import Length, rationale, sections
from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.texts import attribute_phrase, relatives
from fgvr.methods.fine_r1.reasoning_prompts import structured_prompt
from fgvr.mllm import Parameters, Request
from fgvr.mllm.cache import request_key

WARBLER = by_key("bird_black_capped_warbler")
LENGTHS: tuple[Length, ...] = ("full", "short")
MANY = [(one, seed) for one in all_species() for seed in range(3)]


def phrases_of(species: Species) -> set[str]:
    return {attribute_phrase(key, value) for key, value in species.attributes.items()}


def told_in(text: str, kind: str) -> set[str]:
    """Every attribute phrase of the super-category that a text holds, the longest first ("tail spot", "tail")."""
    known = {phrase for one in all_species() if one.super_category == kind for phrase in phrases_of(one)}
    found = set()
    for phrase in sorted(known, key=len, reverse=True):
        if re.search(rf"\b{phrase}\b", text):
            found.add(phrase)
            text = re.sub(rf"\b{phrase}\b", "_", text)
    return found


@pytest.mark.parametrize("length", LENGTHS)
def test_the_analysis_tells_true_attributes_of_every_species(length: Length):
    for one, seed in MANY:
        told = told_in(sections(one, seed=seed, length=length).analysis, one.super_category)
        assert told <= phrases_of(one)
        assert 2 <= len(told) <= 4


@pytest.mark.parametrize("length", LENGTHS)
def test_candidates_are_near_relatives_and_the_true_one(length: Length):
    for one, seed in MANY:
        parts = sections(one, seed=seed, length=length)
        assert parts.prediction == one.name
        assert 2 <= len(set(parts.options)) == len(parts.options) <= (4 if length == "full" else 3)
        nearest = [other.name for other in relatives(one, all_species())[:5]]
        assert set(parts.options) - {one.name} <= set(nearest)
        assert one.name in parts.options
        assert set(names_in(parts.comparison)) == set(parts.options)
        assert names_in(parts.comparison)[-1] == one.name, "the conclusion comes last"


@pytest.mark.parametrize("length", LENGTHS)
def test_every_other_candidate_differs_in_what_is_said_of_it(length: Length):
    for one, seed in MANY:
        parts = sections(one, seed=seed, length=length)
        seen = told_in(parts.analysis, one.super_category)
        for sentence in re.split(r"(?<=\.) ", parts.comparison)[:-1]:
            (name,) = names_in(sentence)
            other = species_called(name)
            assert other is not None
            said = told_in(sentence.replace(name, ""), one.super_category)
            theirs = said & (phrases_of(other) - phrases_of(one))
            assert len(theirs) == 1, sentence
            assert said - theirs <= phrases_of(one) & seen, "what the true one has was told"


def test_the_wording_varies_with_seed_key_and_length():
    drawn = {rationale(WARBLER, seed=seed, key=key) for seed in range(20) for key in ("a", "b")}
    assert len(drawn) >= 38
    assert rationale(WARBLER, seed=3, key="a") == rationale(WARBLER, seed=3, key="a")
    assert rationale(WARBLER, length="short") != rationale(WARBLER)
    places = {sections(WARBLER, seed=seed).options.index(WARBLER.name) for seed in range(30)}
    assert places >= {0, 1, 2}, "the true name has no place of its own"
    compared = {name for seed in range(30) for name in sections(WARBLER, seed=seed).options}
    assert len(compared) == 6
    begun = {" ".join(rationale(WARBLER, seed=seed).split()[:2]) for seed in range(30)}
    assert len(begun) >= 4


def test_the_text_is_the_same_in_every_process_whatever_the_order_of_a_set():
    names = "{one.name for one in all_species()}"
    script = (
        "from fgvr.fieldguide.guide import all_species; from fgvr.fieldguide.rationales import rationale; "
        f"print(rationale('Kelp Wrasse', seed=1, among={names}))"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    here = rationale("Kelp Wrasse", seed=1)
    assert [one.stdout.rstrip("\n") for one in done] == [here, here]


def test_no_name_outside_the_allowed_ones_is_told():
    seen, unseen = split_seen_unseen()
    allowed = {one.name for one in seen}
    forbidden = {one.name for one in unseen}
    leaks = {name for one in seen for seed in range(3) for name in names_in(rationale(one, seed=seed))} & forbidden
    assert leaks, "without the argument unseen names occur"
    for one in seen:
        for length in LENGTHS:
            assert set(names_in(rationale(one, length=length, among=allowed))) <= allowed


def test_without_an_allowed_relative_there_is_only_the_name():
    parts = sections(WARBLER, among=("Kelp Wrasse", "Polar Bear"))
    assert parts.options == (WARBLER.name,)
    assert parts.comparison.count(".") == 1
    assert names_in(rationale(WARBLER, among=())) == (WARBLER.name,)


def test_names_are_spelt_as_they_are_given():
    synonym = WARBLER.synonyms[0]
    others = [one.scientific for one in all_species() if one.key != WARBLER.key]
    parts = sections(synonym, among=others)
    assert parts.prediction == synonym
    assert set(parts.options) <= {synonym, *others}
    assert parts.comparison.count(synonym) == 1
    assert sections(WARBLER.key, seed=4) == sections(WARBLER, seed=4)


def test_given_candidates_are_the_candidates():
    others = [one.name for one in relatives(WARBLER, all_species())[6:9]]
    assert set(sections(WARBLER, candidates=[*others, WARBLER.scientific]).options) == {WARBLER.name, *others}
    with pytest.raises(InputError, match="at most 4"):
        sections(WARBLER, candidates=[one.name for one in relatives(WARBLER, all_species())[:4]])
    with pytest.raises(InputError, match="super-category"):
        sections(WARBLER, candidates=["Kelp Wrasse"])
    with pytest.raises(InputError, match="no such species"):
        sections(WARBLER, candidates=["Polar Bear"])


def test_unknown_species_and_lengths_are_refused():
    with pytest.raises(InputError, match="no such species"):
        rationale("Polar Bear")
    with pytest.raises(InputError, match="no such length"):
        rationale(WARBLER, length="long")  # type: ignore[arg-type]


def test_the_english_is_right():
    for one, seed in MANY:
        for length in LENGTHS:
            text = rationale(one, seed=seed, length=length)
            assert not re.search(r"\b[Aa] [aeiouAEIOU]|\b[Aa]n [^aeiouAEIOU]", text), text
            assert not re.search(r"\ban? (?:no|one|two|few|many|\w+ (?:bars|spots|eyespots|veins|elytra))\b", text), (
                text
            )
            assert not re.search(r"[{}]|  |\.\.", text)
            assert text[0].isupper()
            assert text.endswith(".")


def test_the_embedded_model_can_learn_them_in_minutes():
    tokenizer = Tokenizer.from_file(str(weights_folder("mllm") / "tokenizer.json"))

    def mean(length: Length) -> float:
        return float(np.mean([len(tokenizer.encode(rationale(one, seed=n, length=length)).ids) for one, n in MANY]))

    assert mean("full") <= 90
    assert mean("short") <= 42


def prompt_for(label: str, *, length: Length = "full", more: str = "") -> str:
    return structured_prompt(label, ["black crown"], "What kind of bird is this?", kind="bird", length=length) + more


def section(reply: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", reply, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("length", LENGTHS)
def test_the_provider_answers_the_structured_prompt(length: Length):
    for one in all_species():
        for label in accepted_names(one):
            reply = reply_to(prompt_for(label, length=length))
            assert re.findall(r"<(\w+)>", reply) == ["analysis", "options", "comparison", "prediction"]
            assert section(reply, "prediction") == label
            options = section(reply, "options").split("\n" if length == "full" else ", ")
            assert label in options
            assert 2 <= len(options) <= 4
            assert label in section(reply, "comparison")


def test_it_answers_without_visual_features_and_says_what_it_does_not_know():
    bare = structured_prompt("Kelp Wrasse", [], "What is this?")
    assert section(reply_to(bare), "prediction") == "Kelp Wrasse"
    assert reply_to(prompt_for("Polar Bear")) == 'The field guide knows nothing called "Polar Bear".'


def test_it_keeps_to_the_names_a_prompt_allows():
    seen, _ = split_seen_unseen()
    names = [one.name for one in seen]
    for listed in (", ".join(names), str(names)):
        for one in seen:
            reply = reply_to(prompt_for(one.name, more=f"\nCandidates only from: {listed}."))
            assert set(names_in(reply)) <= set(names)
    alone = reply_to(prompt_for(WARBLER.name, more="\nCandidates only from: Kelp Wrasse."))
    assert section(alone, "options") == WARBLER.name


def test_another_seed_or_temperature_brings_another_text_and_the_cache_knows_them_apart():
    provider = FieldGuideText()
    asked = [
        Request(item, prompt_for(WARBLER.name), parameters=parameters)
        for item in ("a", "b")
        for parameters in (
            Parameters(),
            Parameters(seed=1),
            Parameters(temperature=1.0, seed=1),
            Parameters(temperature=1.0, seed=2),
            Parameters(temperature=1.0),
        )
    ]
    texts = [reply.text for reply in provider.answer(asked)]
    assert texts == [reply.text for reply in provider.answer(asked)]
    keys = [request_key(request, provider) for request in asked]
    assert len(set(keys)) == 6, "only sampling without a seed is a question of its own for each item"
    assert len(set(texts)) == 6
    assert len({*zip(keys, texts, strict=True)}) == 6, "one key, one text"


@given(st.text(max_size=80), st.text(max_size=80))
@settings(max_examples=80, deadline=None)
def test_no_label_and_no_list_of_names_raises(label: str, listed: str):
    assert isinstance(reply_to(prompt_for(label, more=f"\nCandidates only from: {listed}")), str)
    assert isinstance(reply_to(prompt_for(WARBLER.name, more=f"\nCandidates only from: {listed}")), str)
