"""A caption database of the drawn world, for methods that search one (CaSED).

What it is, plainly: the embedded encoder's text tower was trained on captions of this very writer
(``fieldguide/training/captions.py``, about the seen species, seed 0), fresh ones at every step. Here the same writer,
with another seed, writes about every species of the guide. So the database speaks the encoder's language as no web
crawl speaks CLIP's, and what is found with it is kinder to such methods than real captions would be. Some three of ten
captions are a name of a species, half of these by chance of composition; the others describe it or give its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.species import Species
from fgvr.runs.atomic import write_text

TRAINING_SEED = 0
"""Of the captions the embedded encoder was trained with (``LockedRecipe.seed``); refused here."""
SIZE = 10_000


def field_guide_captions(
    size: int = SIZE, *, seed: int = 1, species: Sequence[Species] | None = None
) -> tuple[str, ...]:
    """``size`` captions, the species in turn, repetitions included, as the web has them.

    Equal arguments give equal captions. Raises ``ValueError`` for the training's seed and for a size below 1.
    """
    from fgvr.fieldguide.training.captions import Writer

    if seed == TRAINING_SEED or size < 1:
        raise ValueError(f"{size} captions of seed {seed}: at least one, and not the training's seed {TRAINING_SEED}")
    writer = Writer(tuple(species if species is not None else all_species()))
    rng = np.random.default_rng(seed)
    return tuple(writer.write(number % len(writer.species), rng).text for number in range(size))


def write_captions(
    file: str | Path, size: int = SIZE, *, seed: int = 1, species: Sequence[Species] | None = None
) -> int:
    """Write ``field_guide_captions`` to a text file, one a line; returns their number. Raises ``RunError``."""
    captions = field_guide_captions(size, seed=seed, species=species)
    write_text(file, "".join(f"{caption}\n" for caption in captions))
    return len(captions)
