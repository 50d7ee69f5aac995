"""Whatever a service does, every question is answered once or failed with a reason, and attempts stay as configured.

All of it over real HTTP on loopback, against a server that misbehaves on purpose.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fgvr.mllm import Answers, Backoff, Budget, Price, Reply, Request, ResponseCache, ask_all, spent_in
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger
from tests.cli.world import done
from tests.mllm.rude_server import Answer, completion, serving

QUICK = Backoff(base=0.005, cap=0.02, longest=0.1)
TIMEOUT = 0.6
FAULTS = {
    "429 with Retry-After": Answer(b"{}", status=429, headers={"retry-after": "0.05"}),
    "500": Answer(b'{"error": "oops"}', status=500),
    "500 with a broken body": Answer(b"x" * 500, status=500, cut=10),
    "a time-out": Answer(delay=1.0),
    "a slow drip": Answer(drip=0.02),
    "a truncated body": Answer(cut=25),
    "a reset in the middle of the body": Answer(completion("x" * 50_000), cut=20_000, reset=True),
    "200 with an error inside": Answer({"error": {"message": "overloaded"}}),
    "a wrong content type": Answer(b"<html>log in</html>", content_type="text/html"),
    "an empty reply": Answer(completion("")),
    "an empty body": Answer(b""),
    "a hang-up": Answer(cut=0),
    "no JSON": Answer(b"{'choices': "),
    "no content": Answer(completion(None)),
    "no choices": Answer({"choices": []}),
    "choices of nonsense": Answer({"choices": [7]}),
    "a list": Answer(b"[1, 2]"),
}
GOOD = {
    "plain": Answer(),
    "1 MB": Answer(completion("warbler " * 131_072)),
    "log-probabilities missing": Answer(completion("Sedge Warbler", logprobs=None)),
    "token counts missing": Answer(completion("Sedge Warbler", tokens=None)),
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def provider(url: str, **options: Any) -> OpenAIMllm:
    return OpenAIMllm("m", base_url=url, **{"timeout": TIMEOUT, **options})


def ask(url: str, count: int = 1, *, mllm: OpenAIMllm | None = None, **options: Any) -> Answers:
    requests = [Request(f"i{index}", f"question {index}") for index in range(count)]
    return ask_all(requests, mllm or provider(url), **{"backoff": QUICK, **options})


class Counted(OpenAIMllm):
    """Counts calls in flight as the client knows them: a server goes on with what the client has given up."""

    in_flight = most = 0
    lock = threading.Lock()

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        with self.lock:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        try:
            return super().answer(requests)
        finally:
            with self.lock:
                self.in_flight -= 1


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_reply_is_retried_as_configured_and_never_cached(fault: str, tmp_path: Path) -> None:
    with serving(lambda *_: FAULTS[fault]) as server, ResponseCache(tmp_path / "cache") as cache:
        answers = ask(server.url, attempts=2, cache=cache)
        assert len(server.calls) == 2
        assert list(answers.failures) == ["i0"]
        assert len(cache) == 0
        server.script = lambda *_: Answer()
        assert ask(server.url, attempts=1, cache=cache).replies["i0"].text == "Sedge Warbler"
        assert len(cache) == 1


@pytest.mark.parametrize("kind", GOOD)
def test_an_odd_but_whole_reply_is_an_answer(kind: str) -> None:
    with serving(lambda *_: GOOD[kind]) as server:
        answers = ask(server.url, attempts=1)
        assert len(server.calls) == 1
    assert answers.replies["i0"].text.lower().count("warbler") >= 1
    assert answers.replies["i0"].confidence is None
    assert answers.estimated == (kind == "token counts missing")


def test_the_pauses_the_server_sees_follow_the_configured_backoff() -> None:
    """Real time: never shorter than half the full pause, nor longer than all of it and what a busy machine adds."""
    backoff = Backoff(base=0.1, cap=0.4)
    with serving(lambda *_: FAULTS["500"]) as server:
        ask(server.url, attempts=5, backoff=backoff)
    pauses = [later - sooner for sooner, later in zip(server.times, server.times[1:], strict=False)]
    assert len(pauses) == 4
    for pause, full in zip(pauses, (0.1, 0.2, 0.4, 0.4), strict=True):
        assert full / 2 <= pause <= full + 1.0


def test_retry_after_lengthens_the_pause_up_to_its_limit() -> None:
    waits = {0: "0.4", 1: "3600"}
    busy = lambda n, _: Answer(b"{}", status=429, headers={"retry-after": waits[n]}) if n in waits else Answer()  # noqa: E731
    with serving(busy) as server:
        answers = ask(server.url, attempts=3, backoff=Backoff(base=0.01, cap=0.02, longest=0.6))
    assert answers.replies["i0"].attempts == 3
    first, second = (later - sooner for sooner, later in zip(server.times, server.times[1:], strict=False))
    assert 0.4 <= first <= 1.4
    assert 0.6 <= second <= 1.6


def test_in_a_storm_every_item_is_answered_once_or_failed_with_a_reason(tmp_path: Path) -> None:
    """Every fault at random, 200 items, 16 calls in flight, a spending cap."""
    rng, lock = random.Random(7), threading.Lock()
    dull = [fault for fault in FAULTS if fault not in ("a time-out", "a slow drip")]
    menu = [*(Answer() for _ in dull), *(FAULTS[name] for name in dull)]
    slow = [FAULTS["a time-out"], FAULTS["a slow drip"]]

    def script(number: int, body: dict[str, Any]) -> Answer:
        with lock:
            return rng.choice(slow) if rng.random() < 0.03 else rng.choice(menu)

    budget, prices = Budget(5.0), {"m": Price(1.0, 50.0)}
    with (
        serving(script) as server,
        Ledger(tmp_path / "l.jsonl") as ledger,
        ResponseCache(tmp_path / "c") as cache,
    ):
        mllm = Counted("m", base_url=server.url, timeout=TIMEOUT)
        keeping: dict[str, Any] = {"ledger": ledger, "cache": cache, "budget": budget, "prices": prices}
        answers = ask(server.url, 200, mllm=mllm, attempts=3, concurrency=16, **keeping)
        asked = Counter(server.questions())
        lines = [line for line in ledger.records() if line["kind"] == "answer"]
        assert len(cache) == len(answers.replies)
        assert spent_in(ledger) == pytest.approx(budget.spent + budget.doubtful)
    assert mllm.most == 16
    assert sorted([*answers.replies, *answers.failures]) == sorted(f"i{index}" for index in range(200))
    assert answers.replies
    assert answers.failures
    assert all(answers.failures.values())
    assert sorted(line["item"] for line in lines) == sorted([*answers.replies, *answers.failures])
    for line in lines:
        assert line["attempts"] == asked["question " + line["item"][1:]] <= 3
        assert (line["status"] == "done") == (line["item"] in answers.replies)


def test_retry_failed_redoes_only_failures(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the command line: what failed stays failed until asked for, and nothing else is asked again."""
    refuse = Answer({"error": {"message": "no"}}, status=422)
    command = ("label", world.photographs, "--out", tmp_path / "r", "--mllm", "openai:m", "--limit", 9, "--json")
    with serving(lambda number, _: refuse if number % 3 == 0 else Answer()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        first = json.loads(done(*command).stdout)
        assert (first["answered"], first["failed"], len(server.calls)) == (6, 3, 9)
        assert json.loads(done(*command).stdout)["failed"] == 3
        assert len(server.calls) == 9
        before = [json.dumps(call["messages"]) for call in server.calls]
        server.script = lambda *_: Answer()
        healed = json.loads(done(*command, "--retry-failed").stdout)
    assert (healed["answered"], healed["failed"], len(server.calls)) == (9, 0, 12)
    refused = [before[index] for index in range(0, 9, 3)]
    assert sorted(json.dumps(call["messages"]) for call in server.calls[9:]) == sorted(refused)
