"""Semantic accuracy (sACC): mean cosine between sentence embeddings of predicted and true names.

FineR, Liu et al. 2024: raw names, no prompt, no case folding, all-mpnet-base-v2, no rescaling; CaSED's code uses
all-MiniLM-L6-v2 and the two are not comparable, so the encoder's name is part of the result. sACC has a high floor
(unrelated names score well above 0): never report it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fgvr.metrics.names import Truth, accepted_names, check_lengths


class TextEncoder(Protocol):
    """What sACC needs of a sentence encoder."""

    @property
    def name(self) -> str:
        """Printed with every figure."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32, unit norm."""
        ...


@dataclass(frozen=True)
class SemanticAccuracy:
    """A semantic accuracy and the encoder it was measured with."""

    value: float
    """Mean cosine, in [-1, 1]."""
    encoder_name: str

    def __float__(self) -> float:
        return self.value


def semantic_accuracy(
    predicted: Sequence[str], true: Sequence[Truth], encoder: TextEncoder, *, accepted: bool = True
) -> SemanticAccuracy:
    """sACC; with ``accepted`` the best of an item's accepted names counts, without it the class's own name only."""
    scores = semantic_scores(predicted, true, encoder, accepted=accepted)
    return SemanticAccuracy(float(scores.mean()), encoder.name)


def semantic_scores(
    predicted: Sequence[str], true: Sequence[Truth], encoder: TextEncoder, *, accepted: bool = True
) -> NDArray[np.float64]:
    """(N,) cosine of each item. Each distinct name is embedded once, each distinct pair compared once."""
    check_lengths(predicted, true)
    truths = [accepted_names(names) if accepted else accepted_names(names)[:1] for names in true]
    every = list(dict.fromkeys([*predicted, *(name for names in truths for name in names)]))
    row = {name: i for i, name in enumerate(every)}
    vectors = np.asarray(encoder.encode(every), dtype=np.float32)
    pairs: dict[tuple[str, tuple[str, ...]], float] = {}
    scores = np.empty(len(predicted))
    for i, pair in enumerate(zip(predicted, truths)):
        if pair not in pairs:
            pairs[pair] = float(np.max(vectors[[row[name] for name in pair[1]]] @ vectors[row[pair[0]]]))
        scores[i] = pairs[pair]
    return scores
