"""Rewards: the released function against a reference, the strict one by cases and properties, and what may be added."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fgvr.data.benchmarks.names import LISTED
from fgvr.data.benchmarks.names import accepted_names as benchmark_names
from fgvr.errors import InputError
from fgvr.fieldguide.guide import accepted_names, all_species
from fgvr.labels.merge import variant_key
from fgvr.methods.fine_r1.answers import MAX_ANSWER, name_reason, read_tags, unusable
from fgvr.methods.fine_r1.rewards import (
    Reward,
    length_penalty,
    reward,
    similarity_credit,
    taxonomy_credit,
    with_credit,
    with_length_penalty,
)

BIRD, LATIN = "Laysan Albatross", "Phoebastria immutabilis"
PIECES = st.lists(
    st.sampled_from((
        "<think>", "</think>", "<answer>", "</answer>", "< answer >", "<ANSWER>", "</ answer>", "\u200b", " ", "\n",
        "/",
        "Cat", "cats", "Dog", " or ", ",", "?", "not ", "Bobcat", "<", ">", "hm", "The answer is ", ".", "\x00", "ß",
    )),
    max_size=14,
).map("".join)  # fmt: skip
NAMES = st.sampled_from(["Cat", "Dog", "Bobcat", "cats", "F/A-18", "Bird of paradise or Crane flower", ""])


def _block(answer: str) -> str:
    return f"<think>White head.</think>\n<answer>{answer}</answer>"


def _accuracy(answer: str, truth: str, *accepted: str) -> float:
    return reward(_block(answer), truth, accepted=accepted).accuracy


def _released(reply: str, truth: str) -> tuple[float, float]:
    """(accuracy, format) as the specification has it, by the regular expressions."""
    text = re.sub(r"\s*(<|>|/)\s*", r"\1", reply)
    form = re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL)
    found = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return float(found is not None and truth.lower() in found[1].strip().lower()), float(form is not None)


# --- the released rule ---


@given(PIECES, NAMES)
@example("<think></think><answer></answer>", "")
@example("<think></think></think> <answer> a </answer> </answer>", "a")
@example("<think><answer></answer>", "")
@example("< \n > < think >", "Cat")
def test_the_released_rule_is_the_specification(reply, truth):
    found = reward(reply, truth, rule="official")
    assert (found.accuracy, found.format) == _released(reply, truth)


@pytest.mark.parametrize(
    ("reply", "truth", "total"),
    [
        ("<think>a</think>\n\n<answer>Boeing 727-200</answer>", "Boeing 727-200", 1.0),
        ("<think>a</think> <answer>A boeing 727-200, MD-87</answer>", "Boeing 727-200", 1.0),
        ("<answer>Boeing 727-200</answer>", "Boeing 727-200", 0.9),
        ("<think>a</think><answer>MD-87</answer>", "Boeing 727-200", 0.1),
        ("<think>a</think><answer></answer>", "Boeing 727-200", 0.1),
        ("Boeing 727-200", "Boeing 727-200", 0.0),
        ("<answer>MD-87</answer><answer>Boeing 727-200</answer>", "Boeing 727-200", 0.0),  # the first one counts
        ("<think>a</think>< answer >F-16A / B</ answer >", "F-16A/B", 1.0),
        ("<think>a</think><answer>F-16A / B</answer>", "F-16A / B", 0.1),  # only the reply is cleaned
        ("<think>a</think><answer>great grey owl</answer>", "Great_Grey_Owl", 0.1),  # no underscores
        ("<think>a</think><answer>Cat</answer>", " Cat", 0.1),  # the truth is not trimmed
        ("<THINK>a</THINK><ANSWER>Cat</ANSWER>", "Cat", 0.0),
    ],
)
def test_golden_cases_of_the_released_rule(reply, truth, total):
    assert reward(reply, truth, rule="official", ended=False, accepted=("MD-87",)).total == pytest.approx(total)


def test_released_without_thinking_asks_for_the_answer_alone():
    answer = "<answer>Cat</answer>"
    assert reward(answer, "Cat", rule="official", thinking=False).total == 1
    assert reward(f"<think>a</think>{answer}", "Cat", rule="official", thinking=False).format == 0
    assert reward("<answer>", "Cat", rule="official", thinking=False).format == 0


# --- the strict rule: what scores ---


@pytest.mark.parametrize(
    "answer",
    [
        "Laysan Albatross", "laysan albatross", "LAYSAN ALBATROSS", "Laysan_Albatross", "Laysan-Albatross",
        " Laysan  Albatross\n", "a Laysan Albatross", "The Laysan albatross.", "Laysan Albatrosses",
        "**Laysan Albatross**", '"Laysan Albatross"', "`Laysan Albatross`!", "(Laysan Albatross)", "Laysan Albatross,",
        "['Laysan Albatross']", "- Laysan Albatross",
        "1. Laysan Albatross",
        "The answer is Laysan Albatross.", "The final answer is: **Laysan Albatross**", "Answer: Laysan Albatross",
        "Answer:Laysan Albatross", "Species: Laysan Albatross", "It is a Laysan Albatross.", "It's a Laysan Albatross",
        "This is a Laysan Albatross", "This bird is a Laysan Albatross", "The bird in the image is a Laysan Albatross.",
        "The image shows a Laysan Albatross", "a photo of a Laysan Albatross", "So the answer is Laysan Albatross.",
        "The answer is: a photo of a Laysan Albatross", "Phoebastria immutabilis",
        "Laysan Albatross (Phoebastria immutabilis)",
        "Phoebastria immutabilis, Laysan Albatross", "Laysan Albatross or Phoebastria immutabilis",
    ],
)  # fmt: skip
def test_one_name_in_its_usual_dress_scores(answer):
    found = reward(_block(answer), BIRD, accepted=(LATIN,))
    assert found == Reward(1.0, 1.0, 1.0, answer=found.answer)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("FIAT 500 Convertible 2012", "FIAT 500 Convertible 2012"),
        ("fiat 500 convertible, 2012", "FIAT 500 Convertible, 2012"),
        ("F/A-18", "F/A-18"),
        ("It is an F/A-18.", "F/A-18"),
        ("Boeing 747-400", "747-400 Boeing"),
        ("Bird of paradise or Crane flower", "Bird of paradise or Crane flower"),
        ("St. John's-wort", "St Johns Wort"),
        ("Artist’s Conk", "Artist's conk"),
        ("Black & White Warbler", "Black & White Warbler"),
        ("Great Gray Owl", "Great Grey Owl"),
        ("catbird", "Cat Bird"),
        ("Straße", "STRASSE"),
        ("Wait?", "Wait?"),
        ("Not-a-cat", "Not-a-cat"),
        ("It", "It"),
        ("Answer", "Answer"),
    ],
)
def test_awkward_truths(answer, truth):
    same_words = sorted(answer.lower().split()) == sorted(truth.lower().split())
    turned = same_words and answer != truth and "747" in answer
    assert _accuracy(answer, truth) == (0.0 if turned else 1.0)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("FIAT 500 Convertible", "FIAT 500 Convertible 2012"),
        ("FIAT 500 Abarth 2012", "FIAT 500 Convertible 2012"),
        ("Audi S4 Sedan 2007", "Audi S4 Sedan 2012"),
        ("747-40 0", "747-400"),
        ("747", "747-400"),
        ("Crane flower", "Bird of paradise or Crane flower"),
        ("Cafe", "Café"),
        ("Laysan, Albatross", BIRD),
        ("Laysan/Albatross", BIRD),
        ("Laysan\nAlbatross", BIRD),
        ("!Laysan Albatross", BIRD),
        ("~Laysan Albatross", BIRD),
        ("❌ Laysan Albatross", BIRD),
        ("Laysan Albatross, ?", BIRD),
        ("Laysan Albatross " + "x" * MAX_ANSWER, BIRD),
        ("Albatross Laysan", BIRD),
    ],
)
def test_other_answers_do_not(answer, truth):
    assert _accuracy(answer, truth) == 0


@pytest.mark.parametrize("dataset", LISTED)
def test_no_name_of_a_benchmark_is_right_for_two_of_its_classes(dataset):
    owners: dict[str, set[str]] = {}
    for listed in LISTED[dataset]:
        for name in benchmark_names(listed, dataset):
            assert not unusable(name)
            owners.setdefault(variant_key(name), set()).add(listed)
    assert {key: classes for key, classes in owners.items() if len(classes) > 1} == {}


def test_every_accepted_name_of_the_field_guide_scores_for_its_own_species_only():
    species = all_species()[:16]
    for one in species:
        for name in accepted_names(one):
            right = [other.key for other in species if not name_reason(name, accepted_names(other))]
            assert right == [one.key], name


# --- formats ---


def test_no_thinking_asks_for_the_answer_alone():
    assert reward("<answer>Cat</answer>", "Cat", thinking=False).total == 1
    both = reward("<think>hm</think><answer>Cat</answer>", "Cat", thinking=False)
    assert (both.accuracy, both.format, both.format_reason) == (1, 0, "thinking")
    assert reward("<answer>Cat</answer> hm", "Cat", thinking=False).format_reason == "text outside"
    assert reward("<answer> </answer>", "Cat", thinking=False).format_reason == "empty answer"


def test_the_answer_is_what_stands_between_the_tags():
    assert read_tags("<think>a</think>\n<answer>\n Cat\u200b \n</answer>").answer == "Cat"
    assert reward("no tags", "Cat").answer == ""
    assert reward(_block(" Dog "), "Cat").answer == "Dog"


def test_weights_and_unknown_rules():
    assert reward(_block("Cat"), "Cat", weights=(0.5, 0.25)).total == 0.75
    assert reward(_block("Dog"), "Cat", weights=(0.5, 0.25), rule="official").total == 0.25
    with pytest.raises(InputError, match="strict, official"):
        reward("a", "b", rule="lenient")


@pytest.mark.parametrize(
    ("name", "why"), [("", "no letters"), (" ? ", "no letters"), ("a</ANSWER>", "holds a tag"), ("x" * 161, "too long")]
)
def test_unusable_truths(name, why):
    assert unusable(name) == why
    assert name_reason("Cat", (name,)) == "unusable truth"
    assert name_reason("Cat", (name, "Cat")) == ""
    assert unusable("Cat") == ""


# --- properties ---


@given(PIECES, NAMES, st.booleans(), st.booleans())
def test_anything_is_judged(reply, truth, ended, thinking):
    found = reward(reply, truth, ended=ended, thinking=thinking)
    assert found.accuracy in (0, 1)
    assert found.format in (0, 1)
    assert found.total == pytest.approx(0.9 * found.accuracy + 0.1 * found.format)
    assert found == reward(reply, truth, ended=ended, thinking=thinking)


@given(PIECES, NAMES)
def test_what_is_strictly_right_is_right_officially_or_differs_in_writing_only(reply, truth):
    strict, official = reward(reply, truth), reward(reply, truth, rule="official")
    if strict.accuracy and not official.accuracy:
        capital_tags = "<answer>" not in re.sub(r"\s", "", reply)
        spelt_otherwise = truth.lower() not in strict.answer.lower()
        hidden_or_blank = "\u200b" in reply or "\x00" in reply or re.search(r"\s*/\s*", strict.answer)
        assert capital_tags or spelt_otherwise or hidden_or_blank
    if strict.format:
        assert official.format


@given(
    st.sampled_from([BIRD, LATIN, "Laysan Albatross, Bobcat", "probably a Laysan Albatross", "Bobcat"]),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    st.sampled_from(["{}", " {}", "{}\n", "\t{} ", "\u200b{}"]),
)
def test_case_and_blanks_at_the_ends_do_not_count(answer, cased, spaced):
    assert _accuracy(spaced.format(cased(answer)), BIRD, LATIN) == _accuracy(answer, BIRD, LATIN)
    assert _accuracy(answer.replace(" ", "  \u00a0"), BIRD, LATIN) == _accuracy(answer, BIRD, LATIN)


@given(st.permutations([BIRD, LATIN, "Mōlī"]), st.sampled_from([BIRD, LATIN, "Mōlī", "Bobcat", f"{BIRD} or {LATIN}"]))
def test_which_name_is_the_truth_does_not_count(names, answer):
    assert _accuracy(answer, *names) == _accuracy(answer, BIRD, LATIN, "Mōlī")


@given(st.text(max_size=60))
def test_any_text_is_its_own_answer_or_a_reason_says_why_not(name):
    if not unusable(name) and len(name.split()) == 1 and name.isalnum() and name.isascii():
        assert name_reason(name, (name,)) == ""
    assert name_reason(name, ("zebra finch of nowhere",)) != ""


# --- time ---


@pytest.mark.parametrize(
    "piece",
    ["<answer>", "</think><answer>", "<think>x</think><answer>y</answer>", " ", "\n", " \n", "< ", "<", "a", ", ",
     "or ",
     "not ", "The answer is ", "\u200b", "\ufdfa", "*", "1. a\n", "(", "<answer", "/ "],
)  # fmt: skip
@pytest.mark.parametrize("rule", ["strict", "official"])
def test_a_hundred_thousand_characters_take_no_time(piece, rule):
    filler = piece * (100_000 // len(piece))
    replies = [filler, _block(filler), f"<think>{filler}</think><answer>Cat</answer>", f"{filler}<answer>Cat</answer>"]
    begun = time.process_time()
    for reply in replies:
        reward(reply, "Cat", rule=rule)
    assert time.process_time() - begun < 2.0  # about 0.1 s; quadratic would be minutes


# --- additions ---


@pytest.mark.parametrize(
    ("tokens", "penalty"), [(0, 0), (16384, 0), (18432, -0.5), (20480, -1), (20481, -1), (99999, -1), (17408, -0.25)]
)
def test_the_penalty_of_dapo(tokens, penalty):
    assert length_penalty(tokens, 20480) == pytest.approx(penalty)


def test_a_penalty_moves_the_total_alone():
    earned = reward(_block("Cat"), "Cat")
    punished = with_length_penalty(earned, 90, 100, weight=0.5)
    assert punished.total == pytest.approx(0.75)
    assert (punished.accuracy, punished.format) == (1, 1)
    for bad in ({"limit": 0}, {"limit": 9, "share": 0}, {"limit": 9, "share": 1.1}):
        with pytest.raises(InputError):
            length_penalty(5, **bad)


def test_credit_from_a_taxonomy():
    groups = {"Sedge Warbler": "Warbler", "Reed Warbler": "Warbler", "House Wren": "Wren"}
    said = ["reed warbler", "Warbler", "House Wren", "Wren", "Sedge Warbler", "", "Bobcat"]
    assert [taxonomy_credit(one, "Sedge Warbler", groups=groups) for one in said] == [0.3, 0.1, 0, 0, 0, 0, 0]
    assert taxonomy_credit("Reed Warbler", "Bobcat", groups=groups) == 0
    wrong, right = reward(_block("Reed Warbler"), "Sedge Warbler"), reward(_block("Sedge Warbler"), "Sedge Warbler")
    assert with_credit(wrong, 0.3).total == pytest.approx(0.1 + 0.27)
    assert with_credit(wrong, 0.3).accuracy == 0
    assert with_credit(right, 0.3) == right
    with pytest.raises(InputError):
        with_credit(wrong, 1.5)


@pytest.mark.parametrize(
    ("similarities", "floor", "credit"),
    [
        ([0.9, 0.4], 0.5, 0.8),
        ([0.4], 0.5, 0),
        ([1.0], 0.5, 1),
        ([], 0.5, 0),
        ([0.25], 0.0, 0.25),
        ([1.01], 0.5, 1),
    ],
)
def test_credit_from_similarities(similarities, floor, credit):
    assert similarity_credit(similarities, floor=floor) == pytest.approx(credit)


def test_a_floor_of_one_leaves_no_room():
    with pytest.raises(InputError):
        similarity_credit([0.5], floor=1.0)
