"""Labelling works through a server that this project did not write: ``transformers serve`` hosting the embedded model.

Opt-in (``-m slow``), and only where the packages it needs are installed: ``pip install "transformers[serving]"``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from fgvr.mllm import Request, ask_all, load_mllm
from fgvr.naming.prompts import PAPER_PROMPT
from tests.cli.world import done

MISSING = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}"),
]
MODEL = str(weights_folder("mllm"))
START = "from transformers.cli.transformers import main; main()"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's base URL, once it answers; the process is ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", START, "serve", MODEL, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 180) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the server did not come up:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index, species in enumerate(all_species()[::9][:12]):
        render(species, index, size=96).image.save(folder / f"{index:02}.png")
    return folder


def test_a_server_we_did_not_write_says_what_the_model_says_here(address: str, photographs: Path) -> None:
    """Greedy decoding on both sides. Only the picture differs a little: it travels as JPEG."""
    requests = [Request(path.name, PAPER_PROMPT, (path,)) for path in sorted(photographs.iterdir())]
    there = ask_all(requests, load_mllm(f"openai:{MODEL}", base_url=address), concurrency=4)
    here = ask_all(requests, load_mllm(f"local:{MODEL}"))
    assert there.failures == {}
    pairs = [(there.replies[request.item_id], here.replies[request.item_id]) for request in requests]
    assert all(far.usage.input_tokens == near.usage.input_tokens for far, near in pairs)
    assert sum(far.text.strip() == near.text for far, near in pairs) >= 10
    assert all(
        far.usage.output_tokens == near.usage.output_tokens and far.finish == near.finish
        for far, near in pairs
        if far.text.strip() == near.text
    )
    assert not there.estimated


def test_the_command_line_labels_through_it(
    address: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    command = ("label", photographs, "--out", tmp_path / "run", "--mllm", f"openai:{MODEL}", "--json")
    summary = json.loads(done(*command).stdout)
    assert (summary["answered"], summary["named"], summary["usage"]["calls"]) == (12, 12, 12)
    assert json.loads(done(*command).stdout)["usage"]["calls"] == 0
