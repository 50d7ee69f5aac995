"""Two processes on one run folder: the second stops at once with a clear message, and nothing is damaged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mllm.rude_server import Answer, RudeServer, completion, serving
from tests.promises.commands import fgvr, starting

KEY = {"OPENAI_API_KEY": "canary-0123456789"}


@contextmanager
def patient() -> Iterator[tuple[RudeServer, threading.Event, threading.Event]]:
    """A service that answers nothing until it is let go: (server, has been asked, may answer)."""
    asked, may_answer = threading.Event(), threading.Event()

    def script(number: int, body: dict) -> Answer:
        asked.set()
        may_answer.wait(120)
        return Answer(completion(f"Warbler {number % 4}"))

    with serving(script) as server:
        try:
            yield server, asked, may_answer
        finally:
            may_answer.set()


def turned_away(command: tuple[object, ...], run: Path, ledger: str) -> None:
    """Start ``command``, and again while it is at work; let the first finish; look at what is there."""
    with patient() as (server, asked, may_answer):
        env = {**KEY, "OPENAI_BASE_URL": server.url}
        first = starting(*command, **env)
        assert asked.wait(120)
        second = fgvr(*command, **env)
        before = len(server.calls)
        may_answer.set()
        _, err = first.communicate(timeout=240)
    assert second.code == 1
    assert "another process is at work in this run folder" in second.err
    assert f"pid {first.pid} " in second.err
    assert "Traceback" not in second.err
    assert first.returncode == 0, err
    assert before <= 2
    answers = [json.loads(line) for line in (run / ledger).read_text().splitlines()]
    items = [line["item"] for line in answers]
    assert len(items) == len(set(items)) == len(server.calls) == 8
    assert len(json.loads((run / "manifest.json").read_text())["sessions"]) == 1
    again = fgvr(*command, **env)
    assert again.code == 0, again.err
    assert len(server.calls) == 8


def test_a_second_labelling_is_turned_away(world, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("label", world.photographs, "--out", run, "--mllm", "openai:m", "--limit", 8, "--concurrency", 2)
    turned_away(command, run, "ledger.jsonl")


def test_a_second_fit_is_turned_away(world, tmp_path: Path) -> None:
    run = tmp_path / "run"
    quick = ("--preset", "lite", "--epochs", 1, "--folds", 0, "--support", 8, "--concurrency", 2)
    command = ("fit", "near", world.photographs, "--out", run, "--mllm", "openai:m", "--encoder", world.encoder, *quick)
    turned_away(command, run, "labels.jsonl")
    assert (run / "report.html").exists()
