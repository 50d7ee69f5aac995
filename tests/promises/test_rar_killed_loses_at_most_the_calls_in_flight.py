"""Promised: ``kill -9`` at any moment of a RAR fit or of its predictions costs at most the calls in flight; the same
commands, given again, end with the memory, the rules and the predictions of a run that was never disturbed. Under a
spending cap the bill stays below it over all the kills, and what could not be asked is named by retrieval.

Real processes, real SIGKILL, at random moments: six by default, a hundred with ``-m slow``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from fgvr.data import read_predictions
from fgvr.memory import Memory
from fgvr.mllm import spent_in
from fgvr.runs import Ledger
from tests.promises.killing import CONCURRENCY
from tests.promises.rar_victims import CAP, CAPPED, DOLLARS, OPEN, STAGES

DUST = 1e-9
"""Dollars by which a sum of floats may be off."""


class Killed(NamedTuple):
    root: Path
    runs: list[dict[str, Any]]

    def of(self, scenario: str) -> list[tuple[Path, list[str]]]:
        return [(Path(run["folder"]), run["landed"]) for run in self.runs if run["scenario"] == scenario]


@pytest.fixture(scope="module", params=[6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    root = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "tests.promises.rar_victims", str(root), str(request.param), "3"]
    place = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    runs = json.loads((root / "killed.json").read_text())
    landed = Counter(stage for run in runs for stage in run["landed"])
    assert landed.total() >= request.param
    assert len(landed.keys() & set(STAGES)) >= 2, landed
    return Killed(root, runs)


def asked(folder: Path) -> int:
    """Calls by all processes that ever worked in FOLDER."""
    return len((folder / "calls.log").read_text().splitlines())


def answers(folder: Path) -> Counter[str]:
    """Finished answers by item and key."""
    lines = Ledger(folder / "run" / "ranks.jsonl").records()
    return Counter(f"{line['item']} {line['key']}" for line in lines if line.get("status") == "done")


def test_the_repeated_commands_end_as_if_nothing_had_happened(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    memory = Memory.load(reference / "run" / "memory")
    for folder, landed in killed.of(OPEN):
        for name in ("run/rar.json", "run/support.jsonl", "predictions.jsonl"):
            assert (folder / name).read_bytes() == (reference / name).read_bytes(), (name, landed)
        found = Memory.load(folder / "run" / "memory", verify=True)
        assert (found.names, found.images.hashes) == (memory.names, memory.images.hashes)
        np.testing.assert_array_equal(found.images.vectors, memory.images.vectors)
        np.testing.assert_array_equal(found.texts.vectors, memory.texts.vectors)
        assert answers(folder).keys() == answers(reference).keys()


def test_no_finished_question_is_asked_again(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    assert asked(reference) == len(answers(reference)) > 30
    for folder, landed in killed.of(OPEN):
        assert set(answers(folder).values()) == {1}
        in_flight = sum(stage in ("calibrate", "predict") for stage in landed) * CONCURRENCY
        assert asked(reference) <= asked(folder) <= asked(reference) + in_flight, landed


def test_the_bill_stays_below_the_cap_over_all_kills(killed: Killed) -> None:
    items = len(read_predictions(killed.root / f"{OPEN}-reference" / "predictions.jsonl"))
    for folder, landed in [(killed.root / f"{CAPPED}-reference", []), *killed.of(CAPPED)]:
        bill = asked(folder) * DOLLARS
        assert 0 < bill <= CAP + DUST, landed
        # What a killed session had at stake counts as spent, calls that were answered in the meantime twice.
        assert bill <= spent_in(Ledger(folder / "run" / "ranks.jsonl")) + DUST, landed
        assert (folder / "stopped").read_text() == "budget"
        assert len(read_predictions(folder / "predictions.jsonl")) == items
