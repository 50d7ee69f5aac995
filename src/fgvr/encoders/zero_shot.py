"""Zero-shot classification with a dual encoder (CLIP, Radford et al. 2021, section 3.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fgvr.encoders.base import DualEncoder


def text_classifier(
    encoder: DualEncoder, names: Sequence[str], *, templates: Sequence[str] = ("a photo of a {}.",)
) -> np.ndarray:
    """One text feature a class, (C, D) float32, unit norm: the mean of the templates' unit features, renormalised.

    Underscores in names become spaces. Every template holds one ``{}``; names may contain braces.
    """
    if not templates:
        raise ValueError("at least one template is needed")
    texts = [template.replace("{}", name.replace("_", " ")) for template in templates for name in names]
    features = encoder.encode_texts(texts).reshape(len(templates), len(names), -1)
    mean = features.mean(axis=0)
    norms = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.asarray(mean / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)


def zero_shot_logits(features: np.ndarray, classifier: np.ndarray, logit_scale: float) -> np.ndarray:
    """Cosines times ``logit_scale``: features (N, D) and classifier (C, D), both unit norm, to (N, C) float32."""
    return np.asarray(logit_scale * (features @ classifier.T), dtype=np.float32)
