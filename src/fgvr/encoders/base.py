"""What a dual encoder is to the rest of fgvr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch


class DualEncoder(Protocol):
    """Images and texts into one space. Loaded by ``fgvr.encoders.load_encoder``."""

    name: str
    """As the user named it: Hub id, folder name or ``fieldguide``."""
    fingerprint: str
    """Digest over weights identity and preprocessing; equal fingerprints mean exchangeable features."""
    dim: int
    logit_scale: float
    """exp(logit_scale) of the checkpoint, about 100 for CLIP; cosine times this is a logit."""
    image_size: int
    """Side in pixels of the square the image tower sees; lets the decoder draft large files."""

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB images to (N, D) float32, unit norm. One batch: the caller batches."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to (N, D) float32, unit norm; batches inside."""
        ...

    def prompt_tower(self) -> PromptTower:
        """The differentiable text tower for prompt tuning (weights frozen)."""
        ...


@runtime_checkable
class PreparingEncoder(Protocol):
    """A dual encoder whose work on single pictures can be done ahead, in the decoding threads.

    ``encode_prepared([prepare(image) for image in images])`` equals ``encode_images(images)`` bit for bit.
    """

    def prepare(self, image: Image.Image) -> Any:
        """Resize and crop one RGB image; thread-safe. What it returns is for ``encode_prepared`` only."""
        ...

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """Prepared images to (N, D) float32, unit norm, in order. One batch; thread-safe."""
        ...


class PromptTower(Protocol):
    """A frozen text tower fed ``[start] [context x M] name . [end]``; gradients reach the context only."""

    embedding_dim: int

    def initial_context(self, length: int, *, words: str | None = None, seed: int = 0) -> torch.Tensor:
        """(M, E) float32: the embeddings of ``words`` ("a photo of a"; M is then their token count) or N(0, 0.02^2)."""
        ...

    def set_names(self, names: Sequence[str]) -> None:
        """Tokenise the C class names once (underscores become spaces; CoOp's full stop is appended)."""
        ...

    def __call__(self, context: torch.Tensor) -> torch.Tensor:
        """Context (M, E) to text features (C, D), unit norm, differentiable in ``context``."""
        ...
