"""Option scoring by letters: how options are shown, and how letters are read back. Pure functions."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence

LETTERS = string.ascii_uppercase


def are_letters(options: Sequence[str]) -> bool:
    """Whether the options are A, B, ... themselves: letters of names that the prompt lists."""
    return bool(options) and tuple(options) == tuple(LETTERS[: len(options)])


def lettered_prompt(prompt: str, options: Sequence[str]) -> str:
    """The prompt with lettered options and the request for one letter; as it is where it letters them itself."""
    if are_letters(options):
        return prompt
    lines = [f"{letter}. {' '.join(option.split())}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([prompt, "", *lines, "", "Answer with the letter of the best option only."])


def letter_logprobs(top: Sequence[tuple[str, float]], count: int) -> tuple[float, ...]:
    """Natural-log probabilities of the first ``count`` letters, normalised over them.

    ``top``: the likeliest first tokens with their log-probabilities. Spellings of one letter ("B", " B", "(B") add
    up. A letter that is not among them gets the smallest log-probability listed, an upper bound. Empty if no letter is.
    """
    found: dict[int, list[float]] = {}
    for token, logprob in top:
        if math.isfinite(logprob) and (letter := _bare_letter(token, count)) is not None:
            found.setdefault(letter, []).append(logprob)
    if not found:
        return ()
    floor = min(logprob for _, logprob in top if math.isfinite(logprob))
    raw = [_logsumexp(found[index]) if index in found else floor for index in range(count)]
    total = _logsumexp(raw)
    return tuple(value - total for value in raw)


def letter_of(text: str, count: int) -> int | None:
    """Index of the one letter a short reply gives ("B", "(b)", "Answer: B."), or ``None``."""
    if (index := _bare_letter(text, count)) is not None:
        return index
    found = set(re.findall(rf"\b[A-{LETTERS[count - 1]}]\b", text))
    return LETTERS.index(found.pop()) if len(found) == 1 else None


def _bare_letter(token: str, count: int) -> int | None:
    bare = token.strip(" \t\n\r()[].:*\"'").upper()
    return LETTERS.index(bare) if len(bare) == 1 and bare in LETTERS[:count] else None


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
