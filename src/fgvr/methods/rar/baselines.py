"""What RAR is compared with: the same memory, no MLLM; and the MLLM without a memory.

The paper's own baseline ("CLIP+KNN") is ``nearest_label``: its released code takes the label of the one nearest image.
It never asks CLIP's text tower, so part of what ranking gains there is knowledge of names that ``zero_shot_text`` and
``image_and_text`` have without an MLLM. A table that leaves these out is not fair.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.retrieve import AS_DESCRIBED, DEFAULT, MemoryLike, Retriever, RetrieveSettings
from fgvr.methods.rar.retrieve_scores import nearest_rows


def nearest_label(queries: np.ndarray, memory: MemoryLike) -> np.ndarray:
    """CLIP+KNN as in the paper: the class of the nearest image, (Q,) int64; queries (Q, D), unit norm."""
    rows, _ = nearest_rows(queries, memory.images.vectors, hits=1)
    return np.asarray(np.asarray(memory.images.labels, dtype=np.int64)[rows[:, 0]])


def nearest_order(queries: np.ndarray, memory: MemoryLike, *, k: int = 5) -> Candidates:
    """The k nearest distinct classes by their nearest image: what 1-NN says when asked for more than one."""
    return Retriever.of(memory, replace(AS_DESCRIBED, k=k)).candidates(queries)


def knn_vote(queries: np.ndarray, memory: MemoryLike, *, neighbours: int = 5) -> np.ndarray:
    """The class with the most votes among the nearest images, (Q,) int64; ties go to the class with the nearest one."""
    rows, _ = nearest_rows(queries, memory.images.vectors, hits=neighbours)
    labels = np.where(rows >= 0, np.asarray(memory.images.labels, dtype=np.int64)[rows], -1)
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2) * (labels >= 0)
    first = votes.argmax(axis=1)  # rows come nearest first, and argmax takes the first of equals
    return np.asarray(labels[np.arange(len(labels)), first])


def zero_shot_text(queries: np.ndarray, memory: MemoryLike, *, temperature: float | None = None) -> np.ndarray:
    """CLIP zero-shot: log-probabilities of all classes from their texts, (Q, C); the encoder's own temperature."""
    settings = RetrieveSettings(source="text", text_temperature=temperature)
    return Retriever.of(memory, settings).log_probs(queries)


def image_and_text(queries: np.ndarray, memory: MemoryLike, settings: RetrieveSettings = DEFAULT) -> np.ndarray:
    """Image memory and text memory fused: log-probabilities of all classes, (Q, C). Best with fitted settings."""
    return Retriever.of(memory, replace(settings, source="fused")).log_probs(queries)


def all_names(queries: int, classes: int) -> Candidates:
    """Every class for every query, in the order of their names and equally likely: the MLLM without retrieval."""
    everything = np.tile(np.arange(classes, dtype=np.int64), (queries, 1))
    return Candidates(everything, np.full(everything.shape, -np.log(max(1, classes)), dtype=np.float32))
