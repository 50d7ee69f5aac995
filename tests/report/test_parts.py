"""The pure parts: which pictures are chosen, how numbers read."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.report import words
from fgvr.report.charts import _tick, scatter_chart, spaced, thinned
from fgvr.report.sheet import both_ends, contact_sheet
from fgvr.report.thumbs import Thumbnails
from fgvr.types import Prediction

PIXEL = "data:image/png;base64,AAAA"


def some(probabilities: list[float], name: str = "Tern") -> list[Prediction]:
    return [Prediction(f"{name}{i}", name, p) for i, p in enumerate(probabilities)]


def test_both_ends_by_hand():
    chosen = both_ends(some([0.5, 0.9, 0.1, 0.7, 0.3]), 4)
    assert [one.probability for one in chosen] == [0.9, 0.1, 0.7, 0.3]


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 40))
def test_both_ends_is_a_selection_with_the_extremes(values, most):
    members = some(values)
    chosen = both_ends(members, most)
    assert len(chosen) == min(most, len(members)) == len({one.item_id for one in chosen})
    if len(chosen) >= 2:
        assert {max(values), min(values)} <= {one.probability for one in chosen}


def test_every_name_gets_its_first_picture_before_any_gets_its_second():
    predictions = [*some([0.9] * 50, "Tern"), *some([0.8] * 2, "Wren"), *some([0.7], "Coot")]
    images = {one.item_id: Path(one.item_id) for one in predictions}
    thumbs = Thumbnails(lambda _: PIXEL, budget=4 * (len(PIXEL) + 400))
    sheet = contact_sheet(predictions, images, thumbs, max_per_class=24)
    assert [(group.name, len(group.cards) >= 1) for group in sheet.groups] == [
        ("Tern", True),
        ("Wren", True),
        ("Coot", True),
    ]
    assert sheet.hidden == 53 - sum(len(group.cards) for group in sheet.groups) > 40


def test_a_picture_is_decoded_once():
    calls: list[Path] = []

    def make(path: Path) -> str:
        calls.append(path)
        return PIXEL

    thumbs = Thumbnails(make, budget=10**6)
    assert thumbs.get(Path("a")) == thumbs.get(Path("a")) == PIXEL
    assert calls == [Path("a")]


@pytest.mark.parametrize(
    ("value", "expected"), [(0.999, ">99 %"), (0.99, "99 %"), (0.004, "<1 %"), (0.5, "50 %"), (float("nan"), "–")]
)
def test_probability_is_never_certain(value, expected):
    assert words.probability(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.42, "0.42 s"), (9.96, "10.0 s"), (59.7, "1 min 00 s"), (312, "5 min 12 s"), (7380, "2 h 03 min"), (None, "–")],
)
def test_seconds(value, expected):
    assert words.seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "unknown"), (0, "$0"), (0.00001, "<$0.0001"), (0.18, "$0.18"), (0.1812, "$0.1812"), (1234.5, "$1,234.50")],
)
def test_money(value, expected):
    assert words.money(value) == expected


@given(st.text(max_size=60), st.integers(0, 9999))
def test_slugs_are_safe(text, number):
    made = words.slug(text, number)
    assert made.isascii()
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=2000))
def test_thinning_keeps_the_ends(points):
    kept = thinned(points, 100)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(kept) <= 201


@pytest.mark.parametrize("value", [0.0, 0.00799, -0.00719, 0.000123, 1.2345e-5, 0.132, 99.0, 149.0, 650.0, -12.34])
def test_numbers_on_an_axis_fit_its_margin(value):
    assert len(_tick(value, False)) <= 7
    assert float(_tick(value, False)) == pytest.approx(value, rel=0.05)


POINT = st.tuples(st.text(max_size=40), st.floats(0.5, 1e7), st.floats(0, 1))


@given(st.lists(POINT, min_size=1, max_size=30))
def test_every_point_lies_inside_its_chart(points):
    chart = str(scatter_chart(points, "cost"))
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart).groups())
    dots = re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', chart)
    assert len(dots) == len(points)
    for x, y in dots:
        assert 0 < float(x) < width - 200
        assert 0 < float(y) < height - 20
    names = [float(y) for y in re.findall(r'<text x="476.0" y="([\d.-]+)"', chart)]
    assert len(names) == len(points)
    assert all(b - a >= 15.8 for a, b in pairwise(names))
    assert 0 < names[0] <= names[-1] <= height
    assert not re.search(r"1[1-9]0 %|>-\d", chart)


def test_a_chart_without_a_point_is_none():
    nan = float("nan")
    assert scatter_chart([], "x") is None
    assert (
        scatter_chart([("a", nan, 0.5), ("b", 1, nan), ("c", 0, 0.5), ("d", -1, 0.5), ("e", 1e400, 0.1)], "x") is None
    )
    assert "a &lt;b&gt;" in str(scatter_chart([("a <b>", 1, 0.5)], "x"))


@given(st.lists(st.floats(0, 300), max_size=18).map(sorted))
def test_spaced_keeps_order_distance_and_end(wanted):
    found = spaced(wanted, 16, 300)
    assert len(found) == len(wanted)
    assert all(b - a >= 16 - 1e-6 for a, b in pairwise(found))
    assert all(place <= 300 for place in found)
    if all(b - a >= 16 for a, b in pairwise(wanted)):
        assert found == pytest.approx(wanted)
