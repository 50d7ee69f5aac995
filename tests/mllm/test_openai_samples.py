"""Several samples of a real HTTP server: one that draws them, and all that do not."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fgvr.errors import MllmError, RetryableError
from fgvr.mllm import Backoff, Budget, Parameters, Price, Request, Sample, ask_all, spent_in
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.mllm.tokens import most_tokens
from fgvr.runs.ledger import Ledger

from .rude_server import Answer, completion, completions, serving

DRAWN = Parameters(max_tokens=12, temperature=1.0, seed=3, samples=4)
ASKED = Request("a", "q", parameters=DRAWN)
QUICK = Backoff(base=0.01, cap=0.02)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-7f3b9d20c1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def provider(url: str, **options: Any) -> OpenAIMllm:
    return OpenAIMllm("gpt-4o", base_url=url, **{"timeout": 5, **options})


def said(text: str, *logprobs: float | None, **more: Any) -> dict[str, Any]:
    tokens = [{"token": "t", "logprob": logprob} for logprob in logprobs]
    return completion(text, **({"logprobs": {"content": tokens}} if tokens else {}), **more)


def refusing(text: str = "'n' must be 1", status: int = 400) -> Callable[[int, dict[str, Any]], Answer]:
    refusal = Answer(json.dumps({"error": {"message": text}}).encode(), status=status)
    return lambda number, body: refusal if "n" in body else Answer(completion("Greedy"))


def ignoring(number: int, body: dict[str, Any]) -> Answer:
    return Answer(completion("Warm" if "n" in body else "Greedy", tokens=(10, 12) if "n" in body else (11, 3)))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_all_choices_are_read_and_the_likeliest_is_the_text() -> None:
    body = completions(
        said("Reed Warbler", -1.0, -0.5),
        said("Sedge Warbler", -0.25, -0.5),
        said("Sedge Warbler", -0.25, -0.5),
        said("Sedge", -0.25, finish_reason="length", message={"refusal": None}),
        tokens=(10, 7),
    )
    with serving(lambda n, _: Answer(body)) as server:
        reply = provider(server.url).answer([ASKED])[0]
    assert len(server.calls) == 1
    assert {key: server.calls[0][key] for key in ("n", "temperature", "seed", "max_tokens", "logprobs")} == {
        "n": 4, "temperature": 1.0, "seed": 3, "max_tokens": 12, "logprobs": True,
    }  # fmt: skip
    twice = Sample("Sedge Warbler", -0.75)
    assert reply.samples == (Sample("Reed Warbler", -1.5), twice, twice, Sample("Sedge", -0.25, "length"))
    assert (reply.text, reply.finish, reply.confidence) == ("Sedge Warbler", "stop", pytest.approx(0.6872892787909722))
    assert (reply.usage.calls, reply.usage.input_tokens, reply.usage.output_tokens) == (1, 10, 7)


def test_a_single_reply_is_asked_for_without_n() -> None:
    with serving() as server:
        reply = provider(server.url).answer([replace(ASKED, parameters=replace(DRAWN, samples=1))])[0]
    assert "n" not in server.calls[0]
    assert (server.calls[0]["temperature"], reply.samples) == (1.0, ())


def test_options_are_scored_once() -> None:
    with serving(lambda n, _: Answer(completion("B"))) as server:
        reply = provider(server.url).answer([replace(ASKED, options=("gull", "tern"))])[0]
    assert "n" not in server.calls[0]
    assert (reply.text, reply.samples) == ("tern", ())


def test_empty_and_refused_choices_are_kept_and_do_not_speak_for_the_rest() -> None:
    refused = completion(None, message={"refusal": "I cannot help."})
    body = completions(
        completion("", finish_reason="content_filter"), refused, said("Tern", -0.5, None), refused, tokens=None
    )
    with serving(lambda n, _: Answer(body)) as server:
        reply = provider(server.url).answer([ASKED])[0]
    assert reply.samples == (
        Sample("", None, "content_filter"),
        Sample("I cannot help.", None, "refusal"),
        Sample("Tern"),  # one of its tokens has no log-probability
        Sample("I cannot help.", None, "refusal"),
    )
    assert (reply.text, reply.finish) == ("Tern", "stop")
    assert reply.usage_estimated
    assert reply.usage.output_tokens == 4 + 1 + 4


def test_only_refusals_are_a_refusal_and_only_silence_is_an_error() -> None:
    refused = completion(None, message={"refusal": "I cannot help."})
    bodies = [
        completions(refused, completion(""), refused),
        completions(completion("", finish_reason="length"), completion("", finish_reason="length")),
        completions(completion(" "), completion("")),
        completions(),
        {**completions(), "choices": [None, {"message": 3}]},
    ]
    with serving(lambda n, _: Answer(bodies[n])) as server:
        mllm = provider(server.url)
        reply = mllm.answer([ASKED])[0]
        assert (reply.text, reply.finish, len(reply.samples)) == ("I cannot help.", "refusal", 3)
        with pytest.raises(MllmError, match="token limit"):
            mllm.answer([ASKED])
        for words in ("empty", "no choice", "no choice"):
            with pytest.raises(RetryableError, match=words) as caught:
                mllm.answer([ASKED])
            assert caught.value.context["maybe_billed"]


def test_fewer_choices_than_asked_for_are_taken_and_more_are_not(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [completions(said("a"), said("b")), completions(*[said("c")] * 9), completions(said("a"), said("b"))]
    with serving(lambda n, _: Answer(bodies[n])) as server:
        mllm = provider(server.url)
        drawn = [len(mllm.answer([ASKED])[0].samples) for _ in bodies]
    assert drawn == [2, 4, 2]
    assert warnings(caplog) == ["gpt-4o drew 2 replies where 4 were asked for"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("'n' : number must be at most 1", 400),
        ("Unsupported parameter: \"n\"", 400),
        ("n must equal 1 (multi-choice is not supported)", 422),
        ("Only one completion choice is allowed", 400),
        ("Multiple candidates is not enabled for this model", 400),
    ],
)  # fmt: skip
def test_a_service_that_refuses_n_is_asked_greedily_from_then_on(
    text: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(refusing(text, status)) as server:
        mllm = provider(server.url)
        first, second = (mllm.answer([ASKED])[0] for _ in range(2))
    assert [("n" in call, call["temperature"]) for call in server.calls] == [(True, 1.0), (False, 0.0), (False, 0.0)]
    assert (first.text, first.samples, first.usage.calls) == ("Greedy", (), 1)
    assert (second.text, second.usage.input_tokens, second.usage.output_tokens) == ("Greedy", 10, 2)
    assert warnings(caplog) == ["gpt-4o draws one reply a call; going on with the greedy reply, without samples"]


@pytest.mark.parametrize("text", ["picture too odd", "line\nnoted: not now", "an unknown field"])
def test_another_refusal_is_not_laid_to_n(text: str) -> None:
    with serving(refusing(text)) as server:
        mllm = provider(server.url)
        for _ in range(2):
            with pytest.raises(MllmError, match="refused the request"):
                mllm.answer([ASKED])
    assert ["n" in call for call in server.calls] == [True, True]


def test_other_fields_are_learnt_on_the_way() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        for field, words in (("max_tokens", "use max_completion_tokens"), ("logprobs", "no logprobs"), ("n", "no 'n'")):
            if field in body:
                return Answer(json.dumps({"error": words}).encode(), status=400)
        return Answer(completion("Greedy"))

    with serving(script) as server:
        assert provider(server.url).answer([ASKED])[0].text == "Greedy"
    assert len(server.calls) == 4


def test_a_service_that_passes_over_n_is_asked_once_more_and_both_calls_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(ignoring) as server:
        mllm = provider(server.url)
        first, second = (mllm.answer([ASKED])[0] for _ in range(2))
    assert [("n" in call, call["temperature"]) for call in server.calls] == [(True, 1.0), (False, 0.0), (False, 0.0)]
    assert (first.text, first.samples) == ("Greedy", ())
    assert (first.usage.calls, first.usage.input_tokens, first.usage.output_tokens) == (2, 10 + 11, 12 + 3)
    assert (second.text, second.usage.calls, second.usage.output_tokens) == ("Greedy", 1, 3)
    assert len(warnings(caplog)) == 1


def test_an_estimated_wasted_call_makes_the_sum_an_estimate() -> None:
    bodies = [completion("Warm words", tokens=None), completion("Greedy", tokens=(11, 3))]
    with serving(lambda n, _: Answer(bodies[n])) as server:
        reply = provider(server.url).answer([ASKED])[0]
    assert reply.usage_estimated
    assert reply.usage.output_tokens == 3 + 3


def test_a_wasted_call_is_not_forgotten_when_the_next_one_fails(tmp_path: Path) -> None:
    """The second call is refused free of charge, and yet the attempt counts at its worst: the first one was paid."""
    busy = Answer(b"{}", status=429)
    script = lambda n, body: [ignoring(0, {"n": 4}), busy, Answer(completion("Greedy", tokens=(11, 3)))][n]  # noqa: E731
    ledger, budget = Ledger(tmp_path / "l.jsonl"), Budget(1e6)
    with serving(script) as server:
        answers = ask_all(
            [ASKED], provider(server.url), ledger=ledger, budget=budget, prices={"gpt-4o": Price(1e3, 1e5)},
            backoff=QUICK,
        )  # fmt: skip
    tokens_in, tokens_out = most_tokens(ASKED, "gpt-4o")
    worst = (1e3 * tokens_in + 1e5 * tokens_out) / 1e6
    assert (answers.replies["a"].text, answers.replies["a"].usage.calls) == ("Greedy", 1)
    assert budget.doubtful == answers.doubtful_cost == pytest.approx(worst)
    assert spent_in(ledger) == pytest.approx(worst + (1e3 * 11 + 1e5 * 3) / 1e6)


@pytest.mark.parametrize("script", [ignoring, refusing()], ids=["passes over", "refuses"])
def test_calls_in_flight_while_it_is_learnt_all_end_greedily(
    script: Callable[[int, dict[str, Any]], Answer], caplog: pytest.LogCaptureFixture
) -> None:
    """Eight calls leave before the first answer comes; all are asked again, and one warning is enough."""
    gate = threading.Barrier(8)

    def together(number: int, body: dict[str, Any]) -> Answer:
        if "n" in body:
            gate.wait(timeout=10)
        return script(number, body)

    with serving(together) as server:
        requests = [Request(f"i{i}", f"q{i}", parameters=DRAWN) for i in range(24)]
        answers = ask_all(requests, provider(server.url, timeout=20), concurrency=8)
    assert len(answers.replies) == 24
    assert {reply.text for reply in answers.replies.values()} == {"Greedy"}
    assert sum("n" in call for call in server.calls) == 8
    assert len(server.calls) == 24 + 8
    assert answers.usage.calls == (32 if script is ignoring else 24)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("dear", [0, 1])
def test_the_cap_holds_while_calls_are_wasted(dear: int, tmp_path: Path) -> None:
    """Every call costs the most it can; a service that bills all samples and sends one is the worst of them."""
    price = {"gpt-4o": Price(0, 1e6)}

    def script(number: int, body: dict[str, Any]) -> Answer:
        several = body.get("n", 1)
        return Answer(completion("x", tokens=(0, 12 * (several if dear else 1))), delay=0.01)

    ledger, budget = Ledger(tmp_path / "l.jsonl"), Budget(200.0)
    with serving(script) as server:
        requests = [Request(f"i{i}", f"q{i}", parameters=DRAWN) for i in range(40)]
        answers = ask_all(requests, provider(server.url), ledger=ledger, budget=budget, prices=price, concurrency=8)
        billed = sum(12 * (call.get("n", 1) if dear else 1) for call in server.calls)
    assert answers.stopped == "budget"
    assert budget.spent == spent_in(ledger) == billed
    assert 100 < billed <= 200
