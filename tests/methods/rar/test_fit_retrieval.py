from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from fgvr.methods.rar.fit_retrieval import (
    LOG_SPREAD,
    fit_retrieval,
    fit_temperature,
    fit_weights,
    left_out,
    left_out_log_probs,
    log_softmax,
    shot_numbers,
    twins,
)
from fgvr.methods.rar.retrieve import AS_DESCRIBED, PlainMemory, Retriever, RetrieveSettings
from fgvr.methods.rar.retrieve_settings import resolved
from fgvr.metrics.calibration import expected_calibration_error

CLASSES = 30


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def world(shots: int, *, seed: int = 0, noise: float = 0.2, text_noise: float = 0.2, texts: str = "right"):
    """A memory of 30 overlapping classes in pairs, and 600 queries with their classes."""
    rng = np.random.default_rng(seed)
    dim = 24
    pairs = rng.normal(size=(CLASSES // 2, dim))
    centres = unit(np.repeat(pairs, 2, axis=0) + 0.6 * rng.normal(size=(CLASSES, dim)))
    labels, truth = np.repeat(np.arange(CLASSES), shots), np.repeat(np.arange(CLASSES), 20)
    images = unit(centres[labels] + noise * rng.normal(size=(len(labels), dim)))
    queries = unit(centres[truth] + noise * rng.normal(size=(len(truth), dim)))
    named = unit(centres + text_noise * rng.normal(size=(CLASSES, dim)))
    if texts == "wrong":
        named = unit(rng.normal(size=named.shape))
    names = [f"class {i}" for i in range(CLASSES)]
    memory = PlainMemory.of(names, images=(images, labels), texts=None if texts == "none" else named, logit_scale=100.0)
    return memory, queries, truth


def error(memory, settings: RetrieveSettings, queries: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """ECE, accuracy and loss of the queries."""
    log_probs = Retriever.of(memory, settings).log_probs(queries)
    right = log_probs.argmax(axis=1) == truth
    chance = np.exp(log_probs.max(axis=1)).clip(0, 1)
    loss = -log_probs[np.arange(len(truth)), truth].mean()
    return expected_calibration_error(chance, right), float(right.mean()), float(loss)


@pytest.mark.parametrize("shots", [2, 4, 8])
def test_fitted_probabilities_are_honest(shots: int):
    memory, queries, truth = world(shots)
    fitted = fit_retrieval(memory)
    assert fitted.rule == "leave-one-shot-out"
    assert fitted.queries == CLASSES * shots
    ece, accuracy, loss = error(memory, fitted.settings, queries, truth)
    unfitted = replace(AS_DESCRIBED, distinct=True)
    raw_ece, raw_accuracy, raw_loss = error(memory, unfitted, queries, truth)
    assert ece < 0.1 < raw_ece
    assert accuracy >= raw_accuracy - 0.02
    assert loss < raw_loss
    for source in ("image", "text"):
        assert error(memory, replace(fitted.settings, source=source), queries, truth)[0] < 0.12


@pytest.mark.parametrize("shots", [1, 2, 8])
def test_texts_that_know_nothing_do_no_harm(shots: int):
    memory, queries, truth = world(shots, texts="wrong")
    fitted = fit_retrieval(memory).settings
    _, fused, _ = error(memory, fitted, queries, truth)
    _, alone, _ = error(memory, replace(fitted, source="image"), queries, truth)
    _, trusting, _ = error(memory, RetrieveSettings(), queries, truth)
    assert fused >= alone - 0.02
    assert trusting < alone - 0.05, "without the fit they do"


def test_texts_that_know_better_are_listened_to():
    memory, queries, truth = world(2, noise=0.7, text_noise=0.02)
    fitted = fit_retrieval(memory).settings
    _, fused, _ = error(memory, fitted, queries, truth)
    _, alone, _ = error(memory, replace(fitted, source="image"), queries, truth)
    assert fused > alone + 0.1


def test_one_image_a_class_fits_the_texts_only():
    memory, queries, truth = world(1)
    fitted = fit_retrieval(memory)
    start = resolved(RetrieveSettings(), memory)
    assert (fitted.rule, fitted.queries, fitted.image_loss, fitted.fused_loss) == ("text only", 0, None, None)
    assert fitted.settings.image_temperature == start.image_temperature
    told = 1 - fitted.text_loss / np.log(CLASSES)
    assert 0.3 < told < 0.9
    assert fitted.settings.text_weight == pytest.approx(start.text_weight * told**2)
    assert fitted.settings.image_weight == pytest.approx(1 - 0.25 * told)
    assert fitted.settings.text_temperature > 2 * start.text_temperature, "the encoder's scale was too sure"
    unknowing = fit_retrieval(world(1, texts="wrong")[0]).settings
    assert unknowing.text_weight < 0.01
    assert unknowing.image_weight > 0.95
    log_probs = Retriever.of(memory, replace(fitted.settings, source="image")).log_probs(queries)
    confidence, accuracy = np.exp(log_probs.max(axis=1)).mean(), (log_probs.argmax(axis=1) == truth).mean()
    assert confidence < accuracy + 0.05, "a default may be unsure, not overconfident"


def test_a_few_classes_with_more_images_are_enough_to_learn_from():
    memory, _, _ = world(2)
    kept = np.flatnonzero((memory.images.labels < 6) | (shot_numbers(memory.images.labels) == 0))
    images = (memory.images.vectors[kept], memory.images.labels[kept])
    fitted = fit_retrieval(PlainMemory.of(memory.names, images=images, texts=memory.texts.vectors))
    assert (fitted.rule, fitted.queries) == ("leave-one-shot-out", 12)


def test_without_labelled_images_the_encoders_scale_stays():
    memory, _, _ = world(2)
    fitted = fit_retrieval(PlainMemory.of(memory.names, texts=memory.texts.vectors, logit_scale=40.0))
    assert fitted.rule == "defaults"
    assert fitted.settings.text_temperature == pytest.approx(1 / 40)


def test_images_alone_are_calibrated_alone():
    memory, queries, truth = world(4, texts="none")
    fitted = fit_retrieval(memory)
    assert (fitted.text_loss, fitted.fused_loss, fitted.rule) == (None, None, "leave-one-shot-out")
    assert error(memory, fitted.settings, queries, truth)[0] < 0.1
    assert fit_retrieval(world(4)[0], RetrieveSettings(source="image")).text_loss is None
    assert fit_retrieval(world(4)[0], RetrieveSettings(source="text")).rule == "text only"


def test_two_certain_classes_do_not_make_certainty():
    """Four pictures, all told apart: the likelihood alone would want temperature zero."""
    images = unit(np.array([[1, 0.1, 0], [1, 0, 0.1], [0, 1, 0.1], [0.1, 1, 0]]))
    memory = PlainMemory.of("ab", images=(images, np.array([0, 0, 1, 1])))
    fitted, start = fit_retrieval(memory).settings, resolved(RetrieveSettings(), memory)
    assert fitted.image_temperature > start.image_temperature / 4
    single = PlainMemory.of("a", images=(images[:2], np.array([0, 0])), texts=images[:1])
    assert np.isfinite(fit_retrieval(single).settings.image_temperature), "one class only"


def test_shots_are_left_out_in_layers():
    """With two images a class, each query meets one image of every class: its own class has no handicap."""
    assert shot_numbers(np.array([3, 0, 3, 3, 0])).tolist() == [0, 0, 1, 2, 1]
    memory, _, _ = world(2, texts="none")
    settings = RetrieveSettings(aggregate="max", image_temperature=0.1, source="image")
    rows = np.array([0, 1, 7])
    found = left_out_log_probs(memory, settings, rows=rows)
    for query, row in zip(found, rows, strict=True):
        others = memory.images.vectors[(1 - row % 2) :: 2]  # rows lie class by class: the other shot of every class
        logits = others @ memory.images.vectors[row] / 0.1
        np.testing.assert_allclose(query, logits - np.log(np.exp(logits).sum()), atol=1e-4)
    candidates = left_out(memory, settings, rows=rows)
    assert candidates.classes[:, 0].tolist() == found.argmax(axis=1).tolist()
    assert len(left_out(memory, replace(settings, hits=5))) == 2 * CLASSES


def test_copies_of_an_image_teach_nothing():
    """Every picture is there twice under other labels' noise: with hashes the copies do not vouch for each other."""
    memory, _, _ = world(1, noise=0.4)
    twice = np.repeat(memory.images.vectors, 2, axis=0)
    labels = np.repeat(memory.images.labels, 2)
    hashes = [f"{row // 2}" for row in range(len(labels))]
    blind = fit_retrieval(PlainMemory.of(memory.names, images=(twice, labels)))
    aware = fit_retrieval(PlainMemory.of(memory.names, images=(twice, labels), hashes=hashes))
    assert (blind.rule, aware.rule) == ("leave-one-shot-out", "defaults")
    assert blind.image_loss < 0.01, "it believes to be perfect"
    assert blind.settings.image_temperature < aware.settings.image_temperature
    assert twins(PlainMemory.of("a", images=(twice[:4], labels[:4]), hashes=hashes[:4]), np.array([2])).tolist() == [
        [0, 2],
        [0, 3],
    ]


def test_fitting_is_deterministic_and_bounded():
    memory, _, _ = world(4)
    assert fit_retrieval(memory, most=40, seed=1) == fit_retrieval(memory, most=40, seed=1)
    assert fit_retrieval(memory, most=40, seed=1) != fit_retrieval(memory, most=40, seed=2)
    assert fit_retrieval(memory, most=40).queries == 40
    kept = fit_retrieval(memory, RetrieveSettings(temperature=0.3), aggregates=("softmax-sum",)).settings
    assert (kept.aggregate, kept.temperature) == ("softmax-sum", 0.3)
    assert fit_retrieval(memory, aggregates=("mean",)).settings.aggregate == "mean"
    with pytest.raises(ValueError, match="aggregate"):
        fit_retrieval(memory, aggregates=())


def test_the_temperature_is_the_penalised_optimum():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(80, 6))
    truth = np.where(rng.random(80) < 0.6, scores.argmax(axis=1), rng.integers(0, 6, 80))
    found, loss = fit_temperature(scores, truth, default=0.5)

    def objective(temperature: float) -> float:
        total = 0.0
        for row, label in zip(scores, truth, strict=True):
            total -= np.log(np.exp(row[label] / temperature) / np.exp(row / temperature).sum())
        return total + 0.5 * (np.log(temperature / 0.5) / LOG_SPREAD) ** 2

    grid = 0.5 * np.exp(np.linspace(-2, 3, 5001))
    assert found == pytest.approx(grid[np.argmin([objective(t) for t in grid])], rel=2e-3)
    assert loss == pytest.approx((objective(found) - 0.5 * (np.log(found / 0.5) / LOG_SPREAD) ** 2) / 80)


def test_the_weights_are_the_penalised_optimum_and_the_slope_is_right():
    rng = np.random.default_rng(1)
    sides = [log_softmax(rng.normal(size=(60, 5)) + bonus) for bonus in (0.0, 0.0)]
    truth = (sides[0] + 0.5 * sides[1] + rng.gumbel(size=(60, 5))).argmax(axis=1)
    found, _ = fit_weights(*sides, truth, default=(0.75, 0.5))

    def objective(weights: np.ndarray) -> float:
        pooled = log_softmax(weights[0] * sides[0] + weights[1] * sides[1])
        return float(-pooled[np.arange(60), truth].sum() + 2.0 * ((weights - [0.75, 0.5]) ** 2).sum())

    slow = optimize.minimize(objective, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    assert found == pytest.approx(slow, abs=1e-3)


def test_log_softmax_leaves_nothing_out():
    found = log_softmax(np.array([[1000.0, 1000.0, -np.inf], [-np.inf, -np.inf, -np.inf]]))
    assert found[0] == pytest.approx([-np.log(2), -np.log(2), -np.inf])
    assert np.isneginf(found[1]).all()
