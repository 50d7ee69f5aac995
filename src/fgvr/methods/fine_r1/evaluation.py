"""What a model knows of classes it was trained on and of others, with options and without.

Paper: Fine-R1, section 4. `closed`, `open_world` and `similarity` number how each figure departs from the released
code; the released rules stand beside the strict ones as ``official_compat``.

1. *Trials.* The paper's "average of 3 trials" of a greedy, seeded evaluator is unexplained. Here one greedy reply a
   question, and bootstrap intervals over pictures or over classes.
2. *Avg.* The paper's is the mean of seen and unseen, each the unweighted mean over six data sets. ``average`` is the
   mean of seen and unseen of one data set; `macro.macro` is the paper's over several.
3. *Unanswered* questions count nowhere and the coverage says so; replies without the tags asked for are wrong.
4. *Base models* that never learnt tags are asked in their own way with ``free=True``; the table says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgvr.data.benchmarks.questions import Question
from fgvr.errors import InputError
from fgvr.methods.fine_r1.closed import (
    ClosedAnswer,
    ClosedSettings,
    check_closed_model,
    closed_answers,
    closed_requests,
)
from fgvr.methods.fine_r1.exam import NAMES, SuperCategory, Wording, usable
from fgvr.methods.fine_r1.figures import ALL, Figure, Seen
from fgvr.methods.fine_r1.open_world import open_answers, open_requests
from fgvr.methods.fine_r1.parts import CLOSED, OPEN, Part, closed_part, open_part
from fgvr.methods.fine_r1.prompts import Style
from fgvr.metrics.semantic import TextEncoder
from fgvr.metrics.strata import Unit
from fgvr.mllm.base import Mllm
from fgvr.mllm.outcomes import Answers
from fgvr.mllm.scheduler import ask_all
from fgvr.multiple_choice.asking import ask_questions
from fgvr.multiple_choice.distractors import Source
from fgvr.types import ImageItem, SetAside, Usage

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examined:
    """Figures of one model."""

    model: str
    parts: dict[str, Part]
    """``closed`` and ``open``, those that were asked."""
    protocol: tuple[str, ...]
    """One line for each choice a reader of the figures must know."""
    set_aside: tuple[SetAside, ...] = ()
    answers: dict[str, Answers] = field(default_factory=dict, repr=False)
    """The account of each part."""

    @property
    def usage(self) -> Usage:
        """Spent by this very call."""
        return sum((one.usage for one in self.answers.values()), Usage())

    @property
    def stopped(self) -> str | None:
        """Why asking stopped early (``budget``, ``deadline``), if it did."""
        return next((one.stopped for one in self.answers.values() if one.stopped), None)

    @property
    def replied(self) -> float:
        """Share of requests about pictures that have a reply, the lowest of the parts, in [0, 1]."""
        return min(part.replied for part in self.parts.values())

    @property
    def replies(self) -> tuple[dict[str, Any], ...]:
        """One JSON-like row a reply."""
        return tuple(row for part in self.parts.values() for row in part.replies)

    def figure(self, part: str, key: str, group: str = ALL) -> Figure | None:
        """One figure; ``None`` where there is none."""
        return self.parts[part].figures.get(group, {}).get(key) if part in self.parts else None

    def rows(self) -> list[tuple[str, str]]:
        """(label, "value [low, high]" in per cent) pairs for a table, each part's coverage first."""
        return [("model", self.model), *(row for part in self.parts.values() for row in part.rows())]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the replies, as plain JSON types."""
        return {
            "model": self.model,
            "parts": {name: part.as_dict() for name, part in self.parts.items()},
            "protocol": list(self.protocol),
            "stopped": self.stopped,
        }


def examine(
    mllm: Mllm,
    *,
    closed: Sequence[Question] = (),
    open_items: Sequence[ImageItem] = (),
    seen: Seen = None,
    super_category: SuperCategory = None,
    texts: Mapping[str, str] | None = None,
    style: Style = "paper",
    thinking: bool = True,
    rotations: bool = True,
    official: bool = True,
    blank: Path | None = None,
    text_only: bool = False,
    free: bool = False,
    max_tokens: int = 2048,
    sentences: TextEncoder | None = None,
    hashes: Mapping[str, str] | None = None,
    unit: Unit = "items",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    source: Source | None = None,
    notes: Sequence[str] = (),
    **asking: Any,
) -> Examined:
    """Ask a model about pictures, with options and without, and score the replies.

    Args:
        closed: questions; their options are shuffled here by ``seed`` and the questions' ids.
        open_items: labelled pictures; ``accepted`` names count in ``accepted`` and ``inclusion``.
        seen: names of the classes trained on; without it what the questions themselves say.
        super_category: names what is told apart: in questions that have no text, and as k of the similarity.
        texts: the question of an open item by its id, where the data has one.
        blank, text_only: ask the closed questions about a plain picture, and without any, too.
        free: plain naming question and scoring of whole names, for a model that never learnt tags.
        sentences: embeds names for the relative similarity (``similarity.DualTexts`` makes one of a dual encoder);
            without it there is none.
        hashes: SHA-256 of pictures' bytes by id, where known.
        unit: what the bootstrap draws.
        source: of the wrong options, for the protocol.
        asking: what ``ask_all`` takes (ledger, cache, budget, progress, ...); ``ledgers``, a function of the part's
            name, makes one a part.

    Raises ``InputError`` when nothing is given or the model cannot be asked that way, ``NoImagesError`` when nothing of
    a part can be asked.
    """
    if not closed and not open_items:
        raise InputError("nothing to examine", remedy="Give questions with options, or labelled pictures.")
    wording = Wording(style, thinking, rotations, official, blank, text_only, free, max_tokens, seed)
    scoring: dict[str, Any] = {"unit": unit, "resamples": resamples, "level": level, "seed": seed}
    about: dict[str, Any] = {"super_category": super_category, "hashes": hashes}
    parts: dict[str, Part] = {}
    answers: dict[str, Answers] = {}
    questions, items, aside = usable(closed, open_items)
    if questions:
        ask = _ask_names if free else _ask_closed
        found, answers[CLOSED] = ask(questions, mllm, wording.closed, about, _own(asking, CLOSED))
        parts[CLOSED] = closed_part(found, answers[CLOSED], seen=seen, free=free, **scoring)
    if items:
        requests = open_requests(items, wording.open, texts=texts, **about)
        answers[OPEN] = ask_all(requests, mllm, **_own(asking, OPEN))
        given = open_answers(items, answers[OPEN], wording.open, super_category=super_category)
        marked = {one.id: one.seen for one in closed}
        parts[OPEN] = open_part(
            given, answers[OPEN], seen=seen, marked=marked, sentences=sentences, free=free, **scoring
        )
    protocol = (*_protocol(wording, unit, sentences, parts, source), *notes)
    examined = Examined(mllm.name, parts, protocol, aside, answers)
    if examined.replied < 1:
        logger.warning("replies to %.1f %% of the questions only", 100 * examined.replied)
    return examined


def _ask_closed(
    questions: Sequence[Question],
    mllm: Mllm,
    settings: ClosedSettings,
    about: Mapping[str, Any],
    asking: Mapping[str, Any],
) -> tuple[list[ClosedAnswer], Answers]:
    check_closed_model(mllm, settings)
    answers = ask_all(closed_requests(questions, settings, **about), mllm, **asking)
    return closed_answers(questions, answers, settings, super_category=about["super_category"]), answers


def _ask_names(
    questions: Sequence[Question],
    mllm: Mllm,
    settings: ClosedSettings,
    about: Mapping[str, Any],
    asking: Mapping[str, Any],
) -> tuple[list[ClosedAnswer], Answers]:
    """The likeliest of the options' whole names; nothing is listed, so nothing is rotated."""
    asked = ask_questions(questions, mllm, settings=NAMES, blank=settings.blank, **about, **asking)
    blank = asked.blank or (None,) * len(asked.answered)
    found = [
        ClosedAnswer(one.question, one.turns, blank=() if prior is None else prior.turns, ids=(one.question.id,))
        for one, prior in zip(asked.answered, blank, strict=True)
    ]
    return found, asked.answers


def _own(asking: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The options with a ledger of the part's own where ``ledgers`` makes one."""
    make = asking.get("ledgers")
    rest = {key: value for key, value in asking.items() if key != "ledgers"}
    return rest if make is None else {**rest, "ledger": make(part)}


def _protocol(
    wording: Wording,
    unit: Unit,
    sentences: TextEncoder | None,
    parts: Mapping[str, Part],
    source: Source | None,
) -> tuple[str, ...]:
    thinking = "thinking asked for" if wording.thinking else "no thinking asked for"
    lines = [f"wording: {wording.style}, {thinking}, greedy, at most {wording.max_tokens} tokens"]
    if wording.free:
        lines = ["wording: plain naming question, no tags; the name is read from free text (free)"]
    if CLOSED in parts and wording.free:
        lines.append("closed world: log-probability of each option's whole name, options not listed")
    elif CLOSED in parts:
        orders = "every rotation" if wording.rotations else "one order"
        lines.append(f"options: shuffled with seed {wording.seed} and the question's id, {orders}")
        lines.append("strict: one pair of answer tags around one option's name; replies without are wrong")
    if CLOSED in parts:
        lines.append(f"wrong options: {source.words() if source else 'as the questions have them'}")
    if OPEN in parts and sentences is not None:
        lines.append(f"similarity: text embeddings of {sentences.name}")
    lines.append("questions without a reply count in no figure")
    lines.append(f"intervals: bootstrap over {unit}, seed {wording.seed}")
    return tuple(lines)
