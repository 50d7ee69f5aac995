"""Promised: ``kill -9`` at any moment of labelling, feature extraction, training or prediction costs at most the calls
in flight. The same command, given again, ends with the ledger and the result of a run that was never disturbed; what
was trained before the kill is gone on with bit for bit, and finished folds of a cross-fit are not computed again.

Real processes, real SIGKILL, at random moments: twenty by default, two hundred with ``-m slow``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import killing, verdict
from tests.promises.killing import ACTIVITIES, CONCURRENCY, Report


@pytest.fixture(scope="module", params=[20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, int]:
    """What the executioner did; see ``killing.py``."""
    root, kills = tmp_path_factory.mktemp("killing"), request.param
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "tests.promises.killing", str(root), str(kills), "7"]
    place = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return killing.read_report(root / "report.json"), kills


def test_as_many_kills_as_promised_met_living_processes(executed: tuple[Report, int]) -> None:
    report, kills = executed
    assert report.kills() >= kills
    assert report.fewest() >= killing.least(kills) >= 3, report.activities()
    if kills >= 200:
        landed = {stage for run in report.runs for stage in run.landed}
        assert set(ACTIVITIES) - landed <= {"start", "write", "save"}, "these last milliseconds and may be missed"


def test_the_resumed_runs_ledger_and_result_equal_the_uninterrupted_runs(executed: tuple[Report, int]) -> None:
    report, _ = executed
    for run in report.runs:
        reference = Path(report.references[run.scenario])
        assert not verdict.differences(reference, Path(run.folder)), run
        assert set(verdict.items_done(Path(run.folder)).values()) == {1}


def test_at_most_the_calls_in_flight_are_repeated(executed: tuple[Report, int]) -> None:
    report, _ = executed
    for run in report.runs:
        folder = Path(run.folder)
        needed = verdict.items_asked(Path(report.references[run.scenario]))
        assert verdict.calls(Path(report.references[run.scenario])) == needed
        # Only a kill that landed while labelling can have had calls in flight.
        assert verdict.calls(folder) <= needed + run.landed.count("label") * CONCURRENCY, run


def test_a_kill_leaves_at_most_one_temporary_file_which_nothing_reads(executed: tuple[Report, int]) -> None:
    report, _ = executed
    for run in report.runs:
        assert len(verdict.litter(Path(run.folder))) <= len(run.landed)
