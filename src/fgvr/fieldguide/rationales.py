"""The field guide as a teacher of reasoning: rationales written from a species' true attributes.

A rationale is what Fine-R1's teacher is asked for (paper, section 3.2): what can be seen, at most four candidate names
of the same super-category, how each of the others differs, the name. Here the look-alikes are the nearest relatives in
the guide, and every statement about a species is true by the guide. So these rationales are **better than a model's**:
no attribute is misread, even where the picture does not show it, and no name is wrong. Results that they had a part in
say so (``ADVANTAGE``).

1. *Variation.* Templates, not a model: the sentence forms, which attributes are told and in what order, which relatives
   are compared and on which differing attribute, are drawn by ``seed``, ``key``, species and length. The attributes on
   which candidates differ are among those told, so that a comparison rests on what was seen.
2. *Words* are the embedded MLLM's own as far as English allows (its vocabulary was made of the guide's texts, other
   words fall into pieces): a full rationale is about 75 of its tokens, a short one about 35.
3. *Leaks.* The guide knows all species. Rationales for training must not name classes that are to stay unseen, not even
   as wrong candidates: give ``among`` the names that may occur.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from fgvr.errors import InputError
from fgvr.fieldguide.guide import all_species, by_key
from fgvr.fieldguide.language_knowledge import species_called
from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.texts import attribute_phrase, relatives

Length = Literal["full", "short"]
ADVANTAGE = "rationales were written from the field guide's true attributes, not from what a picture shows"
MOST_CANDIDATES = 4
"""The true one among them (paper)."""

ANALYSES = {
    "full": (
        "A {genus} with {told}.",
        "This {kind} has {told}.",
        "The picture shows a {kind} with {told}.",
        "The {kind} in the image is a {genus} with {told}.",
        "The {kind} in detail: {told}.",
    ),
    "short": ("A {genus} with {told}.", "A {kind} with {told}.", "The {kind}: {told}.", "The {kind} shows {told}."),
}
OPTIONS = {
    "full": (
        "It could be {either}.",
        "This could be {either}.",
        "The options are {each}.",
        "Categories: {listed}.",
        "Is it {either}?",
    ),
    "short": ("{either}?", "Names: {each}.", "This could be {either}."),
}
COMPARISONS = {
    "full": (
        "A {other} comes with {theirs}, this {kind} with {ours}.",
        "The {other} has {theirs}, this one {ours}.",
        "With {theirs} it could be a {other}.",
        "{other}: {theirs}; this {kind}: {ours}.",
        "A {other} is a {kind} with {theirs}.",
    ),
    "short": ("{other}: {bare}.", "{other} shows {bare}.", "With {bare} it is {other}.", "{other} comes with {bare}."),
}
"""One form serves all candidates of a rationale. What it leaves out of the true one, the analysis has told."""
CONCLUSIONS = {
    "full": (
        "So this is a {name}.",
        "It is a {name}.",
        "The {kind} in the image is a {name}.",
        "The best name is {name}.",
        "I am sure it is a {name}.",
    ),
    "short": ("This is a {name}.", "The name is {name}.", "So {name}.", "Best: {name}."),
}
_ATTRIBUTES = {"full": (3, 4), "short": (2, 2)}
"""At least and at most so many are told."""
_OTHERS = {"full": (2, 2, 3), "short": (1, 1, 1, 1, 2)}
"""Numbers of other candidates, drawn from."""
_NEAREST = 5
"""Relatives among which the compared ones are drawn."""
_COUNTING = ("no", "one", "two", "four", "five", "six", "seven", "eight", "many", "few")

_PLURALS = ("s", "elytra", "antennae")


@dataclass(frozen=True)
class Sections:
    """One rationale in its four parts."""

    analysis: str
    """A sentence with two to four attributes."""
    options: tuple[str, ...]
    """At most four names in a drawn order, the true one among them."""
    comparison: str
    """A sentence for each other candidate, and a last one with the true name."""
    prediction: str
    """The true name alone."""


def sections(
    species: Species | str,
    *,
    seed: int = 0,
    key: str = "",
    length: Length = "full",
    candidates: Collection[str] | None = None,
    among: Collection[str] | None = None,
) -> Sections:
    """One rationale for ``species``.

    Args:
        species: the true one, its key, or any accepted name; a name is written as it is given.
        seed, key: other values, another draw; ``key`` is what is asked about (a picture's id).
        length: ``full`` (two or three others, three or four attributes) or ``short`` (one or two, two attributes).
        candidates: the candidates themselves instead of a draw, by any accepted name; the true one is added.
        among: names that may occur beside the true one; those that the guide does not hold are passed over.
            ``None``: every species of the guide, by its common name.

    Raises ``InputError`` for a species or candidate that the guide does not hold, candidates of another super-category,
    more than four candidates, and an unknown length.
    """
    true = _species(species)
    lot = _lot(true, seed, key, length)
    others = _drawn(true, lot, length, among) if candidates is None else _given(true, candidates)
    name, kind = _spelt(true, species), true.super_category
    contrasts = [(other, lot.choice(_differing(true, other))) for other in others]
    told = _told(true, [on for _, on in contrasts], lot, length)
    analysis = lot.choice(ANALYSES[length]).format(kind=kind, genus=true.genus.lower(), told=_joined(told, "and"))
    form, conclusion = lot.choice(COMPARISONS[length]), lot.choice(CONCLUSIONS[length])
    compared = [_comparison(form, true, other, on, name=others[other]) for other, on in contrasts]
    comparison = [*compared, conclusion.format(name=name, kind=kind)]
    options = [name, *others.values()]
    lot.shuffle(options)
    return Sections(_articled(analysis), tuple(options), " ".join(map(_articled, comparison)), name)


def as_text() -> str:
    """Every sentence form, as canonical JSON: part of the provider's revision, since replies hang on it."""
    return json.dumps([ANALYSES, OPTIONS, COMPARISONS, CONCLUSIONS, _ATTRIBUTES, _OTHERS, _NEAREST], sort_keys=True)


def rationale(
    species: Species | str,
    *,
    seed: int = 0,
    key: str = "",
    length: Length = "full",
    candidates: Collection[str] | None = None,
    among: Collection[str] | None = None,
) -> str:
    """The text of ``sections`` (same arguments) as one train of thought: what stands between the thinking tags."""
    parts = sections(species, seed=seed, key=key, length=length, candidates=candidates, among=among)
    lot = _lot(_species(species), seed, f"options {key}", length)
    said = lot.choice(OPTIONS[length]).format(
        either=_joined(parts.options, "or"), each=_joined(parts.options, "and"), listed=", ".join(parts.options)
    )
    between = lot.choice(("\n", " ")) if length == "full" else " "
    # Of a single candidate there is nothing to choose.
    return between.join([parts.analysis, *([said] if len(parts.options) > 1 else []), parts.comparison])


def _species(species: Species | str) -> Species:
    if isinstance(species, Species):
        return species
    found = species_called(species)
    if found is None and species in {one.key for one in all_species()}:
        found = by_key(species)
    if found is None:
        raise InputError(
            "the field guide holds no such species", remedy="Use a name or key of the field guide.", species=species
        )
    return found


def _lot(species: Species, seed: int, key: str, length: str) -> random.Random:
    if length not in get_args(Length):
        raise InputError("no such length of rationale", remedy=f"Use {' or '.join(get_args(Length))}.", length=length)
    drawn = f"{seed}\0{key}\0{species.key}\0{length}".encode("utf-8", "surrogatepass")
    return random.Random(int.from_bytes(hashlib.sha256(drawn).digest()[:8], "big"))


def _spelt(species: Species, given: Species | str) -> str:
    """The name as it was given; the common name where a species or a key was."""
    return given if isinstance(given, str) and species_called(given) else species.name


def _drawn(true: Species, lot: random.Random, length: str, among: Collection[str] | None) -> dict[Species, str]:
    """Some of the nearest relatives that may be named, each with its name."""
    known = {one: one.name for one in all_species()} if among is None else _allowed(among)
    near = relatives(true, list(known))[:_NEAREST]
    return {one: known[one] for one in lot.sample(near, min(len(near), lot.choice(_OTHERS[length])))}


def _allowed(among: Collection[str]) -> dict[Species, str]:
    # In the guide's order: a set's own order differs from process to process.
    named = {found: name for name in sorted(among, reverse=True) if (found := species_called(name))}
    return {one: named[one] for one in all_species() if one in named}


def _given(true: Species, candidates: Collection[str]) -> dict[Species, str]:
    others = {one: _spelt(one, name) for name in sorted(candidates) if (one := _species(name)).key != true.key}
    if len(others) >= MOST_CANDIDATES or any(one.super_category != true.super_category for one in others):
        raise InputError(
            f"candidates are at most {MOST_CANDIDATES} names of one super-category",
            remedy="Give fewer, or the true one's own relatives.",
            candidates=", ".join(candidates),
        )
    return others


def _differing(true: Species, other: Species) -> list[str]:
    """Attributes in which two species differ; never none (``Species``)."""
    return [key for key, value in true.attributes.items() if other.attributes[key] != value]


def _told(true: Species, compared: Sequence[str], lot: random.Random, length: str) -> list[str]:
    """Phrases of the attributes told, each once: those compared on, then others up to the drawn number."""
    rest = [key for key in true.attributes if key not in compared]
    lot.shuffle(rest)
    # A dictionary: a beetle without spots has "no spot" by count and by colour.
    phrases = list(dict.fromkeys(attribute_phrase(key, true.attributes[key]) for key in [*compared, *rest]))
    needed = len({attribute_phrase(key, true.attributes[key]) for key in compared})
    told = phrases[: max(needed, lot.randint(*_ATTRIBUTES[length]))]
    lot.shuffle(told)
    return [_with_article(told[0]), *told[1:]]


def _comparison(form: str, true: Species, other: Species, attribute: str, *, name: str) -> str:
    theirs, ours = (attribute_phrase(attribute, one.attributes[attribute]) for one in (other, true))
    return form.format(
        other=name, bare=theirs, theirs=_with_article(theirs), ours=_with_article(ours), kind=true.super_category
    )


def _joined(parts: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _with_article(phrase: str) -> str:
    """``an olive back``; nothing before counts (``two spot``, ``no band``) and plurals."""
    if phrase.split()[0] in _COUNTING or phrase.endswith(_PLURALS):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _articled(sentence: str) -> str:
    """``a`` before a vowel made ``an``; a capital at the start."""
    words = sentence.split(" ")
    for place, (word, following) in enumerate(pairwise(words)):
        if word in ("a", "A") and following[:1].lower() in "aeiou":
            words[place] += "n"
    text = " ".join(words)
    return text[:1].upper() + text[1:]
