"""Reasoning data for chain-of-thought fine-tuning: from named pictures to rationales.

Fine-R1 (He et al., ICLR 2026), section 3.2: a large MLLM, told the class and visual concepts of a picture, writes a
rationale of visual analysis, candidate sub-categories, comparison and prediction. The authors released the data (404
rows), not the code that made them.

1. *Teacher.* Qwen2.5-VL-32B in the paper; here any provider. Where the picture's name is known only to a model that
   reads words (``teacher_sees=False``), it is shown no picture; ``captioner`` may then say what the picture shows.
2. *Concepts.* See ``concepts.py``: what is published names a method, not a formula.
3. *Filters.* The paper resamples until the label matches and mends the rest by hand. Here all of it is checked by rule
   (``reasoning_filters.py``), and what fails is sampled again with another seed and a higher temperature, ``attempts``
   times at most (the paper: no limit is stated). Pictures whose samples all fail are set aside with the last reason.
4. *The label* in candidates and answer is spelt as given; the teacher's own sentences stay as written.
5. *Composed.* ``how="composed"`` asks a model that cannot follow the structured prompt only what it can answer, and
   puts the sentences together from that; see ``composed.py``.
6. *Super-category.* Where nobody says one, prompts speak of an object; nothing is asked about it.

With a ledger or a cache, a second call pays for nothing that was answered, rejected samples included.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fgvr.errors import InputError
from fgvr.methods.fine_r1 import reasoning_written as written
from fgvr.methods.fine_r1.composed import compose
from fgvr.methods.fine_r1.rationales import Rationale as Rationale
from fgvr.methods.fine_r1.rationales import read_sharegpt as read_sharegpt
from fgvr.methods.fine_r1.rationales import sft_rows as sft_rows
from fgvr.methods.fine_r1.rationales import think_of
from fgvr.methods.fine_r1.rationales import write_sharegpt as write_sharegpt
from fgvr.methods.fine_r1.reasoning_filters import Rules, same_name
from fgvr.methods.fine_r1.reasoning_input import Asking, Kinds, Report, Subject, subjects_of
from fgvr.methods.fine_r1.reasoning_prompts import CAPTIONS, Length
from fgvr.methods.fine_r1.reasoning_replies import Sections
from fgvr.methods.fine_r1.reasoning_written import Attempts
from fgvr.mllm.base import BY_ITEM, Mllm, Request
from fgvr.mllm.outcomes import LedgerLike
from fgvr.types import ImageItem, SetAside, Usage

logger = logging.getLogger(__name__)
How = Literal["written", "composed"]

SHORT_RULES = Rules(words=(8, 120))
MAX_TOKENS: Mapping[Length, int] = {"full": 2048, "short": 256}


@dataclass(frozen=True)
class ReasoningSettings:
    """How rationales are asked for and judged. The paper states none of these numbers but the four candidates."""

    length: Length = "full"
    captions: tuple[str, ...] = CAPTIONS
    """Templates, ``{kind}`` in them; () asks for none, and the prompt goes without concepts."""
    most_concepts: int = 8
    redundancy: float = 0.5
    attempts: int = 5
    temperature: float = 0.7
    """Of the first sample."""
    hotter: float = 0.1
    """More with each further sample."""
    max_tokens: int | None = None
    """Of a rationale; ``None``: ``MAX_TOKENS`` of the length."""
    caption_tokens: int = 120
    rules: Rules | None = None
    """``None``: the defaults, and for short rationales 8 to 120 words."""
    seed: int = 0

    def rules_in_use(self) -> Rules:
        """``rules``, or those of the length."""
        return self.rules or (SHORT_RULES if self.length == "short" else Rules())


@dataclass(frozen=True)
class Reasoned:
    """The rationales, and what became of every picture."""

    rationales: tuple[Rationale, ...]
    """One a picture whose reasoning passed all filters, in the order of the items."""
    set_aside: tuple[SetAside, ...]
    """``no label``, ``duplicate id``, unreadable, ``not answered``, ``not asked``, or what the last sample broke."""
    usage: Usage
    stopped: str | None = None
    """``budget`` or ``deadline``: run again with the same ledger to go on."""
    notes: tuple[str, ...] = ()
    by_stage: Mapping[str, Usage] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Reason to number of samples, those of pictures that passed later included."""
    concepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By item id."""
    reused: int = 0
    """Replies known from ledger, cache or an identical question."""
    saved: Usage = field(default_factory=Usage)
    """What those had cost, or would have."""


def build_reasoning(
    items: Sequence[ImageItem],
    teacher: Mllm,
    *,
    super_category: Kinds | None = None,
    settings: ReasoningSettings | None = None,
    how: How = "written",
    teacher_sees: bool = True,
    captioner: Mllm | None = None,
    concepts: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    lookalikes: Mapping[str, Sequence[str]] | None = None,
    among: Sequence[str] | None = None,
    ledger: LedgerLike | None = None,
    report: Report | None = None,
    **asking: Any,
) -> Reasoned:
    """A rationale for every named picture.

    Args:
        items: pictures with their true names in ``label``; one a class is the paper's choice.
        teacher: writes the rationales, and is told the names.
        super_category: singular noun ("bird"), one for all or by item id or label; ``None``: an object.
        how: ``written`` by the structured prompt, or ``composed`` of short answers.
        teacher_sees: send the picture with the structured prompt.
        captioner: says what a picture shows, without being told its name; default: the teacher, if it sees.
        concepts: visual concepts by item id or label; nothing is asked about them then.
        attributes: composed only; what to ask about, for all or by super-category (``None``: one description).
        lookalikes: composed only; label to names that it is easily taken for.
        among: the only names that may be candidates besides the label, so that rationales do not tell the names of
            classes that are to stay unseen; ``None``: any, as in the paper.
        ledger: keeps what was answered.
        report: progress, (stage, done, total).
        asking: what ``ask_all`` takes besides: cache, concurrency, budget, prices, ...

    Raises ``InputError`` for bad arguments, no usable picture, or no rationale at all although nothing was stopped; and
    whatever ``ask_all`` raises.
    """
    settings = settings or ReasoningSettings()
    _check(settings, how, teacher_sees)
    asked = Asking({**asking, "ledger": ledger}, report)
    recorded = teacher.preprocessing == BY_ITEM
    subjects, bad = subjects_of(items, super_category, seed=settings.seed, by_item=recorded)
    known: dict[str, tuple[str, ...]] | None
    if how == "composed":
        said, known, notes = compose(
            subjects, teacher, asked, settings, attributes=attributes, lookalikes=lookalikes, among=among
        )
    else:
        notes = () if teacher_sees else ("the teacher saw no picture: it wrote from names and concepts alone",)
        known = _concepts(subjects, captioner or (teacher if teacher_sees else None), concepts, settings, asked)
        said = _written(subjects, teacher, known, settings, asked, sees=teacher_sees, among=among)
    result = _reasoned(subjects, said, bad, asked, notes, known or {})
    return _checked(result, len(subjects))


def _concepts(
    subjects: Sequence[Subject],
    captioner: Mllm | None,
    given: Mapping[str, Sequence[str]] | None,
    settings: ReasoningSettings,
    asked: Asking,
) -> dict[str, tuple[str, ...]] | None:
    """Item id to concepts; ``None`` where budget or deadline kept them from being known."""
    if given is not None:
        return written.given_concepts(subjects, given)
    if captioner is None or captioner.preprocessing == BY_ITEM or not settings.captions:
        return {one.id: () for one in subjects}
    return written.concepts_from_captions(
        subjects,
        captioner,
        asked,
        templates=settings.captions,
        max_tokens=settings.caption_tokens,
        most=settings.most_concepts,
        redundancy=settings.redundancy,
    )


def _written(
    subjects: Sequence[Subject],
    teacher: Mllm,
    concepts: Mapping[str, tuple[str, ...]] | None,
    settings: ReasoningSettings,
    asked: Asking,
    *,
    sees: bool,
    among: Sequence[str] | None,
) -> Attempts:
    if concepts is None:
        return Attempts(waiting=tuple(one.id for one in subjects))

    def ask(one: Subject, attempt: int) -> Request:
        return written.writing_request(
            one,
            concepts[one.id],
            attempt,
            length=settings.length,
            sees=sees,
            by_item=teacher.preprocessing == BY_ITEM,
            among=among,
            parameters=written.sample_parameters(
                one,
                attempt,
                seed=settings.seed,
                temperature=settings.temperature,
                hotter=settings.hotter,
                max_tokens=settings.max_tokens or MAX_TOKENS[settings.length],
            ),
        )

    rules = settings.rules_in_use()
    return written.sample(subjects, teacher, asked, ask, attempts=settings.attempts, rules=rules, among=among)


def rationale_of(subject: Subject, sections: Sections) -> Rationale:
    """What passed the filters, as it is learned."""
    candidates = tuple(subject.label if same_name(one, subject.label) else one for one in sections.candidates)
    comparison = " ".join(sections.comparison.split())
    return Rationale(
        id=subject.id,
        path=subject.item.path,
        category=subject.label,
        question=subject.question,
        think=think_of(sections.analysis, candidates, comparison),
        answer=subject.label,
        candidates=candidates,
        comparison=comparison,
        super_category=subject.kind,
    )


def _reasoned(
    subjects: Sequence[Subject],
    said: Attempts,
    bad: Sequence[SetAside],
    asked: Asking,
    notes: Sequence[str],
    concepts: Mapping[str, tuple[str, ...]],
) -> Reasoned:
    rejected = Counter(reason for texts in said.rejected.values() for text in texts for reason in text.split("; "))
    return Reasoned(
        rationales=tuple(rationale_of(one, said.passed[one.id]) for one in subjects if one.id in said.passed),
        set_aside=(*bad, *(_aside(one, said, asked.stopped) for one in subjects if one.id not in said.passed)),
        usage=sum(asked.by_stage.values(), Usage()),
        stopped=asked.stopped,
        notes=tuple(notes),
        by_stage=asked.by_stage,
        rejected=dict(rejected.most_common()),
        concepts=dict(concepts),
        reused=asked.reused,
        saved=asked.saved,
    )


def _aside(one: Subject, said: Attempts, stopped: str | None) -> SetAside:
    path, texts = str(one.item.path), said.rejected.get(one.id, [])
    tried = f"{len(texts)} samples: " + " | ".join(texts) if texts else ""
    if one.id in said.waiting:
        return SetAside(one.id, path, "not asked", ", ".join(filter(None, [stopped, tried])))
    if one.id in said.unanswered:
        return SetAside(one.id, path, "not answered", said.unanswered[one.id])
    return SetAside(one.id, path, texts[-1].partition(";")[0].partition(":")[0] if texts else "no answer", tried)


def _checked(result: Reasoned, pictures: int) -> Reasoned:
    """``result``. Raises ``InputError`` where it holds nothing although nothing was stopped."""
    if result.rationales or result.stopped:
        if result.set_aside:
            logger.warning("%d of %d pictures have no rationale", len(result.set_aside), pictures)
        return result
    raise InputError(
        "no rationale passed the filters",
        remedy="See the replies in the ledger; try another teacher, more attempts, or how='composed'.",
        pictures=pictures,
        reasons=", ".join(f"{reason}: {count}" for reason, count in list(result.rejected.items())[:3]),
        first=f"{result.set_aside[-1].reason}: {result.set_aside[-1].detail}"[:300],
    )


def _check(settings: ReasoningSettings, how: str, teacher_sees: bool) -> None:
    if how not in get_args(How) or (how == "composed" and not teacher_sees):
        raise InputError(
            "a composed rationale needs a teacher that sees" if how == "composed" else "no such way to reason",
            remedy=f"Use one of {', '.join(get_args(How))}; composed with teacher_sees=True.",
            how=how,
        )
    if settings.attempts < 1 or settings.temperature < 0 or settings.hotter < 0:
        raise InputError(
            "rationales need at least one attempt, and temperatures not below 0",
            remedy="Correct the settings.",
            attempts=settings.attempts,
            temperature=settings.temperature,
        )
