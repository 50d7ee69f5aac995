"""One feature an image from several views of it: the student sees more than the teacher, who sees each picture once.

The mean of the unit features of the plain view and of random crops and flips, of unit norm again. A crop is a noisy
measurement of what the encoder knows of a picture; the mean of several is a better one. It costs the encoder's time for
every view, of the pool and of every image that is classified later; it costs no call. Test-time augmentation as old as
AlexNet's (Krizhevsky et al. 2012, section 4.1), here for both ends of every comparison.
"""

from __future__ import annotations

import numpy as np


def averaged_views(features: np.ndarray) -> np.ndarray:
    """Features (N, V, D) of V views, unit norm, to their normalised mean (N, D) float32; (N, D) comes back as it is.

    Views that cancel each other out leave the first one.
    """
    if features.ndim == 2:
        return np.asarray(features, dtype=np.float32)
    mean = np.asarray(features, dtype=np.float32).mean(axis=1)
    norms = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.where(norms > 1e-6, mean / np.maximum(norms, 1e-12), features[:, 0]).astype(np.float32)
