"""The cascade, by hand and by its properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.rar.cascade import Point, choose_threshold, curve, margins, points, threshold_for_share

# Five images. The retriever errs on the two closest and on none else; the MLLM mends one of them, spoils the third.
MARGIN = [0.1, 0.2, 0.5, 0.5, 0.9]
ALONE = [False, False, True, True, True]
FUSED = [True, False, False, True, True]


def test_margins_by_hand() -> None:
    log_probs = np.log([[0.5, 0.3, 0.1], [0.2, 0.2, 0.1], [0.1, 0.05, 0.7]])
    assert margins(log_probs) == pytest.approx([0.2, 0.0, 0.6])


def test_an_image_with_one_candidate_is_never_close() -> None:
    assert margins([[-0.5, -np.inf], [-np.inf, -np.inf]]).tolist() == [1.0, 1.0]
    assert margins([[-0.5]]).tolist() == [1.0]


def test_points_by_hand() -> None:
    found = points(MARGIN, ALONE, FUSED)
    assert [(point.calls, point.accuracy) for point in found] == [
        (0.0, pytest.approx(0.6)),
        (0.2, pytest.approx(0.8)),
        (0.4, pytest.approx(0.8)),
        (0.8, pytest.approx(0.6)),  # the two of equal margin together
        (1.0, pytest.approx(0.6)),
    ]
    assert [point.threshold for point in found][:4] == pytest.approx([0.0, 0.15, 0.35, 0.7])
    assert found[-1].threshold > 1.0  # asks about margin 1, too


def test_the_fewest_calls_within_the_tolerance() -> None:
    assert choose_threshold(MARGIN, ALONE, FUSED, z=0.0).calls == 0.0  # asking always is no better than never
    helped = [True, False, True, True, True]
    assert choose_threshold(MARGIN, ALONE, helped, z=0.0) == Point(pytest.approx(0.15), 0.2, pytest.approx(0.8))  # type: ignore[arg-type]
    late = [False, False, True, True, True]
    assert choose_threshold(MARGIN, [False, False, True, True, False], late, z=0.0).calls == 1.0
    assert choose_threshold(MARGIN, [False, False, True, True, False], late, tolerance=0.2, z=0.0).calls == 0.0


def test_a_threshold_for_a_share_of_calls() -> None:
    assert threshold_for_share(MARGIN, 0.0) == 0.0
    assert threshold_for_share(MARGIN, 0.5) == pytest.approx(0.35)
    assert threshold_for_share(MARGIN, 0.79) == pytest.approx(0.35)
    assert threshold_for_share(MARGIN, 0.8) == pytest.approx(0.7)
    assert threshold_for_share(MARGIN, 1.0) > 1.0


def test_the_curve_is_json_and_holds_the_retrievers_risk() -> None:
    shown = curve(MARGIN, ALONE, FUSED)
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["never"], shown["always"]) == (pytest.approx(0.6), pytest.approx(0.6))
    assert shown["risk_coverage"]["coverage"] == pytest.approx([0.2, 0.6, 0.8, 1.0])
    assert shown["risk_coverage"]["risk"] == pytest.approx([0.0, 0.0, 0.25, 0.4])


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    margin = np.linspace(0, 1, 1000)
    shown = curve(margin, margin > 0.3, np.ones(1000))
    assert len(shown["points"]) == 101
    assert (shown["points"][0]["calls"], shown["points"][-1]["calls"]) == (0.0, 1.0)
    assert shown["chosen"]["calls"] == pytest.approx(0.3, abs=0.01)


IMAGES = st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=30)


@given(IMAGES, st.floats(0, 1))
def test_the_rule_does_what_the_point_says(images: list[tuple[float, bool, bool]], tolerance: float) -> None:
    margin, alone, fused = (np.array(column) for column in zip(*images, strict=True))
    for point in points(margin, alone, fused):
        asked = margin < point.threshold
        assert asked.mean() == pytest.approx(point.calls)
        assert np.where(asked, fused, alone).mean() == pytest.approx(point.accuracy)
    chosen = choose_threshold(margin, alone, fused, tolerance=tolerance)
    assert chosen.accuracy >= fused.mean() - tolerance - 1e-9


@pytest.mark.parametrize("margin", [[], [0.1], [0.1, 1.5], [[0.1, 0.2]], [0.1, np.nan]])
def test_other_input_is_an_error(margin: list[float]) -> None:
    with pytest.raises(ValueError, match=r"vectors|margins"):
        points(margin, [True, False], [True, False])


def test_a_loss_that_may_be_luck_is_not_risked() -> None:
    """Above the margin the MLLM rights as many as it spoils here; on other images it may well be more."""
    margin = np.repeat([0.1, 0.9], [100, 1000])
    righted, spoiled, same = (np.repeat(np.eye(3, dtype=bool)[kind], [200, 100, 800]) for kind in range(3))
    alone, fused = spoiled | same, righted | same
    assert choose_threshold(margin, alone, fused, z=0.0).calls == pytest.approx(100 / 1100)
    assert choose_threshold(margin, alone, fused).calls == 1.0
    assert choose_threshold(margin, alone, fused, tolerance=0.05).calls == pytest.approx(100 / 1100)
