"""Spending never passes the cap, at any concurrency, over any number of killed and resumed runs.

The bill is always the server's own: it counts every question it received, whether its answer was used or not.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgvr.mllm import Backoff, Budget, Parameters, Price, Request, ScriptedMllm, ask_all, spent_in
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger
from tests.cli.world import done, fgvr
from tests.mllm import label_once
from tests.mllm.rude_server import Answer, completion, serving

PRICES = {"m": Price(10.0, 50.0)}
QUICK = Backoff(base=0.005, cap=0.02)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def test_spending_never_passes_the_cap_at_64_way_concurrency(tmp_path: Path) -> None:
    limit, parameters = 0.02, Parameters(max_tokens=20)
    requests = [Request(str(i), f"question {i}", parameters=parameters) for i in range(300)]
    budget, ledger = Budget(limit), Ledger(tmp_path / "l.jsonl")
    most = completion("x", tokens=(30, 20))
    answers_of = [Answer(), Answer(cut=10), Answer(most), Answer(b"{}", status=500), Answer({"error": "late"})]
    dollars = [10 * 10 + 2 * 50, 10 * 10 + 2 * 50, 30 * 10 + 20 * 50, 0, 10 * 10 + 2 * 50]
    with serving(lambda n, _: answers_of[n % 5]) as server:
        mllm = OpenAIMllm("m", base_url=server.url, timeout=5)
        answers = ask_all(
            requests, mllm, ledger=ledger, concurrency=64, budget=budget, prices=PRICES, attempts=3, backoff=QUICK
        )
    bill = sum(dollars[n % 5] for n in range(len(server.calls))) / 1e6
    assert 0.3 * limit < bill <= limit  # doubts take the rest
    assert bill <= budget.spent + budget.doubtful <= limit
    assert spent_in(ledger) == pytest.approx(budget.spent + budget.doubtful)
    assert answers.stopped == "budget"
    assert answers.not_asked


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_spending_never_passes_the_cap_over_killed_and_resumed_runs(seed: int, tmp_path: Path) -> None:
    """Real SIGKILLs. A call in flight at the kill has an unknown fate: later runs count it as spent."""
    limit, count, rng = 0.012, 80, random.Random(seed)
    per_call = label_once.PRICE.cost(input_tokens=40, output_tokens=label_once.MAX_TOKENS)
    ledger = tmp_path / "l.jsonl"
    command = [sys.executable, "-m", "tests.mllm.label_once"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with serving(lambda *_: Answer(completion("x", tokens=(40, label_once.MAX_TOKENS)), delay=0.03)) as server:
        command += [server.url, str(ledger), str(count), str(limit)]
        for _ in range(3):
            before = len(server.calls)
            process = subprocess.Popen(command, env=environment)
            while len(server.calls) <= before and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.08))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert len(server.calls) * per_call <= spent_in(Ledger(ledger)) <= limit
        code = subprocess.run(command, env=environment, check=False).returncode
        bill = len(server.calls) * per_call
    assert code == 3, "80 calls cost more than the cap: it must have stopped the run"
    assert 0.4 * limit < bill <= spent_in(Ledger(ledger)) <= limit


def test_a_run_that_ends_leaves_nothing_at_stake(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    requests = [Request(str(index), "q" * index) for index in range(9)]
    answers = ask_all(requests, ScriptedMllm(lambda _: "x", name="m"), ledger=ledger, prices=PRICES)
    assert spent_in(ledger) == pytest.approx(answers.usage.cost)
    bounds = [line for line in ledger.records() if line["kind"] == "at_stake"]
    assert bounds[0]["dollars"] > 0
    assert bounds[-1]["dollars"] == 0
    assert len(bounds) <= 9


def test_a_finished_item_is_never_paid_for_twice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    requests = [Request(str(index), f"question {index}") for index in range(20)]
    with serving() as server:
        mllm = OpenAIMllm("m", base_url=server.url)
        for upto in (5, 12, 20, 20):
            ask_all(requests[:upto], mllm, ledger=ledger, prices=PRICES, budget=Budget(1.0, spent=spent_in(ledger)))
        assert sorted(server.questions()) == sorted(request.prompt for request in requests)
    assert spent_in(ledger) == pytest.approx(20 * PRICES["m"].cost(input_tokens=10, output_tokens=2))


def test_tokens_used_up_without_a_word_are_counted() -> None:
    """Billed by any service, although the item failed."""
    budget = Budget(1.0)
    with serving(lambda *_: Answer(completion("", finish_reason="length"))) as server:
        answers = ask_all([Request("a", "q")], OpenAIMllm("m", base_url=server.url), budget=budget, prices=PRICES)
    assert list(answers.failures) == ["a"]
    assert budget.doubtful == answers.doubtful_cost > 0


def test_a_model_without_a_price_stops_unless_allowed(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", "openai:mine", "--limit", 3)
        refused = fgvr(*command, "--budget", 1)
        assert refused.exit_code == 1
        assert "--allow-unpriced" in refused.stderr
        assert server.calls == []
        allowed = json.loads(done(*command, "--budget", 1, "--allow-unpriced", "--json").stdout)
    assert (allowed["answered"], len(server.calls)) == (3, 3)


def test_a_dry_run_needs_no_key(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", "openai:gpt-4o")
    assert "calls             24" in done(*command, "--dry-run").stdout
    refused = fgvr(*command)
    assert refused.exit_code == 1
    assert "OPENAI_API_KEY" in refused.stderr
