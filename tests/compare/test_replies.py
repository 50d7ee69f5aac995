"""One ledger among many: shared answers, accounts by hand, damaged lines, an allowance of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fgvr.compare.replies import FILE, Answered, Purse, SharedReplies, alone, ledgers, paid, taken
from fgvr.errors import RetryableError
from fgvr.mllm import Parameters, Price, Reply, Request, ScriptedMllm, ask_all
from fgvr.runs import Ledger
from fgvr.types import Usage

PRICES = {"m": Price(10.0, 20.0)}
EACH = 10 * 10e-6 + 5 * 20e-6
"""Dollars of a call of 10 tokens in and 5 out."""


class Model:
    """Answers with the number of the call; remembers what it was asked."""

    def __init__(self, *, cost_unknown: bool = False) -> None:
        self.asked: list[Request] = []
        name = "unpriced" if cost_unknown else "m"
        self.mllm = ScriptedMllm(self._script, name=name)

    def _script(self, request: Request) -> Reply | Exception:
        self.asked.append(request)
        if "fail" in request.prompt:
            return RetryableError("no", maybe_billed="doubt" in request.prompt)
        return Reply("", f"answer {len(self.asked)}", self.mllm.name, Usage(1, 10, 5, 0.25))


def place(root: Path, method: str) -> Path:
    return root / "birds" / "seed-0" / method / FILE


def ask(
    root: Path, method: str, prompts: Sequence[str], model: Model, *, purse: Purse | None = None, **more: Any
) -> Any:
    own = place(root, method)
    shared = SharedReplies(own, Answered(root).but(own), purse=purse)
    parameters = more.pop("parameters", Parameters(5))
    requests = [Request(f"{method}-{i}", prompt, parameters=parameters) for i, prompt in enumerate(prompts)]
    try:
        return ask_all(
            requests, model.mllm, ledger=shared, budget=purse, prices=PRICES, attempts=1, concurrency=1,
            allow_unpriced=True, **more,
        )  # fmt: skip
    finally:
        shared.close()


def texts(found: Any) -> list[str]:
    return [reply.text for reply in found.replies.values()]


def test_what_one_has_asked_the_other_need_not_ask_but_both_are_counted(tmp_path: Path) -> None:
    model = Model()
    assert texts(ask(tmp_path, "one", ["a", "b"], model)) == ["answer 1", "answer 2"]
    assert texts(ask(tmp_path, "two", ["b", "c", "b"], model)) == ["answer 2", "answer 3", "answer 2"]
    assert [request.prompt for request in model.asked] == ["a", "b", "c"]
    one, two = (Ledger(place(tmp_path, name)) for name in ("one", "two"))
    assert alone(one) == alone(two) == Usage(2, 20, 10, 0.5, pytest.approx(2 * EACH))
    assert paid([one.path]) == pytest.approx(2 * EACH)
    assert paid([two.path]) == pytest.approx(EACH)
    assert paid(ledgers(tmp_path)) == pytest.approx(3 * EACH)
    assert [taken(one), taken(two)] == pytest.approx([2 * EACH, 2 * EACH])


def test_asking_again_changes_nothing(tmp_path: Path) -> None:
    model = Model()
    for name in ("one", "two"):
        ask(tmp_path, name, ["a", "b"], model)
    before = [path.read_bytes() for path in ledgers(tmp_path)]
    for name in ("two", "one", "two"):
        ask(tmp_path, name, ["a", "b"], model)
    assert [path.read_bytes() for path in ledgers(tmp_path)] == before
    assert len(model.asked) == 2


def test_failures_are_not_shared_and_doubts_are_paid(tmp_path: Path) -> None:
    model = Model()
    assert ask(tmp_path, "one", ["doubt fail", "fail", "a"], model).failures.keys() == {"one-0", "one-1"}
    assert ask(tmp_path, "two", ["doubt fail"], model).failures.keys() == {"two-0"}
    assert ask(tmp_path, "one", ["doubt fail", "fail", "a"], model).failures.keys() == {"one-0", "one-1"}
    assert len(model.asked) == 4
    one = Ledger(place(tmp_path, "one"))
    assert alone(one).calls == 1
    doubt = next(line["doubtful_cost"] for line in one if line.get("status") == "failed" and line["doubtful_cost"])
    assert doubt > 0
    assert paid([one.path]) == taken(one) == pytest.approx(EACH + doubt)


def test_what_a_killed_session_had_at_stake_counts_as_paid(tmp_path: Path) -> None:
    ask(tmp_path, "one", ["a"], Model())
    one = Ledger(place(tmp_path, "one"))
    one.append({"kind": "at_stake", "session": "dead", "dollars": 0.5})
    assert paid([one.path]) == taken(one) == pytest.approx(EACH + 0.5)
    assert alone(one).cost == pytest.approx(EACH)


def test_sampled_answers_stand_for_themselves(tmp_path: Path) -> None:
    model, warm = Model(), Parameters(5, temperature=0.7)
    own, other = tmp_path / "birds" / "seed-0" / "one" / FILE, tmp_path / "birds" / "seed-1" / "one" / FILE
    for file in (own, other, own, other):
        request = Request("i", "guess", parameters=warm)
        shared = SharedReplies(file, Answered(tmp_path).but(file))
        ask_all([request], model.mllm, ledger=shared, prices=PRICES)
        shared.close()
    assert len(model.asked) == 2  # each seed its own sample, and each kept
    seeded = Parameters(5, temperature=0.7, seed=3)
    for name in ("one", "two"):
        ask(tmp_path, name, ["guess again"], model, parameters=seeded)
    assert len(model.asked) == 3  # one with a seed is as good as any


DAMAGE = {
    "a flipped letter of the answer": lambda line: line.replace(b"answer 1", b"bnswer 1"),
    "a price": lambda line: line.replace(b'"input_tokens":10', b'"input_tokens":90'),
    "the key's name": lambda line: line.replace(b'"key"', b'"kex"'),
    "the sum's name": lambda line: line.replace(b'"sum"', b'"sun"'),
    "no answer": lambda line: line.replace(b'"answer":', b'"bnswer":'),
    "other kinds of value": lambda line: b'{"kind":"answer","status":"done","key":[],"answer":7,"item":null}\n',
    "nothing but a kind": lambda line: b'{"kind":"answer","status":"done"}\n',
    "no JSON": lambda line: b"\xff\xfe{]\n",
    "torn": lambda line: line[:40],
    "null": lambda line: b"null\n[]\n7\n",
    "deep": lambda line: b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_line_counts_for_nothing(tmp_path: Path, how: str) -> None:
    model = Model()
    ask(tmp_path, "one", ["a"], model)
    file = place(tmp_path, "one")
    whole = file.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(whole) if b'"answer"' in line)
    file.write_bytes(b"".join([*whole[:at], DAMAGE[how](whole[at])]))
    assert alone(Ledger(file)) == Usage()
    assert texts(ask(tmp_path, "two", ["a"], model)) == ["answer 2"]  # not trusted, so asked
    assert texts(ask(tmp_path, "one", ["a"], model)) == ["answer 2"]  # two's answer is sound
    assert len(model.asked) == 2
    assert alone(Ledger(file)) == alone(Ledger(place(tmp_path, "two"))) != Usage()
    paid(ledgers(tmp_path))


def test_a_sound_answer_is_found_behind_a_damaged_one(tmp_path: Path) -> None:
    model = Model()
    for name in ("one", "two"):
        ask(tmp_path, name, ["a"], model)
    file = place(tmp_path, "two")  # read after "one"
    file.write_bytes(file.read_bytes().replace(b"answer 1", b"bnswer 1"))
    assert texts(ask(tmp_path, "three", ["a"], model)) == ["answer 1"]
    assert len(model.asked) == 1


def test_a_methods_own_files_are_no_ledgers(tmp_path: Path) -> None:
    model = Model()
    ask(tmp_path, "one", ["a"], model)
    work = place(tmp_path, "one").parent / "work"
    work.mkdir()
    (work / FILE).write_bytes(place(tmp_path, "one").read_bytes())
    assert ledgers(tmp_path) == [place(tmp_path, "one")]


def test_answers_that_come_later_are_seen(tmp_path: Path) -> None:
    model, answered = Model(), Answered(tmp_path)
    own = place(tmp_path, "two")
    for prompts in (["a"], ["a", "b"], ["a", "b", "c"]):
        ask(tmp_path, "one", prompts, model)
        assert len(answered.but(own)) == len(prompts)
    assert answered.but(place(tmp_path, "one")) == {}


# --- an allowance -----------------------------------------------------------------------------------------------------


def test_an_allowance_pays_for_others_answers_as_well(tmp_path: Path) -> None:
    """The second to ask gets no more for its money than the first."""
    model = Model()
    prompts = [f"question {i}" for i in range(10)]
    ask(tmp_path, "one", prompts, model)
    purse = Purse(100.0, each=3.5 * EACH)
    found = ask(tmp_path, "two", prompts, model, purse=purse)
    assert texts(found) == ["answer 1", "answer 2", "answer 3"]
    assert purse.refused
    assert found.stopped == "budget"
    assert len(model.asked) == 10
    assert taken(Ledger(place(tmp_path, "two"))) == pytest.approx(3 * EACH)
    more = Purse(100.0, each=5.5 * EACH - taken(Ledger(place(tmp_path, "two"))))
    assert len(ask(tmp_path, "two", prompts, model, purse=more).replies) == 5  # what it has is not paid for again
    assert len(model.asked) == 10


def test_an_allowance_alone_stops_where_the_money_ends(tmp_path: Path) -> None:
    model, purse = Model(), Purse(100.0, each=3.5 * EACH)
    found = ask(tmp_path, "one", [f"question {i}" for i in range(10)], model, purse=purse)
    assert 1 <= len(found.replies) <= 3
    assert (purse.refused, found.stopped) == (True, "budget")
    assert taken(Ledger(place(tmp_path, "one"))) <= 3.5 * EACH


def test_the_cap_for_all_does_not_charge_shared_answers(tmp_path: Path) -> None:
    model, prompts = Model(), [f"question {i}" for i in range(5)]
    ask(tmp_path, "one", prompts, model)
    purse = Purse(0.0)
    assert len(ask(tmp_path, "two", prompts, model, purse=purse).replies) == 5
    assert not purse.refused
    assert ask(tmp_path, "two", [*prompts, "another"], model, purse=purse).stopped == "budget"
    assert purse.refused


def test_a_question_asked_twice_is_charged_once(tmp_path: Path) -> None:
    model = Model()
    ask(tmp_path, "one", ["a"], model)
    purse = Purse(1.0, each=1.5 * EACH)
    own = place(tmp_path, "two")
    shared = SharedReplies(own, Answered(tmp_path).but(own), purse=purse)
    for number in range(3):
        request = Request(f"i{number}", "a", parameters=Parameters(5))
        ask_all([request], model.mllm, ledger=shared, budget=purse, prices=PRICES)
    shared.close()
    assert purse.taken == pytest.approx(EACH)
    assert not purse.refused


def test_answers_without_a_price_are_free(tmp_path: Path) -> None:
    model = Model(cost_unknown=True)
    ask(tmp_path, "one", ["a"], model)
    assert len(ask(tmp_path, "two", ["a"], model, purse=Purse(0.0, each=0.0)).replies) == 1
    assert alone(Ledger(place(tmp_path, "two"))).cost is None
    assert taken(Ledger(place(tmp_path, "two"))) == 0.0


def test_identical_pictures_are_one_question(tmp_path: Path) -> None:
    model = Model()
    requests = [replace(Request(f"i{n}", "what?", parameters=Parameters(5)), image_hashes=()) for n in range(4)]
    own = place(tmp_path, "one")
    shared = SharedReplies(own, {})
    ask_all(requests, model.mllm, ledger=shared, prices=PRICES)
    shared.close()
    assert len(model.asked) == 1
    assert alone(Ledger(own)).calls == 1
    assert len([json.loads(line) for line in own.read_text().splitlines() if '"answer"' in line]) >= 4
    assert taken(Ledger(own)) == paid([own]) == pytest.approx(EACH)
