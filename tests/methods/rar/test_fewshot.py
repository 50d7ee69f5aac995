from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fgvr.errors import InputError
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fewshot import (
    WHOLE,
    FewShotData,
    Ranker,
    SecondOpinion,
    as_released,
    few_shot,
    k_study,
    top5_of_top10,
)
from fgvr.methods.rar.fewshot_protocol import (
    Found,
    draw_shots,
    figures,
    first_shots,
    half_width,
    short_classes,
    summarised,
)
from fgvr.methods.rar.fewshot_ranker import learn_weight, second_opinion
from fgvr.mllm import load_mllm
from fgvr.types import ImageItem

CLASSES = 12


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def data() -> FewShotData:
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(CLASSES, 16)))
    train, test = np.repeat(np.arange(CLASSES), 9), np.tile(np.arange(CLASSES), 10)
    return FewShotData(
        names=tuple(f"class {i}" for i in range(CLASSES)),
        train=unit(centres[train] + 0.3 * rng.normal(size=(len(train), 16))),
        train_labels=train,
        test=unit(centres[test] + 0.3 * rng.normal(size=(len(test), 16))),
        test_labels=test,
        texts=unit(centres + 0.3 * rng.normal(size=centres.shape)),
        train_ids=tuple(f"{row}.jpg" for row in range(len(train))),
    )


class Oracle:
    """Knows the truth with probability ``share``, else the first candidate; remembers what it was asked."""

    def __init__(self, names: Sequence[str], labels: np.ndarray, share: float = 1.0) -> None:
        self.truth = [names[label] for label in labels]
        self.knows = np.random.default_rng(1).random(len(labels)) < share
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, names: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
        said = np.full((len(names), max(map(len, names))), -np.inf)
        for place, (given, row) in enumerate(zip(names, rows, strict=True)):
            self.asked.append((int(row), given))
            chance = np.full(len(given), 0.1)
            if self.knows[row] and self.truth[row] in given:
                chance[given.index(self.truth[row])] = 5.0
            said[place, : len(given)] = np.log(chance / chance.sum())
        return said


def rows_of(table: list[dict], method: str) -> list[dict]:
    return [row for row in table if row["method"] == method]


def test_draws_are_seeded_nested_and_balanced(data: FewShotData):
    labels, ids = data.train_labels, data.train_ids
    small, large = (draw_shots(labels, n, seed=3, ids=ids) for n in (2, 4))
    assert set(small) < set(large)
    assert np.bincount(labels[large]).tolist() == [4] * CLASSES
    assert small.tolist() == draw_shots(labels, 2, seed=3, ids=ids).tolist()
    assert small.tolist() != draw_shots(labels, 2, seed=4, ids=ids).tolist()
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = draw_shots(labels[order], 2, seed=3, ids=[ids[row] for row in order])
    assert sorted(order[shuffled]) == small.tolist(), "the order of the input plays no part"
    assert len(draw_shots(labels, WHOLE, seed=3)) == len(labels)
    assert first_shots(np.array([1, 0, 1, 1, 0]), 2).tolist() == [0, 1, 2, 4]
    assert first_shots(np.array([1, 0]), WHOLE).tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least 1"):
        draw_shots(labels, -1, seed=0)


def test_a_class_with_too_few_images_gives_all_and_is_counted(data: FewShotData):
    kept = np.concatenate([[0, 1], np.arange(9, len(data.train))])
    few = replace(
        data,
        train=data.train[kept],
        train_labels=data.train_labels[kept],
        train_ids=tuple(data.train_ids[row] for row in kept),
    )
    assert np.bincount(few.train_labels[draw_shots(few.train_labels, 4, seed=0)])[:2].tolist() == [2, 4]
    assert short_classes(few.train_labels, 4) == 1
    assert short_classes(np.array([0, 2]), 2) == 2, "a class without any image is not short, it is absent"
    table = few_shot(few, shots=(2, 4), draws=2)
    assert {(row["shots"], row["short_classes"]) for row in table} == {(2, 0), (4, 1)}


def test_retrieval_rows_need_no_mllm(data: FewShotData):
    table = few_shot(data, shots=(1, 4, WHOLE), draws=3)
    methods = {row["method"] for row in table}
    assert methods == {
        "CLIP+KNN (1-NN, as in the paper)",
        "kNN vote (5)",
        "image memory",
        "CLIP zero-shot text",
        "image + text fusion",
    }
    assert len(table) == 15
    assert {(row["shots"], row["k"], row["draws"]) for row in table} == {(1, 5, 3), (4, 4, 3), ("all", 5, 1)}
    assert all(row["mllm_calls"] == 0 for row in table)
    assert all((row["interval"] is None) == (row["draws"] == 1) for row in table)
    text = rows_of(table, "CLIP zero-shot text")
    assert len({row["accuracy"] for row in text}) == 1, "texts do not depend on shots"
    for fused in rows_of(table, "image + text fusion"):
        assert fused["accuracy"] <= fused["top5"]
        assert fused["accuracy"] <= fused["upper_bound"]
        assert fused["ece"] < 0.25
    more = [row["accuracy"] for row in rows_of(table, "image memory")]
    assert more[0] < more[1], "more shots help"
    assert few_shot(data, shots=(2,), draws=2) == few_shot(data, shots=(2,), draws=2)
    without = few_shot(replace(data, texts=None), shots=(2,), draws=1)
    assert "image + text fusion" not in {row["method"] for row in without}


def test_a_knowing_ranker_reaches_the_upper_bound_and_no_more(data: FewShotData):
    oracle = Oracle(data.names, data.test_labels)
    table = few_shot(data, shots=(1,), draws=2, opinion=SecondOpinion(oracle))
    for method in ("retrieve + rank", "retrieve + rank, as described"):
        (row,) = rows_of(table, method)
        assert row["accuracy"] == pytest.approx(row["upper_bound"])
        assert row["accuracy"] < 1.0
        assert row["mllm_calls"] == len(data.test)
    (direct,) = rows_of(table, "MLLM, all names")
    assert (direct["accuracy"], direct["k"], direct["mllm_calls"]) == (1.0, CLASSES, len(data.test))
    assert all(len(set(given)) == len(given) for _, given in oracle.asked), "never a name twice"
    quiet = few_shot(data, shots=(1,), draws=1, opinion=SecondOpinion(oracle, direct=False))
    assert not rows_of(quiet, "MLLM, all names")


def test_the_weight_is_learned_on_images_the_memory_did_not_see(data: FewShotData):
    train, test = Oracle(data.names, data.train_labels), Oracle(data.names, data.test_labels, share=0.0)
    seen: list[tuple[Candidates, np.ndarray, np.ndarray]] = []

    def learn(candidates: Candidates, said: np.ndarray, truth: np.ndarray, *, alone: bool, classes: int):
        assert not alone
        seen.append((candidates, said, truth))
        return lambda own, said: own.log_probs + 0.0 * np.where(np.isneginf(said), 0.0, said)

    opinion = SecondOpinion(test, train, learn, calibration=20, direct=False)
    table = few_shot(data, shots=(4,), draws=1, opinion=opinion, seed=5)
    (candidates, said, truth), chosen = seen[0], set(draw_shots(data.train_labels, 4, seed=5, ids=data.train_ids))
    assert len(truth) == len(train.asked) == 20
    assert {row for row, _ in train.asked} <= chosen, "images of the memory only"
    assert data.train_labels[[row for row, _ in train.asked]].tolist() == truth.tolist()
    assert said.shape == candidates.classes.shape == (20, 4)
    (fused,) = rows_of(table, "retrieve + rank, fused")
    (plain,) = rows_of(table, "image + text fusion")
    assert fused["accuracy"] == plain["accuracy"], "a weight of zero changes nothing"
    assert fused["mllm_calls"] == len(data.test) + 20
    assert fused["ece"] == pytest.approx(plain["ece"], abs=1e-6)


def test_an_unanswered_question_leaves_the_retrieval_order(data: FewShotData):
    def silent(names: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
        return np.full((len(names), 5), np.nan)

    table = few_shot(data, shots=(2,), draws=2, opinion=SecondOpinion(silent, direct=False))
    (ranked,) = rows_of(table, "retrieve + rank")
    (plain,) = rows_of(table, "image + text fusion")
    assert ranked["accuracy"] == plain["accuracy"]
    assert (ranked["answered"], plain["answered"]) == (0.0, 1.0)

    def wrong(names: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
        return np.zeros((len(names), 2))

    with pytest.raises(ValueError, match="log-probabilities for candidates"):
        few_shot(data, shots=(2,), draws=1, opinion=SecondOpinion(wrong))


def test_as_released_repeats_the_code(data: FewShotData):
    """First images in file order, one run, five slots of nearest images with whatever labels they have."""
    oracle = Oracle(data.names, data.test_labels)
    table = as_released(data, shots=(1, 4), ranker=oracle)
    for shots in (1, 4):
        rows = first_shots(data.train_labels, shots)
        order = np.argsort(-(data.test @ data.train[rows].T), axis=1, kind="stable")[:, :5]
        labels = data.train_labels[rows][order]
        plain, ranked = (row for row in table if row["shots"] == shots)
        assert plain["accuracy"] == pytest.approx((labels[:, 0] == data.test_labels).mean())
        assert plain["upper_bound"] == pytest.approx((labels == data.test_labels[:, None]).any(axis=1).mean())
        assert plain["distinct"] == pytest.approx(np.mean([len(set(row)) for row in labels]))
        assert ranked["accuracy"] == plain["upper_bound"]
        assert (plain["draws"], plain["interval"]) == (1, None)
    assert any(len(set(given)) < len(given) for _, given in oracle.asked), "duplicates are put before the ranker"


def test_top_five_of_ten(data: FewShotData):
    table = {row["method"]: row for row in top5_of_top10(data, shots=1, ranker=Oracle(data.names, data.test_labels))}
    for base in ("as described", "ours"):
        before, after = table[f"{base}: first 5 of 10"], table[f"{base}, ranked: first 5 of 10"]
        assert before["top5"] <= after["top5"] == after["upper_bound"]
    first, ranked = table["as described: first 5 of 10"], table["as described, ranked: first 5 of 10"]
    assert first["top5"] < ranked["top5"]
    assert len(top5_of_top10(data, shots=1)) == 2


def test_more_candidates_raise_the_upper_bound(data: FewShotData):
    table = k_study(data, ks=(1, 3, 5), shots=2, draws=2, ranker=Oracle(data.names, data.test_labels))
    bounds = [row["upper_bound"] for row in rows_of(table, "retrieval")]
    assert bounds == sorted(bounds)
    assert bounds[0] == rows_of(table, "retrieval")[0]["accuracy"]
    assert [row["accuracy"] for row in rows_of(table, "retrieve + rank")] == pytest.approx(bounds)
    assert not rows_of(k_study(data, ks=(1,), shots=2, draws=1), "retrieve + rank")


def test_figures_by_hand():
    top = np.array([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [5, 4, 3, 2, 1], [3, 2, 1, 4, -1]])
    truth = np.array([0, 0, 0, 0])
    candidates = Candidates(top[:, :2], np.log(np.full((4, 2), 0.25)))
    found = figures(Found(top, np.array([0.5, 0.5, 0.5, 0.5]), candidates, 7), truth)
    expected = {"accuracy": 0.25, "top5": 0.5, "upper_bound": 0.5, "ece": 0.25, "mllm_calls": 7.0, "answered": 1.0}
    assert found == pytest.approx(expected)
    assert figures(Found(top[:, :4]), truth)["top5"] is None


def test_an_interval_by_hand():
    """Mean of 0.5, 0.6, 0.7: standard error 0.1 / sqrt 3, t(2) = 4.3027."""
    draws = [{"accuracy": value, "top5": None, "ece": 0.1} for value in (0.5, 0.6, 0.7)]
    found = summarised(draws)
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["interval"] == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert (found["draws"], found["top5"]) == (3, None)
    assert half_width([0.5]) is None


def test_data_that_do_not_fit_are_refused(data: FewShotData):
    with pytest.raises(InputError, match="test images"):
        replace(data, test=data.test[:0], test_labels=data.test_labels[:0])
    with pytest.raises(ValueError, match="one index"):
        replace(data, names=data.names[:3])
    with pytest.raises(ValueError, match="one index"):
        replace(data, test_labels=data.test_labels[:3])


def test_with_one_shot_only_the_mllm_is_judged(data: FewShotData):
    """Retrieval without the one image of a class cannot find it, so the truth is put into the set."""
    seen = []

    def learn(candidates: Candidates, said: np.ndarray, truth: np.ndarray, *, alone: bool, classes: int):
        seen.append((alone, candidates.contains(truth).all(), len(truth)))
        return lambda own, said: own.log_probs

    train, test = Oracle(data.names, data.train_labels), Oracle(data.names, data.test_labels)
    few_shot(data, shots=(1,), draws=1, opinion=SecondOpinion(test, train, learn, direct=False))
    assert seen == [(True, True, CLASSES)]


def test_a_guessing_mllm_gets_no_weight_and_a_knowing_one_does(data: FewShotData):
    rng = np.random.default_rng(0)

    def guess(names: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
        return np.log(rng.dirichlet(np.full(len(names[0]), 0.3), size=len(names)) + 1e-9)

    def table(shots: int, test: Ranker, train: Ranker) -> tuple[float, float, float]:
        found = few_shot(data, shots=(shots,), draws=2, opinion=SecondOpinion(test, train, learn_weight, direct=False))
        ways = ("image + text fusion", "retrieve + rank", "retrieve + rank, fused")
        retrieved, ranked, fused = (rows_of(found, way)[0]["accuracy"] for way in ways)
        return retrieved, ranked, fused

    for shots in (1, 4):
        retrieved, ranked, fused = table(shots, guess, guess)
        assert ranked < retrieved - 0.2, "as in the paper, a guessing MLLM would decide alone"
        assert fused >= retrieved - 0.01
    retrieved, _, fused = table(4, Oracle(data.names, data.test_labels), Oracle(data.names, data.train_labels))
    assert fused > retrieved


def test_a_written_order_counts_by_its_places(tmp_path):
    """A recording answers with a list; the second reply is no order; the third image has one candidate only."""
    items = [ImageItem(f"{n}.jpg", tmp_path / f"{n}.jpg") for n in range(3)]
    file = tmp_path / "replies.jsonl"
    replies = ["['rook', 'crow', 'jay']", "I cannot say."]
    rows = [{"image": item.id, "model": "m", "reply": reply} for item, reply in zip(items, replies, strict=False)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opinion = second_opinion(load_mllm(f"replay:{file}"), items, items, classes=100)
    said = opinion.test([("crow", "jay", "rook"), ("crow", "jay"), ("crow",)], np.arange(3))
    assert np.exp(said[0]) == pytest.approx(np.array([3, 2, 6]) / 11)
    assert np.isnan(said[1]).all()
    assert said[2].tolist() == [0.0, -np.inf, -np.inf]
    assert not opinion.direct, "a hundred names are too many for letters"
