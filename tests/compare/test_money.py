"""Spending caps over methods, sessions and going on: for all together, and for each as if alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvr.compare import Collection
from fgvr.compare.replies import ledgers, paid
from fgvr.mllm import Price, Request
from tests.compare.world import DOLLARS, asker, collection, method, run, witness

DUST = 1e-9


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return collection(tmp_path_factory.mktemp("world"), pool=4, test=3)


def test_a_cap_stops_in_the_middle_and_a_higher_one_goes_on(birds: Collection, tmp_path: Path) -> None:
    specs, one, out = (
        [asker(tmp_path, name, f"{name}?") for name in ("first", "second")],
        witness(birds),
        tmp_path / "o",
    )
    cap = 18 * DOLLARS
    rows = run([birds], specs, one.mllm, out, budget=cap)
    assert [row.status for row in rows] == ["done", "stopped"]
    assert 0 < rows[1].answered < 12
    assert len(one.asked) * DOLLARS == pytest.approx(paid(ledgers(out)))
    assert len(one.asked) * DOLLARS <= cap + DUST
    before = len(one.asked)
    assert [row.status for row in run([birds], specs, one.mllm, out, budget=cap)] == ["done", "stopped"]
    assert len(one.asked) * DOLLARS <= cap + DUST
    rows = run([birds], specs, one.mllm, out, budget=1.0)
    assert [(row.status, row.answered) for row in rows] == [("done", 12)] * 2
    assert len(one.asked) == 24
    assert before >= 12


def test_no_money_at_all_is_stopped_not_failed(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds)
    specs = ["knn", "zero_shot", asker(tmp_path, "mine")]
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget=0.0)
    assert [(row.status, row.answered) for row in rows] == [("stopped", 0)] * 3
    assert all("spending cap" in row.error for row in rows)
    assert one.asked == []
    free = method(tmp_path, "free", "return Naming(('x',) * n)")
    assert run([birds], [free], one.mllm, tmp_path / "out", budget=0.0)[0].status == "done"


def test_a_cap_needs_a_price_and_says_so(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds, name="unknown")
    rows = run(
        [birds], ["knn", method(tmp_path, "free", "return Naming(('x',) * n)")], one.mllm, tmp_path / "o", budget=1
    )
    assert [row.status for row in rows] == ["failed", "done"]
    assert "price" in rows[0].error
    rows = run([birds], ["knn"], one.mllm, tmp_path / "o", budget=1, asking={"allow_unpriced": True})
    assert (rows[0].status, rows[0].usage.cost) == ("done", None)


def test_each_method_gets_the_same_for_its_allowance(birds: Collection, tmp_path: Path) -> None:
    """The second method asks what the first has asked already, and still gets no further."""
    specs, one = [asker(tmp_path, name, "same?") for name in ("first", "second")], witness(birds)
    each = 7.5 * DOLLARS
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget_each=each)
    assert [row.status for row in rows] == ["stopped", "stopped"]
    assert 0 < rows[0].answered < 12
    for row in rows:
        assert row.usage.cost is not None
        assert row.usage.cost <= each + DUST
    assert abs(rows[1].answered - rows[0].answered) <= 1
    assert len(one.asked) == max(row.answered for row in rows)
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget_each=each)
    assert all(row.usage.cost <= each + DUST for row in rows)  # type: ignore[operator]
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget_each=1.0)
    assert [(row.status, row.answered) for row in rows] == [("done", 12)] * 2
    assert len(one.asked) == 12


def test_both_caps_hold_together(birds: Collection, tmp_path: Path) -> None:
    specs, one = [asker(tmp_path, name, f"{name}?") for name in ("a", "b", "c", "d")], witness(birds)
    each, cap = 7.5 * DOLLARS, 17.5 * DOLLARS
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget_each=each, budget=cap, asking={"concurrency": 4})
    assert len(one.asked) * DOLLARS <= cap + DUST
    assert all((row.usage.cost or 0) <= each + DUST for row in rows)
    assert {row.status for row in rows} == {"stopped"}
    assert len(one.asked) >= 12


THREADS = """
from concurrent.futures import ThreadPoolExecutor
def part(k):
    return asked(task, task.test.items[k::3], f"part {k}?").replies
with ThreadPoolExecutor(3) as pool:
    found = {}
    for replies in pool.map(part, range(3)):
        found |= replies
return Naming(tuple(found[i.id].text if i.id in found else None for i in task.test.items))
"""


def test_a_method_that_asks_from_several_threads_has_one_purse(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds, latency=0.005)
    cap = 6.5 * DOLLARS
    row = run([birds], [method(tmp_path, "threads", THREADS)], one.mllm, tmp_path / "out", budget=cap)[0]
    assert row.status == "stopped"
    assert 0 < len(one.asked) * DOLLARS <= cap + DUST


def test_the_money_of_earlier_sessions_counts(birds: Collection, tmp_path: Path) -> None:
    one, out = witness(birds), tmp_path / "out"
    for name in ("a", "b", "c"):
        run([birds], [asker(tmp_path, name, f"{name}?")], one.mllm, out, budget=14.5 * DOLLARS)
    assert 12 <= len(one.asked) <= 14


def test_the_reservation_covers_a_question(birds: Collection) -> None:
    """The tests above are about caps, not about a model that takes more than anyone could foresee."""
    from fgvr.mllm.tokens import most_input_tokens

    request = Request("i", "first?", (birds.test[0].path,))
    assert Price(1.0, 1.0).cost(input_tokens=most_input_tokens(request, "witness"), output_tokens=20) >= DOLLARS
