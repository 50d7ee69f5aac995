"""The table of names in question against slow references."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.student.evidence_table import Alike, Table, evidence_table
from fgvr.methods.student.opinions import Opinions, first_labels
from fgvr.methods.student.settings import EvidenceSettings

NAMES = 9


def _made(seed: int = 0) -> tuple[Opinions, Table]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(15, 3)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rows = rng.integers(0, 15, 25)
    said = Opinions(
        rows,
        rng.integers(-1, NAMES, 25),
        np.full(25, np.nan, dtype=np.float32),
        tuple(tuple(map(int, rng.permutation(NAMES)[: rng.integers(0, 3)])) for _ in range(25)),
        rng.integers(0, 2, 25),
    )
    return said, evidence_table(features, rows, said, NAMES, EvidenceSettings(k=3), None)


def _mentioned(said: Opinions, image: int) -> set[int]:
    kept = np.flatnonzero((said.rows == image) & (said.labels >= 0))
    return {int(said.labels[at]) for at in kept} | {name for at in kept for name in said.alternatives[at]}


@pytest.mark.parametrize("seed", range(4))
def test_names_in_question_are_those_of_the_image_and_its_neighbours(seed: int) -> None:
    said, table = _made(seed)
    for image, names in enumerate(table.names):
        about = [image, *(int(one) for one in table.near[image] if one >= 0)]
        expected = sorted(set().union(*(_mentioned(said, one) for one in about)))
        assert list(names[: len(expected)]) == expected
        assert (names[len(expected) :] == -1).all()
        assert names[-1] == -1
    assert np.exp(table.prior).sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_places_point_at_the_same_name_of_the_neighbour_or_at_its_rest(seed: int) -> None:
    _, table = _made(seed)
    count, width = table.names.shape
    for image in range(count):
        for slot, other in enumerate(table.near[image]):
            if other < 0:
                continue
            theirs = list(table.names[other])
            for column, name in enumerate(table.names[image]):
                found = theirs.index(name) if name >= 0 and name in theirs else width - 1
                assert table.place[image, slot, column] == other * width + found


def test_the_first_label_is_that_of_the_lowest_source_with_a_name() -> None:
    said = Opinions(
        np.array([4, 4, 4, 6]),
        np.array([2, -1, 1, -1]),
        np.full(4, np.nan, dtype=np.float32),
        ((),) * 4,
        np.array([2, 0, 1, 0]),
    )
    assert list(first_labels(said, np.array([4, 6]))) == [1, -1]


def test_similar_wrong_replies_are_a_distribution() -> None:
    """For every true name the shares of the other labels times their ratios sum to one."""
    rng = np.random.default_rng(1)
    similarity = rng.random((NAMES, NAMES)).astype(np.float32)
    np.fill_diagonal(similarity, 1.0)
    alike = Alike(similarity, rng.integers(0, 5, NAMES).astype(np.float64))
    every = np.append(np.arange(NAMES), -1)
    ratios = alike.ratios(np.arange(NAMES), np.tile(every, (NAMES, 1)))[:, :-1]
    assert (alike.share[:, None] * ratios).sum(axis=0) == pytest.approx(np.ones(NAMES), rel=1e-5)
    assert (np.diagonal(ratios) == 0.0).all()


def test_the_last_column_is_the_mean_over_all_names_not_in_question() -> None:
    rng = np.random.default_rng(2)
    similarity = rng.random((NAMES, NAMES)).astype(np.float32)
    np.fill_diagonal(similarity, 1.0)
    alike = Alike(similarity, np.ones(NAMES))
    every = alike.ratios(np.array([3]), np.append(np.arange(NAMES), -1)[None])[0]
    some = alike.ratios(np.array([3]), np.array([[0, 3, 5, -1]]))[0]
    rest = [1, 2, 4, 6, 7, 8]
    assert some[-1] == pytest.approx(np.average(every[rest], weights=alike.share[rest]), rel=1e-5)
