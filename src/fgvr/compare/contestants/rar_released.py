"""RAR's row of its Table 1 as the released code makes it: FineR with a vocabulary merged from near images.

No MLLM ranks anything (``fgvr.methods.rar.vocabulary_free``, numbers 2 and 3): each support image takes the first
``top_number`` guesses of its ``top_k`` nearest support images, and FineR's vote and coupling do the rest. The released
code picks both numbers for each data set by the test metric; the defaults are its choice for birds, for every data set.

An image is its own nearest, so the merged list always holds every image's own first guesses; and as the vote takes each
name once, with ``top_number`` = 3 it is FineR's very list, whatever is retrieved. Only fewer names make a difference:
they are then FineR's first, or first two, guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fgvr.methods.baselines import finer
from fgvr.methods.baselines.task import Naming, Task
from fgvr.methods.rar.vocabulary_free import merged_guesses

TITLE = "RAR as released (FineR, merged names)"


@dataclass(frozen=True)
class Settings:
    """The released choice for birds; FineR's own settings are its defaults."""

    top_k: int = 2
    """Nearest support images a vocabulary is merged from, itself included."""
    top_number: int = 3
    """Guesses taken from each."""
    alpha: float = 0.7
    views: int = 10


def calls(support: int, test: int, settings: Settings) -> int:
    """FineR's questions."""
    return finer.calls(support, test, finer.Settings())


def name_images(task: Task, settings: Settings) -> Naming:
    """FineR's guesses, merged over neighbours, then FineR's classifier."""
    own = finer.Settings(alpha=settings.alpha, views=settings.views)
    guessed = finer.guess(task, own)
    names = merged_guesses(
        np.asarray(task.support.features), guessed.names, top_k=settings.top_k, top_number=settings.top_number
    )
    naming = finer.classify(task, names, own)
    return replace(naming, notes=(*guessed.notes, *naming.notes), figures={**guessed.figures, **naming.figures})
