"""A text tower may be strong, know nothing, or hold names against the wrong pictures: it helps, or does no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fgvr.methods.student.hearing import heard, kinship
from fgvr.methods.student.pipeline import learn, read
from fgvr.methods.student.settings import StudentSettings

from .clusters import ADVERSARIAL, STRONG, USELESS, world

DEFAULT = StudentSettings()
IMAGES_ONLY = replace(DEFAULT, heads=replace(DEFAULT.heads, heads=("em",), folds=2))
SEEDS = range(3)


def accuracies(kind: str, labels: int, seed: int) -> tuple[float, float, float]:
    """On test points: the student with images only, its names with text only, and the default student."""
    one = world(seed, spread=1.6, per_class=20, tested=400)
    rows, named = one.asked(labels, seed=seed)
    tower = one.tower(kind, seed=seed)
    alone = learn(one.features, rows, named, None, IMAGES_ONLY, seed=seed)
    student = learn(one.features, rows, named, tower, seed=seed)
    text = one.test @ tower.encode_texts(list(student.names)).T
    return (
        one.accuracy(alone.names, alone.head.logits(one.test)),
        one.accuracy(student.names, text),
        one.accuracy(student.names, student.head.logits(one.test)),
    )


@pytest.mark.parametrize("labels", [30, 90, 240])
def test_a_strong_tower_is_profited_from(labels):
    found = np.array([accuracies(STRONG, labels, seed) for seed in SEEDS])
    images, text, student = found.mean(axis=0)
    assert student > images + max(text - images, 0.0) / 2 - 0.02  # the rule moves to text only beyond doubt
    assert (found[:, 2] > found[:, 0] - 0.03).all()


@pytest.mark.parametrize("kind", [USELESS, ADVERSARIAL])
@pytest.mark.parametrize("labels", [30, 90, 240])
def test_a_tower_that_knows_nothing_does_no_harm(kind, labels):
    found = np.array([accuracies(kind, labels, seed) for seed in SEEDS])
    assert found[:, 1].max() < 0.3
    assert found[:, 2].mean() > found[:, 0].mean() - 0.01
    assert (found[:, 2] > found[:, 0] - 0.03).all()


def kinships(kind: str, labels: int) -> list[float]:
    found = []
    for seed in range(10):
        one = world(seed, spread=1.6, tested=1)
        rows, named = one.asked(labels, seed=seed)
        names, said = read(rows, named, None, merge=False)
        text = one.tower(kind, seed=seed).encode_texts(names)
        found.append(kinship(one.features[said.rows], said.labels, text))
    return found


@pytest.mark.parametrize("labels", [40, 200])
def test_images_and_text_go_together_where_the_tower_knows_the_names_only(labels):
    assert np.median(kinships(STRONG, labels)) > 4
    assert np.mean(np.array(kinships(STRONG, labels)) > 2) >= 0.9
    for kind in (USELESS, ADVERSARIAL):
        assert np.mean(np.array(kinships(kind, labels)) < 2) >= 0.9


def test_kinship_by_hand():
    features = np.array([[1, 0], [0, 1], [0, 1], [0.6, 0.8]], dtype=np.float32)
    labels = np.array([0, 1, 1, -1])
    text = np.array([[0.6, 0.8], [0, 1], [1, 0]], dtype=np.float32)
    # mean image (1/3, 2/3), mean text (.2, 2.8/3); for the first name (2/3, -2/3).(.4, -.4/3), for the second a quarter
    each = np.array([2 / 3 * (0.4 + 0.4 / 3), 1 / 3 * (0.2 + 0.2 / 3)])
    expected = each.mean() / (each.std(ddof=1) / np.sqrt(2))
    assert kinship(features, labels, text) == pytest.approx(expected, rel=1e-5)


def test_a_gap_between_images_and_text_does_not_speak():
    one = world(0, tested=1)
    rows, named = one.asked(100)
    names, said = read(rows, named, None, merge=False)
    images, text = one.features[said.rows], one.tower(STRONG).encode_texts(names)
    shifted = kinship(images + 3.0, said.labels, text - 2.0)
    assert shifted == pytest.approx(kinship(images, said.labels, text), rel=1e-3)


def test_with_one_name_nothing_can_be_told():
    features, text = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[:2]
    assert heard(features, np.array([1, 1, -1]), text)
    assert heard(features, np.array([-1, -1, -1]), text)
