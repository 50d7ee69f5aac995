from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.rar.baselines import all_names, image_and_text, knn_vote, nearest_label, nearest_order, zero_shot_text
from fgvr.methods.rar.retrieve import PlainMemory, RetrieveSettings


def flat(*cosines: float) -> np.ndarray:
    """Vectors in the plane at these cosines to (1, 0)."""
    values = np.array(cosines)
    return np.stack([values, np.sqrt(1 - values**2)], axis=1).astype(np.float32)


QUERY = flat(1.0)
MEMORY = PlainMemory.of(
    "abc",
    images=(flat(0.9, 0.8, 0.7, 0.6, 0.5, 0.4), np.array([2, 0, 0, 2, 1, 1])),
    texts=flat(0.1, 0.5, 0.3),
    logit_scale=10.0,
)


def test_the_papers_baseline_is_the_label_of_the_one_nearest_image():
    assert nearest_label(QUERY, MEMORY).tolist() == [2]
    assert nearest_order(QUERY, MEMORY, k=4).classes.tolist() == [[2, 0, 1, -1]]


@pytest.mark.parametrize(
    ("neighbours", "expected"), [(1, 2), (2, 2), (3, 0), (4, 2), (6, 2), (50, 2)], ids=lambda value: str(value)
)
def test_votes_are_counted_and_ties_go_to_the_nearest(neighbours: int, expected: int):
    """Labels by distance: 2 0 0 2 1 1."""
    assert knn_vote(QUERY, MEMORY, neighbours=neighbours).tolist() == [expected]


def test_zero_shot_is_a_softmax_over_texts():
    logits = np.array([1.0, 5.0, 3.0])
    found = zero_shot_text(QUERY, MEMORY)[0]
    np.testing.assert_allclose(found, logits - np.log(np.exp(logits).sum()), atol=1e-4)
    assert np.exp(zero_shot_text(QUERY, MEMORY, temperature=10.0)).max() < 0.35


def test_fusion_needs_both_sides():
    settings = RetrieveSettings(source="image", image_temperature=0.1, text_temperature=0.1, aggregate="max")
    fused = image_and_text(QUERY, MEMORY, settings)[0]
    image = np.array([8.0, 5.0, 9.0])
    text = np.array([1.0, 5.0, 3.0])
    pooled = 0.75 * (image - np.log(np.exp(image).sum())) + 0.5 * (text - np.log(np.exp(text).sum()))
    np.testing.assert_allclose(fused, pooled - np.log(np.exp(pooled).sum()), atol=1e-4)


def test_without_retrieval_every_name_is_a_candidate():
    found = all_names(2, 3)
    assert found.names("abc") == [("a", "b", "c")] * 2
    assert np.exp(found.log_probs).sum(axis=1) == pytest.approx([1.0, 1.0])
