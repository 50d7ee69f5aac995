"""The guards: same bytes, same file names, support lists that lie in the test split."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.leaks import (
    by_file_name,
    content_problems,
    file_name_problems,
    in_split,
    refuse_test_support,
    whereabouts,
)
from fgvr.errors import EvaluationError, InputError
from fgvr.types import ImageItem


def item(identity: str, split: str, label: str = "A") -> ImageItem:
    return ImageItem(identity, Path(identity), label, (), split)


CARS = Benchmark(
    "cars196",
    "Stanford Cars",
    Path(),
    "official",
    (
        item("cars_test/00001.jpg", "test"),
        item("cars_test/00009.jpg", "test"),
        item("cars_train/00001.jpg", "train"),
        item("cars_train/00002.jpg", "train"),
    ),
    ("A",),
)
BIRDS = Benchmark(
    "cub200",
    "CUB-200-2011",
    Path(),
    "official",
    (
        item("images/106.Horned_Puffin/Horned_Puffin_0050_100645.jpg", "test"),
        item("images/106.Horned_Puffin/Horned_Puffin_0001_100001.jpg", "train"),
    ),
    ("A",),
)


def told(problems: tuple) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.serious) for problem in problems]


def test_the_same_bytes_in_two_splits_two_classes_or_twice():
    items = [
        item("train/a", "train"),
        item("test/b", "test"),
        item("train/c", "train", "A"),
        item("train/d", "train", "B"),
        item("test/e", "test"),
        item("test/f", "test"),
        item("test/g", "test"),
        item("test/h", "test"),
    ]
    hashes = dict(zip([each.id for each in items[:7]], "xxyyzzw", strict=True))
    problems = content_problems(items, hashes)
    assert told(problems) == [
        ("same picture in two splits", True),
        ("same picture in two classes", True),
        ("same picture twice", False),
    ]
    assert problems[0].detail == "2 files are 1 picture, such as test/b and train/a"
    assert content_problems(items, {}) == ()
    assert content_problems(items, {each.id: each.id for each in items}) == ()


def test_a_picture_in_two_splits_is_told_once_even_under_two_names():
    items = [item("a", "train", "A"), item("b", "test", "B")]
    assert told(content_problems(items, {"a": "x", "b": "x"})) == [("same picture in two splits", True)]


def test_file_names_of_two_splits_are_told_but_not_serious():
    (problem,) = file_name_problems(CARS.items)
    assert (problem.kind, problem.serious) == ("same file name in two splits", False)
    assert problem.detail.startswith("1 file name, such as 00001.jpg")
    assert file_name_problems(BIRDS.items) == ()


def test_joining_by_file_name_is_refused_where_it_is_ambiguous():
    with pytest.raises(InputError, match="same file name") as caught:
        by_file_name(CARS.items)
    assert caught.value.context == {"first": "cars_test/00001.jpg", "second": "cars_train/00001.jpg"}
    train = by_file_name(each for each in CARS.items if each.split == "train")
    assert train["00001.jpg"].id == "cars_train/00001.jpg"


def test_whereabouts_of_cars_by_file_name_alone_are_ambiguous():
    found = whereabouts(["00001.jpg", "00009.jpg", "cars_train/00001.jpg", "/data/cars/cars_test/00001.jpg"], CARS)
    assert found.ambiguous == ("00001.jpg",)
    assert found.by_split == {
        "test": ("00009.jpg", "/data/cars/cars_test/00001.jpg"),
        "train": ("cars_train/00001.jpg",),
    }
    assert whereabouts(["000.AM_General_Hummer_SUV_2000_00001.jpg"], CARS).ambiguous
    assert whereabouts(["00077.jpg", ""], CARS).unknown == ("00077.jpg", "")


DISCOVERED = "105.Horned_Puffin/105.Horned_Puffin_Horned_Puffin_0050_100645.jpg"


@pytest.mark.parametrize(
    "name",
    [
        DISCOVERED,
        DISCOVERED.replace("/", "\\"),
        "105.Horned_Puffin_Horned_Puffin_0050_100645.jpg",
        "Horned_Puffin_0050_100645.jpg",
        "images/106.Horned_Puffin/Horned_Puffin_0050_100645.jpg",
        "/data/CUB_200_2011/images/106.Horned_Puffin/horned_puffin_0050_100645.JPG",
    ],
)
def test_a_discovery_image_of_birds_is_found_in_the_test_split(name: str):
    assert in_split([name], BIRDS) == (name,)
    assert in_split([name], BIRDS, split="train") == ()


def test_support_in_the_test_split_is_refused_or_told():
    support = [DISCOVERED, "Horned_Puffin_0001_100001.jpg"]
    with pytest.raises(EvaluationError, match="1 of 2 support images are test images of CUB-200-2011"):
        refuse_test_support(support, BIRDS)
    assert told(refuse_test_support(support, BIRDS, allowed=True)) == [("support in test split", True)]
    assert refuse_test_support(support[1:], BIRDS) == ()
    assert told(refuse_test_support(["00001.jpg"], CARS)) == [("support cannot be placed", True)]
