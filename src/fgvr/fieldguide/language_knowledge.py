"""What the field guide's text tells about its species, and which species a description fits; see ``language.py``.

A description comes from a model that errs. Answer *a* to an attribute whose true value is *u* is taken to be *u* with
probability ``1 - ERROR``, else any value as frequent as it is in the guide; so agreement on a rare value ("red crown")
says more than on a common one ("no wing bars"). Attributes are taken as independent (naive Bayes, equal priors).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations

from fgvr.fieldguide.guide import accepted_names, all_species, super_categories
from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.texts import attribute_phrase
from fgvr.labels import normalise

ERROR = 0.25
"""How often an answer is taken to be wrong; a guess, not fitted."""
GENUS = "genus"
_NUMBERS = {"1": "one", "2": "two", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight"}
_SPELLING = {"color": "colour", "gray": "grey", "center": "centre", "without": "none", "no": "none"}


def as_text() -> str:
    """Everything known, as canonical JSON: its digest is the provider's revision."""
    rows = [[one.key, one.super_category, one.genus, accepted_names(one), one.attributes] for one in all_species()]
    return json.dumps([ERROR, rows], sort_keys=True)


def attributes_of(kind: str) -> tuple[str, ...]:
    """The attributes that tell ``kind`` ("bird") apart; ``()`` for what the guide does not hold."""
    return tuple(dict.fromkeys(key for one in _of(kind) for key in one.attributes))


def likely_species(kind: str, general: str, pairs: Sequence[tuple[str, str]], *, most: int) -> tuple[Species, ...]:
    """At most ``most`` species a description fits best, best first; ``()`` where none of it is understood.

    Args:
        kind: super-category; one the guide does not know means all of them.
        general: running text; a genus or a name in it counts.
        pairs: (attribute, answer) as the MLLM gave them.
    """
    candidates = _of(kind) or all_species()
    evidence = _evidence(candidates, general, pairs)
    named = set(names_in(general))
    if not evidence and not named:
        return ()
    frequency = {key: Counter(value for one in candidates if (value := _value(one, key))) for key in evidence}

    def score(one: Species) -> float:
        total = math.log(len(candidates) / ERROR) if one.name in named else 0.0
        for key, said in evidence.items():
            common = frequency[key][said] / len(candidates)
            total += math.log((1 - ERROR) * (_value(one, key) == said) + ERROR * common)
        return total

    return tuple(sorted(candidates, key=score, reverse=True)[:most])


def _evidence(candidates: Sequence[Species], general: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Attribute (or ``GENUS``) to the value that the description gives it, for what is understood."""
    values = _values(candidates)
    found: dict[str, str] = {}
    genus = _value_in(general, values[GENUS])
    if genus:
        found[GENUS] = genus
    for attribute, answer in pairs:
        key = " ".join(_words(attribute))
        value = _value_in(answer, values.get(key, ()))
        if value:
            found[key] = value
    return found


def _value_in(answer: str, values: Sequence[str]) -> str | None:
    """The longest of ``values`` that occurs in ``answer`` as whole words; the earliest of equally long ones."""
    said = f" {' '.join(_words(answer))} "
    present = [value for value in values if f" {value} " in said]
    return min(present, key=lambda value: (-len(value.split()), said.index(f" {value} ")), default=None)


def _values(candidates: Sequence[Species]) -> Mapping[str, tuple[str, ...]]:
    """Every attribute's values among ``candidates``, and the genera in lower case."""
    values: dict[str, dict[str, None]] = {GENUS: dict.fromkeys(one.genus.lower() for one in candidates)}
    for one in candidates:
        for key, value in one.attributes.items():
            values.setdefault(key, {})[value] = None
    return {key: tuple(held) for key, held in values.items()}


def _value(one: Species, key: str) -> str | None:
    return one.genus.lower() if key == GENUS else one.attributes.get(key)


def _words(text: str) -> list[str]:
    """Lower-case words in the guide's spelling."""
    words = (_SPELLING.get(word, word) for word in re.findall(r"[a-z]+|\d+", text.lower()))
    return [_NUMBERS.get(word, word) for word in words]


def sentences_about(name: str, *, most: int) -> tuple[str, ...]:
    """Different sentences with ``name`` as subject, two attributes each, then one each; ``()`` for an unknown name.

    Of a group's name ("Warbler"): what all its species share.
    """
    phrases = [attribute_phrase(key, value) for key, value in values_of(name).items()]
    pairs = (f"{name} with {one} and {other}" for one, other in combinations(phrases, 2))
    singles = (f"{name} with {one} seen up close" for one in phrases)
    written = [*_spread(list(pairs), most), *singles]
    return tuple(written[:most])


def _spread(sentences: Sequence[str], most: int) -> Iterator[str]:
    """At most ``most`` of them at even steps, so that a short list speaks of all attributes."""
    step = max(1.0, len(sentences) / max(1, most))
    return (sentences[int(step * number)] for number in range(min(most, len(sentences))))


def species_called(name: str) -> Species | None:
    """The species with this name, common, scientific or synonym, in any form; ``None`` if the guide has none."""
    return _named().get(normalise(name))


def values_of(name: str) -> Mapping[str, str]:
    """Attribute to value of a species, by any accepted name; of a group, what its species share; else ``{}``."""
    species = species_called(name)
    if species is not None:
        return species.attributes
    group = [one for one in all_species() if normalise(one.genus) == normalise(name)]
    if not group:
        return {}
    return {
        key: value
        for key, value in group[0].attributes.items()
        if all(one.attributes.get(key) == value for one in group)
    }


def five_sentences(species: Species) -> tuple[str, ...]:
    """The guide's description in five sentences."""
    phrases = [attribute_phrase(key, value) for key, value in species.attributes.items()]
    parts = [", ".join(phrases[start::4]) for start in range(4)]
    return (f"It is a {species.genus.lower()}.", *(f"It has {part}." for part in parts))


def names_in(text: str) -> tuple[str, ...]:
    """Common names of the species that ``text`` names in any form, in the order of their first mention."""
    said = f" {_normalised(text)} "
    places: dict[str, int] = {}
    for name in sorted(_named(), key=len, reverse=True):
        at = said.find(f" {name} ")
        if at >= 0:
            places.setdefault(_named()[name].name, at)
            # Blotted out, so that a shorter name inside this one is no mention of its own.
            said = said.replace(f" {name} ", f" {'_' * len(name)} ")
    return tuple(sorted(places, key=lambda name: places[name]))


def _normalised(text: str) -> str:
    """As ``normalise``, in pieces, since that reads names and stops after 200 characters."""
    words = text[:20_000].split()
    return " ".join(normalise(" ".join(words[at : at + 12])) for at in range(0, len(words), 12))


@cache
def _named() -> dict[str, Species]:
    return {normalise(name): one for one in all_species() for name in accepted_names(one)}


@cache
def _of(kind: str) -> tuple[Species, ...]:
    known = kind.lower() in super_categories()
    return tuple(one for one in all_species() if one.super_category == kind.lower()) if known else ()
