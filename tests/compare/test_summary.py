"""From rows to lines and differences, against scipy and against sums by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fgvr.compare.cell import folder_name, keep
from fgvr.compare.differences import differences, per_image
from fgvr.compare.summary import EVERY, lines, over_draws
from fgvr.methods.baselines.task import Naming
from fgvr.metrics import evaluate
from fgvr.types import ImageItem, Usage
from tests.compare.rows import failed, row


def test_the_t_interval_by_hand() -> None:
    """Three draws: mean 0.6, deviation 0.1, t(2, 0.975) = 4.3027."""
    found = over_draws([0.5, 0.6, 0.7])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert (found.level, found.resamples) == (0.95, 0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_t_interval_is_scipys(values: list[float]) -> None:
    found = over_draws(values)
    if np.std(values) < 1e-9:
        assert found.low == pytest.approx(found.high, abs=1e-6)
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_draw_keeps_its_bootstrap_interval() -> None:
    (line,) = lines([row(figures={"cacc": 0.7})])
    assert line.figures["cacc"] == row(figures={"cacc": 0.7}).figures["cacc"]
    assert (line.draws, line.wanted, line.whole) == (1, 1, True)


def test_several_draws_are_averaged() -> None:
    rows = [
        row(seed=s, figures={"cacc": v}, usage=Usage(c, 10 * c, c, 0.5, 0.1 * c), paid=0.25, seconds=float(s), names=s,
            truth_covered=t)
        for s, v, c, t in ((0, 0.5, 10, 0.25), (1, 0.6, 11, None), (2, 0.7, 12, 0.75))
    ]  # fmt: skip
    (line,) = lines(rows)
    assert line.figures["cacc"] == over_draws([0.5, 0.6, 0.7])
    assert line.usage == Usage(11, 110, 11, 0.5, pytest.approx(1.1))
    assert (line.paid, line.seconds, line.names, line.truth_covered) == (0.75, 1.0, 1.0, 0.5)


def test_partial_lines_say_so() -> None:
    (line,) = lines([row(seed=0, figures={"cacc": 0.5}), failed(seed=1, error="a"), failed(seed=2, error="a")])
    assert (line.status, line.draws, line.wanted, line.whole, line.errors) == ("failed", 1, 3, False, ("a",))
    assert line.figures["cacc"].value == 0.5
    (line,) = lines([row(seed=0), row(seed=1, status="stopped", answered=5)])
    assert (line.status, line.whole, line.coverage) == ("stopped", False, 0.75)
    (line,) = lines([row(answered=9)])
    assert (line.status, line.whole, line.coverage) == ("done", False, 0.9)
    (line,) = lines([failed()])
    assert (dict(line.figures), line.draws, line.coverage, line.whole) == ({}, 0, 0.0, False)


def test_figures_that_only_some_draws_have_are_left_out() -> None:
    (line,) = lines([row(seed=0, figures={"cacc": 0.5, "ece": 0.1}), row(seed=1, figures={"cacc": 0.5})])
    assert set(line.figures) == {"cacc"}


def test_an_unknown_price_stays_unknown() -> None:
    (line,) = lines([row(seed=0), row(seed=1, usage=Usage(10, 1, 1, 1.0, None))])
    assert line.usage.cost is None


def test_the_mean_over_collections_takes_only_methods_finished_on_all() -> None:
    rows = [
        *(row("direct", s, figures={"cacc": v}) for s, v in ((0, 0.4), (1, 0.6))),
        *(row("knn", s, figures={"cacc": v}) for s, v in ((0, 0.1), (1, 0.1))),
        *(row("direct", s, collection="fish", figures={"cacc": v}) for s, v in ((0, 0.8), (1, 0.6))),
        *(failed("knn", s, collection="fish") for s in (0, 1)),
    ]
    found = {(line.collection, line.method): line for line in lines(rows)}
    assert list(found) == [
        ("birds", "direct"), ("birds", "knn"), ("fish", "direct"), ("fish", "knn"), (EVERY, "direct"),
    ]  # fmt: skip
    mean = found[EVERY, "direct"]
    figure = mean.figures["cacc"]
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.6, 0.6, 0.6))
    assert (mean.usage.calls, mean.draws, mean.wanted) == (20, 2, 2)


def test_the_mean_of_single_draws_has_no_interval() -> None:
    rows = [row(figures={"cacc": 0.4}), row(collection="fish", figures={"cacc": 0.6})]
    mean = lines(rows)[-1]
    figure = mean.figures["cacc"]
    assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)
    assert mean.collection == EVERY


def test_draws_without_a_partner_do_not_enter_the_mean_interval() -> None:
    rows = [row(seed=s, figures={"cacc": 0.5 + s / 10}) for s in (0, 1, 2)]
    rows += [row(seed=s, collection="fish", figures={"cacc": 0.5}) for s in (0, 1)]
    mean = lines([*rows, failed(seed=2, collection="fish")])[-1]
    assert mean.figures["cacc"] == over_draws([0.5, 0.55])
    assert not mean.whole


def test_nothing_gives_nothing() -> None:
    assert lines([]) == []
    assert lines([failed(), failed(collection="fish")])[0].figures == {}


# --- differences ------------------------------------------------------------------------------------------------------


def test_differences_are_paired_by_draw() -> None:
    ours, base = (0.5, 0.7, 0.9), (0.4, 0.5, 0.9)
    rows = [row("knn", s, figures={"cacc": v, "synonym": v}) for s, v in enumerate(ours)]
    rows += [row("direct", s, figures={"cacc": v}) for s, v in enumerate(base)]
    (found,) = differences(rows, "direct")
    expected = stats.ttest_rel(ours, base).confidence_interval(0.95)
    assert (found.figures["cacc"].low, found.figures["cacc"].high) == pytest.approx((expected.low, expected.high))
    assert (found.method, found.against, found.paired, set(found.figures)) == ("knn", "direct", "draws", {"cacc"})
    assert not found.clear("cacc")


def test_only_whole_draws_are_compared() -> None:
    rows = [row("direct", s) for s in range(4)]
    rows += [row("knn", 0), row("knn", 1, answered=9), row("knn", 2, status="stopped"), failed("knn", 3)]
    assert differences(rows, "direct") == []  # one pair, no folder to pair images by
    assert differences(rows, "no_such") == []
    rows += [row("rar", 1, figures={"cacc": 0.6}), row("rar", 3, figures={"cacc": 0.6002})]
    (found,) = differences(rows, "direct")
    assert (found.method, found.figures["cacc"].value) == ("rar", pytest.approx(0.1001))
    assert found.clear("cacc")


def test_draws_that_change_nothing_tell_nothing_about_spread(tmp_path: Path) -> None:
    rows = [
        row(name, seed, figures={"cacc": value}) for seed in (0, 1) for name, value in (("direct", 0.5), ("knn", 0.4))
    ]
    assert [line.figures["cacc"] for line in lines(rows)] == [rows[0].figures["cacc"], rows[1].figures["cacc"]]
    assert differences(rows, "direct") == []
    truth = items("aabb")
    for one, names in zip(rows[:2], ("aabb", "aaba")):
        folder = tmp_path / "birds" / "seed-0" / folder_name(one.method)
        keep(folder, "d", one, items=truth, naming=Naming(tuple(names)))
    (found,) = differences(rows, "direct", root=tmp_path, truth={"birds": truth})
    assert (found.paired, found.figures["synonym"].value) == ("images", -0.25)
    varied = [row("knn", 2, figures={"cacc": 0.3}), row("direct", 2, figures={"cacc": 0.5}), *rows]
    assert [one.paired for one in differences(varied, "direct")] == ["draws"]


def items(labels: str) -> tuple[ImageItem, ...]:
    return tuple(ImageItem(f"{i}\u2028.png", Path(f"{i}.png"), label) for i, label in enumerate(labels))


def test_one_draw_is_paired_by_image(tmp_path: Path) -> None:
    """Against a bootstrap of pairs, written out."""
    rng = np.random.default_rng(0)
    truth = items("".join(rng.choice(list("abc"), 60)))
    said = {
        name: [t.label if rng.random() < p else "z\u2028" for t in truth] for name, p in (("direct", 0.3), ("knn", 0.9))
    }
    rows = []
    for name, names in said.items():
        rows.append(row(name))
        folder = tmp_path / "birds" / "seed-0" / folder_name(name)
        keep(folder, "d", rows[-1], items=truth, naming=Naming(tuple(names)))
    (found,) = differences(rows, "direct", root=tmp_path, truth={"birds": truth})
    hits = {name: np.array([n == t.label for n, t in zip(names, truth)], float) for name, names in said.items()}
    gap = hits["knn"] - hits["direct"]
    draws = [gap[rng.integers(0, 60, 60)].mean() for _ in range(4000)]
    figure = found.figures["synonym"]
    assert figure.value == pytest.approx(gap.mean())
    assert (figure.low, figure.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.03)
    assert (found.paired, found.clear("synonym")) == ("images", True)
    cacc = [evaluate(names, [str(t.label) for t in truth]).figures["cacc"].value for names in said.values()]
    assert found.figures["cacc"].value == pytest.approx(cacc[1] - cacc[0])


def test_names_that_are_gone_give_no_difference(tmp_path: Path) -> None:
    """A method may have deleted its neighbours' files: no reason to lose the tables."""
    truth = items("ab")
    rows = [row("direct"), row("knn")]
    assert differences(rows, "direct", root=tmp_path, truth={"birds": truth}) == []
    for one in rows:
        keep(tmp_path / "birds" / "seed-0" / one.method, "d", one, items=truth, naming=Naming(("a", "b")))
    assert len(differences(rows, "direct", root=tmp_path, truth={"birds": truth})) == 1
    (tmp_path / "birds" / "seed-0" / "knn" / "named.jsonl").write_bytes(b"\xff{")
    assert differences(rows, "direct", root=tmp_path, truth={"birds": truth}) == []


def test_scores_of_each_image(tmp_path: Path) -> None:
    class Sentences:
        name = "length"

        def encode(self, texts: list[str]) -> np.ndarray:
            return np.array([[1.0, 0.0] if len(t) < 4 else [0.0, 1.0] for t in texts], np.float32)

    found = per_image(["cat", "tiger", "cat", "dog"], [("cat",), ("cat", "tiger"), ("dog",), ("dog",)], Sentences())
    assert found["synonym"].tolist() == [1, 1, 0, 1]
    assert found["sacc"].tolist() == [1, 1, 1, 1]
    assert found["cacc"].mean() == 0.5
    assert "sacc" not in per_image(["a"], [("a",)], None)
