"""What retrieval hands to the ranker: for each query a few classes and how likely the retriever finds each of them.

The paper (RAR, section 3.2) speaks of the "top-k categories". Its released code sends the labels of the k nearest
images, so that a class may fill several slots; such lists are made only by the preset ``as_released``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_CLASS = -1
"""In ``classes``: no further candidate (fewer classes than k)."""


@dataclass(frozen=True)
class Candidates:
    """The k likeliest classes of Q queries, best first.

    Raises ``ValueError`` when the two arrays do not fit each other, a row has a candidate after the padding, or a
    candidate without a probability (or the other way round).
    """

    classes: np.ndarray
    """(Q, k) int64 class indices, best first, distinct in a row (except with ``distinct=False``); -1 past the end."""
    log_probs: np.ndarray
    """(Q, k) float32: natural log of the retriever's probability over ALL classes, <= 0; -inf where classes is -1."""

    def __post_init__(self) -> None:
        classes = np.asarray(self.classes, dtype=np.int64)
        log_probs = np.asarray(self.log_probs, dtype=np.float32)
        if classes.ndim != 2 or classes.shape != log_probs.shape:
            raise ValueError(f"classes and log_probs must both be (Q, k): {classes.shape} and {log_probs.shape}")
        filled = classes >= 0
        if (filled[:, 1:] & ~filled[:, :-1]).any():
            raise ValueError("a candidate stands after the end of its row")
        if np.isnan(log_probs).any() or not np.isneginf(log_probs[~filled]).all():
            raise ValueError("log_probs must be numbers, and -inf where there is no candidate")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "log_probs", log_probs)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def k(self) -> int:
        """Slots a query."""
        return int(self.classes.shape[1])

    @property
    def sizes(self) -> np.ndarray:
        """(Q,) int64: filled slots of each query."""
        return np.asarray((self.classes >= 0).sum(axis=1), dtype=np.int64)

    def names(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The candidates of every query as names, best first; ``names`` are those of all classes."""
        return [tuple(names[index] for index in row if index >= 0) for row in self.classes]

    def rows(self, chosen: np.ndarray) -> Candidates:
        """Those of some queries: indices or a mask (Q,)."""
        return Candidates(self.classes[chosen], self.log_probs[chosen])

    def top(self, k: int) -> Candidates:
        """The first ``k`` slots of every query."""
        return Candidates(self.classes[:, :k], self.log_probs[:, :k])

    def reordered(self, orders: Sequence[Sequence[int]], log_probs: np.ndarray | None = None) -> Candidates:
        """Every row in a new order: ``orders[q]`` is a permutation of ``range(sizes[q])``, best first.

        ``log_probs`` (Q, k), in the new order, replaces the retriever's.
        """
        full = np.tile(np.arange(self.k), (len(self), 1))
        for row, order in zip(full, orders, strict=True):
            if sorted(order) != list(range(len(order))):
                raise ValueError("an order must be a permutation of its candidates")
            row[: len(order)] = order
        moved = np.take_along_axis(self.log_probs, full, axis=1) if log_probs is None else log_probs
        return Candidates(np.take_along_axis(self.classes, full, axis=1), moved)

    def contains(self, true: np.ndarray) -> np.ndarray:
        """(Q,) bool: whether the true class (indices, (Q,)) is among the candidates; the mean bounds any ranker."""
        return np.asarray((self.classes == np.asarray(true)[:, None]).any(axis=1))
