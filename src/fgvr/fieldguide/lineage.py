"""Writes down a genus as its ancestor and how each species departs from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fgvr.fieldguide.species import Species


@dataclass(frozen=True)
class Genus:
    """What all species of a genus share; ``ancestor`` holds the attribute values a species has unless it says so."""

    super_category: str
    name: str
    latin: str
    ancestor: dict[str, str]

    def species(self, words: str, epithet: str, synonyms: Iterable[str], **changes: str) -> Species:
        """The species called ``words`` + genus; ``changes`` are attribute values, ``_`` standing for a space."""
        attributes = self.ancestor | {key.replace("_", " "): value for key, value in changes.items()}
        name = f"{words} {self.name}"
        slug = name.lower().replace("-", "_").replace(" ", "_")
        return Species(
            key=f"{self.super_category}_{slug}",
            name=name,
            scientific=f"{self.latin} {epithet}",
            genus=self.name,
            super_category=self.super_category,
            synonyms=tuple(synonyms),
            attributes=attributes,
        )
