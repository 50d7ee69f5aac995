"""Whether a text tower knows the teacher's names at all; one that does not is not mixed with images.

A name's text is worth an image to ``em.py``. Where there are few images, the text of a tower that was never trained on
such names, or that holds names against the wrong pictures, costs several points of accuracy, and held-out names are too
few to show it. The asked images show it without being held out, since nothing was fitted on them: if the tower knows
the names, the features of images and the text of what they were called vary together.

Letters: M asked images, D dimensions, C names.
"""

from __future__ import annotations

import numpy as np

BEYOND_CHANCE = 2.0
"""Standard errors by which images and text must go together: random texts pass one time in forty. Towers that know
their names are at 4 and above from four labels on, at 17 from a hundred on (drawn species for development, pets)."""


def heard(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> bool:
    """Whether ``text`` may speak, see ``kinship``; it may where fewer than two names were said."""
    return bool(len(np.unique(labels[labels >= 0])) < 2 or kinship(features, labels, text) > BEYOND_CHANCE)


def kinship(features: np.ndarray, labels: np.ndarray, text: np.ndarray) -> float:
    """How clearly images go with the text of their names: mean over its standard error, of one number a name.

    Args:
        features: (M, D) float32, unit norm.
        labels: (M,) int64, the teacher's names; -1 for none. At least two names.
        text: (C, D) float32, unit norm.

    The number of a name is the mean, over its images, of ``(x - mean x) . (t - mean t)``, t the text of the name: the
    cosine, less what the image has with every name's text and the text with every image. Without that the gap between
    images and texts, and texts that are near to all images, would speak. Were names given to images at random, its
    mean would be zero. Every name counts alike, because the images of a name share its text and are no independent
    witnesses.
    """
    named = labels >= 0
    images, said = features[named].astype(np.float64), text[labels[named]].astype(np.float64)
    together = ((images - images.mean(axis=0)) * (said - said.mean(axis=0))).sum(axis=1)
    _, name, count = np.unique(labels[named], return_inverse=True, return_counts=True)
    each = np.bincount(name, weights=together) / count
    error = float(each.std(ddof=1)) / np.sqrt(len(each))
    return float(each.mean() / max(error, 1e-9))
