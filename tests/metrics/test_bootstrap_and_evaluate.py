from __future__ import annotations

import json

import numpy as np
import pytest

from fgvr.errors import EvaluationError
from fgvr.metrics import (
    bootstrap,
    bootstrap_contingency,
    bootstrap_counts,
    bootstrap_difference,
    bootstrap_mean,
    evaluate,
    expected_calibration_error,
    risk_coverage,
)
from fgvr.metrics.calibration import weighted_aurc, weighted_calibration_error
from fgvr.metrics.clustering import contingency_of, matched_share


def test_mean_interval_agrees_with_the_normal_approximation() -> None:
    scores = np.random.default_rng(1).random(400) < 0.3
    interval = bootstrap_mean(scores, resamples=4000)
    half = 1.96 * scores.std() / np.sqrt(len(scores))
    assert interval.value == scores.mean()
    assert interval.low == pytest.approx(scores.mean() - half, abs=0.006)
    assert interval.high == pytest.approx(scores.mean() + half, abs=0.006)


def test_intervals_are_seeded() -> None:
    scores = np.random.default_rng(1).random(50)
    assert bootstrap_mean(scores, seed=3) == bootstrap_mean(scores, seed=3)
    assert bootstrap_mean(scores, seed=3) != bootstrap_mean(scores, seed=4)


def test_constant_scores_have_no_width_and_no_resamples_are_allowed() -> None:
    interval = bootstrap_mean(np.ones(10))
    assert (interval.low, interval.value, interval.high) == (1, 1, 1)
    assert bootstrap_mean([0.0, 1.0], resamples=0).resamples == 0


def test_paired_difference_is_narrower_than_the_parts() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    difference = bootstrap_difference(base + 0.1, base)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))


def test_cells_and_items_give_the_same_distribution() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.7, true, rng.integers(0, 6, 300))
    p, t = [f"p{i}" for i in predicted], [f"t{i}" for i in true]
    by_cell = bootstrap_contingency({"cacc": matched_share}, contingency_of(p, t), resamples=1500)["cacc"]

    def cacc(drawn: np.ndarray) -> float:
        return matched_share(contingency_of([p[i] for i in drawn], [t[i] for i in drawn]))

    by_item = bootstrap(cacc, 300, resamples=600)
    assert by_cell.value == by_item.value
    assert by_cell.low == pytest.approx(by_item.low, abs=0.015)
    assert by_cell.high == pytest.approx(by_item.high, abs=0.015)


def test_figures_that_share_redraws_equal_those_drawn_alone() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random(200) < 0.6).astype(float)
    probability = np.round(rng.random(200), 1)  # many ties
    together = bootstrap_counts(
        {"ece": weighted_calibration_error(probability, right), "aurc": weighted_aurc(probability, right)},
        200,
        resamples=50,
    )
    alone = {
        "ece": bootstrap(lambda i: expected_calibration_error(probability[i], right[i]), 200, resamples=50),
        "aurc": bootstrap(lambda i: risk_coverage(probability[i], right[i]).aurc, 200, resamples=50),
    }
    for name, interval in alone.items():
        found = together[name]
        expected = (interval.value, interval.low, interval.high)
        assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-12)


PREDICTED = ["Linnet", "Twite", "Rook", "Rook"]
TRUE = ["Linnet", "Linnet", ("Crow", "Rook"), "Crow"]


def test_evaluate_by_hand() -> None:
    result = evaluate(PREDICTED, TRUE, probabilities=[0.9, 0.4, 0.8, 0.6], top=[["x", "Linnet"]] * 4, resamples=50)
    values = {key: figure.value for key, figure in result.figures.items()}
    assert values["cacc"] == 0.75
    assert values["cacc_macro"] == 0.75
    assert values["exact"] == 0.25
    assert values["synonym"] == 0.5
    assert values["top5"] == 0.5
    assert values["siou_split"] == 0.5
    assert (result.n, result.scored, result.classes, result.names, result.coverage) == (4, 4, 2, 3, 1.0)
    assert all(figure.low <= figure.value <= figure.high for figure in result.figures.values())
    assert result.curve is not None
    assert result.curve.risk[0] == 0
    assert json.loads(json.dumps(result.as_dict()))["figures"]["cacc"]["value"] == 0.75
    assert dict(result.rows())["cACC"].startswith("75.0 [")


def test_more_accepted_names_and_top_with_probabilities() -> None:
    result = evaluate(["Merle"], ["Blackbird"], accepted=[["merle"]], top=[(("Merle", 0.9),)], resamples=5)
    assert result.figures["synonym"].value == result.figures["top5"].value == 1
    assert result.figures["exact"].value == 0


def test_an_unanswered_item_is_never_scored_as_wrong() -> None:
    with pytest.raises(EvaluationError, match="1 of 3 items have no answer"):
        evaluate(["Linnet", None, "Rook"], ["Linnet", "Twite", "Rook"])
    result = evaluate(["Linnet", None, "Rook"], ["Linnet", "Twite", "Rook"], allow_missing=True, resamples=5)
    assert result.figures["exact"].value == 1.0
    assert (result.n, result.scored) == (3, 2)
    assert result.rows()[0] == ("coverage", "66.7 (2 of 3)")
    assert "scored 2 of 3 items" in result.protocol[0]


def test_without_a_sentence_encoder_sacc_is_left_out_and_said_so() -> None:
    result = evaluate(PREDICTED, TRUE, resamples=5)
    assert "sacc" not in result.figures
    assert result.sentence_encoder is None
    assert any("sACC left out" in line for line in result.protocol)


def test_sacc_carries_its_encoder() -> None:
    class Flat:
        name = "flat"

        def encode(self, texts):  # type: ignore[no-untyped-def]
            return np.ones((len(texts), 1), dtype=np.float32)

    result = evaluate(PREDICTED, TRUE, sentence_encoder=Flat(), resamples=5)
    assert result.figures["sacc"].value == 1
    assert "sACC (flat)" in dict(result.rows())
    assert any("sentence encoder: flat" in line for line in result.protocol)


@pytest.mark.parametrize(
    "arguments",
    [{"true": ["a"]}, {"accepted": [[]]}, {"probabilities": [0.5]}, {"top": [["a"]]}],
    ids=lambda a: next(iter(a)),
)
def test_unequal_lengths_stop(arguments: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(EvaluationError, match="entries in"):
        evaluate(["a", "b"], **({"true": ["a", "b"]} | arguments))


@pytest.mark.parametrize("predicted", [[], [None, None]])
def test_nothing_to_score_is_an_error(predicted: list[None]) -> None:
    with pytest.raises(EvaluationError, match="nothing to score"):
        evaluate(predicted, ["a"] * len(predicted), allow_missing=True)
