"""Long lists of texts are encoded once; a chunk is complete or ignored."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fgvr.encoders import text_classifier
from fgvr.encoders.text_store import text_features
from fgvr.errors import EncoderError

TEXTS = [f"caption {number}" for number in range(25)]


class HashEncoder:
    """A text's digest as its feature, (N, 8), unit norm; counts what it is asked and may fail after so many."""

    name, dim, logit_scale, image_size = "hash", 8, 1.0, 8

    def __init__(self, fingerprint: str = "hash", *, most: int = 10**9) -> None:
        self.fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.most, self.asked = most, 0

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        if self.asked + len(texts) > self.most:
            raise KeyboardInterrupt
        self.asked += len(texts)
        rows = [[byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:8]] for text in texts]
        features = np.array(rows, dtype=np.float32).reshape(len(texts), 8)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def encode_images(self, images: object) -> np.ndarray:
        raise NotImplementedError

    def prompt_tower(self) -> object:
        raise NotImplementedError


def everything(pieces) -> np.ndarray:
    return pieces.take(np.arange(len(pieces)))


def chunks(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_the_features_are_the_encoders_own(tmp_path: Path):
    encoder = HashEncoder()
    found = text_features(TEXTS, encoder, tmp_path, chunk=10)
    assert found.shape == (25, 8)
    np.testing.assert_array_equal(everything(found), text_classifier(encoder, TEXTS, templates=("{}",)))
    assert len(chunks(tmp_path)) == 3
    assert all(isinstance(piece.base, np.memmap) or isinstance(piece, np.memmap) for piece in found.pieces)


def test_a_list_is_encoded_once(tmp_path: Path):
    first = everything(text_features(TEXTS, HashEncoder(), tmp_path, chunk=10))
    again = HashEncoder(most=0)
    seen: list[tuple[int, int]] = []
    second = text_features(TEXTS, again, tmp_path, chunk=10, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(everything(second), first)
    assert again.asked == 0
    assert seen == [(10, 25), (20, 25), (25, 25)]


def test_a_kill_loses_the_chunk_at_hand(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        text_features(TEXTS, HashEncoder(most=20), tmp_path, chunk=10)
    assert len(chunks(tmp_path)) == 2
    resumed = HashEncoder()
    found = text_features(TEXTS, resumed, tmp_path, chunk=10)
    assert resumed.asked == 5
    np.testing.assert_array_equal(everything(found), text_classifier(HashEncoder(), TEXTS, templates=("{}",)))


def test_a_killed_process_leaves_whole_chunks_only(tmp_path: Path):
    """SIGKILL at whatever moment: what lies there is read, the rest is computed."""
    victim = subprocess.Popen([sys.executable, "-m", __name__, str(tmp_path)])
    while len(chunks(tmp_path)) < 2:
        assert victim.poll() is None
        time.sleep(0.005)
    victim.kill()
    victim.wait()
    left = len(chunks(tmp_path))
    encoder = HashEncoder()
    found = text_features(TEXTS, encoder, tmp_path, chunk=1)
    assert 2 <= left < 25
    assert encoder.asked == 25 - left
    np.testing.assert_array_equal(everything(found), text_classifier(HashEncoder(), TEXTS, templates=("{}",)))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "shorter"])
def test_a_damaged_chunk_is_computed_again(tmp_path: Path, damage: str, caplog):
    wanted = everything(text_features(TEXTS, HashEncoder(), tmp_path, chunk=10))
    victim = chunks(tmp_path)[1]
    data = bytearray(victim.read_bytes())
    if damage == "shorter":  # whole and sound, but of another length: only its shape tells
        text_features(["one"], HashEncoder(), tmp_path / "other")
        data = bytearray(chunks(tmp_path / "other")[0].read_bytes())
    data[-3] ^= damage == "flip"
    victim.write_bytes({"cut": data[:-40], "empty": b""}.get(damage, data))
    encoder = HashEncoder()
    np.testing.assert_array_equal(everything(text_features(TEXTS, encoder, tmp_path, chunk=10)), wanted)
    assert 0 < encoder.asked <= 10
    assert "damaged" in caplog.text


def test_a_longer_list_keeps_the_chunks_before(tmp_path: Path):
    text_features(TEXTS, HashEncoder(), tmp_path, chunk=5)
    encoder = HashEncoder()
    text_features([*TEXTS, "one", "more"], encoder, tmp_path, chunk=5)
    assert encoder.asked == 2


def test_other_weights_templates_or_texts_are_other_features(tmp_path: Path):
    text_features(TEXTS, HashEncoder(), tmp_path)
    for encoder, texts, templates in (
        (HashEncoder("other"), TEXTS, ("{}",)),
        (HashEncoder(), TEXTS, ("a photo of a {}.",)),
        (HashEncoder(), TEXTS[::-1], ("{}",)),
    ):
        text_features(texts, encoder, tmp_path, templates=templates)
        assert encoder.asked == 25


def test_several_templates_are_averaged(tmp_path: Path):
    templates = ("a {}.", "the {}.")
    found = everything(text_features(TEXTS, HashEncoder(), tmp_path, chunk=10, templates=templates))
    parts = [HashEncoder().encode_texts([template.format(text) for text in TEXTS]) for template in templates]
    mean = np.mean(parts, axis=0)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)


def test_nothing_is_nothing(tmp_path: Path):
    assert text_features([], HashEncoder(), tmp_path).shape == (0, 8)


def test_what_is_not_finite_is_never_kept(tmp_path: Path):
    class Broken(HashEncoder):
        def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), 8), np.nan, dtype=np.float32)

    with pytest.raises(EncoderError, match="not finite"):
        text_features(TEXTS, Broken(), tmp_path)
    assert not chunks(tmp_path)


if __name__ == "__main__":  # the victim of the test above: a chunk every 20 milliseconds

    class Slow(HashEncoder):
        """Takes its time."""

        def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
            time.sleep(0.02)
            return super().encode_texts(texts)

    text_features(TEXTS, Slow(), Path(sys.argv[1]), chunk=1)
