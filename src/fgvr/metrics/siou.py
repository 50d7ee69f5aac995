"""Semantic IoU (sIOU): Jaccard of the word sets of predicted and true name, mean over items.

From CaSED's code (``SentenceIOU`` in altndrr/vic), which the NeaR workshop paper reports although FineR defines none:

- ``cased``, faithful: keep letters, digits and blanks, lower-case, split. A hyphen is *deleted*: "Black-footed" is one
  word, ``blackfooted``, and never meets "Black footed".
- ``split``: hyphens and underscores become blanks first; the fairer one for names.

Two empty names score 0 (vic divides by zero there).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from fgvr.metrics.names import Truth, accepted_names, check_lengths

VARIANTS = ("cased", "split")


def words_of(name: str, *, variant: str = "cased") -> frozenset[str]:
    """The word set of a name under ``variant``."""
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, not {variant!r}")
    if variant == "split":
        name = "".join(" " if char in "-_‐‑‒–—" else char for char in name)
    return frozenset("".join(char for char in name if char.isalnum() or char.isspace()).lower().split())


def semantic_iou(
    predicted: Sequence[str], true: Sequence[Truth], variant: str = "cased", *, accepted: bool = True
) -> float:
    """sIOU in [0, 1]; with ``accepted`` the best of an item's accepted names counts, without it the first only."""
    return float(iou_scores(predicted, true, variant, accepted=accepted).mean())


def iou_scores(
    predicted: Sequence[str], true: Sequence[Truth], variant: str = "cased", *, accepted: bool = True
) -> NDArray[np.float64]:
    """(N,) Jaccard of each item."""
    check_lengths(predicted, true)
    known: dict[tuple[str, Truth], float] = {}
    words = cache(partial(words_of, variant=variant))
    scores = np.empty(len(predicted))
    for i, pair in enumerate(zip(predicted, true)):
        if pair not in known:
            said = words(pair[0])
            names = accepted_names(pair[1]) if accepted else accepted_names(pair[1])[:1]
            known[pair] = max(_jaccard(said, words(name)) for name in names)
        scores[i] = known[pair]
    return scores


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 0.0
