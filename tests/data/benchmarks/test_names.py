"""The tables of true names: their sizes, that no name is right for two classes, and known corrections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.data.benchmarks import names
from fgvr.errors import InputError

DATASETS = sorted(names.LISTED)


def plain(name: str) -> str:
    return " ".join(name.casefold().replace("-", " ").replace("'", "").split())


@pytest.mark.parametrize(
    ("dataset", "count"), [("cub200", 200), ("cars196", 196), ("dogs120", 120), ("flowers102", 102), ("pets37", 37)]
)
def test_every_class_is_there_once(dataset: str, count: int):
    assert len(names.LISTED[dataset]) == count
    assert len({plain(name) for name in names.LISTED[dataset]}) == count
    assert len(set(names.class_names(dataset))) == len(set(names.class_names(dataset, original=True))) == count


@pytest.mark.parametrize("dataset", DATASETS)
def test_tables_speak_of_listed_names_only(dataset: str):
    listed = set(names.LISTED[dataset])
    for table in (names.CORRECTED, names.ACCEPTED, names.PUBLISHED):
        assert set(table[dataset]) <= listed
    for old, new in (*names.CORRECTED[dataset].items(), *names.PUBLISHED[dataset].items()):
        assert old != new
        assert new == new.strip()


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_name_is_right_for_two_classes(dataset: str):
    owner: dict[str, str] = {}
    for listed in names.LISTED[dataset]:
        for name in (*names.accepted_names(listed, dataset), names.published_name(listed, dataset)):
            assert owner.setdefault(plain(name), listed) == listed, name


@pytest.mark.parametrize("dataset", DATASETS)
def test_accepted_names_begin_with_the_corrected_one_and_do_not_repeat(dataset: str):
    for listed in names.LISTED[dataset]:
        accepted = names.accepted_names(listed, dataset)
        assert accepted[0] == names.corrected_name(listed, dataset)
        assert listed in accepted
        assert len(set(accepted)) == len(accepted)


@pytest.mark.parametrize("dataset", DATASETS)
def test_further_names_are_not_said_twice(dataset: str):
    for listed, further in names.ACCEPTED[dataset].items():
        own = {plain(listed), plain(names.corrected_name(listed, dataset))}
        spelled = [name for name in further if plain(name) in own and "-" not in name]
        assert not spelled, (listed, spelled)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_spelling_finds_its_class(dataset: str):
    for listed in names.LISTED[dataset]:
        for text in (listed, names.published_name(listed, dataset), names.corrected_name(listed, dataset)):
            for spelled in (text, text.lower(), text.replace(" ", "_"), f"007.{text.replace('-', '_')}"):
                assert names.find_listed(spelled, dataset) == listed


@pytest.mark.parametrize(
    ("dataset", "text", "listed"),
    [
        ("dogs120", "n02088238-basset", "Basset Hound"),
        ("dogs120", "n02095314-wire-haired_fox_terrier", "Wirehaired Fox Terrier"),
        ("dogs120", "n02101388-Brittany_spaniel", "Brittany"),
        ("dogs120", "n02102040-English_springer", "English Springer Spaniel"),
        ("dogs120", "n02085620-Chihuahua", "Chihuaha"),
        ("dogs120", "n02106662-German_shepherd", "German Shepard"),
        ("dogs120", "n02099429-curly-coated_retriever", "Curly-coater Retriever"),
        ("dogs120", "n02108000-EntleBucher", "EntleBucher"),
        ("dogs120", "n02108422-bull_mastiff", "Bull Mastiff"),
        ("cub200", "001.Black_footed_Albatross", "Black-footed Albatross"),
        ("cub200", "022.Chuck_will_Widow", "Chuck-will-Widow"),
        ("cub200", "200.Common_Yellowthroat", "Common Yellowthroat"),
        ("pets37", "american_pit_bull_terrier", "American Pit Bull Terrier"),
        ("cars196", "2012 Audi S4 Sedan", "Audi S4 Sedan 2012"),
        ("cars196", "smart fortwo Convertible 2012", "smart fortwo Convertible 2012"),
        ("flowers102", "colts foot", "Colt'S Foot"),
        ("flowers102", "globe-flower", "Globe Flower"),
        ("flowers102", "desert-rose", "Desert Rose"),
        ("pets37", "goldfish", None),
    ],
)
def test_the_data_sets_own_spellings(dataset: str, text: str, listed: str | None):
    assert names.find_listed(text, dataset) == listed


def test_corrections_of_the_defects_that_are_known():
    known = {
        "cub200": {"Artic Tern": "Arctic Tern", "Cape-Glossy Starling": "Cape Glossy Starling"},
        "dogs120": {"Ibizian Hound": "Ibizan Hound", "Dandi Dinmont": "Dandie Dinmont"},
        "flowers102": {"Colt'S Foot": "Coltsfoot"},
    }
    for dataset, pairs in known.items():
        for old, new in pairs.items():
            assert old in names.LISTED[dataset]
            assert names.corrected_name(old, dataset) == new
    assert "Harris's Sparrow" in names.class_names("cub200")
    assert "Cavalier King Charles Spaniel" in names.accepted_names("Blenheim Spaniel", "dogs120")


def test_the_published_list_has_its_odd_hyphens():
    original = names.class_names("cub200", original=True)
    assert {"Le-Conte Sparrow", "Great-Grey Shrike", "Western-Wood Pewee", "Whip-poor Will"} <= set(original)
    assert "Globe-Flower" in names.class_names("flowers102", original=True)


def test_a_year_is_moved_and_dropped():
    assert names.year_first("Audi A5 Coupe 2012") == "2012 Audi A5 Coupe"
    assert names.year_last("2012 Audi A5 Coupe") == "Audi A5 Coupe 2012"
    assert names.without_year("Audi 100 Sedan 1994") == "Audi 100 Sedan"
    assert names.year_last("Audi 100 Sedan 1994") == "Audi 100 Sedan 1994"
    assert names.year_first("Bobolink") == names.year_last("Bobolink") == "Bobolink"
    for listed in names.LISTED["cars196"]:
        assert names.year_last(names.year_first(listed)) == listed


def test_the_seven_pairs_of_cars_that_differ_by_the_year():
    without = [
        listed
        for listed in names.LISTED["cars196"]
        if names.without_year(listed) not in names.accepted_names(listed, "cars196")
    ]
    assert len(without) == 14
    assert {"Audi S4 Sedan 2012", "Volkswagen Golf Hatchback 1991"} <= set(without)


def test_shifted_names_give_each_class_the_one_before():
    cars = names.class_names("cars196")
    shifted = names.shifted_names(cars)
    assert shifted[1] == cars[0] == "AM General Hummer SUV 2000"
    assert shifted[0] == cars[-1] == "smart fortwo Convertible 2012"
    assert names.shifted_names(cars, by=0) == cars
    assert names.shifted_names(shifted, by=1) == cars


@given(st.lists(st.text(), min_size=1), st.integers(-300, 300))
def test_shifting_keeps_the_names(listed: list[str], by: int):
    assert sorted(names.shifted_names(listed, by=by)) == sorted(listed)
    assert names.shifted_names(names.shifted_names(listed, by=by), by=-by) == tuple(listed)


@given(st.text(), st.sampled_from(DATASETS))
def test_any_text_is_looked_up(text: str, dataset: str):
    found = names.find_listed(text, dataset)
    assert found is None or found in names.LISTED[dataset]


def test_an_unknown_data_set_is_named():
    with pytest.raises(InputError, match="'fish'"):
        names.class_names("fish")
