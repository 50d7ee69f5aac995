"""The noise channel by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.student.noise import Rates, Replies, lifts, log_odds, sigmoid, standardised


def _replies(**changed: np.ndarray) -> Replies:
    """One reply about image 0 of 2, its name in column 0; three names in question and the rest."""
    values = {
        "image": np.array([0]),
        "source": np.array([0]),
        "confidence": np.zeros(1),
        "share": np.array([0.1]),
        "same": np.array([[True, False, False, False]]),
        "alike": np.array([[0.0, 3.0, 1.0, 0.5]]),
        "listed": np.full((1, 4), np.nan),
    }
    return Replies(**(values | changed))


def test_a_reply_by_hand() -> None:
    """Right: 0.8 over the reply's share 0.1. Wrong: 0.2, by half as names are said and by half as they are alike."""
    found = np.exp(lifts(_replies(), Rates(accuracy=(0.8,), similar=0.5), 2))
    assert found == pytest.approx(np.array([[8.0, 0.4, 0.2, 0.15], [1.0, 1.0, 1.0, 1.0]]))


def test_further_names_raise_what_they_list() -> None:
    replies = _replies(listed=np.array([[0.0, 0.0, 4.0, 0.0]]))
    found = np.exp(lifts(replies, Rates(accuracy=(0.8,), similar=0.5, listed=0.25), 1))
    assert found[0] == pytest.approx([8.0, 0.4 * 0.75, 0.2 * 1.75, 0.15 * 0.75])


def test_two_opinions_multiply_each_with_the_rate_of_its_source() -> None:
    two = Replies(
        image=np.array([0, 0]),
        source=np.array([0, 1]),
        confidence=np.zeros(2),
        share=np.array([0.1, 0.2]),
        same=np.array([[True, False, False], [False, True, False]]),
        alike=np.ones((2, 3)),
        listed=np.full((2, 3), np.nan),
    )
    found = np.exp(lifts(two, Rates(accuracy=(0.6, 0.9)), 1))
    assert found[0] == pytest.approx([6.0 * 0.1, 0.4 * 4.5, 0.4 * 0.1])


def test_confidence_and_agreement_move_the_odds() -> None:
    rates = Rates(accuracy=(0.5,), confidence=1.0, agreement=2.0, similar=0.0)
    sure = np.exp(lifts(_replies(confidence=np.array([1.0])), rates, 1))
    assert sure[0, 0] == pytest.approx(float(sigmoid(np.array(1.0))) / 0.1)
    agreed = np.exp(lifts(_replies(), rates, 1, agreement=np.array([-0.5])))
    assert agreed[0, 0] == pytest.approx(float(sigmoid(np.array(-1.0))) / 0.1)


def test_a_constant_confidence_says_nothing() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.2, 0.4, np.nan], dtype=np.float32)
    found = standardised(confidence, np.array([0, 0, 0, 1, 1, 1]))
    assert found == pytest.approx([0.0, 0.0, 0.0, -1.0, 1.0, 0.0], abs=1e-5)


def test_odds_and_probability_are_inverse_and_bounded() -> None:
    shares = np.array([0.0, 0.01, 0.5, 0.99, 1.0])
    assert sigmoid(log_odds(shares)) == pytest.approx(shares, abs=2e-6)
    assert np.isfinite(sigmoid(np.array([-1e4, 1e4]))).all()
