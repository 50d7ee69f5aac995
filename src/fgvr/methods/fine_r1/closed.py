"""Closed world: the name among a question's options, written between answer tags.

Paper: section 4 and released ``eval/evaluation.py`` (``closed``): greedy, at most 2048 tokens.

1. *Order.* Every published question has the truth first, and the released code asks it so. Here options are shuffled by
   the seed and the question's id, and asked in every rotation; the released order is asked too, with the truth first,
   for ``official`` alone (a reply to the same prompt is used twice, not asked twice).
2. *Reading.* Released: right when the true name is *contained* in the answer, so "Sand Pear" scores where "Pear" is
   true. Strict: the one pair of tags must hold exactly one option's name (or its letter).
3. *Untagged* replies are wrong in ``strict``, as in the released rule: the prompt demands tags. ``read`` leaves out
   replies without a choice. A question without a reply is wrong nowhere.
4. *Controls.* The paper has none. ``blank`` is a plain grey picture, ``text_only`` no picture at all: both tell what
   the options' names and places alone give away.
5. *Names.* The released prompt shows options as the file writes them, underscores too; strict turns show blanks.
6. *Models that never learnt tags* (``free``): whole names are scored as the answer to a plain naming question, the
   options not listed (``multiple_choice.asking``, ``names``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fgvr.data.benchmarks.questions import Question, shuffled
from fgvr.errors import InputError
from fgvr.methods.fine_r1.prompts import Style, check_style, closed_prompt, question_of
from fgvr.mllm.base import BY_ITEM, Mllm, Parameters, Request
from fgvr.mllm.outcomes import Answers
from fgvr.multiple_choice.asking import Turn
from fgvr.multiple_choice.prompts import shown
from fgvr.multiple_choice.reading import answer_between_tags, fine_r1_choice, fine_r1_official
from fgvr.multiple_choice.rotations import Order, marks, rotations, turn_id

Control = Literal["picture", "blank", "text_only", "official"]
STAGE = "closed"
NAN = float("nan")

LABELS = {
    "strict": "strict, mean over the orders asked",
    "first_order": "strict, first order",
    "all_rotations": "strict, right in all rotations",
    "read": "among replies with a choice",
    "tagged": "replies with one pair of answer tags",
    "substring": "released rule, shuffled options",
    "official": "official_compat: released rule, truth first",
    "blank": "strict, blank picture",
    "text_only": "strict, no picture",
}


@dataclass(frozen=True)
class ClosedSettings:
    """How closed questions are asked. Raises ``InputError`` for an unknown style or no room for an answer."""

    style: Style = "paper"
    thinking: bool = True
    rotations: bool = True
    official: bool = True
    """Ask in the released order too."""
    blank: Path | None = None
    """A plain picture (``multiple_choice.asking.write_blank``): asks all questions about it too."""
    text_only: bool = False
    """Ask all questions without any picture too."""
    max_tokens: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        check_style(self.style)
        if self.max_tokens < 1:
            raise InputError("max_tokens must be at least 1", remedy="Correct it.")


@dataclass(frozen=True)
class ClosedAnswer:
    """One question with all its turns; ``question.options`` are in the shuffled order."""

    question: Question
    turns: tuple[Turn, ...]
    """With the picture, the first order first."""
    official: Turn | None = None
    """In the released order; its ``order`` is over ``question.options`` too."""
    blank: tuple[Turn, ...] = ()
    text_only: tuple[Turn, ...] = ()
    ids: tuple[str, ...] = ()
    """The request of each of ``turns``, then of ``official``."""


@dataclass(frozen=True)
class _Asking:
    """One request to be made."""

    question: Question
    control: Control
    order: Order
    request: Request


def closed_requests(
    questions: Sequence[Question],
    settings: ClosedSettings,
    *,
    super_category: str | Mapping[str, str] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> list[Request]:
    """The requests, a question's turns next to one another; what ``--dry-run`` counts."""
    return [one.request for one in _planned(questions, settings, super_category, hashes or {})]


def closed_answers(
    questions: Sequence[Question],
    answers: Answers,
    settings: ClosedSettings,
    *,
    super_category: str | Mapping[str, str] | None = None,
) -> list[ClosedAnswer]:
    """What the replies to ``closed_requests`` say, one a question in order."""
    turns: dict[str, dict[Control, list[tuple[str, Turn]]]] = {one.id: {} for one in questions}
    for one in _planned(questions, settings, super_category, {}):
        reply = answers.replies.get(one.request.item_id)
        turn = _turn(one, None if reply is None else reply.text)
        turns[one.question.id].setdefault(one.control, []).append((one.request.item_id, turn))
    return [_answer(shuffled(one, seed=settings.seed), turns[one.id]) for one in questions]


def check_closed_model(mllm: Mllm, settings: ClosedSettings) -> None:
    """Raises ``InputError`` for a recording asked in more than one order: its reply belongs to one."""
    if mllm.preprocessing == BY_ITEM and (settings.rotations or settings.official):
        remedy = "Turn rotations and the released order off."
        raise InputError("a recording cannot be asked in another order", remedy=remedy, model=mllm.name)


def closed_scores(answers: Sequence[ClosedAnswer]) -> dict[str, list[float]]:
    """For each key of `LABELS` that applies, one number in [0, 1] a question; NaN where it does not count."""
    found = {
        "strict": [_mean(_strict(one, one.turns)) for one in answers],
        "first_order": [_strict(one, one.turns)[0] for one in answers],
        "all_rotations": [_all(_strict(one, one.turns)) for one in answers],
        "read": [_mean(_among_read(one)) for one in answers],
        "tagged": [_mean(_tagged(one.turns)) for one in answers],
        "substring": [_mean(_released(one, one.turns)) for one in answers],
    }
    if all(len(one.turns) == 1 for one in answers):
        del found["first_order"], found["all_rotations"]
    if any(one.official is not None for one in answers):
        asked = [() if one.official is None else (one.official,) for one in answers]
        found["official"] = [_mean(_released(one, turns)) for one, turns in zip(answers, asked, strict=True)]
    if any(one.blank for one in answers):
        found["blank"] = [_mean(_strict(one, one.blank)) for one in answers]
    if any(one.text_only for one in answers):
        found["text_only"] = [_mean(_strict(one, one.text_only)) for one in answers]
    return found


def truth_within_distractor(question: Question) -> bool:
    """Whether the true name stands inside a wrong option, letter by letter: the released rule takes that option for
    right."""
    truth = _folded(question.truth)
    return any(truth in _folded(option) for at, option in enumerate(question.options) if at != question.answer)


def truth_first(question: Question) -> Order:
    """The released files' order: the truth, then the others as they stand."""
    others = (at for at in range(len(question.options)) if at != question.answer)
    return (question.answer, *others)


def text_of(question: Question, kind: str | None, *, seed: int) -> str:
    """The question asked: the file's own, else one of the ten templates drawn by seed and id."""
    return question.text or question_of(kind, key=question.id, seed=seed)


def _planned(
    questions: Sequence[Question],
    settings: ClosedSettings,
    super_category: str | Mapping[str, str] | None,
    hashes: Mapping[str, str],
) -> Iterator[_Asking]:
    about, about_blank = marks(one.id for one in questions)
    for given in questions:
        one = shuffled(given, seed=settings.seed)
        kind = super_category.get(one.id) if isinstance(super_category, Mapping) else super_category
        text = text_of(one, kind, seed=settings.seed)
        every = rotations(len(one.options))
        for turn, order in enumerate(every if settings.rotations else every[:1]):
            offered = shown([one.options[at] for at in order])
            base = _request(closed_prompt(text, offered, style=settings.style, thinking=settings.thinking), settings)
            pictured = _pictured(base, one, turn_id(one.id, turn, mark=about), hashes)
            yield _Asking(one, "picture", order, pictured)
            if settings.blank is not None:
                there = replace(base, item_id=f"{one.id}{about_blank}{turn}", images=(settings.blank,))
                yield _Asking(one, "blank", order, there)
            if settings.text_only:
                yield _Asking(one, "text_only", order, replace(base, item_id=f"{one.id}{about}t{turn}"))
        if settings.official:
            released = [given.options[at] for at in truth_first(given)]
            prompt = closed_prompt(text, released, style=settings.style, thinking=settings.thinking)
            request = _pictured(_request(prompt, settings), one, f"{one.id}{about}o", hashes)
            yield _Asking(one, "official", tuple(one.options.index(name) for name in released), request)


def _request(prompt: str, settings: ClosedSettings) -> Request:
    return Request("", prompt, parameters=Parameters(max_tokens=settings.max_tokens), stage=STAGE)


def _pictured(base: Request, asked: Question, item_id: str, hashes: Mapping[str, str]) -> Request:
    known = hashes.get(asked.id, "")
    return replace(
        base,
        item_id=item_id,
        images=() if asked.path is None else (asked.path,),
        image_hashes=(known,) if known else (),
    )


def _turn(asked: _Asking, reply: str | None) -> Turn:
    if reply is None:
        return Turn(asked.order, "unanswered")
    place = fine_r1_choice(reply, shown([asked.question.options[at] for at in asked.order]))
    chosen = None if place is None else asked.order[place]
    return Turn(asked.order, "unread" if chosen is None else "chosen", chosen, None, (), reply)


def _answer(question: Question, turns: Mapping[Control, Sequence[tuple[str, Turn]]]) -> ClosedAnswer:
    def of(control: Control) -> tuple[Turn, ...]:
        return tuple(turn for _, turn in turns.get(control, ()))

    kept: tuple[Control, ...] = ("picture", "official")
    ids = tuple(item_id for control in kept for item_id, _ in turns.get(control, ()))
    return ClosedAnswer(question, of("picture"), next(iter(of("official")), None), of("blank"), of("text_only"), ids)


def _strict(one: ClosedAnswer, turns: Sequence[Turn]) -> list[float]:
    """Right or wrong by the strict reading; a reply without a choice is wrong, none at all is NaN."""
    return [NAN if turn.status == "unanswered" else float(turn.chosen == one.question.answer) for turn in turns]


def _among_read(one: ClosedAnswer) -> list[float]:
    return [NAN if turn.chosen is None else float(turn.chosen == one.question.answer) for turn in one.turns]


def _tagged(turns: Sequence[Turn]) -> list[float]:
    return [
        NAN if turn.status == "unanswered" else float(answer_between_tags(turn.reply) is not None) for turn in turns
    ]


def _released(one: ClosedAnswer, turns: Sequence[Turn]) -> list[float]:
    truth = one.question.truth
    return [NAN if turn.status == "unanswered" else float(fine_r1_official(turn.reply, truth)) for turn in turns]


def _mean(values: Sequence[float]) -> float:
    """Of those that count; NaN where none does."""
    kept = [value for value in values if value == value]
    return sum(kept) / len(kept) if kept else NAN


def _all(values: Sequence[float]) -> float:
    """Whether all are right; NaN where one does not count."""
    return NAN if any(value != value for value in values) else float(all(values))


def _folded(name: str) -> str:
    return name.lower().replace("_", " ")
