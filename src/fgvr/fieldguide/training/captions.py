"""Captions as the web writes them: more often a description or a rough name than the exact one.

A caption is true of every species that has what it says, so one batch holds several true captions for a picture. The
words of compositional names ("black-capped") are used freely of whatever they describe; which attribute a word means is
read off the names and attributes of the taught species.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.texts import attribute_phrase

KINDS = ("described", "composed", "genus", "super_category", "name")
SHARES = (0.35, 0.30, 0.12, 0.08, 0.15)

Meaning = tuple[str, str]
"""(attribute, value)."""


@dataclass(frozen=True)
class Caption:
    """A text and what it claims: everything in ``claims`` holds of a species it is true of."""

    text: str
    claims: frozenset[Meaning]


def word_meanings(species: Sequence[Species]) -> dict[tuple[str, str], Meaning]:
    """(super-category, word of a name) to the attribute value it stands for.

    Of the values all bearers of a word share, it means the one it begins with ("Fork-tailed": forked), and of several
    such the rarest. A word that begins like no value means the rarest shared one if at least two species bear it.
    """
    bearers: dict[tuple[str, str], list[Species]] = {}
    for one in species:
        for word in one.name.removesuffix(one.genus).split():
            bearers.setdefault((one.super_category, word), []).append(one)
    values = Counter((one.super_category, *item) for one in species for item in one.attributes.items())
    meanings = {}
    for (kind, word), group in bearers.items():
        shared = set.intersection(*(set(one.attributes.items()) for one in group))
        first = word.lower().split("-")[0]
        alike = {item for item in shared if item[1].startswith(first) or first.startswith(item[1])}
        possible = sorted(alike or (shared if len(group) > 1 else ()))
        if possible:
            meanings[kind, word] = min(possible, key=lambda item, kind=kind: values[kind, *item])  # type: ignore[misc]
    return meanings


@dataclass(frozen=True)
class Writer:
    """Writes captions about ``species``; all draws come from the generator given."""

    species: tuple[Species, ...]

    @cached_property
    def meanings(self) -> Mapping[tuple[str, str], Meaning]:
        """See ``word_meanings``."""
        return word_meanings(self.species)

    @cached_property
    def claims(self) -> tuple[frozenset[Meaning], ...]:
        """Everything that is true of each species."""
        return tuple(
            frozenset(
                {
                    *((f"{one.super_category} {key}", value) for key, value in one.attributes.items()),
                    ("genus", one.genus),
                    ("kind", one.super_category),
                    ("species", one.key),
                }
            )
            for one in self.species
        )

    def write(self, number: int, rng: np.random.Generator) -> Caption:
        """One caption about a picture of species ``number``."""
        one = self.species[number]
        kind = str(rng.choice(KINDS, p=SHARES))
        if kind == "described":
            return self._described(one, rng)
        if kind == "composed":
            return self._composed(one, rng)
        if kind == "genus":
            return Caption(f"a {one.genus}", frozenset({("genus", one.genus)}))
        if kind == "super_category":
            return Caption(f"a {one.super_category}", frozenset({("kind", one.super_category)}))
        name = one.name if rng.random() < 0.7 else str(rng.choice([*one.synonyms, one.scientific]))
        return Caption(name, frozenset({("species", one.key)}))

    def _described(self, one: Species, rng: np.random.Generator) -> Caption:
        keys = rng.choice(list(one.attributes), size=int(rng.integers(1, 4)), replace=False)
        phrases = " and ".join(attribute_phrase(str(key), one.attributes[str(key)]) for key in keys)
        claims = {(f"{one.super_category} {key}", one.attributes[str(key)]) for key in keys}
        if rng.random() < 0.5:
            return Caption(f"a {one.genus} with {phrases}", frozenset({*claims, ("genus", one.genus)}))
        return Caption(f"a {one.super_category} with {phrases}", frozenset(claims))

    def _composed(self, one: Species, rng: np.random.Generator) -> Caption:
        true = [
            (word, meaning)
            for (kind, word), meaning in self.meanings.items()
            if kind == one.super_category and one.attributes[meaning[0]] == meaning[1]
        ]
        count = min(len(true), int(rng.integers(1, 3)))
        chosen = [true[i] for i in rng.choice(len(true), size=count, replace=False)] if true else []
        claims = {(f"{one.super_category} {key}", value) for _, (key, value) in chosen}
        text = " ".join([*(word for word, _ in chosen), one.genus])
        return Caption(text, frozenset({*claims, ("genus", one.genus)}))

    def truth(self, captions: Sequence[Caption]) -> np.ndarray:
        """(number of species, number of captions) bool: which caption is true of which species."""
        return np.array([[caption.claims <= own for caption in captions] for own in self.claims])
