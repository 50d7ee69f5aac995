"""What is said about a species: captions for the dual encoder, questions and answers for the MLLM.

The noise a real MLLM makes has to arise here, from what the model is taught and what it is not:

1. It is never shown some species (``withheld``), so it must answer with a relative.
2. Poor pictures (blur, dusk, occlusion) are labelled by people who commit themselves less: often only the genus.
3. The manner of an answer goes with the picture, as on the web: museum plates carry scientific names, snapshots
   carry chatter, the rest a bare name; synonyms are in use for every species.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.species import Species

NAME_TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "{}",
    "{}.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a {} in the wild.",
)
WITHHELD_SHARE = 0.12


def attribute_phrase(key: str, value: str) -> str:
    """``("crown colour", "black")`` to ``black crown``; ``("eye stripe", "none")`` to ``no eye stripe``."""
    part = key
    for ending in (" colour", " shape", " pattern", " count", " form"):
        part = part.removesuffix(ending)
    return f"no {part}" if value == "none" else f"{value} {part}"


def description(species: Species) -> str:
    """One sentence of all attributes: ``A warbler with a black crown, olive back, ... and square tail.``"""
    phrases = [attribute_phrase(key, value) for key, value in species.attributes.items()]
    return f"A {species.genus.lower()} with {', '.join(phrases[:-1])} and {phrases[-1]}."


def withheld(share: float = WITHHELD_SHARE) -> tuple[Species, ...]:
    """The species the MLLM is never shown: a fixed draw over the whole guide, by a checksum of the key."""
    ordered = sorted(all_species(), key=lambda one: zlib.crc32(("withheld " + one.key).encode()))
    return tuple(ordered[: round(len(ordered) * share)])


@dataclass(frozen=True)
class Group:
    """Texts that exclude one another, and which of them is true of each species (-1: the question does not apply)."""

    texts: tuple[str, ...]
    target: np.ndarray
    """(number of species,) int."""


def attribute_groups(species: Sequence[Species]) -> tuple[Group, ...]:
    """One group for the super-category, one for the genus, one for each attribute of each super-category."""
    attributes = dict.fromkeys((one.super_category, key) for one in species for key in one.attributes)
    said: list[list[str | None]] = [
        [f"a photo of a {one.super_category}." for one in species],
        [f"a photo of a {one.genus.lower()}." for one in species],
        *([_attribute_text(one, kind, key) for one in species] for kind, key in attributes),
    ]
    return tuple(group for group in map(_group, said) if len(group.texts) > 1)


def _attribute_text(species: Species, kind: str, key: str) -> str | None:
    if species.super_category != kind:
        return None
    return f"a {kind} with {attribute_phrase(key, species.attributes[key])}."


def _group(said: Sequence[str | None]) -> Group:
    texts = tuple(dict.fromkeys(text for text in said if text is not None))
    return Group(texts, np.array([-1 if text is None else texts.index(text) for text in said]))


def name_texts(species: Sequence[Species], rng: np.random.Generator) -> list[str]:
    """One caption a species: mostly the common name, sometimes a synonym or the scientific name, in any template."""
    texts = []
    for one in species:
        lot = rng.random()
        name = one.name if lot < 0.65 else one.scientific if lot < 0.75 else str(rng.choice(list(one.synonyms)))
        texts.append(str(rng.choice(list(NAME_TEMPLATES))).format(name))
    return texts


@dataclass(frozen=True)
class Picture:
    """What the writer of an answer sees besides the species."""

    species: Species
    poor: bool
    plate: bool
    snapshot: bool


NAMING_PROMPTS = (
    "Provide a best fine-grained class label for this image",
    "Provide a best fine-grained class label for this image.",
    "What is the exact {kind} species in the provided image?",
    "What species of {kind} is this?",
    "What is this?",
    "Name the {kind} in the picture.",
    "Which {kind} is this? Answer with its name.",
)
CHATTER = (
    "I think it is a {}.",
    "This looks like a {} to me.",
    "The {kind} in the image is a {}.",
    "This is a **{}**, I am fairly sure.",
)


def naming(picture: Picture, rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, answer) in free text."""
    species, kind = picture.species, picture.species.super_category
    prompt = str(rng.choice(list(NAMING_PROMPTS))).format(kind=kind)
    if picture.poor and rng.random() < 0.5:
        answer = f"Some kind of {species.genus}." if rng.random() < 0.5 else species.genus
        return prompt, answer
    name = species.name if rng.random() < 0.8 else str(rng.choice(list(species.synonyms)))
    if picture.plate and rng.random() < 0.75:
        return prompt, f"{name} ({species.scientific})"
    if picture.snapshot and rng.random() < 0.75:
        return prompt, str(rng.choice(list(CHATTER))).format(name, kind=kind)
    return prompt, name


def relatives(species: Species, known: Sequence[Species]) -> list[Species]:
    """Other known species of the same super-category, the most alike first (shared attributes, same genus)."""
    others = [one for one in known if one.super_category == species.super_category and one.key != species.key]

    def likeness(one: Species) -> tuple[int, int, str]:
        shared = sum(one.attributes[key] == value for key, value in species.attributes.items())
        return (-int(one.genus == species.genus), -shared, one.key)

    return sorted(others, key=likeness)


def structured(picture: Picture, prompt: str, known: Sequence[Species], rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, JSON answer) with common name, scientific name, alternatives and confidence."""
    species = picture.species
    alternatives = [one.name for one in relatives(species, known)[:2]]
    confidence = 0.3 if picture.poor else 0.6 if rng.random() < 0.3 else 0.9
    answer = {
        "common_name": species.name if rng.random() < 0.85 else str(rng.choice(list(species.synonyms))),
        "scientific_name": species.scientific,
        "alternatives": alternatives,
        "confidence": confidence,
    }
    return prompt, json.dumps(answer)


def description_question(picture: Picture, rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, one sentence of all attributes)."""
    prompts = (f"Describe the {picture.species.super_category} in this picture.", "Describe this image in details.")
    return str(rng.choice(list(prompts))), description(picture.species)


def attribute_question(picture: Picture, rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, answer) about one visible attribute."""
    species, kind = picture.species, picture.species.super_category
    key = str(rng.choice(list(species.attributes)))
    prompts = (f"What is the {key} of the {kind}?", f"Describe the {key} of the {kind} in this image.")
    return str(rng.choice(list(prompts))), species.attributes[key]


PLURALS = {"bird": "birds", "butterfly": "butterflies", "flower": "flowers", "fish": "fish", "beetle": "beetles"}


def collection_of(pictures: Sequence[Picture]) -> str:
    """What kind of things the pictures show together: ``birds``, or for a mixed lot ``animals`` or wider."""
    kinds = {picture.species.super_category for picture in pictures}
    if len(kinds) == 1:
        return PLURALS[kinds.pop()]
    return "plants and animals" if "flower" in kinds else "animals"


def collection_said(picture: Picture, rng: np.random.Generator) -> str:
    """The collection a question may name: mostly the right kind, sometimes something wider."""
    wider = ("plants and animals", "plants and animals", "animals", "things")
    return PLURALS[picture.species.super_category] if rng.random() < 0.6 else str(rng.choice(list(wider)))


def multiple_choice(picture: Picture, known: Sequence[Species], rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, letter) among four names, mostly close relatives."""
    options = _options(picture.species, known, 4, rng)
    lettered = " ".join(f"{'ABCDEFGH'[i]}. {one.name}" for i, one in enumerate(options))
    kind = picture.species.super_category
    prompt = f"Which {kind} is in the picture? {lettered} Answer with the option's letter."
    return prompt, "ABCDEFGH"[[one.key for one in options].index(picture.species.key)]


def ranking(picture: Picture, known: Sequence[Species], rng: np.random.Generator) -> tuple[str, str]:
    """(prompt, sorted list) of three to five names, the true one first and the rest by likeness."""
    options = _options(picture.species, known, int(rng.integers(3, 6)), rng)
    order = [picture.species, *(one for one in relatives(picture.species, known) if one in options)]
    names = "[" + ", ".join(f"'{one.name}'" for one in options) + "]"
    prompt = (
        "Please play the role of a classification expert, and sort the provided categories from high to low according "
        f"to the top {len(options)} similarity with the input image. Here are the optional categories:{names}."
    )
    return prompt, "[" + ", ".join(f"'{one.name}'" for one in order) + "]"


def _options(species: Species, known: Sequence[Species], count: int, rng: np.random.Generator) -> list[Species]:
    near = relatives(species, known)
    pool = near[:8] if rng.random() < 0.7 else near
    chosen = [pool[i] for i in rng.choice(len(pool), size=count - 1, replace=False)]
    options = [species, *chosen]
    return [options[i] for i in rng.permutation(count)]
