"""The questions put to the MLLM: the paper's, and a better one."""

from __future__ import annotations

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

MAX_CATEGORY = 40
"""Characters of a super-category; a longer reply is not a category and is not repeated to the model."""


def structured_prompt(category: str | None) -> str:
    """The better question: common and scientific name, alternatives, confidence. ``category`` from ``META_PROMPT``."""
    return _STRUCTURED.format(category=category or "things")


def category_of(reply: str) -> str | None:
    """The super-category in a reply to ``META_PROMPT``: its letters, spaces and hyphens, lower case, or ``None``.

    A reply goes into further prompts, so nothing but a short plain phrase is let through.
    """
    lines = [line.strip() for line in reply.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    phrase = lines[0].strip(" .*_`\"'").casefold()
    plain = all(letter.isalpha() or letter in " -'" for letter in phrase)
    return phrase if phrase and plain and len(phrase) <= MAX_CATEGORY and len(phrase.split()) <= 4 else None


def meta_images(count: int) -> list[int]:
    """Which of ``count`` images the meta question shows: the first, the middle and the last, without repeats."""
    return sorted({0, count // 2, count - 1}) if count else []
