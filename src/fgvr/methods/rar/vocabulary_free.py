"""RAR without labels: a memory of unlabelled images under names that an MLLM gave them (paper, Table 1).

Two protocols, because paper and released code do different things:

1. *As described* (section 4.2): 3 unlabelled images a class, pseudo-labels, retrieve, rank. Here the labels come from
   our MLLM (``name_by_mllm``; the paper's from FineR); ``pseudo_memory`` then takes the place of a labelled one in
   everything else of this folder. Names are merged by spelling and synonym before, as for NeaR.
2. *As released* (``merged_guesses``): no MLLM ranks anything. For every *support* image the notebook takes its
   ``top_k`` nearest support images (the first is the image itself) and the first ``top_number`` of the names FineR's
   language model had guessed for each; the long list, repeats included, replaces FineR's file of guessed names, and
   FineR's own voting classifier does the rest. So this is a vocabulary for FineR, not retrieve-and-rank.
3. ``RELEASED_CHOICES``: the released code picks ``top_k`` and ``top_number`` for each data set by the test metric
   ("best result record"). They are here to repeat its figures; choosing this way for other data is tuning on test.

FineR's classifier is one of the baselines; ``fgvr.compare.contestants.rar_released`` puts both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.errors import InputError
from fgvr.methods.rar.retrieve_settings import PlainMemory
from fgvr.naming import Labelled, PromptKind, label_images, label_space
from fgvr.types import ImageItem

if TYPE_CHECKING:
    from fgvr.mllm.base import Mllm

RELEASED_CHOICES = MappingProxyType(
    {"cub200": (2, 3), "cars196": (2, 1), "dogs120": (2, 3), "flowers102": (3, 1), "pets37": (3, 2)}
)
"""(``top_k``, ``top_number``) that the released notebook records for each data set; see 3 above."""


@dataclass(frozen=True)
class PseudoLabels:
    """Names an MLLM gave to unlabelled images."""

    names: tuple[str, ...]
    """The label space, C names."""
    labels: np.ndarray
    """(N,) int64 indices into ``names``; -1 for an image without a usable name: it stays out of the memory."""
    labelled: Labelled
    """The answers themselves, with what they cost."""


def name_by_mllm(
    items: Sequence[ImageItem], mllm: Mllm, *, prompt: PromptKind = "paper", merge: bool = True, **asking: Any
) -> PseudoLabels:
    """Ask the MLLM for the name of every image, and make one label space of the answers.

    ``asking`` goes to ``label_images`` (hashes, ledger, cache, ...). Raises ``InputError`` when nothing was named.
    """
    labelled = label_images(items, mllm, prompt=prompt, **asking)
    space, labels = label_space(labelled.named, merge=merge)
    return PseudoLabels(tuple(space.names), labels, labelled)


def named_as(table: FeatureTable, names: Sequence[str], labels: np.ndarray) -> FeatureTable:
    """The images under the names they were given: labels (N,) index ``names``, -1 for none."""
    pairs = zip(table.items, labels, strict=True)
    return replace(
        table, items=tuple(replace(item, label=names[int(label)] if label >= 0 else None) for item, label in pairs)
    )


def pseudo_memory(
    features: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    texts: np.ndarray | None = None,
    hashes: Sequence[str] = (),
    logit_scale: float,
) -> PlainMemory:
    """A memory of the images that were named: features (N, D), labels (N,) with -1 for unnamed, texts (C, D).

    Raises ``InputError`` when no image was named.
    """
    named = np.flatnonzero(np.asarray(labels) >= 0)
    if not len(named):
        raise InputError("no image has a name", remedy="Look at the MLLM's replies; try another model or prompt.")
    kept = tuple(hashes[int(row)] for row in named) if len(hashes) else ()
    return PlainMemory.of(
        names, images=(features[named], np.asarray(labels)[named]), texts=texts, hashes=kept, logit_scale=logit_scale
    )


def merged_guesses(
    features: np.ndarray, guesses: Sequence[Sequence[str]], *, top_k: int, top_number: int
) -> tuple[str, ...]:
    """``rar-fgvr-as-released``: the names that replace FineR's guesses, repeats included, image by image.

    Args:
        features: (N, D) of the support images, unit norm.
        guesses: for each, the names a language model guessed for it, best first (FineR: three).
        top_k: nearest support images an image takes names from, itself included.
        top_number: names taken from each.

    Exact search; the released code's HNSW may miss neighbours. Raises ``ValueError`` for lengths that do not fit.
    """
    from fgvr.memory.search import nearest

    if len(features) != len(guesses):
        raise ValueError(f"{len(features)} features but {len(guesses)} lists of guesses")
    if top_k < 1 or top_number < 1:
        raise ValueError("top_k and top_number must be at least 1")
    found, _ = nearest(features, features, k=top_k)
    return tuple(name for row in found for near in row if near >= 0 for name in guesses[near][:top_number])
