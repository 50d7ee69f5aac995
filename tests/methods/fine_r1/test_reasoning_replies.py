"""Replies of teachers, well-formed and not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.fine_r1.reasoning_replies import Sections, read_candidates, read_sections

GOOD = (
    "<analysis>A red crown.</analysis>\n<options>Reef Wrasse, Kelp Wrasse</options>\n"
    "<comparison>Reef Wrasse is blue, so Kelp Wrasse.</comparison>\n<prediction>Kelp Wrasse</prediction>"
)
READ = Sections("A red crown.", ("Reef Wrasse", "Kelp Wrasse"), "Reef Wrasse is blue, so Kelp Wrasse.", "Kelp Wrasse")


def test_a_good_reply():
    assert read_sections(GOOD) == READ


def test_other_order_case_and_spaces():
    parts = GOOD.replace("<analysis>", "< Analysis >").splitlines()
    assert read_sections("Sure!\n" + "\n".join(reversed(parts)) + "\nDone.") == READ


def test_closing_tags_may_be_missing():
    bare = GOOD.replace("</analysis>", "").replace("</options>", "").replace("</comparison>", "")
    assert read_sections(bare.replace("</prediction>", "")) == READ


def test_the_same_section_twice_in_equal_words_is_no_fault():
    assert read_sections(GOOD + "\n<prediction>Kelp Wrasse</prediction>") == READ


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (GOOD.replace("analysis>", "thoughts>"), "no analysis"),
        (GOOD.replace("A red crown.", " "), "no analysis"),
        (GOOD + "<prediction>Reef Wrasse</prediction>", "several prediction"),
        (GOOD.replace("A red crown.", "A <options>x, y</options> crown."), "options inside analysis"),
        (GOOD.replace("A red crown.", "<think>A red crown.</think>"), "think or answer tags inside a section"),
        (GOOD.replace("Reef Wrasse, Kelp Wrasse", "- \n-"), "no candidate in options"),
        ("Kelp Wrasse", "no prediction"),
        ("", "no options"),
    ],
)
def test_faults(reply: str, fault: str):
    assert fault in read_sections(reply).faults


@pytest.mark.parametrize(
    "text",
    [
        "Reef Wrasse, Kelp Wrasse",
        "Reef Wrasse; Kelp Wrasse;",
        "Reef Wrasse\nKelp Wrasse",
        "1. Reef Wrasse\n2) Kelp Wrasse",
        "(a) Reef Wrasse\n(b) Kelp Wrasse",
        "Candidates:\n- **Reef Wrasse**: a blue fish\n- Kelp Wrasse - a red one",
        '["Reef Wrasse", "Kelp Wrasse"]',
        "Reef Wrasse, and Kelp Wrasse.",
    ],
)
def test_lists_of_candidates(text: str):
    assert read_candidates(text) == ("Reef Wrasse", "Kelp Wrasse")


def test_names_with_dots_dashes_and_brackets():
    text = "1. Tu-154: A trijet\n2. Canadair CL-600 (CRJ-100/200)\n3. St. Bernard"
    assert read_candidates(text) == ("Tu-154", "Canadair CL-600 (CRJ-100/200)", "St. Bernard")


@given(st.text(st.sampled_from("<>/ \nax*-1.") | st.characters(), max_size=60), st.sampled_from([*"ab"]))
def test_any_text_is_read(noise: str, where: str):
    reply = noise + GOOD if where == "a" else GOOD.replace("A red crown.", noise)
    read = read_sections(reply + "<options>" + noise)
    assert isinstance(read, Sections)
    assert len(read.candidates) <= 20
