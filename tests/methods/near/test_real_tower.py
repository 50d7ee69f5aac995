"""The whole method on a genuine (tiny, random) CLIP and SigLIP checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgvr.encoders import load_encoder
from fgvr.methods.near import LITE, NeaR, SetSettings, TuneSettings, candidate_sets, tune
from fgvr.methods.near.pipeline import FitSettings
from fgvr.mllm import ScriptedMllm
from tests.encoders import tiny

SHORT = TuneSettings(epochs=3, context_length=4)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(12):
        tiny.picture(index % 6 * 7 + index // 6).save(folder / f"{index:02d}.png")
    return folder


def mllm():
    return ScriptedMllm(lambda request: tiny.NAMES[int(request.item_id[:2]) % 5])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize(
    "tuning", [SHORT, replace(LITE, epochs=5), replace(SHORT, chunk=2)], ids=["prompt", "lite", "chunk"]
)
def test_fit_and_predict_on_a_checkpoint(kind, tuning, photographs, tmp_path):
    encoder = load_encoder(tiny.save(kind, tmp_path / "model"), device="cpu")
    settings = FitSettings(tuning=tuning, folds=2, sets=SetSettings(k=2))
    model = NeaR(encoder, mllm(), settings=settings).fit(photographs)
    model.save(tmp_path / "saved")
    again = NeaR.load(tmp_path / "saved")  # finds the encoder by its stored name
    assert again.predict(photographs) == model.predict(photographs)
    assert len(model.classifier.names) == 5


def test_chunks_change_nothing(tmp_path):
    encoder = load_encoder(tiny.save("clip", tmp_path), device="cpu")
    features = encoder.encode_images([tiny.picture(seed) for seed in range(12)])
    sets = candidate_sets(features, np.arange(12) % 6)
    whole, pieces = (
        tune(features, sets, encoder.prompt_tower(), replace(SHORT, chunk=chunk), names=tiny.NAMES, logit_scale=20.0)
        for chunk in (None, 2)
    )
    assert np.abs(whole.parameters["context"] - whole.parameters["context"].mean()).max() > 0
    np.testing.assert_allclose(whole.parameters["context"], pieces.parameters["context"], atol=1e-5)
    np.testing.assert_allclose(whole.text_features, pieces.text_features, atol=1e-4)
