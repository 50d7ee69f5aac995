"""Open world: the name in the model's own words, no options.

Paper: section 4 and released ``eval/evaluation.py`` (``open``): greedy, at most 2048 tokens; *text inclusion* and
relative semantic similarity (``similarity.py``).

1. *Text inclusion* (``official``): right when the true name is a substring, letter by letter, of the answer, or of the
   whole output where there are no tags: "ray" is in "grayling", and a reply that lists twenty names is right. Of cars
   the last two words of the truth are dropped (body and year), which merges classes: of the 117 trained car classes 107
   are left. Kept as released, but a truth of one or two words is never emptied (the empty text is in every reply).
   Cars are those whose path says "cars" (released), or whose super-category is car.
2. *Inclusion* word by word (``inclusion``), of any accepted name, in the same text.
3. *Strict*: the text between the one pair of tags is the true name after normalising; ``accepted``: or another accepted
   name. A reply without one pair of tags is wrong in both. An item without a reply is wrong nowhere.
4. *Free* (``free=True``): for a model never trained on tags. It is asked its plain naming question, and the name that
   ``labels.parse_reply`` reads is its answer; a reply without a name is wrong, as one without tags is above.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fgvr.labels import parse_reply
from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1.prompts import Style, open_prompt, question_of
from fgvr.methods.fine_r1.similarity import official_kind, official_similarities, relative_similarities
from fgvr.metrics.semantic import TextEncoder
from fgvr.mllm.base import Parameters, Request
from fgvr.mllm.outcomes import Answers
from fgvr.multiple_choice.open_set import includes
from fgvr.multiple_choice.reading import answer_between_tags
from fgvr.naming.prompts import PAPER_PROMPT
from fgvr.types import ImageItem

STAGE = "open"
NAN = float("nan")

LABELS = {
    "strict": "strict, exact name",
    "accepted": "strict, exact or accepted name",
    "tagged": "replies with one pair of answer tags",
    "named": "replies with a name",
    "inclusion": "accepted name in the answer, by words",
    "official": "official_compat: text inclusion",
    "similarity": "relative semantic similarity",
    "official_similarity": "official_compat: relative similarity",
}


@dataclass(frozen=True)
class OpenSettings:
    """How open questions are asked."""

    style: Style = "paper"
    thinking: bool = True
    free: bool = False
    """Plain naming question, no tags."""
    naming_question: str = PAPER_PROMPT
    """What ``free`` asks."""
    max_tokens: int = 2048
    seed: int = 0
    """Draws the question's template for items without a question of their own."""


@dataclass(frozen=True)
class OpenAnswer:
    """One item's answer."""

    item: ImageItem
    kind: str | None
    """Super-category."""
    reply: str | None
    """``None`` where there is none."""
    answer: str | None = None
    """By the strict reading; ``None`` where there is none."""
    official: str = ""
    """The text the released rules look at."""


def open_requests(
    items: Sequence[ImageItem],
    settings: OpenSettings,
    *,
    super_category: str | Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> list[Request]:
    """One request an item. ``texts``: the question of an item by its id, where the data has one."""
    return [
        Request(
            item_id=item.id,
            prompt=_prompt(item, settings, kind_of(item.id, super_category), texts or {}),
            images=(item.path,),
            image_hashes=(known,) if (known := (hashes or {}).get(item.id, "")) else (),
            parameters=Parameters(max_tokens=settings.max_tokens),
            stage=STAGE,
        )
        for item in items
    ]


def open_answers(
    items: Sequence[ImageItem],
    answers: Answers,
    settings: OpenSettings,
    *,
    super_category: str | Mapping[str, str] | None = None,
) -> list[OpenAnswer]:
    """What the replies to ``open_requests`` say, one an item in order."""
    found = []
    for item in items:
        reply, kind = answers.replies.get(item.id), kind_of(item.id, super_category)
        if reply is None:
            found.append(OpenAnswer(item, kind, None))
        elif settings.free:
            name = parse_reply(reply.text, item.id).name
            found.append(OpenAnswer(item, kind, reply.text, name, reply.text))
        else:
            answer = answer_between_tags(reply.text)
            found.append(OpenAnswer(item, kind, reply.text, answer, official_answer(reply.text)))
    return found


def open_scores(
    answers: Sequence[OpenAnswer], *, sentences: TextEncoder | None = None, free: bool = False
) -> dict[str, list[float]]:
    """For each key of `LABELS` that applies, one number in [0, 1] an item; NaN where it does not count."""
    found = {
        "strict": [_exact(one, ()) for one in answers],
        "accepted": [_exact(one, one.item.accepted) for one in answers],
        ("named" if free else "tagged"): [_if_replied(one, one.answer is not None) for one in answers],
        "inclusion": [
            _if_replied(one, includes(one.official, (str(one.item.label), *one.item.accepted))) for one in answers
        ],
        "official": [
            _if_replied(one, text_inclusion(one.official, str(one.item.label), is_car=_is_car(one))) for one in answers
        ],
    }
    return found if sentences is None else found | _similarities(answers, sentences)


def official_answer(reply: str) -> str:
    """The text the released rules look at: from the first ``<answer>`` to the last ``</answer>``; the whole output
    where there are none or nothing is between them."""
    match = re.search(r"<answer>(.*)</answer>", reply, re.DOTALL)
    between = match[1].strip() if match else ""
    return between or reply


def text_inclusion(text: str, truth: str, *, is_car: bool = False) -> bool:
    """The released rule. ``text``: of `official_answer`."""
    name = truth.lower()
    if is_car:
        return (" ".join(name.split()[:-2]) or name) in text.lower()
    return name.replace("_", " ") in text.lower()


def kind_of(item_id: str, super_category: str | Mapping[str, str] | None) -> str | None:
    """The super-category of one item."""
    return super_category.get(item_id) if isinstance(super_category, Mapping) else super_category


def _prompt(item: ImageItem, settings: OpenSettings, kind: str | None, texts: Mapping[str, str]) -> str:
    if settings.free:
        return settings.naming_question
    question = texts.get(item.id) or question_of(kind, key=item.id, seed=settings.seed)
    return open_prompt(question, style=settings.style, thinking=settings.thinking)


def _exact(one: OpenAnswer, more: Sequence[str]) -> float:
    allowed = {normalise(name) for name in (str(one.item.label), *more)} - {""}
    return _if_replied(one, normalise(one.answer or "") in allowed)


def _if_replied(one: OpenAnswer, right: bool) -> float:
    return NAN if one.reply is None else float(right)


def _is_car(one: OpenAnswer) -> bool:
    return (one.kind or "").lower() == "car" or official_kind(one.item.id) == "car"


def _similarities(answers: Sequence[OpenAnswer], sentences: TextEncoder) -> dict[str, list[float]]:
    truths = [str(one.item.label) for one in answers]
    found = relative_similarities([one.answer for one in answers], truths, [one.kind for one in answers], sentences)
    outputs = [None if one.reply is None else one.official for one in answers]
    return {
        "similarity": [_counted(one, value) for one, value in zip(answers, found, strict=True)],
        "official_similarity": official_similarities(outputs, truths, [one.item.id for one in answers], sentences),
    }


def _counted(one: OpenAnswer, value: float) -> float:
    return NAN if one.reply is None else value
