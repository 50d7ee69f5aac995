"""What ranking does to the candidates of boxes and to their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgvr.errors import InputError
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.rank import Ranking, RankSettings
from fgvr.methods.rar.regions_rank import (
    RegionRankSettings,
    fused,
    learned_weight,
    rank_consistent,
    rank_regions,
    to_ask,
)
from fgvr.mllm import ScriptedMllm
from fgvr.mllm.base import Reply, Request
from fgvr.types import ImageItem, Usage

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox")


def found(*rows: tuple[tuple[int, ...], tuple[float, ...]]) -> Candidates:
    """(classes, probabilities) each; short rows are filled up."""
    width = max(len(classes) for classes, _ in rows)
    classes = np.full((len(rows), width), -1)
    log_probs = np.full((len(rows), width), -np.inf)
    for index, (row, chances) in enumerate(rows):
        classes[index, : len(row)], log_probs[index, : len(row)] = row, np.log(chances)
    return Candidates(classes, log_probs)


def items(folder: Path, count: int) -> list[ImageItem]:
    for number in range(count):
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / f"{number}.png")
    return [ImageItem(f"annotation {number}", folder / f"{number}.png") for number in range(count)]


def preferring(*wanted: str) -> ScriptedMllm:
    def script(request: Request) -> Reply:
        scores = tuple(-0.1 if option in wanted else -4.0 for option in request.options)
        return Reply(request.item_id, "", "scripted", Usage(calls=1), scores)

    return ScriptedMllm(script)


class TestRankConsistent:
    def test_classes_move_scores_stay(self):
        before = found(((0, 1, 2), (0.5, 0.3, 0.1)), ((3, 4, 5), (0.6, 0.2, 0.1)))
        after = rank_consistent(before, np.array([1]), [Ranking("x", (2, 0, 1), (), "parsed")])
        assert after.classes.tolist() == [[0, 1, 2], [5, 3, 4]]
        assert np.array_equal(after.log_probs, before.log_probs)

    def test_a_short_row_stays_short(self):
        before = found(((0, 1, 2), (0.5, 0.3, 0.1)), ((3, 4), (0.6, 0.2)))
        after = rank_consistent(before, np.array([1]), [Ranking("x", (1, 0), (), "parsed")])
        assert after.classes.tolist() == [[0, 1, 2], [4, 3, -1]]


class TestFused:
    def test_by_hand(self):
        # Evidence of the MLLM (0.9, 0.1) at doubt 0.2: log 2(0.8 p + 0.1) = log 1.64, log 0.36.
        before = found(((0, 1), (0.3, 0.5)))
        after = fused(before, np.log([[0.9, 0.1]]), weight=1.0)
        parts = np.array([0.3 * 1.64, 0.5 * 0.36])
        assert after.classes.tolist() == [[0, 1]]
        assert np.exp(after.log_probs[0]) == pytest.approx(0.8 * parts / parts.sum(), abs=1e-6)

    def test_weight_0_and_silence_change_nothing(self):
        before = found(((0, 1, 2), (0.5, 0.3, 0.1)), ((3, 4), (0.6, 0.2)))
        said = np.full((2, 3), np.nan)
        for weight, word in ((0.0, np.log(np.full((2, 3), 1 / 3))), (5.0, said)):
            after = fused(before, word, weight=weight)
            assert after.classes.tolist() == before.classes.tolist()
            assert np.exp(after.log_probs) == pytest.approx(np.exp(before.log_probs), abs=1e-6)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 6), st.floats(0, 5), st.integers(0, 2**31))
    def test_it_permutes_keeps_the_sum_and_sorts(self, k: int, weight: float, seed: int):
        rng = np.random.default_rng(seed)
        classes = np.stack([rng.permutation(9)[:k] for _ in range(4)])
        before = Candidates(classes, np.log(np.sort(rng.dirichlet(np.ones(9), 4), axis=1)[:, ::-1][:, :k]))
        after = fused(before, np.log(rng.dirichlet(np.ones(k), 4)), weight=weight)
        assert np.array_equal(np.sort(after.classes), np.sort(before.classes))
        assert np.exp(after.log_probs).sum(axis=1) == pytest.approx(np.exp(before.log_probs).sum(axis=1), rel=1e-5)
        assert (np.diff(after.log_probs, axis=1) <= 0).all()


class TestAsking:
    ROWS = found(((0, 1), (0.9, 0.05)), ((2, 3), (0.5, 0.45)), ((4,), (0.7,)), ((5, 0), (0.4, 0.2)))

    def test_the_smallest_margins_first_and_never_a_single_candidate(self):
        assert to_ask(self.ROWS, 0.25).tolist() == [False, True, False, False]
        assert to_ask(self.ROWS, 0.5).tolist() == [False, True, False, True]
        assert to_ask(self.ROWS, 1.0).tolist() == [True, True, False, True]
        assert not to_ask(self.ROWS, 0.0).any()

    def test_only_those_are_asked_about(self, tmp_path: Path):
        settings = RegionRankSettings(scores="rank-consistent", ask=0.5)
        ranked = rank_regions(self.ROWS, items(tmp_path, 4), NAMES, preferring("dog", "ant"), settings=settings)
        assert ranked.asked.tolist() == [False, True, False, True]
        assert ranked.head.classes.tolist() == [[0, 1], [3, 2], [4, -1], [0, 5]]
        assert [one.item_id for one in ranked.ranked.rankings] == ["annotation 1", "annotation 3"]
        assert ranked.weight is None

    def test_a_box_that_could_not_be_asked_about_keeps_its_order(self, tmp_path: Path):
        crops = items(tmp_path, 4)
        crops[1].path.unlink()
        ranked = rank_regions(
            self.ROWS, crops, NAMES, preferring("dog", "ant"), settings=RegionRankSettings(weight=3.0)
        )
        assert [one.status for one in ranked.ranked.rankings] == ["scored", "unanswered", "scored"]
        assert ranked.head.classes.tolist() == [[0, 1], [2, 3], [4, -1], [0, 5]]
        assert np.exp(ranked.head.log_probs[1]) == pytest.approx([0.5, 0.45])

    def test_without_evidence_of_agreement_retrieval_stands(self, tmp_path: Path):
        ranked = rank_regions(self.ROWS, items(tmp_path, 4), NAMES, preferring("dog", "ant"))
        assert ranked.weight is not None
        assert ranked.weight.weight == 0
        assert ranked.head.classes.tolist() == self.ROWS.classes.tolist()

    def test_agreement_gives_the_mllm_weight(self, tmp_path: Path):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 6, 240)  # a retriever that is right in half of the cases
        scores = rng.normal(size=(240, 6)) + 1.0 * (np.arange(6) == truth[:, None])
        order = np.argsort(-scores, axis=1)
        log_probs = np.take_along_axis(scores, order, axis=1)
        before = Candidates(order, log_probs - np.log(np.exp(log_probs).sum(axis=1, keepdims=True)))
        crops = items(tmp_path, 240)
        true = {item.id: NAMES[index] for item, index in zip(crops, truth, strict=True)}

        def script(request: Request) -> Reply:
            likes = true[request.item_id] if rng.random() < 0.9 else NAMES[rng.integers(6)]
            said = tuple(-0.1 if option == likes else -3.0 for option in request.options)
            return Reply(request.item_id, "", "scripted", Usage(calls=1), said)

        ranked = rank_regions(before, crops, NAMES, ScriptedMllm(script, local=True), concurrency=1)
        assert ranked.weight is not None
        assert ranked.weight.weight > 0
        assert (ranked.head.classes[:, 0] == truth).mean() > (before.classes[:, 0] == truth).mean() + 0.1

    def test_answers_that_have_nothing_to_do_with_the_picture_get_no_weight(self):
        rng = np.random.default_rng(0)
        retrieved = np.sort(np.log(rng.dirichlet(np.ones(5) / 3, 300)), axis=1)[:, ::-1]
        blind = np.log(rng.dirichlet(np.ones(5) / 3, 300))
        for placeless in (True, False):
            assert learned_weight(retrieved, blind, placeless=placeless).weight == 0
        # One that likes the first place agrees with retrieval, for no good reason; seen only if places are looked at.
        first = np.log(np.tile([0.8, 0.05, 0.05, 0.05, 0.05], (300, 1)))
        assert learned_weight(retrieved, first, placeless=False).weight == 0

    def test_written_orders_cannot_be_fused(self, tmp_path: Path):
        ranking = RankSettings(mode="generate")
        with pytest.raises(InputError, match="no probabilities"):
            rank_regions(self.ROWS, items(tmp_path, 4), NAMES, preferring(), ranking=ranking)
        written = ScriptedMllm(lambda _request: "['dog', 'cat']")
        settings = RegionRankSettings(scores="rank-consistent", ask=0.25)
        ranked = rank_regions(self.ROWS, items(tmp_path, 4), NAMES, written, settings=settings, ranking=ranking)
        assert ranked.head.classes[1].tolist() == [3, 2]

    @pytest.mark.parametrize("wrong", [{"scores": "any"}, {"ask": 1.5}, {"ask": -0.1}, {"weight": -1.0}])
    def test_settings_out_of_range(self, wrong: dict[str, Any]):
        with pytest.raises(InputError):
            RegionRankSettings(**wrong)
