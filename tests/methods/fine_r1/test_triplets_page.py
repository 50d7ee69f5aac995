"""The page of mined triplets: what is shown and in which order, and that no name becomes markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from fgvr.methods.fine_r1.triplets import Mined, Triplet
from fgvr.methods.fine_r1.triplets_page import (
    hardest_first,
    met,
    similarity_quantiles,
    triplets_page,
    write_triplets_page,
)
from fgvr.types import SetAside
from tests.compare.test_page import assert_closed
from tests.report.examples import HOSTILE

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def triplet(id_: str, similarity: float | None = 0.5, category: str = "jay", other: str = "crow") -> Triplet:
    negative = None if not other else Path(f"{id_}-negative")
    return Triplet(
        id_, Path(id_), category, "What bird is this?", Path(f"{id_}-positive"), negative, other, similarity=similarity
    )


def page(*triplets: Triplet, **options) -> str:
    return triplets_page(Mined(triplets), thumbnails=lambda path: PIXEL, **options)


def test_hardest_first_then_by_id_and_those_without_a_negative_last():
    given = [triplet("c", 0.1), triplet("n", None), triplet("b", 0.9), triplet("a", 0.9), triplet("m", -0.9)]
    assert [one.id for one in hardest_first(given)] == ["a", "b", "c", "m", "n"]
    shown = re.findall(r'class="id" title="([a-z])"', page(*given))
    assert shown == ["a", "b", "c", "m", "n"]


def test_classes_that_meet_and_quantiles():
    given = [triplet("a"), triplet("b", 0.7), triplet("c", 0.9, "crow", "jay"), triplet("d", None, "owl", "")]
    assert met(given) == [(("jay", "crow"), 2), (("crow", "jay"), 1)]
    assert similarity_quantiles(given)[50] == pytest.approx(0.7)
    assert similarity_quantiles([triplet("d", None)]) == {}


def test_three_pictures_their_names_and_the_cosine():
    text = page(triplet("birds/a.jpg", 0.8125), protocol=["encoder x, seed 0"])
    assert text.count("<img ") == 3
    assert ">0.812<" in text
    assert re.findall(r"<bdi>(.*?)</bdi>", text)[:3] == ["jay", "jay", "crow"]
    assert '<span class="id" title="birds/a.jpg">1. a.jpg</span>' in text
    assert "What bird is this?" in text
    assert "encoder x, seed 0" in text
    assert_closed(text)


def test_what_is_missing_is_said():
    alone = Triplet("a", Path("a"), "jay", "What?")
    text = page(alone)
    assert text.count('<div class="blank">none</div>') == 2
    assert "without a positive" in text
    unreadable = triplets_page(Mined((triplet("a"),)), thumbnails=lambda path: None)
    assert unreadable.count("not shown") == 3
    masked = Triplet("a", Path("a"), "jay", "What?", negative=Path("masked.png"))
    assert "the anchor, masked" in page(masked)


def test_only_the_hardest_are_shown_and_all_are_counted():
    text = page(*(triplet(f"{n:03}", n / 1000) for n in range(50)), most=7)
    assert text.count('<li class="triplet">') == 7
    assert "43 easier triplets are not shown" in text
    assert "<dd>50</dd>" in text


def test_notes_and_what_was_left_out():
    aside = tuple(SetAside(f"id {n}", "p", "no name", "why") for n in range(300))
    text = triplets_page(Mined((triplet("a"),), aside, ("mind this",)), thumbnails=lambda path: PIXEL)
    assert "mind this" in text
    assert "300 inputs, the first 200 shown" in text


def test_real_pictures_and_the_file(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (300, 200), (10, 200, 30)).save(path)
    one = Triplet("a", path, "jay", "What?", path, tmp_path / "gone.png", "crow", similarity=0.1)
    file = write_triplets_page(tmp_path / "t.html", Mined((one,)))
    text = file.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert text.count("not shown") == 1
    assert_closed(text)


@pytest.mark.parametrize("attack", HOSTILE)
def test_no_text_becomes_markup(attack):
    one = Triplet(attack, Path("x"), attack, attack, Path("y"), Path("z"), attack, attack, (attack,), 0.3)
    mined = Mined((one,), (SetAside(attack, attack, attack, attack),), (attack,))
    text = triplets_page(mined, protocol=[attack], thumbnails=lambda path: PIXEL)
    assert_closed(text)
    assert text.count("<img ") == 3
    assert "onerror=alert(1)>" not in text
    for hidden in ("\u202e", "\u2066", "\x00", "\x07"):
        assert hidden not in text
    assert len(text) < 200_000
