"""What can be run with what is there: every lack is named with a remedy, every difference is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.data.benchmarks import Benchmark, Problem
from fgvr.errors import InputError
from fgvr.reproduce import Have, collection, load_recipe, plan
from fgvr.reproduce.planning import dataset_name, same_model
from fgvr.types import ImageItem


def benchmark(name: str = "pets37", *, split: str = "official") -> Benchmark:
    items = tuple(
        ImageItem(f"{part}/{i}.jpg", Path(f"{part}/{i}.jpg"), label="Abyssinian", split=part)
        for part in ("train", "val", "test")
        for i in range(3)
    )
    return Benchmark(
        name,
        name,
        Path("."),
        split,
        items,
        ("Abyssinian",),
        problems=(Problem("year", "3", serious=False),),
        notes=("n",),
    )


EVERYTHING = Have(
    {name: benchmark(name) for name in ("cub200", "cars196", "dogs120", "flowers102", "pets37")},
    encoder="openai/clip-vit-base-patch16",
    mllm="gpt-4o",
    sentence_encoder="sentence-transformers/all-mpnet-base-v2",
)
OURS = load_recipe("workshop_table2_ours_gpt_4o")


def test_with_everything_nothing_is_missing() -> None:
    found = plan(OURS, EVERYTHING)
    assert found.runnable
    assert found.missing == ()
    assert found.datasets == OURS.protocol.datasets
    # The draw of the support set can never be theirs, and the birds' must not be.
    assert [text.partition(":")[0] for text in found.differs] == ["support images", "birds"]


def test_with_nothing_everything_is_named_with_a_remedy() -> None:
    found = plan(OURS, Have({}))
    assert not found.runnable
    assert len(found.missing) == 2 + 1 + 5  # encoder, MLLM; sentence encoder; data sets
    assert all(one.what and one.remedy.endswith(".") for one in found.missing)
    options = " ".join(one.remedy for one in found.missing)
    for option in ("--encoder", "--mllm", "--sentence-encoder", "--data birds=DIR", "--data pets=DIR"):
        assert option in options
    assert "GPT-4o" in options


def test_one_data_set_is_enough_to_run() -> None:
    found = plan(OURS, replace(EVERYTHING, data={"pets37": benchmark()}))
    assert found.runnable
    assert found.datasets == ("pets37",)
    assert {one.what for one in found.missing} == {
        "CUB-200-2011", "Stanford Cars", "Stanford Dogs", "Oxford Flowers-102"
    }  # fmt: skip


def test_another_split_is_not_mixed_in() -> None:
    data = {"pets37": benchmark(), "flowers102": benchmark("flowers102", split="coop")}
    found = plan(OURS, replace(EVERYTHING, data=data))
    assert found.datasets == ("pets37",)
    assert any("official split" in one.what for one in found.missing)


def test_another_sentence_encoder_is_missing_but_stops_nothing() -> None:
    found = plan(OURS, replace(EVERYTHING, sentence_encoder="all-MiniLM-L6-v2"))
    assert found.runnable
    (one,) = found.missing
    assert "all-mpnet-base-v2" in one.what
    assert "all-MiniLM-L6-v2 is not comparable" in one.remedy


def test_other_models_and_fewer_images_are_said() -> None:
    found = plan(OURS, replace(EVERYTHING, encoder="fieldguide", mllm="fieldguide", llm="x"), limit=1)
    text = " | ".join(found.differs)
    assert "encoder: fieldguide, published with openai/clip-vit-base-patch16" in text
    assert "MLLM: fieldguide, published with GPT-4o" in text
    assert "language model: x, published with one that is not stated" in text
    assert "Oxford-IIIT Pets: 1 of 3 test images" in text


def test_who_votes_is_said_of_finer() -> None:
    finer = load_recipe("finer")
    assert any("votes for names: openai/clip-vit-base" in text for text in plan(finer, EVERYTHING).differs)
    given = replace(EVERYTHING, voter="openai/clip-vit-large-patch14")
    assert not any("votes for names" in text for text in plan(finer, given).differs)


def test_methods_that_ask_nobody_need_no_mllm() -> None:
    wordnet = load_recipe("workshop_table2_wordnet")
    assert plan(wordnet, replace(EVERYTHING, mllm=None, wordnet=Path("wn")), calls=False).runnable
    (lacking,) = plan(wordnet, replace(EVERYTHING, mllm=None), calls=False).missing
    assert "--wordnet" in lacking.remedy
    cased = load_recipe("workshop_table2_cased")
    found = plan(cased, replace(EVERYTHING, mllm=None), calls=False)
    assert [one.what for one in found.missing] == ["captions"]
    assert not found.runnable
    assert plan(cased, replace(EVERYTHING, captions=Path("c.txt")), calls=False).runnable
    assert plan(cased, replace(EVERYTHING, encoder="fieldguide"), calls=False).runnable


def test_what_is_not_part_of_the_software_is_said() -> None:
    found = plan(load_recipe("findr_table_kmeans"), EVERYTHING)
    assert not found.runnable
    assert "not part of this software" in found.missing[0].remedy


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt-4o", "GPT-4o", True),
        ("openai:gpt-4o", "GPT-4o", True),
        ("gpt-4o-mini", "GPT-4o", False),
        ("/models/clip-vit-base-patch16/", "openai/clip-vit-base-patch16", True),
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", False),
        ("all-MiniLM-L6-v2", "all-mpnet-base-v2", False),
        (None, "x", False),
        ("x", None, False),
    ],
)
def test_same_model(one: str | None, other: str | None, same: bool) -> None:
    assert same_model(one, other) is same


def test_support_is_drawn_from_training_images_and_never_from_test() -> None:
    flawed = replace(benchmark(), problems=(Problem("wrong count", "3"), Problem("year", "x", serious=False)))
    found = collection(flawed, limit=2, seed=1)
    assert {item.split for item in found.pool} == {"train", "val"}
    assert {item.split for item in found.test} == {"test"}
    assert len(found.test) == 2
    assert "2 of 3 test images, drawn by seed 1" in found.notes
    assert "wrong count: 3" in found.notes
    assert not any("year" in note for note in found.notes)
    assert len(collection(benchmark(), limit=9).test) == 3
    empty = replace(benchmark(), items=benchmark().items[:3])
    with pytest.raises(InputError, match="no test images"):
        collection(empty)


def test_short_names() -> None:
    assert (dataset_name("birds"), dataset_name("cub200"), dataset_name("food101")) == ("cub200", "cub200", "food101")
