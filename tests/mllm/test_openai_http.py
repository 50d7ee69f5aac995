"""The OpenAI-compatible provider against a real server that misbehaves."""

from __future__ import annotations

import base64
import io
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fgvr.errors import AccessError, MllmError, RetryableError
from fgvr.mllm import Backoff, Parameters, Request, ResponseCache, ask_all
from fgvr.mllm.http_errors import retry_after
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger

from .rude_server import Answer, completion, serving

CANARY = "sk-canary-7f3b9d20c1"
QUICK = Backoff(base=0.02, cap=0.1, longest=5.0)
GOOD = Answer()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def provider(url: str, **options: Any) -> OpenAIMllm:
    return OpenAIMllm("gpt-4o", base_url=url, **{"timeout": 0.4, **options})


def test_attempts_and_retry_after_are_as_configured(tmp_path: Path) -> None:
    busy = Answer(b"{}", status=429, headers={"retry-after": "0.5"})
    with serving(lambda n, _: busy if n < 2 else GOOD) as server:
        answers = ask_all([Request("a", "q")], provider(server.url), attempts=3, backoff=QUICK)
    assert answers.replies["a"].attempts == 3
    gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert all(0.5 <= gap < 1.5 for gap in gaps)


def test_retry_after_reads_seconds_and_dates() -> None:
    assert retry_after("7") == 7
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=1445412470) == 10
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now=2e9) == 0
    assert [retry_after(value) for value in (None, "", "soon", "nan")] == [None] * 4


def test_in_flight_is_bounded_by_concurrency_and_reaches_it() -> None:
    with serving(lambda n, _: Answer(delay=0.05)) as server:
        ask_all([Request(str(i), f"q{i}") for i in range(40)], provider(server.url, timeout=5), concurrency=8)
    assert len(server.calls) == 40
    assert server.most_in_flight == 8


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_stops_the_run_at_once(status: int) -> None:
    with serving(lambda n, _: Answer(f'{{"error": "bad key {CANARY}"}}'.encode(), status=status)) as server:
        with pytest.raises(AccessError) as caught:
            ask_all([Request(str(i), f"q{i}") for i in range(50)], provider(server.url), concurrency=2)
        assert len(server.calls) <= 2
    assert CANARY not in str(caught.value) + repr(caught.value.context)


def test_a_bad_request_fails_that_item_only_and_is_not_retried() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        bad = body["messages"][-1]["content"][-1]["text"] == "q1"
        return Answer(b'{"error": {"message": "picture too odd"}}', status=400) if bad else GOOD

    with serving(script) as server:
        answers = ask_all([Request(str(i), f"q{i}") for i in range(3)], provider(server.url), concurrency=1)
    assert list(answers.replies) == ["0", "2"]
    assert "picture too odd" in answers.failures["1"]
    assert len(server.calls) == 3


def test_the_key_appears_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = [
        Answer(f"oops {CANARY}".encode(), status=500),
        Answer({"error": {"message": CANARY}}),
        Answer(completion(f"A {CANARY} warbler")),
        Answer(f'{{"error": "{CANARY}"}}'.encode(), status=400),
    ]
    requests = [Request("a", "q"), Request("b", "q2")]
    with serving(lambda n, _: echo[n]) as server, ResponseCache(tmp_path / "cache.sqlite") as cache:
        mllm = provider(server.url)
        ledger = Ledger(tmp_path / "ledger.jsonl")
        answers = ask_all(requests, mllm, ledger=ledger, cache=cache, concurrency=1, backoff=QUICK)
        ledger.close()
    assert server.keys == [f"Bearer {CANARY}"] * 4
    assert list(answers.failures) == ["b"]
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"warbler" in written
    assert CANARY.encode() not in written
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("fgvr")]
    assert CANARY not in repr(mllm) + repr(vars(mllm)) + repr(answers) + "".join(ours)


def test_the_address_is_stored_without_credentials() -> None:
    mllm = provider("http://user:hunter2@127.0.0.1:1/v1?token=abc")
    assert mllm.revision == "http://127.0.0.1:1/v1"


def test_no_key_for_the_default_address_is_an_access_error_once_something_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    mllm = OpenAIMllm("gpt-4o")
    with pytest.raises(AccessError, match="OPENAI_API_KEY"):
        mllm.answer([Request("a", "q")])


def test_pictures_travel_as_small_jpegs(tmp_path: Path) -> None:
    Image.new("RGB", (300, 150), (10, 200, 30)).save(tmp_path / "bird.png")
    request = Request("a", "what bird?", (tmp_path / "bird.png",), system="Be brief.", parameters=Parameters(seed=3))
    with serving() as server:
        reply = provider(server.url, max_side=100).answer([request])[0]
    call = server.calls[0]
    url = call["messages"][1]["content"][0]["image_url"]["url"]
    picture = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
    assert (picture.format, picture.size) == ("JPEG", (100, 50))
    assert call["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (call["temperature"], call["max_tokens"], call["seed"], call["logprobs"]) == (0.0, 64, 3, True)
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage_estimated) == (10, 2, False)


def test_confidence_is_exp_of_the_mean_logprob() -> None:
    content = [{"token": "Sedge", "logprob": -0.1}, {"token": " Warbler", "logprob": -0.5}]
    with serving(lambda n, _: Answer(completion("Sedge Warbler", logprobs={"content": content}))) as server:
        reply = provider(server.url).answer([Request("a", "q")])[0]
    assert reply.confidence == pytest.approx(math.exp(-0.3))


def test_missing_logprobs_and_usage_are_said_not_invented() -> None:
    with serving(lambda n, _: Answer(completion("Sedge Warbler", tokens=None, logprobs=None))) as server:
        reply = provider(server.url).answer([Request("a", "q")])[0]
    assert reply.confidence is None
    assert reply.usage_estimated
    assert reply.usage.output_tokens == 4


def test_options_are_scored_by_letter_logprobs() -> None:
    top = [{"token": "B", "logprob": -0.5}, {"token": " B", "logprob": -2.0}, {"token": "A", "logprob": -1.5},
           {"token": "The", "logprob": -3.0}]  # fmt: skip
    body = completion("B", logprobs={"content": [{"token": "B", "logprob": -0.5, "top_logprobs": top}]})
    with serving(lambda n, _: Answer(body)) as server:
        reply = provider(server.url).answer([Request("a", "Which?", options=("gull", "tern", "auk"))])[0]
    assert "A. gull\nB. tern\nC. auk" in server.questions()[0]
    assert server.calls[0]["top_logprobs"] == 20
    b, a, c = math.exp(-0.5) + math.exp(-2.0), math.exp(-1.5), math.exp(-3.0)
    assert [math.exp(v) for v in reply.option_logprobs] == pytest.approx(
        [a / (a + b + c), b / (a + b + c), c / (a + b + c)]
    )
    assert reply.text == "tern"


@pytest.mark.parametrize(("text", "chosen"), [("Answer: B", "tern"), ("(b)", "tern"), ("A or B", "A or B")])
def test_without_letter_logprobs_the_letter_is_read(text: str, chosen: str) -> None:
    with serving(lambda n, _: Answer(completion(text))) as server:
        reply = provider(server.url).answer([Request("a", "Which?", options=("gull", "tern"))])[0]
    assert reply.option_logprobs == ()
    assert reply.text == chosen


def test_fields_a_service_does_not_know_are_written_another_way() -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return Answer(b'{"error": "use max_completion_tokens instead of max_tokens"}', status=400)
        if "logprobs" in body:
            return Answer(b'{"error": "logprobs are not supported"}', status=400)
        return GOOD

    with serving(script) as server:
        mllm = provider(server.url)
        assert mllm.answer([Request("a", "q")])[0].text == "Sedge Warbler"
        mllm.answer([Request("b", "q")])
    assert len(server.calls) == 4


def test_a_refusal_is_an_answer_and_used_up_tokens_are_an_error() -> None:
    refused = completion(None, message={"refusal": "I cannot help with that."})
    cut = completion("", finish_reason="length")
    with serving(lambda n, _: Answer([refused, cut][n])) as server:
        mllm = provider(server.url)
        reply = mllm.answer([Request("a", "q")])[0]
        assert (reply.text, reply.finish) == ("I cannot help with that.", "refusal")
        with pytest.raises(MllmError, match="token limit") as caught:
            mllm.answer([Request("b", "q")])
    assert not isinstance(caught.value, RetryableError)


def test_a_reply_of_a_megabyte_is_read_and_a_flood_is_cut_off() -> None:
    big, flood = "warbler " * 131_072, b'"' + b"x" * (20 * 2**20) + b'"'
    with serving(lambda n, _: Answer([completion(big), flood][n])) as server:
        mllm = provider(server.url, timeout=5)
        assert mllm.answer([Request("a", "q")])[0].text == big
        with pytest.raises(RetryableError, match="too large"):
            mllm.answer([Request("b", "q")])


def test_nothing_listens_is_retryable_and_not_billed() -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(RetryableError) as caught:
        provider(url).answer([Request("a", "q")])
    assert "maybe_billed" not in caught.value.context
