"""Replies in tags: ``<think>reasons</think> <answer>name</answer>``, as reasoning models are trained to write them.

The one home of finding the answer in such a reply. Strict: one pair of answer tags, outside the thinking, and something
between them. What else a reply may mean is not guessed: it has no answer, and a code says why.

==================  ==================================================================================================
no tags             free text; the one fault that says nothing against a reply
no answer           thinking, but no answer tags; what stands outside the thinking is in ``outside``
cut off             the thinking never ends
unclosed            the answer never ends
several answers     ``<answer>A</answer> <answer>B</answer>``
nested              an answer inside the thinking or inside an answer, or thinking inside an answer
wrong order         ``</answer>`` before ``<answer>``, or alone
empty answer        no letter or digit between the tags
==================  ==================================================================================================

1. *Tags* count in any case, and with blanks inside (``< / answer >``), so that none can hide.
2. *Thinking* that was not opened begins with the reply: chat templates of some models write ``<think>`` themselves.
3. *Thinking that was not closed* holds all that follows. Only an answer that ends the reply is taken for the answer.

Whether a reply has the *format* that was asked for is another question (no thinking, words outside the tags): that is
for a reward to say.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fgvr.labels.normalise import without_hidden

TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(think|answer)\s{0,8}>", re.IGNORECASE)
NO_TAGS = "no tags"
NO_ANSWER = "no answer"
CUT_OFF = "cut off"
UNCLOSED = "unclosed"
SEVERAL = "several answers"
NESTED = "nested"
ORDER = "wrong order"
EMPTY = "empty answer"


@dataclass(frozen=True)
class Tagged:
    """A reply by its tags."""

    answer: str | None
    """Between the one pair of answer tags, trimmed; ``None`` where there is no answer."""
    think: str
    """The thinking, trimmed, without its tags; ``""`` where there is none."""
    fault: str
    """Why there is no answer (see the table above); ``""`` where there is one."""
    outside: str = ""
    """Where there is no answer: what stands outside the thinking, trimmed."""


@dataclass(frozen=True)
class _Tag:
    kind: str
    """``think``, ``/think``, ``answer`` or ``/answer``."""
    start: int
    end: int


def answer_in(reply: str) -> Tagged:
    """The answer and the thinking of a reply. Never raises on a string; linear in its length."""
    text = "\n".join(without_hidden(line) for line in reply.splitlines())
    tags = [_Tag(found[1] + found[2].lower(), *found.span()) for found in TAG.finditer(text)]
    spans, closed = _thinking(text, tags)
    think = "\n".join(filter(None, (TAG.sub("", text[start:end]).strip() for start, end in spans)))
    fault = _fault(text, tags, spans, closed=closed)
    if fault:
        return Tagged(None, think, fault, _outside(text, spans))
    opened, ended = (tag for tag in tags if tag.kind.endswith("answer"))
    return Tagged(text[opened.end : ended.start].strip(), think, "")


def _thinking(text: str, tags: Sequence[_Tag]) -> tuple[list[tuple[int, int]], bool]:
    """Where the thinking stands, its tags included, and whether it ends."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for tag in tags:
        if tag.kind == "think" and start is None:
            start = tag.start
        elif tag.kind == "/think":
            # An end without a beginning: all since the last end was thinking.
            spans.append((start if start is not None else spans[-1][1] if spans else 0, tag.end))
            start = None
    if start is None:
        return spans, True
    final = [tag.kind for tag in tags[-2:]] == ["answer", "/answer"] and not text[tags[-1].end :].strip()
    ends = final and tags[-2].start > start
    spans.append((start, tags[-2].start if ends else len(text)))
    return spans, ends


def _fault(text: str, tags: Sequence[_Tag], spans: Sequence[tuple[int, int]], *, closed: bool) -> str:
    """Why a reply has no answer, ``""`` where it has one."""
    pair = [tag for tag in tags if tag.kind.endswith("answer")]
    kinds = [tag.kind for tag in pair]
    if not tags:
        return NO_TAGS
    if not closed and (not pair or pair[-1].start > spans[-1][0]):
        return CUT_OFF
    if any(_inside(tag, spans) for tag in pair):
        return NESTED
    if not pair:
        return NO_ANSWER
    if "answer" not in kinds:
        return ORDER
    if "/answer" not in kinds:
        return UNCLOSED
    if len(pair) > 2:
        return NESTED if kinds[:2] == ["answer", "answer"] else SEVERAL
    if kinds[0] == "/answer":
        return ORDER
    opened, ended = pair
    if any(opened.end <= tag.start < ended.start for tag in tags):
        return NESTED
    return "" if any(char.isalnum() for char in text[opened.end : ended.start]) else EMPTY


def _inside(tag: _Tag, spans: Sequence[tuple[int, int]]) -> bool:
    last = bisect_right(spans, tag.start, key=lambda span: span[0]) - 1
    return last >= 0 and tag.start < spans[last][1]


def _outside(text: str, spans: Sequence[tuple[int, int]]) -> str:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return " ".join(filter(None, (text[start:end].strip() for start, end in zip(edges[::2], edges[1::2], strict=True))))
