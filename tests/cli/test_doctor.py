"""``fgvr doctor``: finds what is wrong, says what to do, tells no secret."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fgvr.cli import doctor_endpoint
from fgvr.cli.doctor import disk, threads
from fgvr.cli.doctor_check import Check
from fgvr.cli.doctor_models import parity, stored_parity
from fgvr.encoders import load_encoder
from fgvr.encoders.loading import file_digest
from fgvr.errors import EncoderError
from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.parity import FILE, compare
from tests.mllm.rude_server import serving

from .world import done, fgvr

KEY = "canary-0123456789"


def checks_of(*arguments: object) -> dict[str, dict[str, str]]:
    found = json.loads(fgvr("doctor", *arguments, "--json").stdout)
    assert all(check["remedy"] for check in found["checks"] if check["status"] != "ok"), "each fault says what to do"
    return {check["name"]: check for check in found["checks"]}


def test_a_sound_installation_passes(world, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    found = json.loads(done("doctor", "--encoder", world.encoder, "--json").stdout)
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert checks["encoder parity"]["status"] == checks["embedded parity"]["status"] == "ok"
    assert {"python", "packages", "torch", "threads", "torchvision", "disk", "hub", "endpoint"} <= checks.keys()


# --- endpoint ---------------------------------------------------------------------------------------------------------


@contextmanager
def listing(status: int = 200, body: bytes = b"{}", *, delay: float = 0.0, location: str = "") -> Iterator[list[str]]:
    """A service whose ``GET`` answers so; yields [address, the Authorization headers it saw ...]."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            seen.append(f"{self.path} {self.headers.get('authorization', '')}")
            time.sleep(delay)
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *_: object) -> None:
            pass  # a client that gave up waiting

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    seen.append(f"http://127.0.0.1:{server.server_address[1]}/v1")
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(monkeypatch: pytest.MonkeyPatch, address: str, model: str = "openai:little-model") -> list[Check]:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return list(doctor_endpoint.endpoint(model))


MODELS = json.dumps({"data": [{"id": "little-model"}, {"id": "large-model"}, {"id": f"echo-{KEY}"}]}).encode()


def test_a_dead_endpoint_fails_and_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:canary-password@127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    result = fgvr("doctor")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stdout
    assert "canary" not in result.output


def test_a_live_endpoint_is_reached_without_a_question(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert checks_of()["endpoint"]["status"] == "ok"
    assert server.calls == []


def test_a_listed_model_passes_and_a_misspelt_one_is_told_its_neighbours(monkeypatch):
    with listing(body=MODELS) as seen:
        reached, model = asked(monkeypatch, seen[0])
        assert (reached.status, model.status) == ("ok", "ok")
        assert seen[1:] == [f"/v1/models Bearer {KEY}"]
        misspelt = asked(monkeypatch, seen[0], "openai:litle-model")[1]
        echoed = asked(monkeypatch, seen[0], f"openai:echo-{KEY}x")[1]
    assert misspelt.status == "fail"
    assert "little-model" in misspelt.remedy
    assert "canary" not in echoed.remedy


@pytest.mark.parametrize(
    ("status", "verdict", "remedy"),
    [
        (401, "fail", "OPENAI_API_KEY"),
        (403, "fail", "another key"),
        (404, "warn", "/v1"),
        (429, "warn", "quota"),
        (503, "fail", "later"),
    ],
)
def test_a_refusal_says_what_to_do(monkeypatch, status, verdict, remedy):
    with listing(status) as seen:
        model = asked(monkeypatch, seen[0])[1]
    assert model.status == verdict
    assert str(status) in model.found
    assert remedy in model.remedy


def test_a_redirect_does_not_carry_the_key_away(monkeypatch):
    with listing(body=MODELS) as elsewhere, listing(302, location=f"{elsewhere[0]}/models") as seen:
        model = asked(monkeypatch, seen[0])[1]
        assert elsewhere[1:] == []
    assert model.status == "fail"
    assert "302" in model.found


def test_a_service_that_hangs_and_one_that_talks_nonsense(monkeypatch):
    monkeypatch.setattr(doctor_endpoint, "TIMEOUT", 0.2)
    with listing(body=MODELS, delay=1.0) as seen:
        slow = asked(monkeypatch, seen[0])[1]
    assert (slow.status, "no answer within" in slow.found) == ("fail", True)
    for body in (b"<html>", b'{"data": 3}', b"[]"):
        with listing(body=body) as seen:
            assert asked(monkeypatch, seen[0])[1].status == "warn"


# --- this machine -----------------------------------------------------------------------------------------------------


def test_a_folder_that_takes_no_file_and_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    (found,) = disk(Path("/proc"))
    assert (found.status, bool(found.remedy)) == ("fail", True)
    (found,) = disk(tmp_path / "absent")
    assert found.status == "fail"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("usage", (), {"free": 2**20})())
    (found,) = disk(tmp_path)
    assert found.status == "warn"
    assert list(tmp_path.iterdir()) == []


def test_too_few_threads_are_noticed(monkeypatch):
    monkeypatch.setattr("fgvr.images.available_cpus", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads(used).status for used in (16, 8, 4, 64)] == ["ok", "ok", "warn", "warn"]
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads(8).status == "warn"
    assert "OMP_NUM_THREADS is 8" in threads(8).found


# --- encoders ---------------------------------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def weights() -> str:
    return file_digest(weights_folder("encoder") / "model.safetensors")


def test_another_resize_filter_or_a_damaged_weight_breaks_the_stored_parity(tmp_path, weights):
    folder = shutil.copytree(weights_folder("encoder"), tmp_path / "encoder")
    sound = stored_parity(load_encoder(folder), weights)
    assert sound.status == "ok", sound.found
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["image_processor"]["resample"] = 2  # bilinear
    (folder / "processor_config.json").write_text(json.dumps(settings))
    other = stored_parity(load_encoder(folder), weights)
    assert (other.status, bool(other.remedy)) == ("fail", True)
    assert compare(load_encoder(folder), weights_sha256=weights).difference > 10 * 5e-4
    with pytest.raises(EncoderError, match="weights are not those"):
        compare(load_encoder(folder), weights_sha256="0" * 64)


def test_other_drawings_are_told_from_other_features(tmp_path, weights):
    stored = json.loads(FILE.read_text())
    stored["pictures"][0]["pixels"] = "0" * 64
    (tmp_path / "parity.json").write_text(json.dumps(stored))
    found = compare(load_encoder("fieldguide"), weights_sha256=weights, file=tmp_path / "parity.json")
    assert (found.redrawn, found.pictures, found.holds) == (7, 8, False)
    assert found.difference < 1e-5
    (tmp_path / "parity.json").write_text(FILE.read_text()[:1000])
    with pytest.raises(EncoderError, match="cannot be read"):
        compare(load_encoder("fieldguide"), weights_sha256=weights, file=tmp_path / "parity.json")


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(fitted, tmp_path) -> Path:
    return shutil.copytree(fitted, tmp_path / "run")


def test_a_whole_run_passes(run):
    checks = checks_of("--run", run)
    assert all(check["status"] == "ok" for name, check in checks.items() if name.startswith(("run", "stage", "ledger")))
    assert "8 support images" in checks["run features"]["found"]


def test_a_damaged_file_and_a_damaged_ledger_line_are_named(run):
    with (run / "classifier" / "classifier.safetensors").open("ab") as file:
        file.write(b"x")
    lines = (run / "labels.jsonl").read_bytes().splitlines(keepends=True)
    (run / "labels.jsonl").write_bytes(b"".join([lines[0][:20] + b"\n", *lines[1:], b'{"torn']))
    checks = checks_of("--run", run)
    assert checks["stage fit"]["status"] == "fail"
    assert "classifier/classifier.safetensors" in checks["stage fit"]["found"]
    assert checks["ledger labels.jsonl"]["status"] == "warn"
    assert "1 damaged, the last one torn" in checks["ledger labels.jsonl"]["found"]


def test_another_encoder_is_noticed(run, tmp_path):
    from tests.encoders.tiny import save

    other = checks_of("--run", run, "--encoder", save("clip", tmp_path / "other", seed=5))
    assert other["run features"]["status"] == "fail"
    assert "--encoder" in other["run features"]["remedy"]


def test_other_features_from_the_same_encoder_are_noticed(run):
    from fgvr.methods.near.classifier import Classifier

    classifier = Classifier.load(run / "classifier")
    assert classifier.support is not None
    classifier.support[0] = classifier.support[0][::-1]
    classifier.save(run / "classifier")
    assert checks_of("--run", run)["run features"]["status"] == "fail"


def test_moved_photographs_are_a_warning(run):
    rows = [json.loads(line) for line in (run / "support.jsonl").read_text().splitlines()]
    (run / "support.jsonl").write_text("".join(json.dumps(row | {"path": "/nowhere"}) + "\n" for row in rows))
    assert checks_of("--run", run)["run features"]["status"] == "warn"


def test_what_is_no_run_is_refused(tmp_path):
    found = checks_of("--run", tmp_path)["run"]
    assert found["status"] == "fail"
    assert "not a run folder" in found["found"]
