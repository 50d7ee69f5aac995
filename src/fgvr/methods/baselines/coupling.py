"""Text-image coupling: one prototype a name, part its text, part the pictures that voted for it.

FineR (section 3.3): ``alpha * text + (1 - alpha) * mean`` with alpha = 0.7, where the mean runs over the unit features
of one plain and ten augmented views of every picture that voted for the name; a test image takes the name whose
prototype has the largest dot product with it.

1. *Length of the mixture.* The released code leaves the mixture as it is, although text and pictures lie apart and
   the score is a dot product: a name whose voters agree with each other and with the text gets a longer prototype,
   hence higher scores everywhere. Here the mixture is brought to unit length; ``renormalise=False`` is as released.
2. *Views.* The released code draws one of centre crop, padded random crop and random resized crop (area 0.5 to 1),
   then a colour or sharpness change, then a flip, rotation or perspective. Here random resized crop and flip only, area
   from ``min_scale`` 0.5 on, seeded by each picture's content and kept in the feature store.
3. *Statistics.* The released code normalises the pixels of four of its five data sets by ImageNet's mean and deviation
   although the encoder is CLIP. Here each encoder's own, everywhere.
4. *A name without voters* (a runner-up of ``voting.elect``) has its text as prototype, as in E-FineR's code.
"""

from __future__ import annotations

import numpy as np


def exemplars(views: np.ndarray, votes: np.ndarray, count: int) -> np.ndarray:
    """Mean of the unit features of all views of each name's voters; not of unit length itself.

    Args:
        views: (N, V, D) unit norm.
        votes: (N,) int64 in [0, count), or -1 for a picture that belongs to no name.
        count: S, number of names.

    Returns:
        (S, D) float32; zeros for a name without voters.
    """
    per_image = views.mean(axis=1, dtype=np.float64)
    sums = np.zeros((count, views.shape[-1]))
    voted = votes >= 0
    np.add.at(sums, votes[voted], per_image[voted])
    voters = np.bincount(votes[voted], minlength=count)[:, None]
    return np.asarray(sums / np.maximum(voters, 1), dtype=np.float32)


def couple(
    texts: np.ndarray, views: np.ndarray, votes: np.ndarray, *, alpha: float = 0.7, renormalise: bool = True
) -> np.ndarray:
    """Prototypes of S names: texts (S, D) unit norm, views (N, V, D) unit norm, votes (N,), to (S, D) float32.

    ``alpha`` in [0, 1] is the share of the text. With ``renormalise`` every prototype has unit length. Raises
    ``ValueError`` for shapes that do not fit or an ``alpha`` outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], not {alpha}")
    if len(views) != len(votes) or views.shape[-1] != texts.shape[-1]:
        raise ValueError(f"views {views.shape} do not fit {len(votes)} votes or texts {texts.shape}")
    pictures = exemplars(views, votes, len(texts))
    mixed = np.where(pictures.any(axis=1, keepdims=True), alpha * texts + (1 - alpha) * pictures, texts)
    return unit(mixed) if renormalise else np.asarray(mixed, dtype=np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (N, D) brought to unit length, float32; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


def nearest_names(features: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """(T,) int64: for each of features (T, D) the prototype of (S, D) with the largest dot product."""
    return np.asarray((features @ prototypes.T).argmax(axis=1), dtype=np.int64)
