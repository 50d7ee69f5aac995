"""Several replies to one question: which one stands for them, where they are kept, and what they can cost."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.mllm import (
    Budget,
    Parameters,
    Price,
    Reply,
    Request,
    ResponseCache,
    Sample,
    ScriptedMllm,
    ask_all,
    load_mllm,
    spent_in,
)
from fgvr.mllm.cache import reply_from_json, reply_to_json, request_key
from fgvr.mllm.estimate import estimate
from fgvr.mllm.samples import likeliest, mean_probability
from fgvr.mllm.tokens import most_input_tokens, most_tokens
from fgvr.runs.ledger import Ledger
from fgvr.types import Usage

MLLM = ScriptedMllm(lambda r: "x")
DRAWN = Parameters(max_tokens=12, temperature=1.0, seed=7)
ASKED = Request("a", "what?", (Path("a.jpg"),), ("hash1",))
PLAIN = Reply("a", "Tern", "m", Usage(1, 5, 2, 0.5, 0.01), (-0.5, -1.0), 0.75, attempts=2, usage_estimated=True)
SAMPLES = (Sample("Tern", -0.25), Sample("Auk \ud800", None, "length"), Sample("", None, "content_filter"))
SAMPLED = replace(PLAIN, samples=SAMPLES)


@pytest.mark.parametrize("bad", [{"samples": 0, "temperature": 1.0}, {"samples": 2}, {"samples": -1}])
def test_several_samples_need_a_temperature(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="temperature"):
        Parameters(**bad)  # type: ignore[arg-type]


def test_the_likeliest_text_is_the_likeliest_not_the_most_frequent() -> None:
    assert likeliest([Sample("a", -2.0), Sample("b", -1.0), Sample("a", -2.5), Sample("a", -2.0)]) == 1
    assert likeliest([Sample("a", -1.0), Sample("b", -1.0)]) == 0


def test_without_every_probability_the_most_frequent_text_is_taken() -> None:
    assert likeliest([Sample("a", -0.1), Sample("b"), Sample(" b\n"), Sample("c")]) == 1
    assert likeliest([Sample("a"), Sample("b"), Sample("b"), Sample("a")]) == 0


def test_what_answers_nothing_is_taken_last() -> None:
    empty, refused = Sample("", -0.1), Sample("I cannot help.", None, "refusal")
    assert likeliest([empty, refused, Sample("a", -9.0), refused]) == 2
    assert likeliest([empty, refused, Sample("part", None, "content_filter")]) == 1
    assert likeliest([empty, Sample("", None, "length")]) == 0


def test_a_text_cut_off_is_no_rival_of_one_that_ended() -> None:
    assert likeliest([Sample("Sedge", -0.1, "length"), Sample("Sedge Warbler", -3.0)]) == 1
    assert likeliest([Sample("I cannot", -0.1, "refusal"), Sample("Sedge", -3.0, "length")]) == 1


@given(st.lists(st.builds(Sample, st.sampled_from(["a", "b", "c"]), st.floats(-9, 0)), min_size=1))
def test_drawing_a_text_twice_makes_it_no_likelier(samples: list[Sample]) -> None:
    best = samples[likeliest(samples)]
    assert best.logprob == max(sample.logprob or 0.0 for sample in samples)
    assert samples[likeliest([*samples, min(samples, key=lambda sample: sample.logprob or 0.0)])] == best


def test_the_mean_probability_is_one_at_most() -> None:
    assert mean_probability([]) is None
    assert mean_probability([-0.1, -0.3]) == pytest.approx(0.8187307530779818)
    assert mean_probability([1e-6]) == 1.0


def test_keys_of_single_replies_are_those_of_before_there_were_samples() -> None:
    """The two digests were written by the version without the field."""
    assert request_key(ASKED, MLLM) == "b5b0f17e1a9bac283ff6e834ecd82d06c762bf74769d48e2e6416baada0107d6"
    drawn = replace(ASKED, parameters=DRAWN)
    assert request_key(drawn, MLLM) == "249004c4a39c65220b7d19898506173e8bc0712a3a665f97a1dc7b138b59727e"


def test_every_number_of_samples_has_its_own_key() -> None:
    keys = {request_key(replace(ASKED, parameters=replace(DRAWN, samples=n)), MLLM) for n in (1, 2, 8)}
    assert len(keys) == 3


def test_a_reply_without_samples_is_written_as_ever() -> None:
    """The line was written by the version without the field."""
    line = (
        '{"text": "Tern", "model": "m", "usage": {"calls": 1, "input_tokens": 5, "output_tokens": 2, "seconds": 0.5, '
        '"cost": 0.01}, "option_logprobs": [-0.5, -1.0], "confidence": 0.75, "attempts": 2, "finish": "stop", '
        '"usage_estimated": true}'
    )
    assert json.dumps(reply_to_json(PLAIN)) == line
    assert reply_from_json(json.loads(line), item_id="a", cached=False) == PLAIN


def test_samples_come_back_whole_from_text_and_cache(tmp_path: Path) -> None:
    assert reply_from_json(json.loads(json.dumps(reply_to_json(SAMPLED))), item_id="a", cached=False) == SAMPLED
    with ResponseCache(tmp_path / "c") as cache:
        cache.put("k", SAMPLED)
    with ResponseCache(tmp_path / "c") as cache:
        assert cache.get("k", item_id="a") == replace(SAMPLED, cached=True)


@pytest.mark.parametrize("bad", [3, ["Tern"], [{"text": "Tern"}], [{"text": "a", "logprob": "x", "finish": "stop"}]])
def test_damaged_samples_in_the_cache_are_asked_again(tmp_path: Path, bad: object) -> None:
    import sqlite3

    with ResponseCache(tmp_path / "c") as cache:
        cache.put("k", SAMPLED)
    connection = sqlite3.connect(tmp_path / "c")
    with connection:
        fields = json.dumps({**reply_to_json(PLAIN), "samples": bad})
        connection.execute("UPDATE replies SET reply = ?", (fields,))
    connection.close()
    with ResponseCache(tmp_path / "c") as cache:
        assert cache.get("k", item_id="a") is None


def test_a_resumed_run_a_twin_and_another_run_have_the_samples(tmp_path: Path) -> None:
    parameters = replace(DRAWN, samples=3)
    requests = [Request(item, "q", parameters=parameters) for item in ("first", "twin")]
    drawing = ScriptedMllm(lambda request: SAMPLED)
    silent = ScriptedMllm(lambda request: ValueError("asked again"))
    ledger = Ledger(tmp_path / "l.jsonl")
    with ResponseCache(tmp_path / "c") as cache:
        fresh = ask_all(requests, drawing, ledger=ledger, cache=cache)
        resumed = ask_all(requests, silent, ledger=ledger)
        other = ask_all(requests, silent, ledger=Ledger(tmp_path / "other.jsonl"), cache=cache)
    again = ask_all(requests, silent, ledger=Ledger(tmp_path / "other.jsonl"))
    for answers in (fresh, resumed, other, again):
        assert [answers.replies[request.item_id].samples for request in requests] == [SAMPLES, SAMPLES]


def test_the_most_a_call_can_cost_holds_two_calls_and_every_reply() -> None:
    """Eight replies of 12 tokens and a greedy one, the question twice."""
    request = Request("a", "x" * 40, parameters=replace(DRAWN, samples=8))
    assert most_tokens(request, "m") == (2 * (40 + 32), 9 * 12)
    assert most_tokens(replace(request, parameters=DRAWN), "m") == (40 + 32, 12)
    scored = replace(request, options=("x", "y"))
    assert most_tokens(scored, "m") == (most_input_tokens(scored, "m"), 12)


def test_an_estimate_counts_every_sample() -> None:
    requests = [Request(str(i), "x" * 40, parameters=replace(DRAWN, samples=8)) for i in range(10)]
    price = {"scripted": Price(1.0, 10.0)}
    got = estimate(requests, MLLM, prices=price)
    assert (got.calls, got.input_tokens, got.output_tokens) == (10, 260, 10 * 8 * 12 // 2)
    assert got.cost == pytest.approx((260 + 4800) / 1e6)
    assert got.cost_at_most == pytest.approx(10 * (2 * 72 + 10 * 9 * 12) / 1e6)
    assert estimate(requests, MLLM, reply_tokens=3).output_tokens == 240


def test_the_cap_holds_with_samples_at_their_worst(tmp_path: Path) -> None:
    """A dollar a token; every call costs all of its (4 + 1) replies of 10 tokens: two fit into 119 dollars."""
    parameters = Parameters(max_tokens=10, temperature=1.0, samples=4)
    mllm = ScriptedMllm(lambda r: Reply("", "x", "m", Usage(2, 0, 50), samples=SAMPLES), name="m", latency=0.002)
    ledger, budget = Ledger(tmp_path / "l.jsonl"), Budget(119.0)
    requests = [Request(str(i), f"q{i}", parameters=parameters) for i in range(9)]
    answers = ask_all(requests, mllm, ledger=ledger, budget=budget, prices={"m": Price(0, 1e6)})
    assert answers.stopped == "budget"
    assert (len(answers.replies), budget.spent, spent_in(ledger)) == (2, 100.0, 100.0)


ROWS = [
    {"image": "a.jpg", "model": "m", "reply": "greedy", "alternatives": [["greedy", 0.5]], "samples": [
        {"text": "Auk", "logprob": None, "finish": "length"}, {"text": "Tern", "logprob": -0.5}, "Tern", "Gull"]},
    {"image": "b.jpg", "model": "m", "reply": "only", "samples": 5},
]  # fmt: skip


def test_a_recording_answers_with_its_samples_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    mllm = load_mllm(f"replay:{tmp_path / 'r.jsonl'}")
    three, one = replace(DRAWN, samples=3), Parameters()
    several = mllm.answer([Request("a.jpg", "q", parameters=three)])[0]
    assert several.samples == (Sample("Auk", None, "length"), Sample("Tern", -0.5), Sample("Tern"))
    assert (several.text, several.confidence, several.usage.output_tokens) == ("Tern", None, 3)
    single = mllm.answer([Request("a.jpg", "q", parameters=one)])[0]
    assert (single.text, single.samples, single.confidence) == ("greedy", (), 0.5)
    without = mllm.answer([Request("b.jpg", "q", parameters=three)])[0]
    assert (without.text, without.samples) == ("only", ())


@pytest.mark.parametrize("bad", [[3], [{"text": 3}], [{"logprob": -1}], [{"text": "a", "logprob": "x"}]])
def test_a_recording_with_unusable_samples_is_an_input_error(tmp_path: Path, bad: object) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"image": "a", "reply": "b", "samples": bad}))
    with pytest.raises(InputError, match="recorded row"):
        load_mllm(f"replay:{tmp_path / 'r.jsonl'}")


def test_recorded_scores_are_replies_of_that_probability(tmp_path: Path) -> None:
    scored = {"image": "a", "reply": "b", "alternatives": [["b", 0.5], ["c", 0.25], ["d", 0.0], ["e", 7], "f", ["g"]]}
    alone = {"image": "x", "reply": "b", "alternatives": [["b", 0.5], ["c", "much"]]}
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, (scored, alone))))
    mllm = load_mllm(f"replay:{tmp_path / 'r.jsonl'}")
    several, one = mllm.answer([Request(item, "?", parameters=replace(DRAWN, samples=8)) for item in ("a", "x")])
    assert [(sample.text, round(math.exp(sample.logprob or 0.0), 9)) for sample in several.samples] == [
        ("b", 0.5),
        ("c", 0.25),
    ]
    assert (several.text, one.text, one.samples) == ("b", "b", ())
