"""CLIP+KNN without labels: the MLLM's name of the nearest support image.

RAR's baseline (section 4.1; released code) where the memory's labels are an MLLM's answers, not the truth.

1. *k.* The released code's "KNN" is the single nearest image. More neighbours vote here, each with its similarity.
2. *Unnamed support images* (refusals) are not in the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.errors import InputError
from fgvr.memory.search import nearest
from fgvr.methods.baselines.task import Naming, Task
from fgvr.naming import label_space
from fgvr.naming.labelling import PromptKind

TITLE = "CLIP+kNN, the MLLM's names"


@dataclass(frozen=True)
class Settings:
    """Defaults are the released code's."""

    k: int = 1
    prompt: PromptKind = "paper"
    merge: bool = True


def calls(support: int, test: int, settings: Settings) -> int:
    """One question a support image, one about the collection with the structured prompt."""
    return support + (settings.prompt == "structured")


def name_images(task: Task, settings: Settings) -> Naming:
    """The name with most similarity among the ``k`` nearest named support images."""
    if settings.k < 1:
        raise InputError("k is at least 1", k=settings.k)
    named = task.label_support(prompt=settings.prompt).named
    space, labels = label_space(named, merge=settings.merge)
    kept = np.flatnonzero(labels >= 0)
    found, cosines = nearest(
        np.asarray(task.test.features), np.asarray(task.support.features)[kept], k=min(settings.k, len(kept))
    )
    chosen = voted(labels[kept][found], cosines)
    return Naming(
        names=tuple(space.names[label] for label in chosen),
        vocabulary=tuple(space.names),
        figures={"support images without a name": float(len(labels) - len(kept))},
    )


def voted(labels: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """The label (T,) with the largest sum of cosines among each row's neighbours (T, k); ties go to the nearer one."""
    weights = np.maximum(cosines, 0.0)
    votes = np.stack([(weights * (labels == one[:, None])).sum(axis=1) for one in labels.T], axis=1)
    return np.asarray(labels[np.arange(len(labels)), votes.argmax(axis=1)])
