"""A head: whatever gives every name a logit for an image feature. All heads but the cache are linear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fgvr.naming.choose_clusters import tiles

DOUBT = 0.01
"""Share of a cache's probability that is spread over all names, so that no name far from every key is impossible."""


class Head(Protocol):
    """Letters: B images, D dimensions, C names."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(B, D) float32, unit norm, to (B, C) float32, at the head's own scale."""
        ...


@dataclass(frozen=True)
class LinearHead:
    """``features @ weights.T + bias``."""

    weights: np.ndarray
    """(C, D) float32; of unit norm times a scale where the head is a cosine classifier."""
    bias: np.ndarray
    """(C,) float32."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(B, C) float32."""
        return np.asarray(features @ self.weights.T + self.bias, dtype=np.float32)


@dataclass(frozen=True)
class CacheHead:
    """``z = sum_j exp(-sharpness (1 - cosine to key j)) values_j`` (Tip-Adapter, Zhang et al. 2022, equation 3).

    Logits are ``log((1 - DOUBT) z / sum(z) + DOUBT / C)``, in the order of z. The paper adds z itself to zero-shot
    logits; the product of experts that ``Mixture`` is needs logarithms, and z grows with the number of keys.
    """

    keys: np.ndarray
    """(M, D) float32, unit norm."""
    values: np.ndarray
    """(M, C) float32, >= 0: the keys' soft labels."""
    sharpness: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(B, C) float32, log-probabilities; all equal without keys."""
        names = self.values.shape[1]
        if not len(self.keys):
            return np.full((len(features), names), -np.log(names), dtype=np.float32)
        found = np.empty((len(features), names), dtype=np.float32)
        for part, cosines in tiles(features, self.keys):
            cosines -= cosines.max(axis=1, keepdims=True)  # the nearest key has affinity 1
            found[part] = np.exp(np.float32(self.sharpness) * cosines) @ self.values
        shares = found / np.maximum(found.sum(axis=1, keepdims=True), np.float32(1e-30))
        return np.asarray(np.log((1 - DOUBT) * shares + DOUBT / names), dtype=np.float32)


@dataclass(frozen=True)
class Mixture:
    """Heads weighed against each other: the sum of their logits, each times its weight (a product of experts)."""

    heads: Mapping[str, Head]
    weights: Mapping[str, float]
    """A head's share of the mixture over its temperature; heads without a weight are left out."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(B, C) float32; at scale 1, so that their softmax is a calibrated probability."""
        parts = [np.float32(weight) * self.heads[name].logits(features) for name, weight in self.weights.items()]
        return np.asarray(sum(parts), dtype=np.float32)
