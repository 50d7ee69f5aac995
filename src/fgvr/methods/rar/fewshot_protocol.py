"""The few-shot protocol: which images go into the memory, and how several draws become one figure (section 4.1).

1. *Shots.* The released code takes the first n images a class in file order, once. Here shots are drawn by seed, nested
   (the draw of 4 contains the draw of 2), several times, with an interval; ``first_shots`` restores the code's way.
2. *Too few.* A class with fewer images than shots gives all it has; every row says how many classes that were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.retrieve_settings import PlainMemory

WHOLE = 0
"""As a number of shots: the whole training set."""


@dataclass(frozen=True)
class FewShotData:
    """A labelled collection as arrays; features are of unit norm."""

    names: tuple[str, ...]
    train: np.ndarray
    """(N, D) float32."""
    train_labels: np.ndarray
    """(N,) int64 indices into ``names``."""
    test: np.ndarray
    """(T, D)."""
    test_labels: np.ndarray
    """(T,)."""
    texts: np.ndarray | None = None
    """(C, D), one a class."""
    logit_scale: float = 100.0
    train_ids: tuple[str, ...] = ()
    """What a draw depends on besides its seed; row numbers where there are none."""
    train_hashes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.train) or not len(self.test):
            raise InputError("few-shot needs training and test images", remedy="Check the splits.")
        for labels, rows in ((self.train_labels, self.train), (self.test_labels, self.test)):
            if np.shape(labels) != (len(rows),) or np.min(labels) < 0 or np.max(labels) >= len(self.names):
                raise ValueError("labels must be one index into names for each row")

    def memory(self, rows: np.ndarray) -> PlainMemory:
        """Of some training rows, and of all texts."""
        hashes = [self.train_hashes[row] for row in rows] if self.train_hashes else ()
        return PlainMemory.of(
            self.names,
            images=(self.train[rows], self.train_labels[rows]),
            texts=self.texts,
            hashes=hashes,
            logit_scale=self.logit_scale,
        )


def draw_shots(labels: np.ndarray, shots: int, *, seed: int, ids: Sequence[str] = ()) -> np.ndarray:
    """Rows (ascending) of a seeded draw of ``shots`` a class, all rows for ``WHOLE``; nested in ``shots``.

    Rows are ranked by SHA-256 of seed and id: the same on any machine and for any order of rows with ids.
    """
    if shots == WHOLE:
        return np.arange(len(labels))
    keys = ids or [str(row) for row in range(len(labels))]
    ranks = [hashlib.sha256(f"{seed}\0{key}".encode()).digest() for key in keys]
    return _first_of_each(labels, sorted(range(len(labels)), key=lambda row: (ranks[row], keys[row])), shots)


def first_shots(labels: np.ndarray, shots: int) -> np.ndarray:
    """As released: the first ``shots`` rows of each class in file order."""
    return np.arange(len(labels)) if shots == WHOLE else _first_of_each(labels, range(len(labels)), shots)


def short_classes(labels: np.ndarray, shots: int) -> int:
    """Classes with at least one image, but fewer than ``shots``."""
    sizes = np.bincount(labels)
    return int(((sizes > 0) & (sizes < shots)).sum())


@dataclass(frozen=True)
class Found:
    """What one method says about the test images."""

    top: np.ndarray
    """(T, n) class indices, best first; -1 for none."""
    confidence: np.ndarray | None = None
    """(T,) probability of the best; ``None`` where the method has none."""
    candidates: Candidates | None = None
    """What was put before a ranker."""
    calls: int = 0
    """Questions to an MLLM."""
    answered: float = 1.0
    """Share of the test images with a usable answer, of those asked about."""


def figures(found: Found, truth: np.ndarray) -> dict[str, float | None]:
    """Of one draw: accuracy, top5 (``None`` where fewer are given), upper_bound, ece, answered; and mllm_calls."""
    from fgvr.metrics.calibration import expected_calibration_error

    right = found.top == truth[:, None]
    accuracy, ece = right[:, 0], None
    if found.confidence is not None:
        ece = expected_calibration_error(np.clip(found.confidence, 0.0, 1.0), accuracy)
    return {
        "accuracy": float(accuracy.mean()),
        "top5": float(right[:, :5].any(axis=1).mean()) if found.top.shape[1] >= 5 else None,
        "upper_bound": None if found.candidates is None else float(found.candidates.contains(truth).mean()),
        "ece": ece,
        "mllm_calls": float(found.calls),
        "answered": found.answered,
    }


def summarised(draws: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """Means over draws; ``interval``: half the width of the accuracy's 95 % t interval, ``None`` for one draw."""
    means = {}
    for key in draws[0]:
        values = [draw[key] for draw in draws]
        means[key] = None if None in values else float(np.mean([value for value in values if value is not None]))
    accuracies = [draw["accuracy"] for draw in draws if draw["accuracy"] is not None]
    return {"draws": len(draws), **means, "interval": half_width(accuracies)}


def half_width(values: Sequence[float]) -> float | None:
    """Of the 95 % t interval of the mean; ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def _first_of_each(labels: np.ndarray, order: Sequence[int] | range, shots: int) -> np.ndarray:
    if shots < 1:
        raise ValueError(f"shots must be at least 1, or {WHOLE} for the whole training set")
    taken: dict[int, int] = {}
    rows = []
    for row in order:
        label = int(labels[row])
        if taken.get(label, 0) < shots:
            taken[label] = taken.get(label, 0) + 1
            rows.append(row)
    return np.asarray(sorted(rows), dtype=np.int64)
