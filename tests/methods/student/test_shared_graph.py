"""The search for neighbours, the longest of a large pool, is done once in a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fgvr.methods.student import graph as graphs
from fgvr.methods.student import pool as pools
from fgvr.methods.student.asking import worth_asking_again
from fgvr.methods.student.pipeline import Learned, learn
from fgvr.methods.student.record import groups_in
from fgvr.methods.student.settings import PropagationSettings, StudentSettings, UnknownSettings
from fgvr.types import NamedImage


def world() -> tuple[np.ndarray, np.ndarray, list[NamedImage]]:
    """Four heaps of 15 images, 24 of them named, every fourth wrongly."""
    rng = np.random.default_rng(0)
    kinds = np.arange(60) % 4
    made = 2 * np.eye(8)[kinds] + rng.normal(size=(60, 8)) / 2
    features = np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)
    rows = np.arange(24)
    said = [int(kinds[row] if row % 5 else (kinds[row] + 1) % 4) for row in rows]
    names = ["Tern", "Gull", "Finch", "Wren"]
    return features, rows, [NamedImage(str(row), names[label]) for row, label in zip(rows, said)]


def count_searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The k of every search."""
    searches: list[int] = []
    search = graphs.neighbour_graph

    def counted(features: np.ndarray, *, k: int, **more: Any) -> graphs.NeighbourGraph:
        searches.append(k)
        return search(features, k=k, **more)

    for module in (graphs, pools):
        monkeypatch.setattr(module, "neighbour_graph", counted)
    return searches


def test_one_search_serves_learning_twice_second_opinions_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows, named = world()
    settings = StudentSettings()
    searches = count_searches(monkeypatch)
    learned = learn(features, rows, named, None, settings)
    again = worth_asking_again(features, learned, settings, most=5)
    second = (again, [named[row] for row in again])
    groups_in(features, learn(features, rows, named, None, settings, second=second, graph=learned.graph), settings)
    assert searches == [pools.GROUP_NEIGHBOURS]


def test_without_groups_no_more_neighbours_are_sought_than_labels_travel_along(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows, named = world()
    searches = count_searches(monkeypatch)
    learn(features, rows, named, None, StudentSettings(unknown=UnknownSettings(on=False)))
    assert searches == [StudentSettings().propagation.k]


def test_groups_search_for_themselves_where_labels_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows, named = world()
    settings = StudentSettings(propagation=PropagationSettings(on=False))
    searches = count_searches(monkeypatch)
    learned = learn(features, rows, named, None, settings)
    assert learned.graph is None
    groups_in(features, learned, settings)
    assert searches == [pools.GROUP_NEIGHBOURS]


def test_more_neighbours_for_groups_change_nothing_for_labels() -> None:
    features, rows, named = world()
    alone = learn(features, rows, named, None, StudentSettings(unknown=UnknownSettings(on=False)))
    together = learn(features, rows, named, None, StudentSettings())
    np.testing.assert_array_equal(alone.soft.toarray(), together.soft.toarray())
    assert predicted(alone, features) == predicted(together, features)


def predicted(learned: Learned, features: np.ndarray) -> list[str]:
    """Best names."""
    return [learned.names[best] for best in learned.head.logits(features).argmax(axis=1)]


def test_heads_that_the_mixture_does_not_use_are_not_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows, named = world()
    asked: list[set[str]] = []
    heads = pools.Pool.heads

    def noted(self: pools.Pool, *given: Any, **more: Any) -> Any:
        found = heads(self, *given, **more)
        asked.append(set(found))
        return found

    monkeypatch.setattr(pools.Pool, "heads", noted)
    learned = learn(features, rows, named, None)
    assert asked[0] >= {"prototypes, text 0", "em", "gaussian"}
    assert asked[-1] == set(learned.mixed.weights) == set(learned.head.heads)
