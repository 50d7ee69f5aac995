"""From a reply to a choice: strictly, and by the released rules with their faults.

1. *FOCI and Finedefics* (released ``evaluate.py``, ``Idefics2Model.generate``): the reply is trimmed, "Answer: " taken
   out wherever it stands, and the first of A, B, C, D that starts the lower-cased text is the choice; anything else is
   a generation failure and wrong. "Boeing 747" is B, "A black bird" is A, "(B)" is a failure: `official_choice`.
2. *Here* (`strict_choice`, the default) a reply is a choice when it is one offered letter in its usual dressings, or
   exactly one option's name, or a letter with that same option's name behind it. Everything else is unread.
3. *Fine-R1* (released ``eval``): right when the true name, in lower case, is *contained* in what stands between the
   first ``<answer>`` and the last ``</answer>``; listing all options is right: `fine_r1_official`. Here the reply must
   hold one pair of tags (``labels.tagged``), and their content is read strictly: `fine_r1_choice`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fgvr.labels.normalise import normalise
from fgvr.labels.tagged import EMPTY, answer_in
from fgvr.multiple_choice.prompts import LETTERS

MAX_READ = 300
"""Characters of a reply that may still be a mere choice."""

_SIGNS = " \t\r\n\"'`*()[]{}<>.:,;!"
_LEAD = re.compile(
    r"(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice)\s*(?:is\s*:?|:|=|-)\s*"
    r"|(?:option|choice)\s+(?=[(\[\"'*]*[A-Za-z][)\]\"'*.:]*$)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[(\[\"'*]*([A-Za-z])(?:[)\]\"'*]*[.):,-]+[)\]\"'*]*\s*|[\"'*]*\s+)(\S.*)", re.DOTALL)


def strict_choice(reply: str, options: Sequence[str]) -> int | None:
    """Position of the option a reply chooses, or ``None``.

    Choices: "B", "b.", "(B)", "**B**", "Answer: B", "The answer is (b).", "B. Laysan Albatross", "Laysan albatross".
    None: several letters, a letter not offered, a letter with another option's name, a sentence, "Boeing".
    """
    text = reply.strip()
    if not text or len(text) > MAX_READ:
        return None
    text = text.strip("\"'`* \t\r\n")
    lead = _LEAD.match(text)
    core = text[lead.end() :] if lead else text
    named = {place for place, option in enumerate(options) if normalise(option) == normalise(core) != ""}
    letter = _lone_letter(core, options)
    found = named | ({letter} if letter is not None else set())
    return found.pop() if len(found) == 1 else None


def official_choice(reply: str, count: int = 4) -> int | None:
    """Position of the letter by the released rule; ``None`` is its generation failure, which it scores as wrong."""
    text = reply.strip().replace("Answer: ", "").lower()
    return next((place for place in range(count) if text.startswith(LETTERS[place].lower())), None)


def answer_between_tags(reply: str) -> str | None:
    """What stands in the one ``<answer>...</answer>`` of a reply, ``""`` where that is empty.

    ``None`` without one, with several or nested ones, and for one that is part of the thinking.
    """
    found = answer_in(reply)
    return "" if found.fault == EMPTY else found.answer


def fine_r1_choice(reply: str, options: Sequence[str]) -> int | None:
    """The option named in the one pair of answer tags, read strictly; ``None`` where there is none."""
    answer = answer_between_tags(reply)
    return None if answer is None else strict_choice(answer, options)


def fine_r1_official(reply: str, truth: str) -> bool:
    """Fine-R1's released rule for closed questions: the true name is a substring of the answer; no tags is wrong."""
    found = re.search(r"<answer>(.*)</answer>", reply, re.DOTALL)
    return found is not None and truth.lower().replace("_", " ") in found[1].lower().replace("_", " ")


def _lone_letter(text: str, options: Sequence[str]) -> int | None:
    """The letter a text is, in its dressings; with words behind it only where they are that option's own name."""
    bare = text.strip(_SIGNS)
    if len(bare) == 1:
        return _offered(bare, options)
    named = _NAMED.fullmatch(text)
    place = _offered(named[1], options) if named else None
    if named is None or place is None or normalise(named[2]) != normalise(options[place]):
        return None
    return place


def _offered(letter: str, options: Sequence[str]) -> int | None:
    letter = letter.upper()
    return LETTERS.index(letter) if letter in LETTERS[: len(options)] else None
