"""What retrieval needs of a memory, how it is set, and what of the settings follows from the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from fgvr.methods.rar.retrieve_scores import Aggregate

Source = Literal["image", "text", "fused"]
SAMPLED = 1024
"""Rows that the spread of a memory is measured on."""


class RowsLike(Protocol):
    """One kind of rows of a memory."""

    @property
    def vectors(self) -> np.ndarray:
        """(N, D) float32, unit norm."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 class indices."""
        ...

    @property
    def hashes(self) -> Sequence[str]:
        """(N,) content hashes; empty where they are not known."""
        ...


class MemoryLike(Protocol):
    """What retrieval needs of a memory (``fgvr.memory.Memory``, or ``PlainMemory``)."""

    @property
    def names(self) -> Sequence[str]:
        """(C,) class names."""
        ...

    @property
    def images(self) -> RowsLike:
        """Rows embedded from images."""
        ...

    @property
    def texts(self) -> RowsLike:
        """Rows embedded from texts."""
        ...

    @property
    def logit_scale(self) -> float:
        """Of the encoder: cosine of image and text times this is a logit."""
        ...


@dataclass(frozen=True)
class PlainRows:
    """Rows as arrays."""

    vectors: np.ndarray
    labels: np.ndarray
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlainMemory:
    """A memory as arrays, for protocols that make many small ones."""

    names: tuple[str, ...]
    images: PlainRows
    texts: PlainRows
    logit_scale: float

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        *,
        images: tuple[np.ndarray, np.ndarray] | None = None,
        texts: np.ndarray | None = None,
        hashes: Sequence[str] = (),
        logit_scale: float = 100.0,
    ) -> PlainMemory:
        """From image vectors (N, D) with labels (N,), and one text vector a class (C, D); either may be missing."""
        dim = images[0].shape[1] if images is not None else 0 if texts is None else texts.shape[1]
        none = PlainRows(np.empty((0, dim), np.float32), np.empty(0, np.int64))
        image_rows = none if images is None else PlainRows(images[0], np.asarray(images[1], np.int64), tuple(hashes))
        text_rows = none if texts is None else PlainRows(texts, np.arange(len(texts), dtype=np.int64))
        return cls(tuple(names), image_rows, text_rows, logit_scale)


@dataclass(frozen=True)
class RetrieveSettings:
    """How candidates are found. ``None`` means: follows from the memory, see ``resolved``."""

    k: int = 5
    source: Source = "fused"
    """With ``fused``, a memory that has only one kind of rows is asked by that kind."""
    aggregate: Aggregate = "softmax-sum"
    """Of a class's image rows; several texts of a class are always averaged."""
    temperature: float | None = None
    """Of ``softmax-sum``, in units of cosine."""
    hits: int | None = None
    """Only so many nearest images count; ``None``: all."""
    distinct: bool = True
    """``False``: the labels of the k nearest images as they come, duplicates kept (needs ``source="image"``)."""
    image_temperature: float | None = None
    """Image scores are divided by it before the softmax."""
    text_temperature: float | None = None
    image_weight: float = 0.75
    """Of the image side's log-probability in the fusion."""
    text_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.k < 1 or (self.hits is not None and self.hits < 1):
            raise ValueError("k and hits must be at least 1")
        if self.source not in ("image", "text", "fused"):
            raise ValueError(f"source must be image, text or fused, not {self.source!r}")
        if not self.distinct and self.source != "image":
            raise ValueError("duplicates are kept among images only: distinct=False needs source='image'")
        temperatures = (self.temperature, self.image_temperature, self.text_temperature)
        if any(t is not None and not t > 0 for t in temperatures):
            raise ValueError(f"temperatures must be positive, not {temperatures}")
        if self.image_weight < 0 or self.text_weight < 0 or self.image_weight + self.text_weight == 0:
            raise ValueError("weights must be at least 0, and not both 0")


DEFAULT = RetrieveSettings()
AS_RELEASED = RetrieveSettings(
    source="image", aggregate="max", hits=100, distinct=False, image_temperature=0.01, image_weight=1.0
)
"""The released code: the labels of the nearest of 100 images, duplicates kept; its baseline is the first (1-NN)."""
AS_DESCRIBED = replace(AS_RELEASED, hits=None, distinct=True)
"""The paper: k distinct categories by their nearest image."""


def candidates_for(shots: int) -> int:
    """k of the paper's few-shot protocol (section 4.1): 4 with four shots, else 5."""
    return 4 if shots == 4 else 5


def resolved(settings: RetrieveSettings, memory: MemoryLike) -> RetrieveSettings:
    """Settings without ``None``: what follows from a memory without looking at a single right answer.

    Text: the encoder's own scale. Images: half the spread of the cosines between classes, a conservative temperature
    (in development the best were 10 to 60 % lower, the lower the more shots); half of that for ``softmax-sum``.
    """
    if len(memory.images.labels):
        image = settings.image_temperature or spread(memory.images.vectors, memory.images.labels) / 2
    else:
        image = settings.image_temperature or 1.0 / memory.logit_scale
    return replace(
        settings,
        image_temperature=image,
        temperature=settings.temperature or image / 2,
        text_temperature=settings.text_temperature or 1.0 / memory.logit_scale,
    )


def spread(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Standard deviation of the cosines between rows of different classes, on at most ``SAMPLED`` rows evenly taken.

    0.1 where there is but one class; at least 0.001.
    """
    chosen = np.linspace(0, len(labels) - 1, min(SAMPLED, len(labels))).astype(np.int64)
    rows = np.asarray(vectors[chosen], dtype=np.float32)
    other = labels[chosen][:, None] != labels[chosen]
    return max(1e-3, float((rows @ rows.T)[other].std())) if other.any() else 0.1
