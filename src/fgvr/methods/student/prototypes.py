"""Image prototypes, alone or mixed with text: the mean feature of every name, by soft labels.

``prototype_c = normalise(normalise(sum_i s_ic x_i) + t text_c)``, logits = scale times cosine (nearest class mean;
Snell et al. 2017 with cosine; the mixture is the initial cache-free case of CLIP adapters).

1. *Soft labels.* The mean is weighted by them; an image of weight 0 adds nothing.
2. *Mixture.* It is taken of unit vectors and normalised again: ``t`` is the share of text whatever the lengths, and
   names with and without much agreement compete at one scale.
3. *Names without images* keep their text at any ``t``, 0 included; names with neither are shut out by a large finite
   negative bias, which JSON and safetensors can hold and a softmax turns into zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.heads import LinearHead

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCK = 16_384
"""Images that are held in float64 at once."""
NEVER = -1e4
"""Logit of a name of which nothing is known: finite, and below whatever a head gives a name that it knows."""


def prototypes(
    features: np.ndarray, soft: csr_matrix, *, text: np.ndarray | None = None, text_share: float = 0.0
) -> np.ndarray:
    """One vector a name, (C, D) float32: unit norm, or zero where there is neither image nor text.

    Args:
        features: (N, D) float32, unit norm.
        soft: (N, C) soft labels >= 0.
        text: (C, D) float32, unit norm.
        text_share: t >= 0, the weight of the text beside an image prototype of weight 1.

    Raises ``ValueError`` for shapes that do not fit or a negative share.
    """
    check(features, soft, text)
    if text_share < 0:
        raise ValueError("text_share is at least 0")
    images = unit_rows(class_sums(features, soft))
    if text is None:
        return images.astype(np.float32)
    mixed = unit_rows(images + text_share * text)
    return np.where(mixed.any(axis=1, keepdims=True), mixed, text).astype(np.float32)


def prototype_head(
    features: np.ndarray,
    soft: csr_matrix,
    *,
    text: np.ndarray | None = None,
    text_share: float = 0.0,
    scale: float = 100.0,
) -> LinearHead:
    """Nearest prototype by cosine. See ``prototypes``; ``scale`` is the factor from cosine to logit."""
    return cosine_head(prototypes(features, soft, text=text, text_share=text_share), scale=scale)


def zero_shot_head(text: np.ndarray, *, scale: float = 100.0) -> LinearHead:
    """Text features (C, D), unit norm, as a classifier; rows of zeros never win."""
    return cosine_head(text, scale=scale)


def cosine_head(vectors: np.ndarray, *, scale: float) -> LinearHead:
    """``scale`` times the cosine to ``vectors`` (C, D), which have unit norm or, for names never to win, are zero."""
    weights = (scale * vectors).astype(np.float32)
    return shut_out(LinearHead(weights, np.zeros(len(weights), dtype=np.float32)), np.asarray(~vectors.any(axis=1)))


def shut_out(head: LinearHead, names: np.ndarray) -> LinearHead:
    """The same head, with ``names`` (C,) bool below all others on every feature of unit norm."""
    reach = np.linalg.norm(head.weights, axis=1) + np.abs(head.bias)  # no logit of unit features is larger
    lowest = np.float32(NEVER - reach[~names].max(initial=0.0))
    return LinearHead(np.where(names[:, None], np.float32(0), head.weights), np.where(names, lowest, head.bias))


def class_sums(features: np.ndarray, soft: csr_matrix) -> np.ndarray:
    """Sum of features by soft label, (C, D) float64; block by block, because a pool in float64 is twice the pool."""
    sums = np.zeros((soft.shape[1], features.shape[1]))
    for at in range(0, len(features), BLOCK):
        part = soft[at : at + BLOCK].tocsc()
        sums += part.T.astype(np.float64) @ features[at : at + BLOCK].astype(np.float64)
    return sums


def class_masses(soft: csr_matrix) -> np.ndarray:
    """Sum of each name's soft labels, (C,) float64: how many images it has."""
    return np.asarray(soft.sum(axis=0, dtype=np.float64)).ravel()


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row over its length; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def check(features: np.ndarray, soft: csr_matrix, text: np.ndarray | None = None) -> None:
    """Raises ``ValueError`` where features (N, D), soft labels (N, C) and text (C, D) do not fit each other."""
    if features.ndim != 2 or soft.ndim != 2 or soft.shape[0] != len(features):
        raise ValueError(f"features (N, D) and soft labels (N, C) do not fit: {features.shape} and {soft.shape}")
    if text is not None and text.shape != (soft.shape[1], features.shape[1]):
        raise ValueError(f"text (C, D) does not fit: {text.shape} for {soft.shape[1]} names, {features.shape[1]} wide")
