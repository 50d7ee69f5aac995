"""Replies as log-probabilities, and the account of asking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import MllmError
from fgvr.methods.rar.asking import Asker, log_probs_of, with_own_ids
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.rank import Ranking, RankSettings
from fgvr.mllm import Budget, Price, Reply, ScriptedMllm
from fgvr.runs import Ledger
from fgvr.types import ImageItem, Usage

NAMES = ("Wren", "Tern", "Swift")


def candidates(*rows: tuple[int, ...]) -> Candidates:
    """Rows of class indices, all equally likely; -1 is nobody."""
    classes = np.array(rows)
    return Candidates(classes, np.where(classes >= 0, np.log(1 / classes.shape[1]), -np.inf))


def test_scores_stay_where_they_were_given() -> None:
    said = log_probs_of([Ranking("a", (1, 0, 2), (-2.0, -0.5, -3.0), "scored")], candidates((7, 3, 9)).k)
    np.testing.assert_array_equal(said, [[-2.0, -0.5, -3.0]])


def test_a_written_list_becomes_odds_of_one_to_a_half_to_a_third() -> None:
    said = log_probs_of([Ranking("a", (2, 0, 1), (), "parsed")], candidates((7, 3, 9)).k)
    total = 1 + 1 / 2 + 1 / 3
    np.testing.assert_allclose(np.exp(said[0]), [1 / 2 / total, 1 / 3 / total, 1 / total])


@pytest.mark.parametrize("status", ["unusable", "unanswered"])
def test_no_usable_answer_says_nothing(status: str) -> None:
    assert np.isnan(log_probs_of([Ranking("a", (0, 1), (), status)], candidates((7, 3)).k)).all()


def test_slots_without_a_candidate_stay_empty() -> None:
    rows = [Ranking("a", (1, 0), (), "repaired"), Ranking("b", (0, 1), (-0.1, -2.3), "scored")]
    said = log_probs_of(rows, candidates((7, 3, -1), (1, 2, -1)).k)
    assert np.isneginf(said[:, 2]).all()
    assert np.isfinite(said[:, :2]).all()
    assert said[0].argmax() == 1


@given(st.permutations(range(5)))
def test_the_order_of_a_list_is_the_order_of_its_odds(order: list[int]) -> None:
    said = log_probs_of([Ranking("a", tuple(order), (), "parsed")], candidates((0, 1, 2, 3, 4)).k)
    assert np.argsort(-said[0]).tolist() == order
    assert np.exp(said[0]).sum() == pytest.approx(1.0)


@given(st.lists(st.sampled_from(["a", "a#2", "b", "a#3", "b#2"]), max_size=8))
def test_repeated_items_get_ids_of_their_own(ids: list[str]) -> None:
    items = [ImageItem(id, Path(id)) for id in ids]
    found = with_own_ids(items)
    assert len({one.id for one in found}) == len(ids)
    assert [one.path for one in found] == [one.path for one in items]
    for place, id in enumerate(ids):
        if id not in ids[:place]:
            assert found[place].id == id


def asker(script, **options) -> Asker:
    return Asker(ScriptedMllm(script, name="m"), RankSettings(), **options)


def sure(request) -> Reply:
    scores = tuple([-0.1] + [-5.0] * (len(request.options) - 1))
    return Reply(request.item_id, "", "m", Usage(calls=1, input_tokens=1000), option_logprobs=scores)


def items(count: int) -> list[ImageItem]:
    return [ImageItem(f"{i}.png", Path(f"{i}.png")) for i in range(count)]


def test_the_account_counts_only_what_was_asked(tmp_path: Path) -> None:
    def script(request):
        return MllmError("no") if request.item_id == "2.png" else sure(request)

    offered = candidates((0, 1), (2, -1), (1, 2))
    ledger = Ledger(tmp_path / "l.jsonl")
    one = asker(script, ledger=ledger)
    said = one(items(3), ["h0", "h1", "h2"], offered, NAMES)
    assert (one.asked, one.unanswered, one.reused, one.usage.calls, one.stopped) == (2, 1, 0, 1, None)
    assert np.isfinite(said).all(axis=1).tolist() == [True, False, False]
    again = asker(script, ledger=ledger)
    np.testing.assert_array_equal(again(items(3), ["h0", "h1", "h2"], offered, NAMES), said)
    assert (again.reused, again.usage.calls) == (1, 0)


def test_the_purse_is_shared_and_what_it_cannot_pay_is_not_asked() -> None:
    asked = []

    def script(request):
        asked.append(request.item_id)
        return sure(request)

    limit = 0.02
    purse = Budget(limit)
    for part in range(3):
        one = asker(script, options={"prices": {"m": Price(1.0, 1.0)}, "concurrency": 1}, budget=purse)
        said = one(items(9), [f"{part}{i}" for i in range(9)], candidates(*[(0, 1)] * 9), NAMES)
    assert one.stopped == "budget"
    assert np.isnan(said).all()
    assert 2 * limit / 3 < len(asked) * 1000e-6 <= limit  # the rest is too little for the worst case
    assert purse.spent == pytest.approx(len(asked) * 1000e-6)
