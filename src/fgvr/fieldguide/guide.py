"""The whole field guide: every species in one order, its drawing, its accepted names, and the seen/unseen split."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import cache

from fgvr.fieldguide import beetles, birds, butterflies, fish, flowers
from fgvr.fieldguide.species import Draw, Species

UNSEEN_SHARE = 0.3
GENUS_CAP = 0.5

_DRAWINGS: dict[str, Draw] = {
    "bird": birds.draw,
    "butterfly": butterflies.draw,
    "flower": flowers.draw,
    "fish": fish.draw,
    "beetle": beetles.draw,
}


@cache
def all_species() -> tuple[Species, ...]:
    """Every species: birds, butterflies, flowers, fish, beetles, each in its own module's order."""
    species = (*birds.SPECIES, *butterflies.SPECIES, *flowers.SPECIES, *fish.SPECIES, *beetles.SPECIES)
    check_names(species)
    return species


def check_names(species: Iterable[Species]) -> None:
    """Raise ``ValueError`` if two species share a key or any accepted name: an answer must mean one species."""
    owner: dict[str, str] = {}
    keys: set[str] = set()
    for one in species:
        if not re.fullmatch(r"[a-z0-9_]+", one.key) or one.key in keys:
            raise ValueError(f"species key {one.key!r} is malformed or used twice")
        keys.add(one.key)
        if one.super_category not in _DRAWINGS:
            raise ValueError(f"species {one.key!r} has no drawing: super-category {one.super_category!r}")
        for name in accepted_names(one):
            folded = " ".join(name_words(name))
            if folded in owner:
                raise ValueError(f"name {name!r} of species {one.key!r} is already used by {owner[folded]!r}")
            owner[folded] = one.key


@cache
def _keyed() -> dict[str, Species]:
    return {species.key: species for species in all_species()}


def by_key(key: str) -> Species:
    """The species with this key; ``KeyError`` if there is none."""
    return _keyed()[key]


def super_categories() -> tuple[str, ...]:
    """Super-categories in the order of ``all_species``."""
    return tuple(dict.fromkeys(species.super_category for species in all_species()))


def drawing_of(species: Species) -> Draw:
    """The function that draws this species."""
    return _DRAWINGS[species.super_category]


def accepted_names(species: Species) -> tuple[str, ...]:
    """Every name that counts as this species: common name first, then synonyms, then the scientific name."""
    return (species.name, *species.synonyms, species.scientific)


def name_words(name: str) -> tuple[str, ...]:
    """Lower-case words of a name; a hyphenated word counts as its parts."""
    return tuple(re.findall(r"[a-z']+", name.lower()))


@cache
def split_seen_unseen() -> tuple[tuple[Species, ...], tuple[Species, ...]]:
    """Fixed split of the guide into (seen, unseen), both in guide order; see ``split_species``."""
    return split_species(all_species())


def split_species(species: tuple[Species, ...]) -> tuple[tuple[Species, ...], tuple[Species, ...]]:
    """Hold out about ``UNSEEN_SHARE`` of each super-category and at most about ``GENUS_CAP`` of a genus.

    A species is held out only while every word of its name is left in the name of some seen species, so its name can
    be understood from what was seen. The order of trial comes from a checksum of the key, hence never changes.
    """
    words = Counter(word for one in species for word in set(name_words(one.name)))
    room = Counter({name: round(n * UNSEEN_SHARE) for name, n in Counter(s.super_category for s in species).items()})
    genera = Counter((one.super_category, one.genus) for one in species)
    # A genus of three may still lend one species; a smaller one keeps all it has.
    genus_room = {genus: max(int(n >= 3), round(n * GENUS_CAP)) if n >= 3 else 0 for genus, n in genera.items()}
    unseen: set[str] = set()
    for one in sorted(species, key=lambda s: (zlib.crc32(s.key.encode()), s.key)):
        genus, own = (one.super_category, one.genus), set(name_words(one.name))
        if room[one.super_category] > 0 and genus_room[genus] > 0 and all(words[word] > 1 for word in own):
            unseen.add(one.key)
            words.subtract(own)
            room[one.super_category] -= 1
            genus_room[genus] -= 1
    return (
        tuple(one for one in species if one.key not in unseen),
        tuple(one for one in species if one.key in unseen),
    )
