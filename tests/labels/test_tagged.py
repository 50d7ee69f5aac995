"""Replies in tags: where the answer is, and why there is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.labels.tagged import (
    CUT_OFF,
    EMPTY,
    NESTED,
    NO_ANSWER,
    NO_TAGS,
    ORDER,
    SEVERAL,
    UNCLOSED,
    Tagged,
    answer_in,
)


@pytest.mark.parametrize(
    ("reply", "answer", "think"),
    [
        ("<think>A black cap.</think> <answer>Arctic Tern</answer>", "Arctic Tern", "A black cap."),
        ("<think>\nA black cap.\n</think>\n\n<answer>\nArctic Tern\n</answer>\n", "Arctic Tern", "A black cap."),
        ("<answer>Arctic Tern</answer>", "Arctic Tern", ""),
        ("Well. <answer>Arctic Tern</answer> I hope.", "Arctic Tern", ""),
        ("< Think >a< / think > <ANSWER>Arctic Tern</Answer>", "Arctic Tern", "a"),
        ("opened by the template</think><answer>Tern</answer>", "Tern", "opened by the template"),
        ("<think>never closed <answer>Tern</answer>\n", "Tern", "never closed"),
        ("<think>a</think>b<think>c</think><answer>Tern</answer>", "Tern", "a\nc"),
        ("<answer>Tern</answer><think>an afterthought", "Tern", "an afterthought"),
        ("<ans\u200bwer>Tern</answer\u200b>", "Tern", ""),
        ("<think>x < y and a <b> </think><answer>a < b</answer>", "a < b", "x < y and a <b>"),
        ("<answer>Tern, Gull</answer>", "Tern, Gull", ""),
    ],
)
def test_the_one_answer(reply: str, answer: str, think: str):
    assert answer_in(reply) == Tagged(answer, think, "")


@pytest.mark.parametrize(
    ("reply", "fault", "think"),
    [
        ("", NO_TAGS, ""),
        ("Arctic Tern", NO_TAGS, ""),
        ("<b>Arctic Tern</b> <thinking>", NO_TAGS, ""),
        ("<think>a</think> Arctic Tern", NO_ANSWER, "a"),
        ("<think>a", CUT_OFF, "a"),
        ("<think>a</think><think>b", CUT_OFF, "a\nb"),
        ("<think>a <answer>Te", CUT_OFF, "a Te"),
        ("<think>I write <answer>name</answer> in the end. So", CUT_OFF, "I write name in the end. So"),
        ("<think>a</think><answer>Arctic Te", UNCLOSED, "a"),
        ("<answer>A</answer><answer>B</answer>", SEVERAL, ""),
        ("<answer>A</answer></answer>", SEVERAL, ""),
        ("<answer><answer>B</answer></answer>", NESTED, ""),
        ("<answer>A<answer>B</answer>", NESTED, ""),
        ("<think><answer>A</answer></think>", NESTED, "A"),
        ("<think><answer>A</answer></think><answer>B</answer>", NESTED, "A"),
        ("<answer>A</answer></think>", NESTED, "A"),
        ("<answer><think>a</think>B</answer>", NESTED, "a"),
        ("<think>a <answer>A</answer> <answer>B</answer>", NESTED, "a A"),
        ("</answer>B<answer>", ORDER, ""),
        ("B</answer>", ORDER, ""),
        ("<think>a</think><answer> \n </answer>", EMPTY, "a"),
        ("<answer>...</answer>", EMPTY, ""),
    ],
)
def test_no_answer_and_why(reply: str, fault: str, think: str):
    found = answer_in(reply)
    assert (found.answer, found.fault, found.think) == (None, fault, think)


def test_what_stands_outside_the_thinking():
    assert answer_in("Well. <think>a</think> Arctic <think>b</think> Tern ").outside == "Well. Arctic Tern"
    assert answer_in("a</think> b </think> Tern").outside == "Tern"
    assert answer_in("<think>a</think>").outside == ""
    assert answer_in("Well. <think>a").outside == "Well."


def slow_reference(reply: str) -> str | None:
    """The answer by deleting thinking from the front, one block after the other; for replies whose tags are plain."""
    text, closed = reply, reply.count("<think>")
    while closed:
        start = text.index("<think>")
        end = text.find("</think>", start)
        if end < 0:
            return None
        text, closed = text[:start] + "\0" + text[end + len("</think>") :], text.count("<think>") - 1
    before, opened, rest = text.partition("<answer>")
    answer, ended, after = rest.partition("</answer>")
    if not opened or not ended or "answer>" in before + answer + after or "\0" in answer:
        return None
    return answer.strip() or None


PARTS = st.lists(st.sampled_from(["<think>a</think>", "<answer>", "</answer>", "Tern", " ", "b"]), max_size=8).map(
    "".join
)


@given(PARTS)
@settings(max_examples=150)
def test_closed_thinking_and_any_answer_tags_as_the_reference_reads_them(reply: str):
    assert answer_in(reply).answer == slow_reference(reply)


@given(
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<answer>", "</answer>", "Tern", " ", "\n", "<", ">", "\ud800", "\u200b"]
        ),
        max_size=30,
    ).map("".join)
)
@settings(max_examples=150)
def test_any_reply_has_an_answer_or_a_fault(reply: str):
    found = answer_in(reply)
    assert (found.answer is None) == bool(found.fault)
    if found.answer is not None:
        assert reply.lower().count("answer") == 2
        assert found.answer == found.answer.strip() != ""
        assert "think>" not in found.answer
    assert not any(tag in found.think for tag in ("<think>", "</think>", "<answer>"))


@pytest.mark.parametrize("part", ["<think>", "<answer>", "</think>", "<think>a</think><answer>", "<", "< / ", "\n"])
def test_time_is_linear(part: str):
    start = time.process_time()
    answer_in(part * (400_000 // len(part)))
    assert time.process_time() - start < 3
