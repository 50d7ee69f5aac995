"""The vote among noisy names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.baselines.voting import distinct_names, elect, tally, vote


def rows(*values: tuple[float, float]) -> np.ndarray:
    found = np.array(values, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_each_image_votes_for_its_nearest_name_and_names_without_a_vote_go():
    names = rows((1, 0), (0, 1), (-1, 0), (1, 1))
    images = rows((1, 0.1), (0.1, 1), (0.2, 1))
    assert vote(images, names).tolist() == [0, 1, 1]
    kept, votes = elect(images, names)
    assert kept.tolist() == [0, 1]
    assert votes.tolist() == [0, 1, 1]
    assert tally(votes, 2).tolist() == [1, 2]


def test_a_tie_goes_to_the_name_that_was_guessed_first():
    assert vote(rows((1, 1)), rows((0, 1), (1, 0), (0, 1))).tolist() == [0]


def test_the_runner_up_stays_where_it_is_nearly_as_good():
    names = rows((1, 0), (0.9, 0.436), (0, 1))
    image = rows((1, 0))  # scores 1, 0.9, 0
    assert elect(image, names)[0].tolist() == [0]
    kept, votes = elect(image, names, share=0.8)
    assert (kept.tolist(), votes.tolist()) == ([0, 1], [0])
    assert elect(image, names, share=0.95)[0].tolist() == [0]


def test_the_runner_up_must_be_above_its_share_not_at_it():
    names = np.array([[1, 0], [0.5, 0.75**0.5]], dtype=np.float64)
    image = np.array([[1.0, 0.0]])  # scores 1 and exactly 0.5
    assert elect(image, names, share=0.5)[0].tolist() == [0]
    assert elect(image, names, share=0.49)[0].tolist() == [0, 1]


def test_without_names_there_is_no_election():
    with pytest.raises(ValueError, match="election"):
        vote(np.ones((2, 2)), np.zeros((0, 2)))


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9), st.sampled_from([None, 0.5, 0.8]))
@settings(max_examples=60, deadline=None)
def test_election_equals_a_slow_one(seed: int, images: int, names: int, share: float | None):
    rng = np.random.default_rng(seed)
    pictures, texts = rng.normal(size=(images, 4)), rng.normal(size=(names, 4))
    kept: set[int] = set()
    winners = []
    for one in pictures:
        scores = [float(sum(a * b for a, b in zip(one, text, strict=True))) for text in texts]
        order = sorted(range(names), key=lambda index: -scores[index])
        winners.append(order[0])
        kept.add(order[0])
        if share is not None and names > 1 and scores[order[1]] > share * scores[order[0]]:
            kept.add(order[1])
    found, votes = elect(pictures, texts, share=share)
    assert found.tolist() == sorted(kept)
    assert [int(found[vote]) for vote in votes] == winners


def test_large_support_sets_are_scored_in_pieces(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    pictures, texts = rng.normal(size=(11, 3)), rng.normal(size=(5, 3))
    whole = elect(pictures, texts, share=0.8)
    monkeypatch.setattr("fgvr.methods.baselines.voting.CHUNK", 4)
    pieces = elect(pictures, texts, share=0.8)
    assert [part.tolist() for part in whole] == [part.tolist() for part in pieces]


def test_a_name_is_kept_once_as_it_was_first_written():
    names = ["Pit Bull", " pit-bull", "Forster's Tern", "Forsters Tern", "...", "", "PIT BULL", "Wren"]
    assert distinct_names(names) == ("Pit Bull", "Forster's Tern", "Wren")
