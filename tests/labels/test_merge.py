from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.labels import merge_synonyms, normalise
from fgvr.labels.merge import siblings, variant_key


class Angles:
    """A stand-in encoder: each text at a given angle in the plane (degrees), unknown ones far apart from all."""

    name = "angles"

    def __init__(self, **angles: float) -> None:
        self.angles = angles

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        radians = np.deg2rad([self.angles[text.replace(" ", "_").replace("-", "_")] for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_same_name_written_differently_is_one_label() -> None:
    space = merge_synonyms(["black-footed albatross", "Black-footed Albatross", "Black-footed Albatross", "Linnet"])
    assert space.names == ("Black-footed Albatross", "Linnet")
    assert space.members["Black-footed Albatross"] == ("Black-footed Albatross", "black-footed albatross")
    assert space.indices(["Linnet", "BLACK FOOTED ALBATROSS", None, "Twite"]).tolist() == [1, 0, -1, -1]
    assert [(m.raw, m.into, m.why) for m in space.provenance] == [
        ("Black-footed Albatross", "Black-footed Albatross", "same")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Grey Heron", "Gray Heron"), ("Whippet", "Whippets"), ("Pit Bull", "Pitbull"), ("Poppy", "poppies"),
     ("Finch", "Finches"), ("Red Fox", "red foxes")],
)  # fmt: skip
def test_spelling_variants_are_one_label(one: str, other: str) -> None:
    space = merge_synonyms([one, one, other])
    assert space.names == (one,)
    assert [merge.why for merge in space.provenance] == ["spelling"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Iris", "Iri"), ("Cactus", "Cactu"), ("Audi A 41", "Audi A4 1"), ("Swiss", "Swis"), ("Red Fox", "Rex Fox")],
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert variant_key(one) != variant_key(other)


def test_scientific_joins_its_most_frequent_common_name_only() -> None:
    raw = ["Junco hyemalis"] * 5 + ["Dark-eyed Junco"] * 2 + ["Slate-colored Junco"] * 3
    pairs = [("Dark-eyed Junco", "Junco hyemalis")] * 2 + [("Slate-colored Junco", "Junco hyemalis")]
    space = merge_synonyms(raw, pairs=pairs)
    assert set(space.names) == {"Dark-eyed Junco", "Slate-colored Junco"}
    assert space.indices(["Junco hyemalis"])[0] == space.names.index("Dark-eyed Junco")


def test_names_without_letters_are_no_labels() -> None:
    space = merge_synonyms(["???", "", "Linnet"])
    assert space.names == ("Linnet",)
    assert space.indices(["???", "", "Linnet"]).tolist() == [-1, -1, 0]


def test_embedding_joins_mutual_nearest_and_records_the_cosine() -> None:
    encoder = Angles(Moggy=0, House_cat=10, Borzoi=90)
    space = merge_synonyms(["Moggy", "House cat", "House cat", "Borzoi"], encoder=encoder)
    assert space.names == ("House cat", "Borzoi")
    [merge] = space.provenance
    assert merge.why == "embedding"
    assert merge.score == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-6)


def test_embedding_does_not_chain() -> None:
    encoder = Angles(One=0, Two=10, Three=19, Four=29.5)
    space = merge_synonyms(["One", "Two", "Three", "Four"], encoder=encoder, threshold=0.9)
    assert sorted(map(sorted, space.members.values())) == [["Four"], ["One"], ["Three", "Two"]]


def test_embedding_never_joins_siblings() -> None:
    encoder = Angles(Black_capped_Warbler=0, Red_capped_Warbler=1)
    space = merge_synonyms(["Black-capped Warbler", "Red-capped Warbler"], encoder=encoder)
    assert len(space.names) == 2


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("Black-capped Warbler", "Red-capped Warbler", True),
        ("Great Crested Grebe", "Crested Grebe", True),
        ("Audi A4 2010", "Audi A4 2012", True),
        ("Labrador Retriever", "Golden Retriever", True),
        ("Siamese", "Siamese cat", False),
        ("White-eye Vireo", "White-eyed Vireo", False),
        ("Moggy", "House cat", False),
        ("Artic Tern", "Arctic Tern", False),
    ],
)
def test_siblings(one: str, other: str, *, apart: bool) -> None:
    assert siblings(one, other) is apart
    assert siblings(other, one) is apart


@given(st.lists(st.sampled_from(["Linnet", "linnets", "Twite", "The Twite", "Grey Heron", "gray-heron", "?", "x y"])))
def test_a_label_space_is_a_partition(names: list[str]) -> None:
    space = merge_synonyms(names)
    members = [raw for group in space.members.values() for raw in group]
    assert sorted(members) == sorted({name for name in names if normalise(name)})
    assert len(set(space.names)) == len(space.names) == len(space.members)
    for i, name in enumerate(space.names):
        assert set(space.indices(space.members[name]).tolist()) == {i}
