"""Under ``accelerate launch`` (here torchrun's environment): one process keeps the folder, both train, one adapter."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.methods.fine_r1.fitted import pictures
from tests.mllm import tiny_models

LAUNCHED = """
import logging, sys, torch
from pathlib import Path
logging.disable(logging.WARNING)
torch.set_num_threads(1)
from tests.methods.fine_r1.fitted import fit
images, model, out = map(Path, sys.argv[1:])
told = fit(images, model, out)
again = fit(images, model, out)
print("told", bool(told), bool(again), flush=True)
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_make_one_run(tmp_path):
    logging.disable(logging.WARNING)
    model, images = tiny_models.llava(tmp_path / "llava"), pictures(tmp_path / "images")
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(script)]
    root, out = Path(__file__).parents[3], tmp_path / "two"
    done = subprocess.run(
        [*command, str(images), str(model), str(out)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.split("\n")[:2]) == ["told False False", "told True True"]
    steps = [json.loads(line)["step"] for line in (out / "reinforce/log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    replies = [json.loads(line) for line in (out / "reinforce/rollouts.jsonl").read_text().splitlines()]
    assert len(replies) == 3 * 2 * 2  # each prompt's replies once, whichever process sampled them
    assert (out / "adapter" / "adapter_model.safetensors").exists()
