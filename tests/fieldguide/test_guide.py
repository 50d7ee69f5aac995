"""The catalogue: names that mean one species, siblings that differ little, a split that can be generalised to."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from fgvr.fieldguide.guide import accepted_names, all_species, by_key, check_names, name_words, split_seen_unseen

SPECIES = all_species()
COLOURS = {"black", "white", "grey", "brown", "chestnut", "red", "orange", "yellow", "green", "blue", "purple", "pink"}
PART_OF_WORD = {
    ("bird", "capped"): "crown colour",
    ("bird", "throated"): "throat colour",
    ("bird", "breasted"): "breast colour",
    ("bird", "rumped"): "rump colour",
    ("bird", "backed"): "back colour",
    ("bird", "browed"): "eye stripe",
    ("flower", "centred"): "centre colour",
    ("flower", "petalled"): "petal colour",
    ("flower", "edged"): "petal edge",
    ("fish", "finned"): "dorsal fin colour",
    ("beetle", "necked"): "pronotum colour",
    ("beetle", "banded"): "band",
    ("beetle", "legged"): "leg colour",
}


def test_at_least_120_species_of_five_super_categories_with_names_of_their_own():
    assert len(SPECIES) >= 120
    assert len({one.super_category for one in SPECIES}) >= 5
    check_names(SPECIES)
    names = [name.lower() for one in SPECIES for name in accepted_names(one)]
    assert len(names) == len(set(names))
    assert all(len(one.synonyms) in (1, 2) and len(one.scientific.split()) == 2 for one in SPECIES)
    assert all(one.name.endswith(one.genus) and by_key(one.key) is one for one in SPECIES)


def test_a_shared_name_is_refused():
    with pytest.raises(ValueError, match="already used"):
        check_names([SPECIES[0], replace(SPECIES[1], synonyms=(SPECIES[0].name.upper(),))])


def test_species_of_a_super_category_have_the_same_attributes_and_never_all_the_same_values():
    for kind in {one.super_category for one in SPECIES}:
        members = [one for one in SPECIES if one.super_category == kind]
        assert len({tuple(one.attributes) for one in members}) == 1
        looks = Counter((one.genus, *one.attributes.values()) for one in members)
        assert max(looks.values()) == 1


def test_siblings_differ_in_few_attributes():
    differing = [
        sum(one.attributes[key] != other.attributes[key] for key in one.attributes)
        for one, other in combinations(SPECIES, 2)
        if (one.super_category, one.genus) == (other.super_category, other.genus)
    ]
    assert min(differing) >= 1
    assert sum(differing) / len(differing) < 2.5


def test_colour_words_in_names_are_true_of_the_drawing():
    checked = 0
    for one in SPECIES:
        for colour, part in re.findall(r"(\w+)-(\w+)", one.name.lower()):
            key = PART_OF_WORD.get((one.super_category, part))
            if key is not None and colour in COLOURS:
                assert one.attributes[key] == colour, one.name
                checked += 1
    assert checked > 40


def test_most_names_are_compositional_and_some_arbitrary():
    compositional = sum("-" in one.name or one.name.split()[0].endswith("ed") for one in SPECIES)
    assert 0.6 < compositional / len(SPECIES) < 0.9


def test_every_word_of_an_unseen_name_occurs_in_a_seen_one():
    seen, unseen = split_seen_unseen()
    assert split_seen_unseen() == (seen, unseen)
    assert sorted(one.key for one in (*seen, *unseen)) == sorted(one.key for one in SPECIES)
    assert 0.2 <= len(unseen) / len(SPECIES) <= 0.35
    words = {word for one in seen for word in name_words(one.name)}
    assert all(word in words for one in unseen for word in name_words(one.name))
    assert {one.super_category for one in unseen} == {one.super_category for one in SPECIES}
