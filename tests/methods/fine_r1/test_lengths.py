"""Length of the reasoning against accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fgvr.methods.fine_r1.lengths import by_length, thought_words

REPLIES = st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40)


def test_bins_of_equal_size_shortest_first():
    found = by_length([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 1, 0, 1, 0, 0, 0], bins=4, resamples=50)
    assert [(one.low, one.high, one.n, one.accuracy.value) for one in found.bins] == [
        (1, 2, 2, 1.0),
        (3, 4, 2, 0.5),
        (5, 6, 2, 0.5),
        (7, 8, 2, 0.0),
    ]
    assert (found.n, found.mean, found.median, found.unit) == (8, 4.5, 4.5, "tokens")
    assert found.rows()[0] == ("right at 1 to 2 tokens", "100.0 [100.0, 100.0] (2)")


@given(REPLIES, st.integers(1, 6))
def test_every_reply_is_in_one_bin_and_equal_lengths_share_theirs(replies, bins):
    lengths, right = zip(*replies, strict=True)
    found = by_length(lengths, right, bins=bins, resamples=5)
    assert sum(one.n for one in found.bins) == len(replies)
    assert len(found.bins) <= bins
    assert all(before.high < after.low for before, after in zip(found.bins, found.bins[1:], strict=False))
    hits = sum(one.n * one.accuracy.value for one in found.bins)
    assert hits == pytest.approx(sum(right))


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 12, 60).tolist()
    right = (rng.random(60) < 0.4).astype(float).tolist()
    found = by_length(lengths, right)
    assert found.pearson == pytest.approx(stats.pearsonr(lengths, right).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(lengths, right).statistic)


def test_what_never_varies_has_no_correlation():
    found = by_length([3, 3, 3], [1.0, 0.0, 1.0])
    assert (found.pearson, found.spearman, len(found.bins)) == (None, None, 1)
    assert found.rows()[-1] == ("right against tokens", "no correlation: one of the two never varies")
    assert by_length([], []) is None
    with pytest.raises(ValueError, match="1 lengths for 2"):
        by_length([1], [0, 1])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("<think>one two</think><answer>three four</answer>", 2),
        ("one two three", 3),
        ("<answer>x</answer>", 0),
        ("", 0),
    ],
)
def test_words_of_the_thinking(reply, words):
    assert thought_words(reply) == words
