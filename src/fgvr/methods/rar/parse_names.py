"""Is this piece of text one of the candidates: as it is, inside filling words, misspelt, or cut off. Pure functions.

A misspelt name counts only with the same digits, every word alike (`WORD_ALIKE`), the whole alike (`ALIKE`), and no
other candidate nearly as close (`APART`): "White-eyed Vireo" must not become "Red-eyed Vireo".
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fgvr.labels.normalise import normalise

ALIKE = 0.85
"""Least ratio (difflib, 2 M / T) of a misspelt name to its candidate."""
WORD_ALIKE = 0.7
"""The same for each word, where both have as many words."""
APART = 0.1
"""By how much the next candidate must be less alike."""

same_form = functools.lru_cache(8192)(normalise)
"""The same few names come with every picture."""

FILLERS = frozenset({
    "a", "an", "the", "it", "is", "this", "that", "most", "likely", "least", "probably", "possibly", "likeliest",
    "first", "second", "third", "fourth", "fifth", "next", "then", "finally", "rank", "top", "category", "class",
    "option", "answer", "name", "image", "picture", "shows", "looks", "like", "be", "would", "as", "of", "to",
    "and", "or", "best", "match", "my", "your", "i", "think", "sorted", "order", "ranking", "followed", "by",
})  # fmt: skip
_REASONS = frozenset({
    "because", "as", "since", "with", "due", "based", "which", "it", "is", "has", "but", "for", "and", "the", "a",
    "an", "similarity", "score", "in",
})  # fmt: skip


@dataclass(frozen=True)
class Known:
    """The candidates as they are compared."""

    names: tuple[str, ...]
    places: dict[str, tuple[int, ...]]
    """Normalised name to positions among the candidates."""
    longest: int
    """Words."""

    @classmethod
    def of(cls, candidates: Sequence[str]) -> Known:
        names = tuple(same_form(name) for name in candidates)
        places = {name: tuple(i for i, other in enumerate(names) if other == name) for name in names if name}
        return cls(names, places, max((len(name.split()) for name in places), default=0))


def unwrapped(words: Sequence[str], known: Known) -> str | None:
    """The candidate inside a piece where all else is filling: "1 the arctic tern because ..."."""
    start = 0
    while start < len(words):
        for stop in range(min(len(words), start + known.longest), start, -1):
            name = " ".join(words[start:stop])
            if name in known.places and (stop == len(words) or words[stop] in _REASONS or words[stop].isdigit()):
                return name
        if words[start] not in FILLERS and not words[start].isdigit():
            return None
        start += 1
    return None


def alike(piece: str, known: Known) -> str | None:
    """The one candidate of which ``piece`` is a misspelling, see the module docstring."""
    ratio, best = max(((_ratio(piece, name, ALIKE), name) for name in known.places), default=(0.0, ""))
    if ratio < ALIKE or re.findall(r"\d+", piece) != re.findall(r"\d+", best):
        return None
    if any(_ratio(piece, name, ratio - APART) > ratio - APART for name in known.places if name != best):
        return None
    ours, theirs = piece.split(), best.split()
    pairs = zip(ours, theirs, strict=True) if len(ours) == len(theirs) else ()
    return None if any(_ratio(one, other, WORD_ALIKE) < WORD_ALIKE for one, other in pairs) else best


def _ratio(one: str, other: str, least: float) -> float:
    """difflib's ratio without spaces; 0 where the lengths or the letters alone keep it below ``least``."""
    one, other = one.replace(" ", ""), other.replace(" ", "")
    if 2 * min(len(one), len(other)) < least * (len(one) + len(other)):
        return 0.0
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= least else 0.0


def completed(piece: str, known: Known, taken: Collection[int]) -> str | None:
    """The one candidate not yet taken that a cut-off name begins."""
    begun = [
        name
        for name, places in known.places.items()
        if len(piece) >= 3 and name.startswith(piece) and not set(places) <= set(taken)
    ]
    return begun[0] if len(begun) == 1 else None
