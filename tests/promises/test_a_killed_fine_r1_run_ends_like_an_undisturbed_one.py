"""A Fine-R1 run killed in its fine-tuning or in its reinforcement ends with the adapter of an undisturbed one, asks the
teacher nothing twice and learns from no reply twice."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.methods.fine_r1.fitted import fit, pictures, teaching
from tests.mllm import tiny_models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def undisturbed(model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    fit(images, model, out)
    return out


VICTIM = """
import logging, sys, torch
from pathlib import Path
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from tests.methods.fine_r1.fitted import fit
images, model, out = map(Path, sys.argv[1:])
fit(images, model, out)
"""


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param("sft/checkpoints/step-00000002/checkpoint.json", marks=pytest.mark.slow),
        "reinforce/checkpoints/step-00000001/checkpoint.json",
    ],
)
def test_a_killed_run_ends_like_an_undisturbed_one(undisturbed, images, model, tmp_path, sign):
    out = tmp_path / "run"
    command = [sys.executable, "-c", VICTIM, str(images), str(model), str(out)]
    victim = subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 500
        while not (out / sign).exists() and victim.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert (out / sign).exists()
    assert not (out / "summary.json").exists()
    asked: list[str] = []
    fit(images, model, out, teaching=teaching(asked))
    assert asked == []
    ours, theirs = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (out, undisturbed))
    for name, value in theirs.items():
        assert abs(ours[name] - value).max() < 1e-5, name
    lines, wanted = ((place / "reinforce" / "rollouts.jsonl").read_text() for place in (out, undisturbed))
    assert [json.loads(line)["reply"] for line in lines.splitlines()] == [
        json.loads(line)["reply"] for line in wanted.splitlines()
    ]
