"""Clusters on the sphere with a noisy teacher and a text tower of known worth, for tests of the whole student."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.types import NamedImage

FIRST = ("Amber", "Bronze", "Copper", "Dusky", "Emerald")
LAST = ("Finch", "Heron", "Plover", "Shrike", "Tern")
NAMES = tuple(f"{one} {other}" for one in FIRST for other in LAST)
STRONG, USELESS, ADVERSARIAL = "strong", "useless", "adversarial"


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


class NamesTower:
    """A dual encoder that knows one vector a name; photographs are never shown to it."""

    logit_scale, image_size = 50.0, 1

    def __init__(self, vectors: dict[str, np.ndarray], name: str) -> None:
        self.vectors, self.name, self.dim = vectors, name, len(next(iter(vectors.values())))
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.vectors[text.removeprefix("a photo of a ").removesuffix(".")] for text in texts])

    def encode_images(self, images: object) -> np.ndarray:
        raise NotImplementedError

    def prompt_tower(self) -> object:
        raise NotImplementedError


@dataclass(frozen=True)
class World:
    """Pool and test features (N, D) and (T, D), the true classes, and what the teacher says of each pool image."""

    features: np.ndarray
    said: tuple[NamedImage, ...]
    true: np.ndarray
    test: np.ndarray
    test_true: np.ndarray
    names: tuple[str, ...]
    means: np.ndarray
    """(C, D) unit norm."""

    def asked(self, count: int, *, seed: int = 0) -> tuple[np.ndarray, list[NamedImage]]:
        """Random rows, ascending, and the replies about them."""
        rows = np.sort(np.random.default_rng(seed + 99).permutation(len(self.features))[:count])
        return rows, [self.said[row] for row in rows]

    def accuracy(self, names: Sequence[str], logits: np.ndarray) -> float:
        """On the test points, of logits (T, C') over ``names``."""
        true = [self.names[label] for label in self.test_true]
        return float(np.mean([names[best] == name for best, name in zip(logits.argmax(axis=1), true, strict=True)]))

    def tower(self, kind: str, *, seed: int = 0) -> NamesTower:
        """Strong: near the true means. Useless: at random. Adversarial: every name has another one's mean."""
        rng = np.random.default_rng(seed + 7)
        vectors = {
            STRONG: unit(self.means + 0.35 * unit(rng.normal(size=self.means.shape))),
            USELESS: unit(rng.normal(size=self.means.shape)),
            ADVERSARIAL: np.roll(self.means, 1, axis=0),
        }[kind]
        return NamesTower(dict(zip(self.names, vectors, strict=True)), f"{kind}{seed}")


def world(
    seed: int = 0,
    *,
    classes: int = 12,
    per_class: int = 40,
    noise: float = 0.4,
    spread: float = 1.0,
    dim: int = 24,
    tested: int = 600,
) -> World:
    """Normalised Gaussian clusters: ``spread`` is the length of the noise beside a mean of length one."""
    rng = np.random.default_rng(seed)
    means = unit(rng.normal(size=(classes, dim)))

    def photographs(true: np.ndarray) -> np.ndarray:
        return unit(means[true] + spread * rng.normal(size=(len(true), dim)) / np.sqrt(dim))

    true = rng.permutation(np.arange(classes * per_class) % classes)
    other = (true + rng.integers(1, classes, size=len(true))) % classes
    labels = np.where(rng.random(len(true)) < noise, other, true)
    said = tuple(NamedImage(f"{at:04d}", NAMES[label]) for at, label in enumerate(labels))
    test_true = rng.integers(0, classes, size=tested)
    return World(photographs(true), said, true, photographs(test_true), test_true, NAMES[:classes], means)
