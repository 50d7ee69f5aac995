"""Every family gives what a direct call of transformers gives; faults have a remedy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, BertConfig, BertModel

from fgvr.encoders import load_encoder, text_classifier, zero_shot_logits
from fgvr.errors import EncoderError

from . import tiny

TEXTS = ["a photo of a fox.", "wren", "a photo of the great grey fox in a black apple."]


@pytest.fixture(scope="module", params=tiny.KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, tiny.save(request.param, tmp_path_factory.mktemp(request.param))


def _unit(output: object) -> np.ndarray:
    features = output if isinstance(output, torch.Tensor) else output.pooler_output  # type: ignore[attr-defined]
    return (features / features.norm(dim=-1, keepdim=True)).detach().numpy()


def test_images_equal_a_direct_call(checkpoint: tuple[str, Path]) -> None:
    kind, folder = checkpoint
    encoder = load_encoder(folder, device="cpu")
    images = [tiny.picture(seed, width=40 + 9 * seed) for seed in range(3)]
    model = AutoModel.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=images, return_tensors="pt")
    features = encoder.encode_images(images)
    assert features.dtype == np.float32
    assert features.shape == (3, encoder.dim)
    np.testing.assert_allclose(features, _unit(model.get_image_features(**inputs)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    assert np.abs(features[0] - features[1]).max() > 1e-3
    assert encoder.image_size == 32, kind
    assert encoder.encode_images([]).shape == (0, encoder.dim)


def test_texts_equal_a_direct_call_one_by_one(checkpoint: tuple[str, Path]) -> None:
    kind, folder = checkpoint
    encoder = load_encoder(folder, device="cpu", batch_size=2)
    model, words = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        ids = words(text, return_tensors="pt").input_ids
        if kind.startswith("siglip"):
            room = encoder.max_positions - ids.shape[1]
            if room < 0:  # truncated, the end token kept
                ids = torch.cat([ids[:, :11], ids[:, -1:]], dim=1)
            else:
                ids = torch.nn.functional.pad(ids, (0, room), value=0)
        expected.append(_unit(model.get_text_features(input_ids=ids))[0])
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), np.stack(expected), atol=2e-6)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()), rel=1e-6)
    assert encoder.logit_bias == pytest.approx(float(model.logit_bias.detach()) if kind.startswith("siglip") else 0.0)


def test_long_texts_are_cut_at_the_towers_length(checkpoint: tuple[str, Path]) -> None:
    encoder = load_encoder(checkpoint[1], device="cpu")
    long = "a fox " * 200
    np.testing.assert_allclose(encoder.encode_texts([long]), encoder.encode_texts([long + "wren"]), atol=1e-6)


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    folder = tiny.save("clip", tmp_path / "one")
    original = load_encoder(folder).fingerprint
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert load_encoder(copy).fingerprint == original
    assert load_encoder(copy, dtype="float64").fingerprint != original
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.1, 0.2, 0.3]}))
    assert load_encoder(copy).fingerprint != original
    other = load_encoder(tiny.save("clip", tmp_path / "two", seed=1)).fingerprint
    assert other != original


def test_half_precision_still_gives_unit_float32(tmp_path: Path) -> None:
    folder = tiny.save("clip", tmp_path)
    images = [tiny.picture(1)]
    half, full = load_encoder(folder, dtype="bfloat16"), load_encoder(folder)
    features = half.encode_images(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    assert float((features * full.encode_images(images)).sum()) > 0.99


def test_nothing_trains(tmp_path: Path) -> None:
    model = load_encoder(tiny.save("clip", tmp_path)).model
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_missing_folder_and_malformed_id(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no such folder.*Check the path"):
        load_encoder(str(tmp_path / "absent"))
    with pytest.raises(EncoderError, match="malformed"):
        load_encoder("hf-hub:not a name!")


@pytest.mark.parametrize("name", ["nobody/no-such-model", "hf-hub:nobody/none", "nobody/none@refs/pr/3"])
def test_hub_id_that_is_not_cached_offline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="Download it once while online"):
        load_encoder(name)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny.save("clip", tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin.*safetensors"):
        load_encoder(folder)


def test_incomplete_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny.save("clip", tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="weights are missing"):
        load_encoder(folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(EncoderError, match="cannot load it"):
        load_encoder(folder)


def test_a_text_model_is_no_dual_encoder(tmp_path: Path) -> None:
    BertModel(BertConfig(**tiny.TOWER, vocab_size=8)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="BertModel is not a dual encoder"):
        load_encoder(tmp_path)


def test_a_broken_torchvision_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fgvr.encoders.loading import refuse_broken_torchvision

    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EncoderError, match=r"nms does not exist.*pip uninstall torchvision"):
        refuse_broken_torchvision()


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, fgvr.encoders; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _OneHot:
    """Texts to fixed directions, so that means can be worked out by hand."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        table = {"a fox": [1, 0], "the fox": [0, 1], "a {x} cat": [1, 0], "the {x} cat": [1, 0]}
        return np.array([table[text] for text in texts], dtype=np.float32)


def test_text_classifier_averages_templates_and_renormalises() -> None:
    rows = text_classifier(_OneHot(), ["fox", "{x}_cat"], templates=["a {}", "the {}"])  # type: ignore[arg-type]
    np.testing.assert_allclose(rows, [[0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-7)
    logits = zero_shot_logits(np.array([[0, 1]], dtype=np.float32), rows, 10.0)
    np.testing.assert_allclose(logits, [[10 * 0.5**0.5, 0]], atol=1e-5)
    assert logits.dtype == np.float32
