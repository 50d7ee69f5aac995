"""Promised: ``kill -9`` at any moment of a student's fit costs at most the calls in flight. The same command, given
again, asks about the very images the first one had chosen, first and second opinions alike, and ends with the
classifier of a fit that was never disturbed. Under a spending cap the bill stays below it over all the kills.

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

import pytest

from fgvr.mllm import spent_in
from fgvr.runs import Ledger
from tests.promises.killing import CONCURRENCY
from tests.promises.student_victims import CAP, CAPPED, DOLLARS, LABELS, OPEN, STAGES

DUST = 1e-9
"""Dollars by which a sum of floats may be off."""
RESULTS = (
    "classifier/classifier.json",
    "classifier/classifier.safetensors",
    "support.jsonl",
    "pool.jsonl",
    "unknown_groups.json",
)


class Killed(NamedTuple):
    root: Path
    runs: list[dict[str, Any]]

    def of(self, scenario: str) -> list[tuple[Path, list[str]]]:
        return [(Path(run["folder"]), run["landed"]) for run in self.runs if run["scenario"] == scenario]


@pytest.fixture(scope="module", params=[6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    root = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "tests.promises.student_victims", str(root), str(request.param), "3"]
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


def answers(folder: Path) -> Counter[tuple[str, str]]:
    """Finished answers by ledger and item."""
    return Counter(
        (name, line["item"])
        for name in ("labels", "second")
        for line in Ledger(folder / "run" / f"{name}.jsonl").records()
        if line.get("status") == "done"
    )


def test_the_repeated_fit_ends_as_if_nothing_had_happened(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    for folder, landed in killed.of(OPEN):
        for name in RESULTS:
            assert (folder / "run" / name).read_bytes() == (reference / "run" / name).read_bytes(), (name, landed)
        assert answers(folder) == answers(reference)


def test_no_finished_question_is_asked_again(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    needed = answers(reference)
    stages = Counter(ledger for ledger, _ in needed)
    assert set(needed.values()) == {1}
    assert stages["labels"] == LABELS * 3 // 4
    assert 0 < stages["second"] <= LABELS // 4
    assert asked(reference) == len(needed)
    for folder, landed in killed.of(OPEN):
        # A stage is known by its reports, and its first questions are out before the first of them: a kill that seems
        # to have landed in the stage before ("features", "learn") may have cost calls in flight, too.
        in_flight = sum(stage != "save" for stage in landed) * CONCURRENCY
        assert len(needed) <= asked(folder) <= len(needed) + in_flight, landed


def test_the_bill_stays_below_the_cap_over_all_kills(killed: Killed) -> None:
    for folder, landed in [(killed.root / f"{CAPPED}-reference", []), *killed.of(CAPPED)]:
        bill = asked(folder) * DOLLARS
        assert 0 < bill <= CAP + DUST, landed
        spent = sum(spent_in(Ledger(folder / "run" / f"{name}.jsonl")) for name in ("labels", "second"))
        # What a killed session had at stake counts as spent.
        assert bill <= spent + DUST, landed
        recorded = json.loads((folder / "run" / "manifest.json").read_text())["recorded"]
        assert recorded["stopped"] == "budget"
