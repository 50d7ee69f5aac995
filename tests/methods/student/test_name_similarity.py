"""Similarity of names, with and without a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.student.name_similarity import LAST_WORD, name_similarity


class _Encoder:
    name = "by hand"

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors.astype(np.float32)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectors[: len(texts)]


def test_shared_words_by_hand() -> None:
    alike = name_similarity(["Wilson's Warbler", "Hooded warbler", "Wilson's Phalarope", "Ovenbird"])
    third = (1.0 - LAST_WORD) / 3
    expected = [
        [1.0, LAST_WORD + third, third, 0.0],
        [LAST_WORD + third, 1.0, 0.0, 0.0],
        [third, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
    assert alike == pytest.approx(np.array(expected), abs=1e-6)
    assert alike.dtype == np.float32


def test_the_last_word_counts_most() -> None:
    alike = name_similarity(["Red-eyed Vireo", "Warbling Vireo", "Red-eyed Cowbird"])
    assert alike[0, 1] > alike[0, 2] > 0.0


def test_an_encoder_starts_from_the_usual_cosine() -> None:
    """Cosines 0.8, 0.6 and 0.6 with mean 2/3: only the first pair stands out, by (0.8 - 2/3) / (1 - 2/3) = 0.4."""
    gram = np.array([[1.0, 0.8, 0.6], [0.8, 1.0, 0.6], [0.6, 0.6, 1.0]])
    alike = name_similarity(["a", "b", "c"], encoder=_Encoder(np.linalg.cholesky(gram)))
    assert alike == pytest.approx(np.array([[1.0, 0.4, 0.0], [0.4, 1.0, 0.0], [0.0, 0.0, 1.0]]), abs=1e-5)


@pytest.mark.parametrize("names", [[], ["Ovenbird"], ["", "  ", "?!"]])
def test_few_or_empty_names(names: list[str]) -> None:
    assert np.array_equal(name_similarity(names), np.eye(len(names), dtype=np.float32))
    if len(names) < 2:
        encoder = _Encoder(np.ones((len(names), 1)))
        assert np.array_equal(name_similarity(names, encoder=encoder), np.eye(len(names), dtype=np.float32))


@given(st.lists(st.text(alphabet="abc '-", max_size=12), max_size=8))
def test_symmetric_in_bounds_and_one_on_the_diagonal(names: list[str]) -> None:
    alike = name_similarity(names)
    assert alike.shape == (len(names), len(names))
    assert np.array_equal(alike, alike.T)
    assert ((alike >= 0.0) & (alike <= 1.0)).all()
    assert (np.diagonal(alike) == 1.0).all()
