"""Small numerics of the fusion: softmax in the log domain, two fits. Arrays are (N, k) float64, -inf: no candidate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST = 20.0
"""Largest weight."""


def fit_slopes(retrieval: Array, evidence: Array | None, truth: NDArray[np.int64]) -> tuple[float, float]:
    """(1 / temperature, weight), both >= 0, of greatest likelihood: Newton's method with a step-size search."""
    open_ = ~np.isneginf(retrieval)
    features = [np.where(open_, retrieval, 0.0), *([] if evidence is None else [evidence])]
    stack = np.stack(features, axis=-1)  # (N, k, F)
    rows = np.arange(len(truth))
    theta = np.array([1.0, 0.5])[: len(features)]

    def log_probs(value: Array) -> Array:
        return log_softmax(np.where(open_, stack @ value, -np.inf))

    def loss(value: Array) -> float:
        return -float(log_probs(value)[rows, truth].mean())

    for _ in range(60):
        chances = np.exp(log_probs(theta))
        mean = np.einsum("nk,nkf->nf", chances, stack)
        gradient = (mean - stack[rows, truth]).mean(axis=0)
        spread = stack - mean[:, None]
        curvature = np.einsum("nk,nkf,nkg->fg", chances, spread, spread) / len(truth)
        free = (theta > 0) | (gradient < 0)  # a parameter at its bound moves only inwards
        step = np.zeros_like(theta)
        if free.any():
            damped = curvature[np.ix_(free, free)] + 1e-9 * np.eye(int(free.sum()))
            step[free] = np.linalg.solve(damped, gradient[free])
        scale, here = 1.0, loss(theta)
        while scale > 1e-6 and loss(_within(theta - scale * step)) > here:
            scale /= 2
        moved = _within(theta - scale * step)
        if np.abs(moved - theta).max() < 1e-8:
            break
        theta = moved
    return float(theta[0]), float(theta[1]) if evidence is not None else 0.0


def _within(theta: Array) -> Array:
    return np.clip(theta, 0.0, MOST)


def largest(value: Callable[[float], float]) -> float:
    """Where a function of a weight in [0, MOST] is largest: a grid, then a golden section around its best point."""
    grid = np.concatenate([[0.0], np.geomspace(0.01, MOST, 60)])
    best = int(np.argmax([value(float(weight)) for weight in grid]))
    if best == 0:
        return 0.0
    low, high = float(grid[best - 1]), float(grid[min(best + 1, len(grid) - 1)])
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    for _ in range(30):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if value(left) >= value(right) else (left, high)
    return float((low + high) / 2.0)


def derangement(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order in which nothing stays where it was."""
    order = rng.permutation(count)
    shifted = np.empty(count, dtype=np.int64)
    shifted[order] = np.roll(order, 1)
    return shifted


def log_sum(values: Array) -> Array:
    """(N,) log of each row's sum."""
    top = values.max(axis=1)
    return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(axis=1)))


def log_softmax(values: Array) -> Array:
    """Normalised logs of each row; a row without candidates stays -inf."""
    top = values.max(axis=1, keepdims=True)
    shifted = values - np.where(np.isfinite(top), top, 0.0)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.where(total > 0, total, 1.0)))
