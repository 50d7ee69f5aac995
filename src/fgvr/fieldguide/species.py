"""What a species of the field guide is: names, taxonomy and the visible attributes that define it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fgvr.fieldguide.canvas import Canvas


@dataclass(frozen=True)
class Species:
    """One drawn species.

    ``attributes`` maps an attribute's name ("crown colour") to its value ("black"); both are lower-case words that
    a caption can use as they stand. Two species of one super-category never share all their attributes, and siblings
    (same genus) differ in one or two of them.
    """

    key: str
    """Stable identifier, ``[a-z0-9_]+``, unique in the whole guide."""
    name: str
    """Common name in title case, e.g. ``Black-capped Fork-tailed Warbler``."""
    scientific: str
    """Binomial, e.g. ``Setavia nigricapilla`` (invented)."""
    genus: str
    """The common name of the group ("Warbler"), what a hesitant naturalist would say."""
    super_category: str
    """Singular noun: ``bird``, ``butterfly``, ``flower``, ``fish``, ``beetle``."""
    synonyms: tuple[str, ...]
    """One or two other common names in use."""
    attributes: dict[str, str] = field(hash=False)


@dataclass(frozen=True)
class Morph:
    """The individual: what varies inside a species and must not decide its name. All draws come from one generator."""

    sex: str
    """``male``, ``female`` (duller, a little smaller) or ``juvenile``; flowers and fish may read it as age."""
    tint: np.ndarray
    """(3,) float multipliers near 1 applied to every body colour of this individual."""
    proportions: np.ndarray
    """(8,) float multipliers near 1, free for the drawing to use (body length, bill length, ...)."""
    rng: np.random.Generator
    """For fine texture only (feather strokes, petal jitter)."""


class Draw(Protocol):
    """Draws one individual in its canonical pose on a transparent canvas; pose variation is applied outside."""

    def __call__(self, canvas: Canvas, species: Species, morph: Morph) -> None: ...
