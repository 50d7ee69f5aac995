"""Prototypes of text and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.methods.baselines.coupling import couple, exemplars, nearest_names, unit


def test_a_prototype_by_hand():
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    views = np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.6, 0.8], [0.6, 0.8]]])  # two images of two views
    votes = np.array([0, 0])
    # Mean over all four views: (0.55, 0.65). Mixed: 0.7 (1, 0) + 0.3 (0.55, 0.65) = (0.865, 0.195).
    as_released = couple(texts, views, votes, renormalise=False)
    assert as_released[0] == pytest.approx([0.865, 0.195])
    assert as_released[1].tolist() == [0, 1], "a name without voters is its text"
    assert couple(texts, views, votes)[0] == pytest.approx(np.array([0.865, 0.195]) / np.hypot(0.865, 0.195))


def test_the_two_ends_of_alpha():
    rng = np.random.default_rng(1)
    texts, views, votes = unit(rng.normal(size=(3, 5))), unit(rng.normal(size=(6, 2, 5))), np.array([0, 1, 2, 0, 1, 2])
    assert couple(texts, views, votes, alpha=1.0) == pytest.approx(texts, abs=1e-6)
    assert couple(texts, views, votes, alpha=0.0) == pytest.approx(unit(exemplars(views, votes, 3)), abs=1e-6)


def test_releasing_the_length_lets_the_concentrated_name_win():
    """Why mixtures are brought to unit length: the longer prototype wins an image that lies nearer to the other."""
    texts = unit(np.array([[1.0, 0.0, 0.2], [0.0, 1.0, 0.2]]))
    views = unit(np.array([[[1.0, 0.0, 0.2]], [[0.0, 1.0, 0.2]], [[0.0, 1.0, 0.2]], [[0.0, -1.0, 1.0]]]))
    votes = np.array([0, 1, 1, 1])
    image = unit(np.array([[0.70, 0.714, 0.25]]))
    assert nearest_names(image, couple(texts, views, votes)).tolist() == [1]
    assert nearest_names(image, couple(texts, views, votes, renormalise=False)).tolist() == [0]


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 4), st.integers(1, 5), st.floats(0, 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_coupling_equals_a_slow_one(seed: int, images: int, views: int, names: int, alpha: float, renormalise: bool):
    rng = np.random.default_rng(seed)
    texts = unit(rng.normal(size=(names, 4)))
    pictures = unit(rng.normal(size=(images, views, 4)))
    votes = rng.integers(-1, names, size=images)
    expected = []
    for name in range(names):
        voters = [view for image in range(images) if votes[image] == name for view in pictures[image]]
        mixed = texts[name].astype(np.float64)
        if voters:
            mean = sum(view.astype(np.float64) for view in voters) / len(voters)
            mixed = alpha * mixed + (1 - alpha) * mean
        expected.append(mixed / max(np.linalg.norm(mixed), 1e-30) if renormalise else mixed)
    found = couple(texts, pictures, votes, alpha=alpha, renormalise=renormalise)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(expected), abs=1e-5)


def test_what_does_not_fit_is_refused():
    texts, views = np.eye(2), np.ones((3, 1, 2))
    with pytest.raises(ValueError, match="alpha"):
        couple(texts, views, np.zeros(3, dtype=int), alpha=1.2)
    with pytest.raises(ValueError, match="do not fit"):
        couple(texts, views, np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="do not fit"):
        couple(np.eye(3), views, np.zeros(3, dtype=int))
