"""Promised: ``kill -9`` at any moment of a comparison costs at most the calls in flight; the same command, given again,
ends with the rows, names and tables of one that was never disturbed. What several methods ask is paid once, over all
kills, and under a cap the bill stays below it.

Real processes, real SIGKILL, at random moments: four by default, eighty with ``-m slow``.
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

from fgvr.compare.replies import answers, ledgers, paid
from fgvr.runs import Ledger
from tests.promises.compare_victims import CAP, CAPPED, DOLLARS, METHODS, OPEN, SEEDS
from tests.promises.killing import CONCURRENCY

DUST = 1e-9
"""Dollars by which a sum of floats may be off."""
CHANCE = {"seconds", "paid", "usage"}
"""Of a row: its wall clock; and which method was the first to ask, after kills."""


class Killed(NamedTuple):
    root: Path
    runs: list[dict[str, Any]]

    def of(self, scenario: str) -> list[tuple[Path, list[str]]]:
        return [(Path(run["folder"]), run["landed"]) for run in self.runs if run["scenario"] == scenario]


@pytest.fixture(scope="module", params=[4, pytest.param(80, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    root = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "tests.promises.compare_victims", str(root), str(request.param), "5"]
    place = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    runs = json.loads((root / "killed.json").read_text())
    landed = Counter(stage for run in runs for stage in run["landed"])
    assert landed.total() >= request.param
    assert len(landed) >= 2, landed
    return Killed(root, runs)


def calls(folder: Path) -> int:
    """By all processes that ever worked in FOLDER."""
    return len((folder / "calls.log").read_text().splitlines())


def rows(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "run" / "comparison.json").read_bytes())["rows"]
    return [{key: value for key, value in row.items() if key not in CHANCE} for row in found]


def test_the_repeated_command_ends_as_if_nothing_had_happened(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    names = sorted(file.relative_to(reference) for file in reference.rglob("named.jsonl"))
    assert len(names) == 2 * len(SEEDS) * len(METHODS)
    for folder, landed in killed.of(OPEN):
        assert rows(folder) == rows(reference), landed
        for name in names:
            assert (folder / name).read_bytes() == (reference / name).read_bytes(), (name, landed)
        assert (folder / "run" / "page.html").exists()
        usage = [
            [row["usage"]["calls"] for row in json.loads((place / "run" / "comparison.json").read_bytes())["rows"]]
            for place in (reference, folder)
        ]
        assert usage[0] == usage[1], landed  # as if alone, whoever was the first to ask


def test_no_finished_question_is_asked_again(killed: Killed) -> None:
    reference = killed.root / f"{OPEN}-reference"
    for folder, landed in killed.of(OPEN):
        own = [str(a["key"]) for file in ledgers(folder / "run") for a in answers(Ledger(file)) if not a["cached"]]
        assert len(own) == len(set(own)) == calls(reference), landed
        assert calls(reference) <= calls(folder) <= calls(reference) + CONCURRENCY * len(landed), landed


def test_the_bill_stays_below_the_cap_over_all_kills(killed: Killed) -> None:
    for folder, landed in [(killed.root / f"{CAPPED}-reference", []), *killed.of(CAPPED)]:
        bill = calls(folder) * DOLLARS
        assert 0.3 * CAP < bill <= CAP + DUST, landed
        assert bill <= paid(ledgers(folder / "run")) + DUST, landed
        states = {row["status"] for row in rows(folder)}
        assert "stopped" in states
        assert "failed" not in states, [row["error"] for row in rows(folder)]
