"""Fine-tuning data for ranking: hand-made neighbours, a slow reference, what must hold for any features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.methods.rar.prompts import ranking_prompt
from fgvr.methods.rar.ranking_data import (
    AS_DESCRIBED,
    AS_RELEASED,
    Pool,
    RankingDataSettings,
    neighbour_rows,
    ranking_rows,
    released_rows,
    training_rows,
    two_subsets,
)
from fgvr.training import read_rows, write_rows

NAMES = ("Arctic Tern", "Forster's Tern", "Gull, black-headed", "Puffin", "Wren", "Owl", "Kite")


def pool(angles: list[float], labels: list[int], hashes: list[str] | None = None, tag: str = "m") -> Pool:
    """Images on the unit circle at ``angles`` (degrees)."""
    turned = np.deg2rad(np.array(angles, dtype=float))
    features = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    paths = tuple(Path(f"{tag}{i}.jpg") for i in range(len(angles)))
    return Pool(features, np.array(labels), paths, tuple(hashes or [f"{tag}{i}" for i in range(len(angles))]))


MEMORY = pool([10, 1, 20, 2, 30, 40], [1, 0, 2, 0, 1, 3])
"""From angle 0 the labels come as 0 0 1 2 1 3."""


def random_pool(rng: np.random.Generator, count: int, classes: int, tag: str, *, twins: float = 0.0) -> Pool:
    features = rng.standard_normal((count, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    hashes = tuple("twin" if rng.random() < twins else f"{tag}{i}" for i in range(count))
    paths = tuple(Path(f"{tag}{i}.jpg") for i in range(count))
    return Pool(features, rng.integers(0, classes, count), paths, hashes)


def test_neighbours_by_hand():
    query = pool([0], [1], ["q"])
    found = neighbour_rows(query, MEMORY, settings=replace(AS_DESCRIBED, k=2, neighbours=4))
    assert [row.tolist() for row in found] == [[1, 3, 0, 2]]


def test_the_same_content_is_never_its_own_neighbour():
    twins = pool([10, 1, 20, 2, 30, 40], [1, 0, 2, 0, 1, 3], ["a", "same", "b", "same", "c", "d"])
    query = pool([0], [1], ["same"])
    found = neighbour_rows(query, twins, settings=replace(AS_DESCRIBED, k=2, neighbours=4))
    assert [row.tolist() for row in found] == [[0, 2, 4, 5]]  # still four: the search is wider by the copies


def test_a_target_has_the_truth_first_and_the_rest_as_retrieved():
    query = pool([0], [2], ["q"])
    one = replace(AS_DESCRIBED, k=4, neighbours=6, sets=3)
    rows = ranking_rows(query, MEMORY, NAMES, settings=one)
    assert [row.answer for row in rows] == [("Gull, black-headed", "Arctic Tern", "Forster's Tern", "Puffin")]
    assert sorted(rows[0].candidates) == sorted(rows[0].answer)
    assert (rows[0].truth, rows[0].image) == ("Gull, black-headed", Path("m0.jpg"))
    literal = ranking_rows(query, MEMORY, NAMES, settings=replace(one, target="retrieved"))
    assert literal[0].answer == ("Arctic Tern", "Forster's Tern", "Gull, black-headed", "Puffin")
    assert literal[0].candidates == rows[0].candidates
    plain = ranking_rows(query, MEMORY, NAMES, settings=replace(one, shuffle=False))
    assert plain[0].candidates == literal[0].answer


def test_as_released_by_hand():
    """Windows of consecutive neighbours, the query among them, duplicates kept, truths first, nothing shuffled."""
    both = pool([0, 1, 2, 3], [0, 1, 0, 2])
    settings_ = replace(AS_RELEASED, k=3, neighbours=4)
    rows = [row for row in ranking_rows(both, both, NAMES, settings=settings_) if row.image == Path("m0.jpg")]
    a, b, c = NAMES[:3]
    assert [(row.candidates, row.answer) for row in rows] == [
        ((a, b, a), (a, a, b)),
        ((b, a, c), (a, b, c)),
    ]


def test_sixteen_windows_of_five_in_twenty():
    rng = np.random.default_rng(0)
    both = random_pool(rng, 30, 1, "m")
    rows = ranking_rows(both, both, NAMES, settings=AS_RELEASED)
    assert len(rows) == 30 * 16
    assert {row.candidates for row in rows} == {("Arctic Tern",) * 5}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(5, 12), st.integers(1, 20), st.booleans())
def test_what_holds_for_any_features(seed, k, neighbours, sets, twins):
    rng = np.random.default_rng(seed)
    memory = random_pool(rng, 20, 5, "m", twins=0.2 * twins)
    queries = random_pool(rng, 8, 5, "q", twins=0.2 * twins)
    asked = RankingDataSettings(k=k, neighbours=neighbours, sets=sets)
    try:
        rows = ranking_rows(queries, memory, NAMES, settings=asked, seed=seed)
    except InputError:
        rows = []
    near = {}
    for index, path in enumerate(queries.paths):  # a slow reference: sort everything
        order = np.argsort(-(memory.features.astype(float) @ queries.features[index].astype(float)), kind="stable")
        allowed = [i for i in order if memory.hashes[i] != queries.hashes[index]][:neighbours]
        near[path] = list(dict.fromkeys(NAMES[memory.labels[i]] for i in allowed))
    for row in rows:
        assert row.answer[0] == row.truth
        assert sorted(row.answer) == sorted(row.candidates)
        assert len(set(row.candidates)) == len(row.candidates) == min(k, len(near[row.image]))
        ranks = [near[row.image].index(name) for name in row.answer[1:]]
        assert ranks == sorted(ranks)
    assert len({(row.image, frozenset(row.candidates)) for row in rows}) == len(rows)
    assert all(sum(row.image == path for row in rows) <= sets for path in queries.paths)
    for path, truth in zip(queries.paths, queries.labels):
        if len(near[path]) <= k and NAMES[truth] in near[path] and len(near[path]) > 1:
            assert any(row.image == path for row in rows)  # every set then holds every category


def test_the_shown_order_is_shuffled_by_seed():
    rng = np.random.default_rng(1)
    memory, queries = random_pool(rng, 200, 5, "m"), random_pool(rng, 100, 5, "q")
    rows = ranking_rows(queries, memory, NAMES, seed=0)
    places = np.bincount([row.candidates.index(row.truth) for row in rows], minlength=5)
    assert places.min() > 0.6 * len(rows) / 5  # the truth stands anywhere
    assert rows == ranking_rows(queries, memory, NAMES, seed=0)
    assert rows != ranking_rows(queries, memory, NAMES, seed=1)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.floats(0.1, 0.9), st.integers(0, 5))
def test_subsets_are_disjoint_whole_and_balanced(labels, share, seed):
    labels = np.array(labels)
    memory, queries = two_subsets(labels, share=share, seed=seed)
    assert sorted([*memory, *queries]) == list(range(len(labels)))
    for label in np.unique(labels):
        count = int((labels == label).sum())
        assert int((labels[memory] == label).sum()) == max(1, round(share * count))


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(InputError, match="nothing to learn"):
        ranking_rows(pool([0], [6], ["q"]), MEMORY, NAMES)
    one_class = pool([1, 2, 3], [0, 0, 0])
    with pytest.raises(InputError, match="nothing to learn"):
        ranking_rows(pool([0], [0], ["q"]), one_class, NAMES)
    for wrong in ({"k": 1}, {"k": 30}, {"sets": 0}):
        with pytest.raises(InputError, match="no sense"):
            RankingDataSettings(**wrong)
    with pytest.raises(InputError, match="between 0 and 1"):
        two_subsets(np.zeros(3, dtype=int), share=1.0)


def test_conversations_ask_as_in_use_and_come_back_from_both_files(tmp_path):
    query = pool([0], [1], ["q"])
    lists = ranking_rows(query, MEMORY, NAMES, settings=replace(AS_DESCRIBED, k=3, neighbours=6))
    rows = training_rows(lists)
    assert [row.prompt for row in rows] == [ranking_prompt(one.candidates) for one in lists]
    assert rows[0].answer.startswith('["Forster\'s Tern", ')
    assert rows[0].meta["truth"] == "Forster's Tern"
    rows = [replace(row, images=(tmp_path / "a.jpg",)) for row in rows]
    for name in ("rows.jsonl", "rows.json"):
        write_rows(tmp_path / name, rows)
        found = read_rows(tmp_path / name)
        assert [(row.prompt, row.answer, row.images) for row in found.rows] == [
            (row.prompt, row.answer, row.images) for row in rows
        ]
        assert not found.set_aside


def test_the_released_question_differs():
    lists = ranking_rows(pool([0], [0], ["q"]), MEMORY, NAMES, settings=replace(AS_DESCRIBED, k=2, neighbours=4))
    row = released_rows(lists, kind="bird")[0]
    assert row.prompt.startswith("Here is a image:<Img index=1></Img>. Please play the role of a bird classification")
    assert "top 2 similarity" in row.prompt
    assert row.answer == repr(list(lists[0].answer))
