"""Seeded draws and leaks."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image

from fgvr.data import draw_support, leaks, per_class
from fgvr.errors import EvaluationError, InputError
from fgvr.types import ImageItem


def items(tmp_path, count=30, classes=3):
    return [ImageItem(f"{n:03}.jpg", tmp_path / f"{n:03}.jpg", label=f"c{n % classes}") for n in range(count)]


def test_a_draw_partitions_is_seeded_nested_and_free_of_input_order(tmp_path):
    pool = items(tmp_path)
    support, rest = draw_support(pool, n=10, seed=1)
    assert len(support) == 10
    assert sorted(i.id for i in support + rest) == [i.id for i in pool]
    assert draw_support(pool[::-1], n=10, seed=1) == (support, rest)
    assert {*support} < {*draw_support(pool, n=15, seed=1)[0]}
    assert draw_support(pool, n=10, seed=2)[0] != support
    assert draw_support(pool, share=1 / 3, seed=1)[0] == support
    assert draw_support(pool, n=99)[1] == ()


def test_draws_are_close_to_uniform(tmp_path):
    pool = items(tmp_path)
    counts = dict.fromkeys((i.id for i in pool), 0)
    for seed in range(600):
        for item in draw_support(pool, n=10, seed=seed)[0]:
            counts[item.id] += 1
    assert all(140 < count < 260 for count in counts.values())  # mean 200, standard deviation 11.5


@pytest.mark.parametrize("wrong", [{}, {"n": 3, "share": 0.5}, {"n": 0}, {"share": 0.0}, {"share": 1.5}])
def test_impossible_draws(tmp_path, wrong):
    with pytest.raises(InputError):
        draw_support(items(tmp_path), **wrong)


def test_a_class_balanced_draw(tmp_path):
    support, rest = per_class(items(tmp_path), 3, seed=5)
    assert [sum(i.label == f"c{c}" for i in support) for c in range(3)] == [3, 3, 3]
    assert not {*support} & {*rest}
    assert len(support) + len(rest) == 30
    with pytest.raises(EvaluationError, match="labels"):
        per_class([ImageItem("a", tmp_path)], 3)


def test_leaks_are_found_by_content_not_by_name(tmp_path):
    pool = items(tmp_path, 6)
    for n, item in enumerate(pool):
        Image.new("RGB", (8, 8), (n * 40, 0, 0)).save(item.path)
    shutil.copy(pool[0].path, pool[5].path)
    assert leaks(pool[:3], pool[3:]) == (("000.jpg", "005.jpg"),)
    assert leaks(pool[1:3], pool[3:]) == ()
    gone = ImageItem("gone", tmp_path / "gone.jpg")
    assert leaks([gone], [gone]) == ()
