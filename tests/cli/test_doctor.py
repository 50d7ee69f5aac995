"""``fgvr doctor``: finds what is wrong, says what to do, tells no secret."""

from __future__ import annotations

import json

import numpy as np

from fgvr.cli.doctor import parity
from tests.mllm.rude_server import serving

from .world import done, fgvr


def test_a_sound_installation_passes(world, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    found = json.loads(done("doctor", "--encoder", world.encoder, "--json").stdout)
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert checks["encoder parity"]["status"] == "ok"
    assert {"python", "packages", "torch", "torchvision", "disk", "hub", "endpoint"} <= checks.keys()


def test_a_dead_endpoint_fails_and_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:canary-password@127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    result = fgvr("doctor")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stdout
    assert "canary" not in result.output


def test_a_live_endpoint_is_reached_without_a_question(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        found = json.loads(fgvr("doctor", "--json").stdout)
    endpoint = next(check for check in found["checks"] if check["name"] == "endpoint")
    assert endpoint["status"] == "ok"
    assert server.calls == []


def test_an_encoder_that_cannot_be_loaded_fails(tmp_path):
    result = fgvr("doctor", "--encoder", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "no such folder" in result.stdout


def test_parity_fails_for_an_encoder_whose_features_depend_on_the_batch():
    class Drifting:
        def encode_images(self, images):
            rows = np.ones((len(images), 4), dtype=np.float32) + np.float32(0.01) * len(images) * np.eye(1, 4)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    class Sound:
        def encode_images(self, images):
            return np.full((len(images), 4), 0.5, dtype=np.float32)

    assert parity(Drifting()).status == "fail"
    assert parity(Sound()).status == "ok"
