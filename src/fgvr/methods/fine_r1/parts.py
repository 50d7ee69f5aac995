"""The two parts of an examination, closed and open world: their figures, and a row for every reply."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fgvr.methods.fine_r1 import closed as closed_world
from fgvr.methods.fine_r1 import open_world
from fgvr.methods.fine_r1.closed import ClosedAnswer, truth_within_distractor
from fgvr.methods.fine_r1.figures import GROUPS, Figures, Seen, divided, figures_of, grouped
from fgvr.methods.fine_r1.lengths import Lengths, by_length, thought_words
from fgvr.methods.fine_r1.open_world import OpenAnswer
from fgvr.metrics.semantic import TextEncoder
from fgvr.mllm.outcomes import Answers
from fgvr.multiple_choice.asking import Answered, Turn
from fgvr.multiple_choice.position import Place, places, preference
from fgvr.multiple_choice.reading import fine_r1_official

CLOSED, OPEN = "closed", "open"
LABELS = {CLOSED: closed_world.LABELS, OPEN: open_world.LABELS}
TITLES = {CLOSED: "closed world", OPEN: "open world"}


@dataclass(frozen=True)
class Measured:
    """One number an item for each figure, NaN where it does not count."""

    scores: Mapping[str, Sequence[float]]
    flags: Sequence[bool | None]
    """Whether each item's class was trained on."""
    classes: Sequence[str]


@dataclass(frozen=True)
class Part:
    """The closed or the open world of one model."""

    name: str
    figures: Figures
    """By group (``seen``, ``unseen``, ``average``, ``all``), then by the keys of `LABELS`."""
    items: dict[str, int]
    """Items asked about, by group."""
    replied: float
    """Share of requests about pictures that have a reply, in [0, 1]."""
    letters: tuple[Place, ...] = ()
    """Closed: choices by place; a place has a letter even where the prompt shows none."""
    position_bias: float | None = None
    """Closed: share of choices that would have to move to be even over places."""
    truth_in_distractor: float | None = None
    """Closed: share of questions whose true name stands inside a wrong option."""
    tokens: Lengths | None = None
    """Accuracy by length of the reply."""
    words: Lengths | None = None
    """Accuracy by length of the thinking."""
    replies: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """One a reply, for saving."""
    measured: Measured = field(default_factory=lambda: Measured({}, (), ()), repr=False)
    """What the figures are made of."""

    def rows(self) -> list[tuple[str, str]]:
        """(label, "value [low, high]" in per cent) pairs for a table, coverage first."""
        title = TITLES[self.name]
        sizes = ", ".join(f"{group} {size}" for group, size in self.items.items())
        found = [(title, sizes)]
        for key, label in LABELS[self.name].items():
            found += [
                (f"{label}, {group}" if len(self.figures) > 1 else label, self.figures[group][key].text())
                for group in self.figures
                if key in self.figures[group]
            ]
        return found + self.beside()

    def beside(self) -> list[tuple[str, str]]:
        """What stands beside the figures by group: coverage of replies, places, lengths."""
        found = [("pictures with a reply", f"{100 * self.replied:.1f} %")]
        if self.letters:
            shares = " ".join(f"{at} {100 * one.chosen:.0f}" for at, one in enumerate(self.letters, start=1))
            found.append(("choices by place", f"{shares} (bias {100 * (self.position_bias or 0):.1f})"))
        if self.truth_in_distractor is not None:
            found.append(("truth inside a wrong option", f"{100 * self.truth_in_distractor:.1f} of questions"))
        for lengths in (self.tokens, self.words):
            found += [] if lengths is None else lengths.rows()
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything but the replies, as plain JSON types."""
        return {
            "figures": {
                group: {key: one.as_dict() for key, one in each.items()} for group, each in self.figures.items()
            },
            "items": self.items,
            "replied": self.replied,
            "places": [asdict(one) for one in self.letters],
            "position_bias": self.position_bias,
            "truth_in_distractor": self.truth_in_distractor,
            "tokens": None if self.tokens is None else self.tokens.as_dict(),
            "words": None if self.words is None else self.words.as_dict(),
        }


def closed_part(
    found: Sequence[ClosedAnswer], answers: Answers, *, seen: Seen = None, free: bool = False, **scoring: Any
) -> Part:
    """Figures of closed answers. ``free``: names were scored, nothing was listed or written; ``scoring``: what
    ``figures_of`` takes."""
    names = [" ".join(one.question.truth.replace("_", " ").split()) for one in found]
    flags = divided(names, seen, [one.question.seen for one in found])
    scores = closed_world.closed_scores(found)
    if free:
        scores = {key: values for key, values in scores.items() if key in ("strict", "blank")}
    turns = [turn for one in found for turn in one.turns]
    letters = () if free else places([Answered(one.question, one.turns) for one in found])
    rows = tuple(_closed_rows(found, flags, answers))
    written = [] if free else [row for row in rows if row["control"] == "picture"]
    return Part(
        CLOSED,
        figures_of(scores, flags, names, **scoring),
        sizes(flags),
        sum(turn.status != "unanswered" for turn in turns) / len(turns),
        letters,
        preference(letters) if letters else None,
        sum(truth_within_distractor(one.question) for one in found) / len(found),
        *_lengths(written, "right", scoring),
        rows,
        Measured(scores, flags, names),
    )


def open_part(
    found: Sequence[OpenAnswer],
    answers: Answers,
    *,
    seen: Seen = None,
    marked: Mapping[str, bool | None] | None = None,
    sentences: TextEncoder | None = None,
    free: bool = False,
    **scoring: Any,
) -> Part:
    """Figures of open answers. ``marked``: what the data itself says of an item, by id."""
    names = [str(one.item.label) for one in found]
    flags = divided(names, seen, [(marked or {}).get(one.item.id) for one in found])
    scores = open_world.open_scores(found, sentences=sentences, free=free)
    rows = tuple(_open_rows(found, scores, flags, answers))
    replied = sum(one.reply is not None for one in found) / len(found)
    tokens, words = _lengths([] if free else rows, "accepted", scoring)
    figures = figures_of(scores, flags, names, **scoring)
    measured = Measured(scores, flags, names)
    return Part(OPEN, figures, sizes(flags), replied, tokens=tokens, words=words, replies=rows, measured=measured)


def sizes(flags: Sequence[bool | None]) -> dict[str, int]:
    """Items by group."""
    groups = grouped(flags)
    return {group: len(groups[group]) for group in GROUPS if group in groups}


def _lengths(
    rows: Sequence[Mapping[str, Any]], key: str, scoring: Mapping[str, Any]
) -> tuple[Lengths | None, Lengths | None]:
    """Accuracy by tokens of the reply and by words of the thinking."""
    replied = [row for row in rows if row["reply"] is not None]
    right = [row[key] for row in replied]
    drawing = {name: value for name, value in scoring.items() if name != "unit"}
    tokens = by_length([row["tokens"] for row in replied], right, unit="tokens", **drawing)
    words = by_length([row["words"] for row in replied], right, unit="words", **drawing)
    return tokens, words


def _closed_rows(
    found: Sequence[ClosedAnswer], flags: Sequence[bool | None], answers: Answers
) -> Iterator[dict[str, Any]]:
    for one, seen in zip(found, flags, strict=True):
        turns: list[tuple[str, Turn]] = [("picture", turn) for turn in one.turns]
        turns += [] if one.official is None else [("official", one.official)]
        ids = iter(one.ids)
        for number, (control, turn) in enumerate(turns):
            row = _closed_row(one, control, number, turn)
            yield {**row, "seen": seen, **_account(answers, next(ids, ""), turn.reply)}
        for control, others in (("blank", one.blank), ("text_only", one.text_only)):
            for number, turn in enumerate(others):
                row = _closed_row(one, control, number, turn)
                yield {**row, "seen": seen, **_account(answers, "", turn.reply)}


def _closed_row(one: ClosedAnswer, control: str, number: int, turn: Turn) -> dict[str, Any]:
    options, replied = one.question.options, turn.status != "unanswered"
    return {
        "part": CLOSED,
        "id": one.question.id,
        "control": control,
        "turn": number,
        "truth": one.question.truth,
        "options": [options[place] for place in turn.order],
        "status": turn.status,
        "chosen": None if turn.chosen is None else options[turn.chosen],
        "right": float(turn.chosen == one.question.answer) if replied else None,
        "official": float(fine_r1_official(turn.reply, one.question.truth)) if replied else None,
        "reply": turn.reply if replied else None,
    }


def _open_rows(
    found: Sequence[OpenAnswer],
    scores: Mapping[str, Sequence[float]],
    flags: Sequence[bool | None],
    answers: Answers,
) -> Iterator[dict[str, Any]]:
    for at, (one, seen) in enumerate(zip(found, flags, strict=True)):
        row = {"part": OPEN, "id": one.item.id, "truth": one.item.label, "answer": one.answer, "reply": one.reply}
        figures = {key: None if math.isnan(values[at]) else values[at] for key, values in scores.items()}
        yield {**row, "seen": seen, **figures, **_account(answers, one.item.id, one.reply or "")}


def _account(answers: Answers, request: str, reply: str) -> dict[str, Any]:
    """Length of a reply, and how it ended."""
    known = answers.replies.get(request)
    return {
        "words": thought_words(reply),
        "tokens": None if known is None else known.usage.output_tokens,
        "finish": None if known is None else known.finish,
    }
