"""Classifying with what a fit has left, locally: the checks and blocks that every classifier of features shares."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.errors import EncoderError
from fgvr.types import Prediction

logger = logging.getLogger(__name__)

BLOCK = 4096
"""Images whose probabilities are held at once."""


class LocalClassifier(Protocol):
    """NeaR's classifier, the student's, or another of features of one encoder."""

    @property
    def encoder(self) -> str:
        """Its name."""
        ...

    @property
    def fingerprint(self) -> str:
        """The encoder's; features of any other are refused."""
        ...

    def predict(self, features: np.ndarray, item_ids: Sequence[str], *, top_k: int = 5) -> list[Prediction]:
        """One prediction a row of ``features`` (B, D), unit norm."""
        ...


def check_encoder(classifier: LocalClassifier, encoder: DualEncoder) -> None:
    """Raise ``EncoderError`` where ``encoder`` is not the one the classifier was fitted with."""
    if encoder.fingerprint != classifier.fingerprint:
        raise EncoderError(
            "the classifier was fitted with another encoder",
            remedy="Use the encoder it names, same weights and preprocessing.",
            fitted=classifier.encoder,
            given=encoder.name,
        )


def predictions(classifier: LocalClassifier, table: FeatureTable, *, top_k: int = 5) -> list[Prediction]:
    """One prediction an image of the table (features (N, D)), in its order; what was set aside is logged."""
    ids = [item.id for item in table.items]
    found: list[Prediction] = []
    for at in range(0, len(ids), BLOCK):
        rows = slice(at, at + BLOCK)
        found += classifier.predict(np.asarray(table.features[rows]), ids[rows], top_k=top_k)
    if table.set_aside:
        logger.warning("%d images were set aside", len(table.set_aside))
    return found
