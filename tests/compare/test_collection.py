"""Draws: balanced, uneven, at random, as given; seeded and nested; and what a method is not shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fgvr.compare import Collection, Draw
from fgvr.compare.collection import Kind, blinded, drawn
from fgvr.errors import EvaluationError, InputError
from fgvr.types import ImageItem

POOL = tuple(ImageItem(f"{c}/{i:02d}", Path(f"{c}{i}.png"), c) for c in "abcdefgh" for i in range(15))


def counts(items: tuple[ImageItem, ...]) -> Counter[str]:
    return Counter(str(item.label) for item in items)


def test_balanced_takes_so_many_of_each_class() -> None:
    found = drawn(POOL, Draw(shots=3), seed=1)
    assert counts(found) == dict.fromkeys("abcdefgh", 3)
    assert list(found) == sorted(found, key=lambda item: item.id)
    assert counts(drawn(POOL, Draw(shots=99), seed=1)) == dict.fromkeys("abcdefgh", 15)


@pytest.mark.parametrize("kind", ["balanced", "zipf", "random"])
def test_a_draw_depends_on_its_seed_and_on_nothing_else(kind: Kind) -> None:
    draw = Draw(kind, shots=3, size=20)
    once, again = drawn(POOL, draw, seed=4), drawn(tuple(reversed(POOL)), draw, seed=4)
    assert once == again
    assert any(drawn(POOL, draw, seed=seed) != once for seed in range(5, 8))


def test_draws_are_nested() -> None:
    for seed in range(5):
        shots = [set(drawn(POOL, Draw(shots=m), seed=seed)) for m in (1, 2, 5)]
        sizes = [set(drawn(POOL, Draw("random", size=n), seed=seed)) for n in (5, 20, 60)]
        for small, large in [*pairwise(shots), *pairwise(sizes)]:
            assert small < large


def test_zipf_is_one_to_ten_and_mostly_one() -> None:
    found: Counter[int] = Counter()
    for seed in range(300):
        drawn_now = drawn(POOL, Draw("zipf"), seed=seed)
        assert set(counts(drawn_now)) == set("abcdefgh")
        assert set(drawn_now) <= set(drawn(POOL, Draw(shots=10), seed=seed))
        found.update(counts(drawn_now).values())
    assert set(found) == set(range(1, 11))
    expected = np.array([k**-2.0 for k in range(1, 10)]) / (np.pi**2 / 6)  # 1..9 unclipped; the rest lies at 10
    shares = np.array([found[k] for k in range(1, 11)]) / found.total()
    assert shares == pytest.approx([*expected, 1 - expected.sum()], abs=0.03)


def test_random_and_given_need_no_label() -> None:
    bare = tuple(replace(item, label=None) for item in POOL)
    assert len(drawn(bare, Draw("random", size=7), seed=0)) == 7
    assert [i.id for i in drawn(bare, Draw("random", size=7), seed=0)] == [
        i.id for i in drawn(POOL, Draw("random", size=7), seed=0)
    ]
    assert drawn(bare, Draw("given"), seed=0) == bare
    assert len(drawn(bare, Draw("random", size=10_000), seed=0)) == len(bare)
    for kind in ("balanced", "zipf"):
        with pytest.raises(EvaluationError, match="labels"):
            drawn(bare, Draw(kind), seed=0)  # type: ignore[arg-type]


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="no such draw"):
        Draw("best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a size"):
        Draw("random")
    for draw in (Draw(shots=0), Draw("random", size=0), Draw("random", size=-1)):
        with pytest.raises(InputError):
            drawn(POOL, draw, seed=0)


def test_the_words_say_where_labels_were_used() -> None:
    assert "true labels" in Draw(shots=4).words()
    assert "4 support images a class" in Draw(shots=4).words()
    assert "true labels" in Draw("zipf").words()
    assert Draw("random", size=9).words() == "9 support images drawn at random, no label used"
    assert "as given" in Draw("given").words()


def test_blinded_items_carry_no_truth() -> None:
    item = ImageItem("a", Path("a.png"), "Red Fox", ("Vulpes vulpes",), "test")
    assert blinded([item]) == (ImageItem("a", Path("a.png")),)


def test_a_collection_needs_images_labels_and_distinct_ids() -> None:
    one, other = POOL[:2]
    assert Collection("c", (one,), (other,)).test == (other,)
    for pool, test in ((), (one,)), ((one,), ()):
        with pytest.raises(InputError, match="needs support and labelled test"):
            Collection("c", pool, test)
    with pytest.raises(EvaluationError, match="1 test images have no true name"):
        Collection("c", (one,), (one, replace(other, label=None)))
    for pool, test in ((one, one), (other,)), ((one,), (other, replace(other, label="z"))):
        with pytest.raises(InputError, match="share an id"):
            Collection("c", pool, test)
