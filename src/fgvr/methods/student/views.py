"""One feature an image from several views of it: the student sees more than the teacher, who sees each picture once.

The mean of the unit features of the plain view and of random crops and flips, of unit norm again. A crop is a noisy
measurement of what the encoder knows of a picture; the mean of several is a better one. It costs the encoder's time for
every view, of the pool and of every image that is classified later; it costs no call. Test-time augmentation as old as
AlexNet's (Krizhevsky et al. 2012, section 4.1), here for both ends of every comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fgvr.encoders import FeatureStore, FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.errors import NoImagesError
from fgvr.types import ImageItem

BLOCK = 8192
"""Images whose views are held at once."""


def averaged_views(features: np.ndarray) -> np.ndarray:
    """Features (N, V, D) of V views, unit norm, to their normalised mean (N, D) float32; (N, D) comes back as it is.

    Views that cancel each other out leave the first one.
    """
    if features.ndim == 2:
        return np.asarray(features, dtype=np.float32)
    mean = np.asarray(features, dtype=np.float32).mean(axis=1)
    norms = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.where(norms > 1e-6, mean / np.maximum(norms, 1e-12), features[:, 0]).astype(np.float32)


def averaged_features(
    store: FeatureStore,
    items: Sequence[ImageItem],
    encoder: DualEncoder,
    *,
    views: Sequence[str],
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    block: int = BLOCK,
) -> FeatureTable:
    """Averaged features (N, D) of all images that can be read; the views of ``block`` images are in memory at once.

    Raises what ``FeatureStore.features`` raises.
    """
    total = len(items) * len(views)

    def table(some: Sequence[ImageItem], before: int) -> FeatureTable:
        report = None if progress is None else lambda done, _: progress(before + done, total)
        found = store.features(some, encoder, views=views, batch_size=batch_size, progress=report)
        return replace(found, features=averaged_views(np.asarray(found.features)))

    try:
        starts = range(0, len(items), block)
        parts = [table(items[at : at + block], at * len(views)) for at in starts]
    except NoImagesError:  # of one block; whether of all, and why, only the whole can tell
        return table(items, 0)
    if len(parts) < 2:
        return parts[0] if parts else table(items, 0)
    return FeatureTable(
        np.concatenate([part.features for part in parts]),
        tuple(item for part in parts for item in part.items),
        tuple(digest for part in parts for digest in part.hashes),
        tuple(aside for part in parts for aside in part.set_aside),
    )
