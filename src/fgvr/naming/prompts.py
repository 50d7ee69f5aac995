"""The questions put to the MLLM: the paper's, a better one, and those that ask for thinking first (Fine-R1)."""

from __future__ import annotations

import unicodedata

from fgvr.labels import instruction_like
from fgvr.labels.words import ORDERS

PAPER_PROMPT = "Provide a best fine-grained class label for this image"
"""Section 3 and 4, verbatim, grammar included. One question per image, no class list, no examples."""

PAPER_PROMPT_INTRODUCTION = "Provide a best fine-grained class label for this image."
"""The introduction quotes it with a full stop. ``PAPER_PROMPT`` is the default, since the method section uses it."""

META_PROMPT = (
    "These pictures come from one collection. In one or two words, what kind of thing do they show? "
    "Answer with the category only, in the plural, for example: birds, dogs, cars, flowers."
)
"""Asked once, about the first, middle and last image, to learn the super-category."""

_STRUCTURED = """\
This picture comes from a collection of {category}. Name what it shows as specifically as an expert could.
Answer with one JSON object and nothing else:
{{"common_name": "...", "scientific_name": "..." or null, "alternatives": ["...", "..."], "confidence": 0.0}}
common_name: the single best fine-grained name. alternatives: up to two other names it could be, best first.
confidence: the probability, from 0 to 1, that common_name is right. If you cannot tell, give your best guess."""

REASONED_QUESTION = "What kind of object is this?"
"""Fine-R1's first template (``eval/data``), where nobody says what the pictures show."""

_REASONED = (
    "Given the question: {question}. This is a fine-grained question. Output reasoning in <think></think> and the "
    "final answer in <answer></answer>."
)
"""Fine-R1, open-world evaluation, code, letter by letter (``?.`` included)."""
_REASONED_SHORT = "{question} Think in <think> tags, then answer in <answer> tags."
"""The same wish in few words, as models with few positions are tuned here (``fgvr fit fine-r1``)."""

MAX_CATEGORY = 40
"""Characters of a super-category; a longer reply is not a category and is not repeated to the model."""
MAX_CATEGORY_WORDS = 3


def structured_prompt(category: str | None) -> str:
    """The better question: common and scientific name, alternatives, confidence. ``category`` from ``META_PROMPT``."""
    return _STRUCTURED.format(category=category or "things")


def reasoned_prompt(question: str = REASONED_QUESTION, *, short: bool = False) -> str:
    """A question to be answered in tags: ``<think>reasons</think> <answer>name</answer>`` (``labels.tagged``).

    ``short``: our few words instead of Fine-R1's. A tuned model answers best in the words it was tuned with.
    """
    return (_REASONED_SHORT if short else _REASONED).replace("{question}", question)


def category_of(reply: str) -> str | None:
    """The super-category in a reply to ``META_PROMPT``, lower case, or ``None`` (the prompt then says "things").

    The one place where a model's words enter another prompt, and the photographs may have told it what to say. So only
    a short plain noun phrase is let through: one line, at most three words and 40 characters, Latin letters, hyphens
    and apostrophes, and no word of an order or a sentence (`ORDERS`). The worst that passes is a wrong noun.
    """
    lines = [line.strip() for line in reply.strip().splitlines() if line.strip()]
    if len(lines) != 1 or len(lines[0]) > 2 * MAX_CATEGORY:
        return None
    phrase = unicodedata.normalize("NFKC", lines[0].strip(" .*_`\"'")).casefold()
    words = phrase.split()
    plain = all(letter in " -'" or unicodedata.name(letter, "").startswith("LATIN SMALL LETTER") for letter in phrase)
    if not words or not plain or len(words) > MAX_CATEGORY_WORDS or len(phrase) > MAX_CATEGORY:
        return None
    ordered = any(part in ORDERS for word in words for part in (word, *word.split("-")))
    named = all(word[0].isalpha() for word in words)
    return None if ordered or not named or instruction_like(phrase) else " ".join(words)


def meta_images(count: int) -> list[int]:
    """Which of ``count`` images the meta question shows: the first, the middle and the last, without repeats."""
    return sorted({0, count // 2, count - 1}) if count else []
