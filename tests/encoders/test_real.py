"""Opt-in: a real ``VisionTextDualEncoderModel`` checkpoint and real photographs, from the folder FGVR_SHARED names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModel, AutoProcessor

from fgvr.encoders import FeatureStore, load_encoder, text_classifier
from fgvr.images import decode
from fgvr.types import ImageItem

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED"),
]
NAMES = ["beagle", "Great Pyrenees", "British_Shorthair"]


def _material() -> Path:
    return Path(os.environ["FGVR_SHARED"])


def test_features_equal_a_direct_call(tmp_path: Path) -> None:
    folder = _material() / "models" / "photo_dual_encoder"
    encoder = load_encoder(folder, device="cpu")
    paths = sorted((_material() / "data" / "photos" / "pets37").rglob("*.jpg"))[:6]
    items = [ImageItem(path.name, path) for path in paths]
    table = FeatureStore(tmp_path).features(items, encoder, batch_size=2)
    images = [decode(path, side=encoder.image_size).image for path in paths]
    inputs = AutoProcessor.from_pretrained(folder).image_processor(images=images, return_tensors="pt")
    direct = AutoModel.from_pretrained(folder).eval().get_image_features(**inputs).pooler_output.detach().numpy()
    np.testing.assert_allclose(table.features, direct / np.linalg.norm(direct, axis=1, keepdims=True), atol=1e-5)


def test_the_tower_with_real_words_equals_the_sentences() -> None:
    encoder = load_encoder(_material() / "models" / "photo_dual_encoder", device="cpu")
    tower = encoder.prompt_tower()
    tower.set_names(NAMES)
    context = tower.initial_context(4, words="a photo of a").requires_grad_()
    features = tower(context)
    np.testing.assert_allclose(features.detach().numpy(), text_classifier(encoder, NAMES), atol=1e-5)
    features[:, 0].sum().backward()
    assert context.grad is not None
    assert float(context.grad.norm()) > 0
