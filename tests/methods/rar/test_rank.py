"""The ranker with scripted MLLMs: scores, written orders, rotations, services without scores, and what is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError, MllmError
from fgvr.methods.rar.prompts import CHOICE_QUESTION, NAMING_QUESTION, ranking_prompt
from fgvr.methods.rar.rank import Ranked, Ranking, RankSettings, rank, ranking_requests
from fgvr.mllm import ScriptedMllm
from fgvr.mllm.base import Reply, Request
from fgvr.mllm.options import are_letters, lettered_prompt
from fgvr.runs import Ledger
from fgvr.types import ImageItem, Usage

NAMES = ["Arctic Tern", "Common Tern", "Forster's Tern", "Black_Tern", "Gull"]
TASTE = dict(
    zip(["Arctic Tern", "Common Tern", "Forster's Tern", "Black Tern", "Gull"], [0.5, 1.5, 3.0, 1.0, -1.0], strict=True)
)
BIAS = [2.0, 0.0, -1.0, 0.5, 0.0]
"""How much the MLLM likes each place of a list."""


def item(name: str = "a") -> ImageItem:
    return ImageItem(name, Path(f"{name}.jpg"))


def scored(request: Request, raw: list[float]) -> Reply:
    total = math.log(sum(map(math.exp, raw)))
    best = request.options[raw.index(max(raw))]
    return Reply(request.item_id, best, "s", Usage(1), option_logprobs=tuple(value - total for value in raw))


def shown_names(request: Request) -> list[str]:
    """The names in the order the MLLM sees them."""
    if not are_letters(request.options):
        return list(request.options)
    return [line.split(". ", 1)[1] for line in request.prompt.splitlines() if line[1:3] == ". "]


def biased(request: Request) -> Reply:
    return scored(request, [TASTE[name] + bias for name, bias in zip(shown_names(request), BIAS, strict=False)])


def ask(script: Callable[[Request], str | Reply | Exception], names: list[str] = NAMES, **options: object) -> Ranking:
    mllm = ScriptedMllm(script, local=True)
    given_hash = ["0" * 64]
    return rank([item()], [names], mllm, settings=RankSettings(**options), hashes=given_hash, attempts=1).rankings[0]  # type: ignore[arg-type]


def test_scores_put_the_likeliest_first() -> None:
    ranking = ask(lambda request: scored(request, [TASTE[name] for name in request.options]))
    assert ranking.order == (2, 1, 3, 0, 4)
    assert ranking.status == "scored"
    assert sum(map(math.exp, ranking.log_probs)) == pytest.approx(1.0)
    assert ranking.log_probs[2] - ranking.log_probs[4] == pytest.approx(4.0)


def test_the_questions() -> None:
    (request,) = ranking_requests([item()], [NAMES])
    assert (request.item_id, request.stage, request.prompt) == ("a", "rank", NAMING_QUESTION)
    assert request.options == ("Arctic Tern", "Common Tern", "Forster's Tern", "Black Tern", "Gull")
    (request,) = ranking_requests([item()], [NAMES[:3]], settings=RankSettings(ask="letters"))
    assert request.options == ("A", "B", "C")
    assert request.prompt == (
        f"{CHOICE_QUESTION}\n\nA. Arctic Tern\nB. Common Tern\nC. Forster's Tern\n\n"
        "Answer with the letter of the best option only."
    )
    (request,) = ranking_requests([item()], [NAMES], settings=RankSettings(mode="generate", prompt="in_context"))
    assert request.prompt == ranking_prompt(NAMES, kind="in_context")
    assert (request.options, request.parameters.max_tokens, request.parameters.temperature) == ((), 512, 0.0)
    own = ranking_requests([item()], [NAMES], settings=RankSettings(question="Which tern?"))
    assert own[0].prompt == "Which tern?"


def test_a_service_is_shown_letters_once() -> None:
    names, letters = ("Tern", "Gull"), ("A", "B")
    assert lettered_prompt("Which?", names).endswith(
        "A. Tern\nB. Gull\n\nAnswer with the letter of the best option only."
    )
    assert lettered_prompt(lettered_prompt("Which?", names), letters) == lettered_prompt("Which?", names)


def test_rotations_ask_about_each_place() -> None:
    requests = ranking_requests([item("x"), item("y")], [NAMES, NAMES[:2]], settings=RankSettings(permutations=3))
    assert [request.item_id for request in requests] == ["x", "x#r1", "x#r2", "y", "y#r1"]
    assert requests[1].options == ("Common Tern", "Forster's Tern", "Black Tern", "Gull", "Arctic Tern")


@pytest.mark.parametrize("ask_for", ["names", "letters"])
def test_as_many_rotations_as_candidates_cancel_any_liking_for_places(ask_for: str) -> None:
    ranking = ask(biased, ask=ask_for, permutations=5)
    total = math.log(sum(map(math.exp, TASTE.values())))
    assert ranking.log_probs == pytest.approx([value - total for value in TASTE.values()])
    assert ask(biased, ask=ask_for).order != ranking.order  # one place decides otherwise


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.lists(st.floats(-5, 5), min_size=5, max_size=5))
def test_the_order_given_does_not_matter_then(order: list[int], bias: list[float]) -> None:
    def script(request: Request) -> Reply:
        return scored(request, [TASTE[name] + like for name, like in zip(shown_names(request), bias, strict=True)])

    one = ask(script, permutations=5, ask="letters")
    other = ask(script, [NAMES[place] for place in order], permutations=5, ask="letters")
    assert [one.log_probs[place] for place in order] == pytest.approx(other.log_probs)
    assert [order[place] for place in other.order] == list(one.order)


@pytest.mark.parametrize(
    ("reply", "order", "status"),
    [
        (repr(["Gull", "Common Tern", "Arctic Tern", "Forster's Tern", "Black Tern"]), (4, 1, 0, 2, 3), "parsed"),
        ("1. black tern\n2. Gull", (3, 4, 0, 1, 2), "repaired"),
        ("I cannot say.", (0, 1, 2, 3, 4), "unusable"),
    ],
)
def test_written_orders(reply: str, order: tuple[int, ...], status: str) -> None:
    ranking = ask(lambda request: reply, mode="generate")
    assert (ranking.order, ranking.status, ranking.log_probs) == (order, status, ())


def test_written_orders_of_rotations_are_averaged() -> None:
    replies = {"a": "Gull > Arctic Tern", "a#r1": "Gull > Black Tern", "a#r2": "Black Tern > Arctic Tern > Gull"}
    ranking = ask(lambda request: replies[request.item_id], mode="generate", permutations=3)
    # Ranks: Gull 0, 0, 2; Black Tern 3, 1, 0; Arctic Tern 1, 3, 1; the two never named 3, 3, 3.5.
    assert ranking.order == (4, 3, 0, 1, 2)
    assert ranking.status == "repaired"


def test_a_service_without_scores_still_chooses() -> None:
    ranking = ask(lambda request: "Forster's Tern")
    assert ranking == Ranking("a", (2, 0, 1, 3, 4), (), "parsed", "no log-probabilities, a choice only")
    letter = ask(lambda request: "C", ask="letters", permutations=2)  # once Forster's Tern, once Black Tern
    assert letter.order[:2] == (2, 3)
    assert ask(lambda request: "No idea.").status == "unusable"


@pytest.mark.parametrize(
    "scores", [(-0.1,), (-0.1, float("nan"), -1.0, -1.0, -1.0), (0.0, -math.inf, -1.0, -1.0, -1.0)]
)
def test_scores_that_are_none_are_not_used(scores: tuple[float, ...]) -> None:
    ranking = ask(lambda request: Reply("a", "Gull", "s", Usage(1), option_logprobs=scores))
    assert ranking.log_probs == ()
    assert ranking.order[0] == 4


def test_an_unanswered_image_keeps_the_retrievers_order() -> None:
    ranking = ask(lambda request: MllmError("no"))
    assert ranking == Ranking("a", (0, 1, 2, 3, 4), (), "unanswered", "1 of 1 unanswered")


def test_a_lost_rotation_is_said() -> None:
    ranking = ask(lambda request: MllmError("no") if "#" in request.item_id else biased(request), permutations=2)
    assert (ranking.status, ranking.note) == ("repaired", "1 of 2 unanswered")
    assert ranking.log_probs == pytest.approx(ask(biased).log_probs)


def test_one_candidate_or_none_needs_no_call() -> None:
    def fail(request: Request) -> str:
        raise AssertionError("asked")

    ranked = rank([item("a"), item("b")], [["Gull"], []], ScriptedMllm(fail))
    assert ranked.rankings == (Ranking("a", (0,), (0.0,), "scored"), Ranking("b", (), (), "parsed"))
    assert not ranked.answers.replies


def test_a_name_retrieved_twice_stays_in_the_retrievers_order() -> None:
    names = ["Gull", "Arctic Tern", "Gull"]
    ranking = ask(lambda request: scored(request, [TASTE[name] for name in request.options]), names)
    assert ranking.order == (1, 0, 2)


def test_lists_of_different_length_and_their_table() -> None:
    ranked = rank([item("a"), item("b"), item("c")], [NAMES, NAMES[:2], ["Gull"]],
                  ScriptedMllm(lambda request: MllmError("no") if request.item_id == "a" else biased(request)),
                  hashes=["1" * 64, "2" * 64, "3" * 64], attempts=1)  # fmt: skip
    table = ranked.log_probs(5)
    assert np.isnan(table[0]).all()
    assert np.exp(table[1, :2]).sum() == pytest.approx(1.0)
    assert np.isneginf(table[1, 2:]).all()
    assert table[2].tolist() == [0.0, *[-np.inf] * 4]


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(request: Request) -> Reply:
        asked.append(request.item_id)
        return biased(request)

    def run() -> Ranked:
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            return rank(
                [item()], [NAMES], ScriptedMllm(script), settings=RankSettings(permutations=2),
                hashes=["0" * 64], ledger=ledger,
            )  # fmt: skip

    first = run()
    assert run().rankings == first.rankings
    assert sorted(asked) == ["a", "a#r1"]


def test_other_input_is_an_error() -> None:
    mllm = ScriptedMllm(biased, supports_options=False)
    with pytest.raises(InputError, match="scores no options"):
        rank([item()], [NAMES], mllm, hashes=["0" * 64])
    with pytest.raises(InputError, match="candidates"):
        ranking_requests([item()], [])
    with pytest.raises(InputError, match="too many candidates for letters"):
        ranking_requests([item()], [[str(i) for i in range(27)]], settings=RankSettings(ask="letters"))
    for wrong in ({"mode": "guess"}, {"ask": "numbers"}, {"permutations": 0}, {"prompt": "best"}):
        with pytest.raises(InputError):
            RankSettings(**wrong)  # type: ignore[arg-type]
