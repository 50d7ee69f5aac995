"""A small world for the method tests: an encoder by linear projection, clustered features, noisy labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

ADJECTIVES = ("Red", "Blue", "Green", "Grey", "Black", "White")
NOUNS = ("Wren", "Finch", "Heron", "Tern", "Swift")
NAMES = tuple(f"{a} {n}" for n in NOUNS for a in ADJECTIVES)[:20]
DIM = 16


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def word_vector(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=DIM)


def prototype(name: str) -> np.ndarray:
    """Where pictures of ``name`` lie."""
    return unit(sum(word_vector(word) for word in name.lower().split()))


class GatedTower:
    """A differentiable tower that misunderstands names in half of its dimensions, which a context can turn down.

    Text = (prototype + gap * error of this name) * (1 + mean context @ map), unit norm.
    """

    def __init__(self, *, gap: float = 0.6, seed: int = 5) -> None:
        rng = np.random.default_rng(seed)
        self.embedding_dim = 6
        self._map = torch.as_tensor(rng.normal(size=(6, DIM)), dtype=torch.float32)
        self._gap = gap
        self._names = torch.empty(0, DIM)

    def initial_context(self, length: int, *, words: str | None = None, seed: int = 0) -> torch.Tensor:
        return 0.02 * torch.randn(length, self.embedding_dim, generator=torch.Generator().manual_seed(seed))

    def set_names(self, names: Sequence[str]) -> None:
        half = (np.arange(DIM) < DIM // 2).astype(np.float32)
        wrong = np.stack([half * word_vector(f"error of {name}") for name in names])
        right = np.stack([prototype(name) for name in names])
        self._names = torch.as_tensor((right + self._gap * wrong).astype(np.float32))

    def __call__(self, context: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self._names * (1 + context.mean(0) @ self._map), dim=-1)


class ProjectionEncoder:
    """Pictures whose first row of pixels spells a vector; texts by their words. Real, tiny, exact."""

    dim, logit_scale, image_size = DIM, 30.0, DIM

    def __init__(self, name: str = "projection", *, gap: float = 0.15) -> None:
        self.name = name
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()
        self.gap = gap

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        rows = [np.asarray(image.convert("RGB"), dtype=np.float32)[0, :DIM, 0] - 127.5 for image in images]
        return unit(np.stack(rows))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        names = [text.removeprefix("a photo of a ").removesuffix(".") for text in texts]
        tower = self.prompt_tower()
        tower.set_names(names)
        return tower(torch.zeros(1, tower.embedding_dim)).numpy()

    def prompt_tower(self) -> GatedTower:
        return GatedTower(gap=self.gap)


def clustered(
    per_class: int, *, names: Sequence[str] = NAMES, spread: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) scattered round each name's prototype, and their true classes."""
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(len(names)), per_class)
    centres = np.stack([prototype(name) for name in names])
    return unit(centres[true] + spread * rng.normal(size=(len(true), DIM))), true


def noisy(true: np.ndarray, *, share: float, classes: int, seed: int = 0) -> np.ndarray:
    """Labels of which ``share`` are replaced by a random other class."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(true)) < share
    return np.where(wrong, (true + rng.integers(1, classes, size=len(true))) % classes, true)


def picture(feature: np.ndarray) -> Image.Image:
    """A picture that ``ProjectionEncoder`` maps back to (nearly) the feature."""
    pixels = np.clip(np.round(127.5 + 120 * feature / np.abs(feature).max()), 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(np.repeat(pixels[None, :, None], DIM, axis=0), 3, axis=2))
