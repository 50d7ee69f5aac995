"""What well-known services ask for a million tokens.

List prices in US dollars, standard tier, without caching or batch discounts, as the vendors published them by
``PRICES_AS_OF``. Prices change: check before a large run, and override any of them with a JSON file::

    {"gpt-4o": {"input": 2.5, "output": 10.0}, "my-server-model": {"input": 0, "output": 0}}

Models with open weights are missing on purpose: what they cost depends on who hosts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fgvr.errors import InputError

PRICES_AS_OF = "2025-10"
_MILLION = 1_000_000
_VENDORS = ("openai/", "google/", "anthropic/", "models/")


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def cost(self, *, input_tokens: int, output_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / _MILLION


FREE = Price(0.0, 0.0)

PRICES: Mapping[str, Price] = {
    "gpt-4o": Price(2.5, 10.0),
    "gpt-4o-2024-05-13": Price(5.0, 15.0),
    "gpt-4o-mini": Price(0.15, 0.6),
    "gpt-4.1": Price(2.0, 8.0),
    "gpt-4.1-mini": Price(0.4, 1.6),
    "gpt-4.1-nano": Price(0.1, 0.4),
    "gpt-5": Price(1.25, 10.0),
    "gpt-5-mini": Price(0.25, 2.0),
    "gpt-5-nano": Price(0.05, 0.4),
    "o3": Price(2.0, 8.0),
    "o4-mini": Price(1.1, 4.4),
    "gemini-2.0-flash": Price(0.1, 0.4),
    "gemini-2.5-pro": Price(1.25, 10.0),
    "gemini-2.5-flash": Price(0.3, 2.5),
    "gemini-2.5-flash-lite": Price(0.1, 0.4),
    "claude-3-5-haiku": Price(0.8, 4.0),
    "claude-haiku-4-5": Price(1.0, 5.0),
    "claude-sonnet-4": Price(3.0, 15.0),
    "claude-sonnet-4-5": Price(3.0, 15.0),
    "claude-opus-4-1": Price(15.0, 75.0),
}


def price_of(model: str, *, prices: Mapping[str, Price] | None = None, local: bool = False) -> Price | None:
    """The price of ``model``, or ``None`` when it is not known; local models are free.

    An entry of ``prices`` (the user's file) wins over the table. ``openai/gpt-4o`` and ``gpt-4o-2024-11-20`` are
    looked up as ``gpt-4o`` unless they have an entry of their own.
    """
    if local:
        return FREE
    table = {**PRICES, **(prices or {})}
    for name in _spellings(model):
        if name in table:
            return table[name]
    return None


def _spellings(model: str) -> list[str]:
    bare = model
    for vendor in _VENDORS:
        bare = bare.removeprefix(vendor)
    return [model, bare, re.sub(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", bare)]


def load_prices(path: Path) -> dict[str, Price]:
    """A user's price file: ``{model: {"input": dollars, "output": dollars}}`` per million tokens. Raises InputError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        prices = {str(model): Price(float(row["input"]), float(row["output"])) for model, row in rows.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "the price file cannot be read",
            remedy='It must be JSON like {"gpt-4o": {"input": 2.5, "output": 10.0}}, dollars per million tokens.',
            file=path,
            reason=error,
        ) from error
    for model, price in prices.items():
        if not (0 <= price.input < float("inf") and 0 <= price.output < float("inf")):
            raise InputError("a price is negative or not a number", remedy="Correct it.", file=path, model=model)
    return prices
