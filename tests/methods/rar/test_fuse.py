"""Fusion by hand, and simulated MLLMs: whatever the MLLM is like, the fused answer is not worse than retrieval."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.rar.fuse import (
    Weight,
    agreement_weight,
    bounded,
    fit_weight,
    fuse,
    position_of,
    truth_in_set_weight,
)
from fgvr.methods.rar.fuse_numerics import fit_slopes, log_softmax

NAN = float("nan")


def test_fusion_by_hand() -> None:
    retrieval, mllm = np.log([[0.6, 0.3]]), np.log([[0.2, 0.8]])
    # Evidence: 2 * (0.8 p + 0.1) = 0.52 and 1.48. At weight 2: 0.6 * 0.52^2 against 0.3 * 1.48^2.
    weights = np.array([0.6 * 0.52**2, 0.3 * 1.48**2])
    assert np.exp(fuse(retrieval, mllm, 2.0)[0]) == pytest.approx(weights / weights.sum())
    cooled = np.array([0.6**0.5 * 0.52, 0.3**0.5 * 1.48])
    assert np.exp(fuse(retrieval, mllm, 1.0, temperature=2.0)[0]) == pytest.approx(cooled / cooled.sum())
    certain = np.array([0.6 * 0.2, 0.3 * 0.8])
    assert np.exp(fuse(retrieval, mllm, 1.0, doubt=0.0)[0]) == pytest.approx(certain / certain.sum())


def test_the_evidence_of_one_answer_is_bounded() -> None:
    sure = bounded([[0.0, -1000.0, -1000.0, -1000.0, -1000.0]])
    assert np.exp(sure[0]) == pytest.approx([4.2, 0.2, 0.2, 0.2, 0.2])
    assert bounded(np.log([[0.25] * 4])) == pytest.approx(np.zeros((1, 4)))
    assert bounded([[NAN, NAN], [-np.inf, -np.inf]]).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_images_not_asked_about_keep_the_retrievers_word() -> None:
    retrieval = np.log([[0.5, 0.2, 0.1], [0.5, 0.2, 0.1]])
    fused = fuse(retrieval, [[NAN] * 3, np.log([0.1, 0.8, 0.1])], 1.0, temperature=3.0)
    assert np.exp(fused[0]) == pytest.approx([0.625, 0.25, 0.125])
    assert fused[1].argmax() == 1


def test_short_lists_stay_short() -> None:
    retrieval = [[-0.5, -1.0, -np.inf], [-0.1, -np.inf, -np.inf]]
    mllm = [[-2.0, -0.1, NAN], [0.0, -np.inf, -np.inf]]
    fused = fuse(retrieval, mllm, 1.0)
    assert np.isneginf(fused).tolist() == [[False, False, True], [False, True, True]]
    assert np.exp(fused).sum(axis=1) == pytest.approx([1.0, 1.0])
    assert fused[0].argmax() == 1
    assert fuse(np.zeros((0, 5)), np.zeros((0, 5)), 1.0).shape == (0, 5)


ROWS = st.lists(st.lists(st.floats(-30, 0), min_size=4, max_size=4), min_size=1, max_size=5)


@given(ROWS, st.floats(0, 5), st.permutations(range(4)))
def test_fused_rows_are_probabilities_whatever_the_order_of_candidates(
    rows: list[list[float]], weight: float, order: list[int]
) -> None:
    retrieval, mllm = np.array(rows), np.array(rows[::-1])
    fused = fuse(retrieval, mllm, weight)
    assert np.exp(fused).sum(axis=1) == pytest.approx(1.0)
    assert fuse(retrieval[:, order], mllm[:, order], weight) == pytest.approx(fused[:, order])
    assert fuse(retrieval, mllm, 0.0) == pytest.approx(log_softmax(retrieval))


def test_other_shapes_and_weights_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(N, k\)"):
        fuse(np.zeros((2, 3)), np.zeros((2, 4)), 1.0)
    for weight, temperature in [(-1.0, 1.0), (NAN, 1.0), (1.0, 0.0)]:
        with pytest.raises(ValueError, match="weight"):
            fuse(np.zeros((2, 3)), np.zeros((2, 3)), weight, temperature=temperature)


def test_the_fit_is_the_best_of_a_fine_grid() -> None:
    retrieval, mllm, truth = world(300, knows=0.7, seed=3)
    evidence = bounded(mllm)
    slope, weight = fit_slopes(retrieval, evidence, truth)

    def loss(a: float, b: float) -> float:
        return -float(log_softmax(a * retrieval + b * evidence)[np.arange(len(truth)), truth].mean())

    best = loss(slope, weight)
    for a, b in itertools.product(np.linspace(0, 3, 31), np.linspace(0, 3, 31)):
        assert best <= loss(a, b) + 1e-9


def world(
    count: int, *, knows: float = 0.0, sure: float = 8.0, seed: int = 0, liar: float = 0.0, k: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Retriever's and MLLM's log-probabilities and the truth's position, for a calibrated retriever.

    The MLLM picks the truth with probability ``knows``, the retriever's worst candidate with probability ``liar``, else
    any; ``sure``: nats by which it prefers its pick.
    """
    rng = np.random.default_rng(seed)
    retrieval = -np.sort(-log_softmax(rng.normal(scale=1.5, size=(count, k))), axis=1)
    truth = np.array([rng.choice(k, p=np.exp(row)) for row in retrieval])
    pick = np.where(rng.random(count) < knows, truth, rng.integers(0, k, count))
    pick = np.where(rng.random(count) < liar, k - 1, pick)
    mllm = rng.normal(scale=0.3, size=(count, k))
    mllm[np.arange(count), pick] += sure
    return retrieval, log_softmax(mllm), truth


WORLDS = {
    "knows much": {"knows": 0.8},
    "knows little": {"knows": 0.15},
    "knows nothing": {"knows": 0.0},
    "knows nothing, shy": {"knows": 0.0, "sure": 0.5},
    "misleading": {"knows": 0.0, "liar": 0.7},
    "misleading, though it knows": {"knows": 0.5, "liar": 0.5},
    "overconfident": {"knows": 0.5, "sure": 60.0},
    "overconfident, knows nothing": {"knows": 0.0, "sure": 60.0},
}


def accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == truth).mean())


@pytest.mark.parametrize("kind", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("seed", range(3))
def test_labels_keep_the_fused_answer_from_being_worse(kind: dict[str, float], seed: int) -> None:
    retrieval, mllm, truth = world(3300, seed=seed, **kind)
    fit = fit_weight(retrieval[:300], mllm[:300], truth[:300])
    fused = fuse(retrieval[300:], mllm[300:], fit.weight, temperature=fit.temperature)
    before = accuracy(retrieval[300:], truth[300:])
    assert accuracy(fused, truth[300:]) >= before - 0.01
    if kind["knows"] == 0 and "liar" not in kind:
        assert (fit.weight, fit.temperature) == (0.0, 1.0)
        assert fit.note
    if kind["knows"] >= 0.5 and "liar" not in kind:
        assert accuracy(fused, truth[300:]) > before + 0.05


@pytest.mark.parametrize("kind", WORLDS.values(), ids=WORLDS)
def test_agreement_keeps_the_fused_answer_from_being_worse(kind: dict[str, float]) -> None:
    retrieval, mllm, truth = world(3000, seed=7, **kind)
    fit = agreement_weight(retrieval, mllm)
    before = accuracy(retrieval, truth)
    assert accuracy(fuse(retrieval, mllm, fit.weight), truth) >= before - 0.01
    if kind["knows"] == 0:
        assert fit.weight == 0.0
    if kind["knows"] >= 0.5 and "liar" not in kind:
        assert accuracy(fuse(retrieval, mllm, fit.weight), truth) > before + 0.05


def test_a_liking_for_the_first_place_is_no_agreement() -> None:
    retrieval, _, _ = world(1000, seed=1)
    rng = np.random.default_rng(0)
    first = log_softmax(rng.normal(size=retrieval.shape) + np.array([3.0, 0, 0, 0, 0]))
    assert agreement_weight(retrieval, first).weight == 0.0


@pytest.mark.parametrize(("knows", "helps"), [(0.8, True), (0.0, False)])
def test_one_shot_sets_weigh_an_mllm_by_its_own_calibration(knows: float, helps: bool) -> None:
    _, mllm, truth = world(136, knows=knows, seed=2)
    fit = truth_in_set_weight(mllm, truth)
    assert (fit.weight > 0.2) == helps
    assert truth_in_set_weight(mllm, truth, shrink=1.0).weight == pytest.approx(2 * fit.weight)


def test_too_little_to_learn_from_teaches_nothing() -> None:
    retrieval, mllm, truth = world(19, knows=1.0)
    for fit in (
        fit_weight(retrieval, mllm, truth),
        agreement_weight(retrieval, mllm),
        truth_in_set_weight(mllm, truth),
    ):
        assert fit == Weight(images=19, note="fewer than 20 images to learn from")
    outside = np.full(300, -1)
    retrieval, mllm, _ = world(300)
    assert fit_weight(retrieval, mllm, outside).images == 0
    assert fit_weight(retrieval, np.full_like(mllm, NAN), np.zeros(300, dtype=int)).weight == 0.0


def test_images_without_answer_or_truth_do_not_change_the_fit() -> None:
    retrieval, mllm, truth = world(200, knows=0.8)
    more = world(50, knows=0.0, seed=9)
    silent = np.concatenate([mllm, np.full_like(more[1], NAN)])
    with_silent = fit_weight(np.concatenate([retrieval, more[0]]), silent, np.concatenate([truth, more[2]]))
    assert with_silent == fit_weight(retrieval, mllm, truth)
    lost = fit_weight(
        np.concatenate([retrieval, more[0]]), np.concatenate([mllm, more[1]]), np.concatenate([truth, np.full(50, -1)])
    )
    assert lost == with_silent


def test_where_the_truth_stands() -> None:
    assert position_of([[4, 2, -1], [3, 1, 0]], [2, 9]).tolist() == [1, -1]
