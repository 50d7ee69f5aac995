"""What is learned beforehand, on candidates and an MLLM made up for the purpose; and how a memory is built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgvr.methods.rar.calibration import LeftOut
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.pipeline import (
    DECIDES,
    DEFAULT_MARGIN,
    RarSettings,
    as_described,
    as_released,
    build_memory,
    learn,
    learn_rules,
    to_ask,
    with_k,
)
from fgvr.methods.rar.retrieve import AS_RELEASED, RetrieveSettings
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered

K = 4
CLASSES = NAMES[:K]


def left_out(count: int = 200, *, seed: int = 0, basis: str = "leave-one-out") -> LeftOut:
    """Retrieval that is right in three of five images, and knows how sure it is; the truth is always class 0."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, K))
    scores[:, 0] += 1.2
    chances = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    order = np.argsort(-chances, axis=1)
    log_probs = np.take_along_axis(chances, order, axis=1)
    hashes = tuple(f"h{i}" for i in range(count))
    nothing = np.full(count, np.nan, dtype=np.float32)
    return LeftOut(hashes, Candidates(order, log_probs), np.zeros(count, dtype=np.int64), basis, nothing)  # type: ignore[arg-type]


def witness(out: LeftOut, share: float, *, seed: int = 1, lies: bool = False) -> np.ndarray:
    """Log-probabilities of an MLLM that names the truth in ``share`` of the images, else any candidate."""
    rng = np.random.default_rng(seed)
    truth = (out.candidates.classes == out.truth[:, None]).argmax(axis=1)
    named = np.where(rng.random(len(truth)) < share, truth, rng.integers(K, size=len(truth)))
    if lies:
        named = (truth + 1 + rng.integers(K - 1, size=len(truth))) % K
    said = np.full((len(truth), K), np.log(0.1))
    said[np.arange(len(truth)), named] = np.log(0.7)
    return said


def right(out: LeftOut) -> float:
    return float((out.candidates.classes[:, 0] == out.truth).mean())


def test_an_mllm_that_knows_gets_weight_and_is_asked_in_doubt() -> None:
    out = left_out()
    rules = learn_rules(out, witness(out, 0.8), RarSettings(), asks=True, names=CLASSES, mllm="m 1")
    assert rules.weight > 0.5
    assert (rules.asking, rules.weight_from, rules.mllm) == ("margin", "leave-one-out", "m 1")
    cascade = rules.study["cascade"]
    assert cascade["never"] == pytest.approx(right(out))
    assert cascade["always"] > cascade["never"] + 0.15
    assert rules.margin == cascade["chosen"]["threshold"]
    assert cascade["chosen"]["accuracy"] >= cascade["always"] - RarSettings().tolerance


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lies", [False, True])
def test_an_mllm_that_guesses_or_lies_has_no_say(seed: int, lies: bool) -> None:
    out = left_out(seed=seed)
    rules = learn_rules(out, witness(out, 0.0, seed=seed + 100, lies=lies), RarSettings(), asks=True, names=CLASSES)
    assert rules.weight <= 0.1  # one guess in twenty is lucky
    assert rules.study["cascade"]["always"] >= right(out) - 1e-9


def test_a_given_weight_is_kept_and_the_margin_still_learned() -> None:
    out = left_out()
    said = witness(out, 0.8)
    given = learn_rules(out, said, RarSettings(weight=2.0), asks=True, names=CLASSES)
    assert (given.weight, given.weight_from, given.temperature) == (2.0, "given", 1.0)
    assert given.margin == given.study["cascade"]["chosen"]["threshold"]
    both = learn_rules(out, said, RarSettings(weight=2.0, margin=0.4), asks=True, names=CLASSES)
    assert (both.weight, both.margin) == (2.0, 0.4)
    blind = learn_rules(None, None, RarSettings(weight=2.0), asks=True, names=CLASSES)
    assert (blind.weight, blind.margin, blind.asking) == (2.0, DEFAULT_MARGIN, "margin")


def test_nobody_is_asked_without_a_reason() -> None:
    out = left_out()
    silent = np.full((len(out.truth), K), np.nan)
    for rules in (
        learn_rules(out, witness(out, 1.0), RarSettings(asking="never"), asks=True, names=CLASSES),
        learn_rules(out, witness(out, 1.0), RarSettings(), asks=False),
        learn_rules(out, silent, RarSettings(), asks=True, names=CLASSES),
        learn_rules(out, None, RarSettings(), asks=True, names=CLASSES),
        learn_rules(None, None, RarSettings(), asks=True, names=CLASSES),
    ):
        assert (rules.asking, rules.weight) == ("never", 0.0)


def test_images_without_an_answer_do_not_count() -> None:
    out = left_out(100)
    said = witness(out, 0.8)
    said[::2] = np.nan
    half = replace(out, candidates=out.candidates.rows(np.arange(1, 100, 2)), truth=out.truth[1::2])
    whole = learn_rules(half, said[1::2], RarSettings(), asks=True, names=CLASSES)
    assert learn_rules(out, said, RarSettings(), asks=True, names=CLASSES) == whole
    assert whole.study["learned"]["images"] == 50


def test_sets_made_around_the_truth_and_agreement_learn_no_margin() -> None:
    out = left_out(basis="truth in set")
    made = learn_rules(out, witness(out, 0.9), RarSettings(), asks=True, names=CLASSES)
    assert (made.weight_from, made.margin) == ("truth in set", DEFAULT_MARGIN)
    assert made.weight > 0
    assert "cascade" not in made.study
    out = replace(left_out(basis="agreement"), truth=np.full(200, -1))
    agreed = learn_rules(out, witness(left_out(), 0.9), RarSettings(), asks=True, names=CLASSES)
    assert (agreed.weight_from, agreed.margin) == ("agreement", DEFAULT_MARGIN)
    assert agreed.weight > 0


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        (RarSettings(), 300),
        (RarSettings(calibration=7), 7),
        (RarSettings(asking="never"), 0),
        (RarSettings(weight=0.0), 0),
        (RarSettings(weight=1.0), 300),
        (RarSettings(weight=1.0, margin=0.5), 0),
        (RarSettings(weight=1.0, asking="always"), 0),
        (RarSettings(margin=0.5), 300),
        (as_described(), 0),
        (as_released(), 0),
    ],
)
def test_nothing_is_paid_for_that_teaches_nothing(settings: RarSettings, number: int) -> None:
    assert to_ask(settings) == number
    features, true = clustered(2, names=NAMES[:6])
    memory = memory_of(features, [NAMES[label] for label in true])
    asked: list[int] = []

    def ask(out: LeftOut) -> np.ndarray:
        asked.append(len(out.truth))
        return np.full(out.candidates.classes.shape, np.nan)

    learn(memory, settings, ask=ask)
    assert asked == ([min(number, 12)] if number else [])


@pytest.mark.parametrize(
    ("shots", "k", "found"),
    [
        ([4, 4, 4], None, 4),
        ([3, 3, 3], None, 5),
        ([4, 4, 3], None, 5),
        ([], None, 5),
        ([4, 4], 7, 7),
        ([1], 1, 1),
    ],
)
def test_k_is_four_with_four_shots_else_five(shots: list[int], k: int | None, found: int) -> None:
    labels = np.repeat(np.arange(len(shots)), shots)
    assert with_k(RarSettings(), k, labels).retrieval.k == found


def test_a_k_of_ones_own_and_the_released_code_s_five_stay() -> None:
    four = np.repeat(np.arange(3), 4)
    assert with_k(RarSettings(retrieval=RetrieveSettings(k=3)), None, four).retrieval.k == 3
    assert with_k(RarSettings(retrieval=RetrieveSettings(k=3)), None, four[:6]).retrieval.k == 3
    assert with_k(as_released(), None, four).retrieval == AS_RELEASED
    assert with_k(as_described(), None, four).retrieval.k == 4


def test_the_papers_presets_ask_about_everything_and_let_the_mllm_decide() -> None:
    for settings in (as_described(), as_released()):
        assert (settings.asking, settings.weight, settings.calibration) == ("always", DECIDES, 0)
        assert (settings.ranking.mode, settings.text, settings.calibrate) == ("generate", False, False)
    assert as_described().retrieval.distinct
    assert not as_released().retrieval.distinct


def memory_of(features: np.ndarray, labels: list[str], **options):
    sources = [f"{i}.png" for i in range(len(features))]
    return build_memory(
        ProjectionEncoder(), features=features, labels=labels, sources=sources, hashes=sources, **options
    )


def test_a_memory_of_images_and_names() -> None:
    features, true = clustered(2, names=NAMES[:3])
    labels = [NAMES[label] for label in true]
    memory = memory_of(features, labels, names=("Yellow Crow", NAMES[0]))
    assert memory.names == (*NAMES[:3], "Yellow Crow")
    assert (memory.counts("image").tolist(), memory.counts("text").tolist()) == ([2, 2, 2, 0], [1, 1, 1, 1])
    assert memory.texts.sources == memory.names
    bare = memory_of(features, labels, names=("Yellow Crow",), text=False)
    assert bare.counts("text").tolist() == [0, 0, 0, 1]  # known by its name alone: kept
    spoken = memory_of(np.empty((0, features.shape[1]), np.float32), [], names=NAMES[:2])
    assert (spoken.names, len(spoken.images)) == (NAMES[:2], 0)
    np.testing.assert_allclose(spoken.texts.vectors, memory.texts.vectors[:2], atol=1e-6)


def test_equal_pictures_of_a_class_count_once() -> None:
    features, true = clustered(2, names=NAMES[:2])
    labels = [NAMES[label] for label in true]
    twice = build_memory(
        ProjectionEncoder(),
        features=np.concatenate([features, features]),
        labels=labels * 2,
        sources=[""] * 8,
        hashes=[*"abcdabcd"],
    )
    assert len(twice.images) == 4
