"""Soft labels: their value against known truth, and what every switch does."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.methods.student.evidence import Evidence, evidence
from fgvr.methods.student.noise import Rates
from fgvr.methods.student.opinions import Opinions, joined
from fgvr.methods.student.settings import EvidenceSettings
from fgvr.metrics import expected_calibration_error

ON, OFF = EvidenceSettings(), EvidenceSettings.off()
NAMES = 12


@dataclass(frozen=True)
class _World:
    features: np.ndarray
    truth: np.ndarray
    said: Opinions


def _opinions(rows: np.ndarray, labels: np.ndarray, *, source: int = 0) -> Opinions:
    count = len(rows)
    return Opinions(
        np.asarray(rows, dtype=np.int64),
        np.asarray(labels, dtype=np.int64),
        np.full(count, np.nan, dtype=np.float32),
        ((),) * count,
        np.full(count, source, dtype=np.int64),
    )


def _noisy(truth: np.ndarray, accuracy: float, rng: np.random.Generator, *, names: int = NAMES) -> np.ndarray:
    other = (truth + rng.integers(1, names, len(truth))) % names
    return np.where(rng.random(len(truth)) < accuracy, truth, other)


def _world(accuracy: float = 0.7, *, count: int = 600, spread: float = 0.3, seed: int = 0) -> _World:
    """Classes as round clouds, and a teacher whose errors have nothing to do with the picture."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(NAMES, 16))
    truth = rng.integers(0, NAMES, count)
    features = centres[truth] + spread * rng.normal(size=(count, 16)) * 2.0
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return _World(features.astype(np.float32), truth, _opinions(np.arange(count), _noisy(truth, accuracy, rng)))


def _of(world: _World, how: EvidenceSettings = ON, **more: object) -> Evidence:
    return evidence(world.features, world.said, NAMES, how, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("accuracy", "most"), [(0.5, 0.13), (0.7, 0.04), (0.9, 0.04)])
def test_reliability_is_calibrated(accuracy: float, most: float) -> None:
    """Of a teacher that is right half the time too much is believed; the bound says how much."""
    world = _world(accuracy)
    found = _of(world)
    right = (world.said.labels == world.truth).astype(float)
    assert expected_calibration_error(found.reliability, right, bins=10) < most
    assert found.noise is not None
    assert found.noise.accuracy[0] == pytest.approx(right.mean(), abs=most)


def test_soft_labels_are_right_more_often_than_the_teacher() -> None:
    world = _world(0.6)
    best = np.asarray(_of(world).seeds.argmax(axis=1)).ravel()
    assert (best == world.truth).mean() > 0.6 + 0.15


def test_an_agreeing_neighbour_marks_a_right_label() -> None:
    world = _world(0.7)
    nearest = np.argsort(-(world.features @ world.features.T - 2.0 * np.eye(len(world.truth))), axis=1)[:, 0]
    agrees = world.said.labels[nearest] == world.said.labels
    reliability = _of(world).reliability
    assert reliability[agrees].mean() > reliability[~agrees].mean() + 0.3


def test_everything_off_is_exactly_one_hot() -> None:
    world = _world(count=40)
    found = _of(world, OFF)
    assert np.array_equal(found.seeds.toarray(), np.eye(NAMES, dtype=np.float32)[world.said.labels])
    assert np.array_equal(found.reliability, np.ones(40))
    assert found.noise is None


def test_without_agreement_every_label_is_trusted_alike() -> None:
    found = _of(_world(), replace(ON, agreement=False))
    assert found.noise is not None
    assert found.reliability == pytest.approx(found.noise.accuracy[0])


def test_without_neighbours_their_votes_favour_no_name() -> None:
    """What the own label leaves goes to the other names in question by their share of the labels alone."""
    world = _world(count=120)
    found = _of(world, replace(ON, neighbours=False, names=False)).seeds.toarray()
    counts = np.bincount(world.said.labels, minlength=NAMES) + 1.0
    own = np.eye(NAMES, dtype=bool)[world.said.labels]
    shares = np.where(own | (found == 0.0), np.nan, found / counts)
    several = np.isfinite(shares).sum(axis=1) > 1
    low, high = np.nanmin(shares[several], axis=1), np.nanmax(shares[several], axis=1)
    assert several.sum() > 20
    assert low == pytest.approx(high, rel=1e-3)
    assert found[own].std() > 0.05


def test_an_unnamed_image_hears_its_neighbours_or_nothing() -> None:
    world = _world(0.95, spread=0.05, count=120)
    labels = world.said.labels.copy()
    labels[7] = -1
    world = replace(world, said=_opinions(world.said.rows, labels))
    found = _of(world)
    assert found.seeds[7].toarray().argmax() == world.truth[7]
    assert found.reliability[7] == 0.0
    assert _of(world, replace(ON, neighbours=False)).seeds[7].nnz == 0
    assert _of(world, OFF).seeds[7].nnz == 0


def test_a_mutual_neighbour_counts_fully_and_a_one_way_neighbour_half() -> None:
    """Angles 0, 10 and 15 degrees, k = 1: 0 looks to 1, but 1 and 2 look to each other."""
    angle = np.deg2rad([0.0, 10.0, 15.0])
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    said = _opinions(np.arange(3), np.array([0, 1, 2]))
    rates = Rates(accuracy=(0.7,), same=0.6, cosine=0.0, temper=1.0)
    how = replace(ON, k=1, names=False)
    both = [evidence(features, said, 3, replace(how, mutual=on), rates=rates).reliability for on in (True, False)]
    assert both[0][0] > both[1][0]
    assert both[0][1:] == pytest.approx(both[1][1:])


def test_posterior_by_hand() -> None:
    """Two images, each the other's neighbour, both called 0 of 2 names: every factor written out."""
    features = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    rates = Rates(accuracy=(0.7,), same=0.6, cosine=0.0, temper=0.5)
    found = evidence(features, _opinions([0, 1], [0, 0]), 2, replace(ON, names=False), rates=rates)
    prior = np.array([2.0 / 3.0, 1.0 / 3.0])  # (1 + 1) / (1 + 2): one label besides the own one, smoothed
    reply = np.array([0.7 / prior[0], 0.3])  # the lift of a right and of a wrong reply
    density = reply / (prior * reply).sum()
    joint = prior * (0.4 + 0.6 * density) ** 0.5 * reply
    assert found.reliability == pytest.approx(joint[0] / joint.sum())
    assert found.seeds.toarray()[0] == pytest.approx([joint[0] / joint.sum(), 0.0], abs=1e-6)  # nobody said name 1


def test_similar_names_are_the_likelier_mistakes() -> None:
    """The teacher of half the images errs to the twin only; names alike make the twin's vote weigh more."""
    rng = np.random.default_rng(3)
    world = _world(count=400)
    twin = world.truth ^ 1
    labels = np.where(rng.random(400) < 0.7, world.truth, twin)
    world = replace(world, said=_opinions(np.arange(400), labels))
    alike = np.eye(NAMES, dtype=np.float32)
    alike[np.arange(NAMES), np.arange(NAMES) ^ 1] = 0.8
    found = _of(world, name_similarity=alike)
    assert found.noise is not None
    assert found.noise.similar > 0.6
    plain = _of(world)
    truth = world.truth

    def fit(seeds: Evidence) -> float:
        return float(np.log(np.maximum(seeds.seeds.toarray()[np.arange(400), truth], 1e-3)).mean())

    assert fit(found) > fit(plain)


def test_confidence_is_used_where_it_says_something_and_harmless_where_not() -> None:
    world = _world(0.6)
    right = world.said.labels == world.truth
    telling = np.where(right, 0.9, 0.4).astype(np.float32)
    plain = _of(world)
    told = _of(replace(world, said=replace(world.said, confidence=telling)))
    assert told.noise is not None
    assert told.noise.confidence > 0.3
    assert told.reliability[right].mean() > plain.reliability[right].mean()
    same = _of(replace(world, said=replace(world.said, confidence=np.full(600, 0.9, dtype=np.float32))))
    assert np.array_equal(same.reliability, plain.reliability)


def test_alternatives_that_hold_the_truth_are_believed() -> None:
    world = _world(0.5, spread=0.5)
    further = tuple(
        () if label == true else (int(true),) for label, true in zip(world.said.labels, world.truth, strict=True)
    )
    told = replace(world, said=replace(world.said, alternatives=further))
    plain, used = (_of(told, replace(ON, alternatives=on)) for on in (False, True))

    def right(found: Evidence) -> float:
        return float((np.asarray(found.seeds.argmax(axis=1)).ravel() == world.truth).mean())

    assert right(used) > right(plain)
    assert used.noise is not None
    assert used.noise.listed > 0.6


def test_each_source_has_its_own_rate() -> None:
    world = _world(0.5)
    rng = np.random.default_rng(5)
    second = _opinions(np.arange(600), _noisy(world.truth, 0.9, rng), source=1)
    found = _of(replace(world, said=joined([world.said, second])))
    assert found.noise is not None
    assert found.noise.accuracy[1] > found.noise.accuracy[0] + 0.15
    best = np.asarray(found.seeds.argmax(axis=1)).ravel()
    assert (best == world.truth).mean() > 0.9


@given(st.integers(0, 2**16), st.integers(1, 12), st.sampled_from([f.name for f in fields(EvidenceSettings)]))
@settings(max_examples=10, deadline=None)
def test_rows_are_probabilities_at_asked_images_only(seed: int, asked: int, switch: str) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(20, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(-1, 5, asked)
    labels[0] = 2
    said = _opinions(rng.choice(20, asked), labels)
    how = ON if switch == "k" else replace(ON, **{switch: False})
    found = evidence(features, said, 5, how)
    sums = np.asarray(found.seeds.sum(axis=1)).ravel()
    assert found.seeds.shape == (20, 5)
    assert found.seeds.dtype == np.float32
    assert (found.seeds.data >= 0).all()
    assert sums.max() <= 1.0 + 1e-5
    assert set(np.flatnonzero(sums)) <= set(said.rows)
    assert np.array_equal(found.rows, np.unique(said.rows))
    assert ((found.reliability >= 0) & (found.reliability <= 1)).all()


def test_the_order_of_opinions_does_not_matter() -> None:
    world = _world(count=80)
    order = np.random.default_rng(1).permutation(80)
    mixed = _opinions(world.said.rows[order], world.said.labels[order])
    found, again = _of(world), _of(replace(world, said=mixed))
    assert again.seeds.toarray() == pytest.approx(found.seeds.toarray(), abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [([9], [0], "outside the pool"), ([0], [5], "outside the names"), ([0, 1], [-1, -1], "no opinion has a name")],
)
def test_faulty_opinions_are_refused(rows: list[int], labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evidence(np.eye(4, dtype=np.float32), _opinions(np.array(rows), np.array(labels)), 3, ON)
