"""Reading the parsed body of a chat completion, whatever a server may have put into it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgvr.mllm.options import letter_of


@dataclass(frozen=True)
class Choice:
    """One choice of a reply."""

    text: str
    finish: str
    refusal: str
    logprobs: tuple[float, ...]
    """Of the tokens written; empty where the API gives none."""
    logprob: float | None
    """Of the whole text; ``None`` where the API gives none, or not every token's."""
    top: tuple[tuple[str, float], ...]
    """The likeliest first tokens and their log-probabilities."""


def number_of_choices(data: Mapping[str, Any]) -> int:
    """Choices of a body, readable or not."""
    choices = data.get("choices")
    return len(choices) if isinstance(choices, list) else 0


def readable_choices(data: Mapping[str, Any]) -> list[Choice]:
    """The choices of a body that can be read, in its order."""
    choices = data.get("choices")
    found = [_choice(choice) for choice in choices] if isinstance(choices, list) else []
    return [choice for choice in found if choice is not None]


def _choice(choice: Any) -> Choice | None:
    try:
        message = choice["message"]
        logprobs = _token_logprobs(choice)
        return Choice(
            text=_text(message.get("content")),
            finish=str(choice.get("finish_reason") or "stop"),
            refusal=str(message.get("refusal") or ""),
            logprobs=logprobs,
            logprob=sum(logprobs) if logprobs and len(logprobs) == len(_logprob_content(choice)) else None,
            top=_top_logprobs(choice),
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        return None


def token_counts(data: Mapping[str, Any]) -> tuple[int, int] | None:
    """(input, output) tokens as reported, ``None`` where they are missing or nonsense."""
    counts = data.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    tokens_in, tokens_out = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(tokens_in, int) and isinstance(tokens_out, int) and min(tokens_in, tokens_out) >= 0:
        return tokens_in, tokens_out
    return None


def chosen_option(options: Sequence[str], scores: Sequence[float], text: str) -> str:
    """The best option by score, else by the letter the model wrote, else the text as it is."""
    if scores:
        return options[max(range(len(options)), key=scores.__getitem__)]
    letter = letter_of(text, len(options))
    return text if letter is None else options[letter]


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _token_logprobs(choice: dict[str, Any]) -> tuple[float, ...]:
    values = [token.get("logprob") for token in _logprob_content(choice)]
    return tuple(float(value) for value in values if isinstance(value, int | float) and math.isfinite(value))


def _top_logprobs(choice: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    tokens = _logprob_content(choice)
    top = tokens[0].get("top_logprobs") if tokens else None
    rows = [row for row in top if isinstance(row, dict)] if isinstance(top, list) else []
    return tuple(
        (str(row["token"]), float(row["logprob"]))
        for row in rows
        if "token" in row and isinstance(row.get("logprob"), int | float)
    )


def _logprob_content(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Token entries of a choice, or nothing where the API gives none or something odd."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [token for token in content if isinstance(token, dict)] if isinstance(content, list) else []
