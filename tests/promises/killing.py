"""The executioner: runs whole fits and labellings in forked children and kills them with SIGKILL at drawn moments.

Run as a process of its own, ``python -m tests.promises.killing FOLDER KILLS SEED``: it imports everything once, stays
single-threaded, and forks a child for every attempt. A child tells through a pipe which stage it enters. First every
scenario runs undisturbed; its stages are timed. Then, in fresh run folders, children are killed a random time after
they entered a random stage, until one is left alone and finishes. ``FOLDER/report.json`` says what happened where;
judging is left to the test.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

CONCURRENCY = 4
ACTIVITIES = {
    "start": "elsewhere",
    "read": "labelling",
    "label": "labelling",
    "write": "labelling",
    "features": "features",
    "space": "elsewhere",
    "select": "training",
    "tune": "training",
    "calibrate": "training",
    "save": "training",
    "predict": "prediction",
}
"""What a stage belongs to."""
PROMISED = ("labelling", "features", "training", "prediction")
END = "end"

Work = Callable[[Path, Callable[[str], None]], None]
"""One scenario: everything a user's process would do in FOLDER, saying which stage it enters."""


@dataclass
class KilledRun:
    """What happened in one run folder: killed again and again, then left to finish."""

    scenario: str
    folder: str
    landed: list[str] = field(default_factory=list)
    """The stage each kill hit."""


@dataclass
class Report:
    """All that the test needs to know."""

    references: dict[str, str] = field(default_factory=dict)
    """Run folder of each scenario's undisturbed run."""
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    runs: list[KilledRun] = field(default_factory=list)
    missed: int = 0
    """Attempts whose child had finished before its kill came; not counted."""

    def kills(self) -> int:
        return sum(len(run.landed) for run in self.runs)

    def activities(self) -> Counter[str]:
        return Counter(ACTIVITIES[stage] for run in self.runs for stage in run.landed)

    def fewest(self) -> int:
        """Kills of the activity, among the four that are promised, that was hit least."""
        hits = self.activities()
        return min(hits[activity] for activity in PROMISED)


def least(kills: int) -> int:
    """How often each promised activity has to be hit."""
    return kills * 3 // 20


class Child:
    """A forked process at work; ``entered`` holds (stage, time) in order."""

    def __init__(self, work: Work, folder: Path) -> None:
        assert _threads() == 1, "forking a process with threads is not safe"
        self.entered: list[tuple[str, float]] = []
        self._pipe, writing = os.pipe()
        self._buffer = b""
        self.started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _be_child(work, folder, writing)
        os.close(writing)

    def run_until(self, stage: str | None, *, timeout: float = 120.0) -> bool:
        """Listen until the child enters ``stage`` (True) or ends (False)."""
        ends = time.monotonic() + timeout
        while time.monotonic() < ends:
            if stage is not None and any(name == stage for name, _ in self.entered):
                return True
            if not self._listen(ends - time.monotonic()):
                return False
        self.kill()
        raise RuntimeError(f"the child has not come to {stage} in {timeout:.0f} s; it entered {self.entered}")

    def listen_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and self._listen(left):
            pass

    def kill(self) -> bool:
        """SIGKILL; True when it met a living child. ``entered`` then holds all that the child ever said."""
        os.kill(self.pid, signal.SIGKILL)
        status = self.wait()
        while self._listen(1.0):
            pass
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        return status

    def _listen(self, timeout: float) -> bool:
        """Take in what the child says; False when it will say no more."""
        ready, _, _ = select.select([self._pipe], [], [], max(0.0, timeout))
        if not ready:
            return True
        data = os.read(self._pipe, 4096)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.entered += [(line.decode(), time.monotonic()) for line in lines]
        return bool(data)

    def close(self) -> None:
        os.close(self._pipe)


def _threads() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Threads:")))


def _be_child(work: Work, folder: Path, pipe: int) -> None:
    """Never returns: the parent's stack is not the child's to unwind."""
    status = 1
    try:
        log = os.open(folder / "child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(log, 1)
        os.dup2(log, 2)
        last = ""

        def enter(stage: str) -> None:
            nonlocal last
            if stage != last:
                last = stage
                os.write(pipe, f"{stage}\n".encode())

        enter("start")
        _renew_torch_threads()
        work(folder, enter)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _renew_torch_threads() -> None:
    """After a fork torch replaces its thread pool at first use, and two threads that do so at once break it."""
    import torch

    torch.set_num_threads(1)


def finish(work: Work, folder: Path) -> list[tuple[str, float]]:
    """Let a child run to its end; returns the stages it entered and when, seconds from its start. It must succeed."""
    child = Child(work, folder)
    child.run_until(None)
    status = child.wait()
    child.close()
    if status != 0:
        raise RuntimeError(f"a child failed in {folder}:\n{(folder / 'child.log').read_text()[-4000:]}")
    return [(stage, at - child.started) for stage, at in child.entered]


def attempt(work: Work, folder: Path, *, stage: str, delay: float) -> str | None:
    """Kill a child ``delay`` seconds after it entered ``stage``; where it landed, None if the child was faster."""
    child = Child(work, folder)
    if child.run_until(stage):
        child.listen_for(delay)
    hit = child.kill()
    child.close()
    landed = child.entered[-1][0] if child.entered else "start"
    return landed if hit and landed != END else None


def execute(scenarios: dict[str, Work], root: Path, *, kills: int, seed: int) -> Report:
    """Undisturbed runs, then at least ``kills`` kills, spread evenly over activities and their stages."""
    report, rng = Report(), random.Random(seed)
    for name, work in scenarios.items():
        folder = root / f"{name}-reference"
        folder.mkdir()
        entered = finish(work, folder)
        ends = [at for _, at in entered[1:]]
        report.references[name] = str(folder)
        report.seconds[name] = {stage: end - at for (stage, at), end in zip(entered, ends)}
    names = list(scenarios)
    while report.kills() < kills or report.fewest() < least(kills):
        name = names[len(report.runs) % len(names)]
        folder = root / f"{name}-{len(report.runs):03d}"
        folder.mkdir()
        run = KilledRun(name, str(folder))
        report.runs.append(run)
        for _ in range(rng.randint(1, 4)):
            stage, longest = _aim(report, name, rng)
            landed = attempt(scenarios[name], folder, stage=stage, delay=rng.random() * longest)
            if landed is None:
                report.missed += 1
                break
            run.landed.append(landed)
        finish(scenarios[name], folder)
        if report.kills() + report.missed > 4 * kills + 20:
            raise RuntimeError(f"{report.missed} children were too fast to be killed; hit: {report.activities()}")
    return report


def _aim(report: Report, scenario: str, rng: random.Random) -> tuple[str, float]:
    """A stage of the activity hit least so far (of those in this scenario), and how long it lasts undisturbed."""
    seconds = report.seconds[scenario]
    stages = Counter(stage for run in report.runs for stage in run.landed)
    activities = report.activities()
    elsewhere = rng.random() < 0.1
    aimed = [stage for stage in seconds if (ACTIVITIES[stage] in PROMISED) != elsewhere]
    stage = min(aimed, key=lambda stage: (activities[ACTIVITIES[stage]], stages[stage], rng.random()))
    return stage, seconds[stage]


def main() -> None:
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import torch
    import tqdm

    from tests.promises.victims import scenarios

    tqdm.tqdm.monitor_interval = 0  # it would start a thread, and a process with threads must not fork
    torch.set_num_threads(1)
    report = execute(scenarios(root), root, kills=kills, seed=seed)
    (root / "report.json").write_text(json.dumps(asdict(report)))


def read_report(file: Path) -> Report:
    values = json.loads(file.read_text())
    return Report(**{**values, "runs": [KilledRun(**run) for run in values["runs"]]})


if __name__ == "__main__":
    main()
