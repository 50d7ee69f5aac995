"""What the page of rollouts shows of a group: its replies in parts, its figures, its pictures once each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fgvr.labels import normalise
from fgvr.methods.fine_r1.rollouts_reading import Key, Rollout
from fgvr.report.thumbs import Thumbnails
from fgvr.report.words import name_shown, shown

Part = Literal["think", "answer", "tag", "text"]
MOST_CHARACTERS = 3000
"""Of one part of a reply; beyond, its middle is left out."""
FULL_BAR = 3.0
"""Advantage that fills half a bar: ten replies of which one differs come to 2.85."""
_TAG = re.compile(r"(</?(?:think|answer)>)")
_BLANK = re.compile(r"\s*\n\s*\n\s*")


@dataclass(frozen=True)
class ReplyView:
    """One reply as it is shown."""

    source: str
    parts: tuple[tuple[Part, str], ...]
    answer: str
    """Of the last answer tag, in one line; empty without one."""
    right: bool
    fooled: bool
    """Named the negative picture's class."""
    formed: bool
    ended: bool
    reward: str
    reason: str
    tokens: int
    advantage: str
    bar: int
    """Per cent of half the bar."""
    below: bool
    """A negative advantage."""
    open: bool
    """Shown unfolded: the group's best and worst."""


@dataclass(frozen=True)
class GroupView:
    """The replies to one triplet at one step."""

    step: int
    attempt: int
    prompt: str
    category: str
    negative_category: str
    class_number: int
    question: str
    kept: bool
    pictures: tuple[tuple[str, str, str], ...]
    """(role, caption, style class); an empty class where there is no picture to show."""
    replies: tuple[ReplyView, ...]

    @property
    def right(self) -> int:
        return sum(reply.right for reply in self.replies)


class Pictures:
    """Every picture once: a style class each, its data URI in one rule of the page's style sheet."""

    def __init__(self, thumbnails: Thumbnails, root: Path) -> None:
        self.thumbnails = thumbnails
        self._root = root
        self._classes: dict[str, str] = {}
        self.rules: list[str] = []
        self.left_out = 0
        """Pictures beyond the budget."""

    def name(self, path: str) -> str:
        """The class that shows ``path``; empty where the file cannot be read or the budget is spent."""
        if not path:
            return ""
        if path not in self._classes:
            uri = self.thumbnails.get(self._root / path)
            self.left_out += uri is None
            self._classes[path] = f"p{len(self.rules)}" if uri else ""
            if uri:
                self.rules.append(f".p{len(self.rules)}{{background-image:url({uri})}}")
        return self._classes[path]


def group_view(key: Key, replies: Sequence[Rollout], *, classes: Sequence[str], pictures: Pictures) -> GroupView:
    """The group ``key``. ``classes``: all categories; their places are the numbers by which the page filters."""
    one = replies[0]
    worth = [reply.reward if reply.advantage is None else reply.advantage for reply in replies]
    opened = {worth.index(max(worth)), worth.index(min(worth))}
    return GroupView(
        step=key[0],
        attempt=key[1],
        prompt=shown(key[2]),
        category=name_shown(one.category),
        negative_category=name_shown(one.negative_category) if one.negative_category else "",
        class_number=classes.index(one.category),
        question=shown(one.question),
        kept=any(reply.kept for reply in replies),
        pictures=_pictures(replies, pictures),
        replies=tuple(reply_view(reply, open=place in opened) for place, reply in enumerate(replies)),
    )


def reply_view(one: Rollout, *, open: bool = False) -> ReplyView:
    """One reply."""
    found = parts_of(one.reply)
    answer = next((text for kind, text in reversed(found) if kind == "answer"), "")
    advantage = one.advantage or 0.0
    return ReplyView(
        source=one.source if one.source in ("anchor", "positive") else "",
        parts=tuple((kind, shortened(_BLANK.sub("\n\n", text))) for kind, text in found),
        answer=shown(answer.strip(), 120),
        right=one.right,
        fooled=not one.right and bool(answer.strip()) and normalise(answer) == normalise(one.negative_category),
        formed=one.format >= 0.5,
        ended=one.ended,
        reward=f"{one.reward:.2f}",
        reason=shown(one.reason, 80),
        tokens=one.tokens,
        advantage="filtered" if one.advantage is None else f"{one.advantage:+.2f}",
        bar=round(100 * min(1.0, abs(advantage) / FULL_BAR)),
        below=advantage < 0,
        open=open,
    )


def parts_of(reply: str) -> list[tuple[Part, str]]:
    """A reply cut at its tags, nothing lost: tags, what stands in a think or answer tag, and the rest.

    A tag that is never closed holds what follows; within an answer tag a think tag is only a tag, and the reverse.
    """
    inside: Part = "text"
    found: list[tuple[Part, str]] = []
    for piece in _TAG.split(reply):
        if _TAG.fullmatch(piece):
            found.append(("tag", piece))
            name: Part = "think" if "think" in piece else "answer"
            if piece.startswith("</"):
                inside = "text" if inside == name else inside
            elif inside == "text":
                inside = name
        elif piece:
            found.append((inside, piece))
    return found


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """``text``, or its beginning and end with the number of characters left out between."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most - most * 2 // 3
    return f"{text[:head]} [… {len(text) - most:,} characters …] {text[-tail:]}"


def _pictures(replies: Sequence[Rollout], pictures: Pictures) -> tuple[tuple[str, str, str], ...]:
    one = replies[0]
    seen = {reply.source: reply.image for reply in reversed(replies)}
    trio = [
        ("anchor", one.category, seen.get("anchor", "")),
        ("positive", one.category, seen.get("positive", "")),
        ("negative", one.negative_category, one.negative),
    ]
    return tuple(
        (role, name_shown(category) if category else "", pictures.name(path)) for role, category, path in trio if path
    )
