"""Accuracy by name, semantic IoU and semantic accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.metrics import (
    coverage,
    exact_accuracy,
    semantic_accuracy,
    semantic_iou,
    synonym_accuracy,
    top_k_accuracy,
)


class Letters:
    """An encoder one can follow by hand: counts of the letters a, b, c; counts its work."""

    name = "letters"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.seen += texts
        vectors = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_exact_and_synonym_accuracy() -> None:
    predicted = ["linnet", "Corn-Crake", "Rook", "?"]
    true = ["Linnet", ("Landrail", "corn crake"), ("Crow",), "?"]
    assert exact_accuracy(predicted, true) == 0.25
    assert synonym_accuracy(predicted, true) == 0.5


def test_top_k() -> None:
    top = [["Twite", "Linnet"], ["Rook", "Crow", "Landrail"], []]
    true = ["Linnet", ("Corn Crake", "landrail"), "Jay"]
    assert [top_k_accuracy(top, true, k=k) for k in (1, 2, 3)] == pytest.approx([0, 1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="k must"):
        top_k_accuracy(top, true, k=0)


def test_coverage() -> None:
    assert coverage(["a", None, "b", None]) == 0.5


def test_siou_variants_differ_in_hyphens_only() -> None:
    # cased: {blackfooted, albatross} against {black, footed, albatross}: 1 of 4; split: 3 of 3.
    predicted, true = ["Black-footed Albatross"], ["black footed albatross"]
    assert semantic_iou(predicted, true) == 0.25
    assert semantic_iou(predicted, true, "split") == 1.0
    assert semantic_iou(["Forster's Tern"], ["Forsters tern!"]) == 1.0


def test_siou_takes_the_best_accepted_name_or_the_first() -> None:
    assert semantic_iou(["Corn Crake"], [("Landrail", "corn crake")]) == 1.0
    assert semantic_iou(["Corn Crake"], [("Landrail", "corn crake")], accepted=False) == 0.0
    assert semantic_iou(["???"], ["!!!"]) == 0.0
    with pytest.raises(ValueError, match="variant"):
        semantic_iou(["a"], ["a"], "other")


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=10))
def test_siou_is_bounded_and_symmetric(items: list[tuple[str, str]]) -> None:
    one, other = zip(*items)
    for variant in ("cased", "split"):
        value = semantic_iou(one, other, variant)
        assert 0 <= value <= 1
        assert semantic_iou(other, one, variant) == pytest.approx(value)


def test_sacc_by_hand_names_its_encoder_and_embeds_each_name_once() -> None:
    encoder = Letters()
    result = semantic_accuracy(["ab", "ab", "c"], ["a", "ab", ("a", "cc")], encoder)
    assert result.value == pytest.approx((np.sqrt(0.5) + 1 + 1) / 3)
    assert result.encoder_name == "letters"
    assert sorted(encoder.seen) == ["a", "ab", "c", "cc"]
    plain = semantic_accuracy(["ab", "ab", "c"], ["a", "ab", ("a", "cc")], encoder, accepted=False)
    assert float(plain) == pytest.approx((np.sqrt(0.5) + 1 + 0) / 3)


@pytest.mark.parametrize("metric", [exact_accuracy, synonym_accuracy, semantic_iou])
def test_refuses_unequal_lengths_and_nothing(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="2 predictions for 1"):
        metric(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="nothing to score"):
        metric([], [])
    with pytest.raises(ValueError, match="at least one name"):
        metric(["a"], [()])
