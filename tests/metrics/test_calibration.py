from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.metrics import expected_calibration_error, reliability_bins, risk_coverage

ITEMS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def test_ece_by_hand() -> None:
    # Bin [0, .5): confidence .2, accuracy 0; bin [.5, 1]: confidence .8, accuracy .5.
    probabilities, correct = [0.1, 0.3, 0.7, 0.9], [0, 0, 1, 0]
    assert expected_calibration_error(probabilities, correct, bins=2) == pytest.approx(0.5 * 0.2 + 0.5 * 0.3)
    low, high = reliability_bins(probabilities, correct, bins=2)
    assert (low.low, low.high, low.count, low.confidence, low.accuracy) == pytest.approx((0, 0.5, 2, 0.2, 0))
    assert (high.count, high.confidence, high.accuracy) == pytest.approx((2, 0.8, 0.5))


def test_equal_mass_bins_share_the_items() -> None:
    table = reliability_bins([0.9, 0.91, 0.92, 0.93, 0.1], [1, 1, 1, 1, 0], bins=2, scheme="mass")
    assert [b.count for b in table] == [3, 2]
    assert table[0].low == pytest.approx(0.1)


def test_a_probability_of_one_lies_in_the_last_bin() -> None:
    [only] = reliability_bins([1.0], [1], bins=15)
    assert only.high == 1.0


@given(ITEMS, st.sampled_from(["width", "mass"]), st.integers(1, 20))
def test_ece_is_bounded_and_bins_hold_every_item(items: list[tuple[float, bool]], scheme: str, bins: int) -> None:
    probabilities, correct = zip(*items)
    assert 0 <= expected_calibration_error(probabilities, correct, bins=bins, scheme=scheme) <= 1
    assert sum(b.count for b in reliability_bins(probabilities, correct, bins=bins, scheme=scheme)) == len(items)


def test_risk_coverage_by_hand() -> None:
    curve = risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
    assert curve.coverage == pytest.approx([0.25, 0.5, 0.75, 1])
    assert curve.risk == pytest.approx([0, 0.5, 1 / 3, 0.5])
    assert curve.threshold == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert curve.aurc == pytest.approx((0 + 0.5 + 1 / 3 + 0.5) / 4)


@given(ITEMS, st.randoms())
def test_the_order_of_items_does_not_matter_even_in_ties(items: list[tuple[float, bool]], random) -> None:  # type: ignore[no-untyped-def]
    items = [(round(p, 1), right) for p, right in items]
    shuffled = list(items)
    random.shuffle(shuffled)
    assert risk_coverage(*zip(*shuffled)).aurc == pytest.approx(risk_coverage(*zip(*items)).aurc)


@pytest.mark.parametrize(
    ("probabilities", "correct"),
    [([1.2], [1]), ([np.nan], [1]), ([0.5], [2]), ([], []), ([0.5, 0.5], [1])],
)
def test_refuses_what_is_no_probability(probabilities: list[float], correct: list[int]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        risk_coverage(probabilities, correct)
