"""Composed rationales in words: answers to phrases, phrases to candidates and sentences. Pure; see ``composed.py``."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from fgvr.labels import parse_reply
from fgvr.labels.lists import plain_answer
from fgvr.labels.normalise import display_name, normalise
from fgvr.methods.fine_r1.concepts import Concept, choose, relevances, split_caption
from fgvr.methods.fine_r1.reasoning_filters import mentions
from fgvr.methods.fine_r1.reasoning_input import Subject
from fgvr.methods.fine_r1.reasoning_prompts import THING
from fgvr.methods.fine_r1.reasoning_replies import Sections

Traits = dict[str, str]
"""Attribute to phrase: ``{"crown colour": "black crown"}``."""

_PROPERTIES = (" colour", " color", " shape", " pattern", " count", " form", " size", " length")
_OPENINGS = ("The {kind} shows {seen}.", "In the picture there is {seen}.", "The picture shows {seen}.")
_OTHERS = ("{name} has {differs}.", "{name} shows {differs}.", "With {differs} it is {name}.")
_ENDINGS = ("This {kind} has {seen}: {label}.", "This {kind} shows {seen}, so it is a {label}.")


# --- what was said ----------------------------------------------------------------------------------------------------


def read_traits(answers: Mapping[str, str], *, kind: str = "", names: Sequence[str] = ()) -> Traits:
    """Attribute to phrase. Of a description (under ``""``) each phrase's last word stands for the attribute."""
    traits: Traits = {}
    for attribute, answer in answers.items():
        if not attribute:
            for phrase in split_caption(answer, kind=kind, names=names):
                traits.setdefault(normalise(phrase).split()[-1], phrase)
        elif (phrase := trait_phrase(attribute, answer)) and not any(mentions(phrase, name) for name in names):
            traits[attribute] = phrase
    return traits


def trait_phrase(attribute: str, answer: str) -> str:
    """``("crown colour", "black")`` to ``black crown``; "" for an answer of more than four words."""
    value = (plain_answer(answer) or "").strip(" .\"'").lower()
    part = next((attribute.removesuffix(end) for end in _PROPERTIES if attribute.endswith(end)), attribute)
    if not value or len(value.split()) > 4:
        return ""
    if value in ("none", "no"):
        return f"no {part}"
    return value if mentions(value, part) else f"{value} {part}"


def own_names(replies: Sequence[str]) -> tuple[str, ...]:
    """The names in a model's replies, each once, as first written."""
    found: dict[str, str] = {}
    for text in replies:
        parsed = parse_reply(text)
        for name in (parsed.name, *parsed.alternatives):
            if name:
                found.setdefault(normalise(name), display_name(name))
    return tuple(found.values())


def telling_traits(
    subjects: Sequence[Subject], traits: Mapping[str, Traits], *, most: int, redundancy: float
) -> dict[str, tuple[str, ...]]:
    """The phrases of each picture that tell its class apart from the others (``concepts.py``)."""
    said = [tuple(Concept(phrase, 1.0) for phrase in traits[one.id].values()) for one in subjects]
    worth = relevances(said, [one.label for one in subjects])
    return {
        one.id: choose(own, value, most=most, least=min(3, most), redundancy=redundancy)
        for one, own, value in zip(subjects, said, worth, strict=True)
    }


def typical_traits(subjects: Sequence[Subject], traits: Mapping[str, Traits]) -> dict[str, Traits]:
    """Label to the most frequent phrase of each attribute over its pictures; of equals the first."""
    said: dict[str, dict[str, Counter[str]]] = {}
    for one in subjects:
        for key, phrase in traits[one.id].items():
            said.setdefault(one.label, {}).setdefault(key, Counter())[phrase] += 1
    return {label: {key: counts.most_common(1)[0][0] for key, counts in own.items()} for label, own in said.items()}


# --- sentences --------------------------------------------------------------------------------------------------------


def candidates_for(
    subject: Subject,
    subjects: Sequence[Subject],
    typical: Mapping[str, Traits],
    own: Traits,
    named: Sequence[str],
    *,
    among: Sequence[str] | None = None,
) -> list[str]:
    """Other names, best first: those named, then the classes of the same kind that were described most alike; only
    names ``among`` the given, where given."""
    allowed = None if among is None else {normalise(name) for name in among}
    kin = {one.label for one in subjects if one.kind == subject.kind and one.label in typical} - {subject.label}
    alike = sorted(kin, key=lambda name: (-_shared(own, typical[name]), name))
    mine = (subject.label, *subject.item.accepted)
    found: dict[str, str] = {}
    for name in [*named, *alike]:
        # "Warbler" is no rival of "Amber Warbler", nor is "Amber Warblers".
        part_of_mine = any(mentions(one, name) or mentions(one, name.rstrip("s")) for one in mine)
        if normalise(name) and not part_of_mine and (allowed is None or normalise(name) in allowed):
            found.setdefault(normalise(name), name)
    return list(found.values())


def composed_sections(
    subject: Subject,
    others: Sequence[str],
    own: Traits,
    seen: Sequence[str],
    typical: Mapping[str, Traits],
    *,
    most: int,
    seed: int = 0,
) -> Sections:
    """The four sections, put together from templates."""
    draw = _Draw(f"{seed}\0{subject.id}")
    kind, label = subject.kind or THING, subject.label
    known = {normalise(name): traits for name, traits in typical.items()}
    sentences, telling = [], []
    for name in others:
        theirs = known.get(normalise(name), {})
        differs = [key for key in own if key in theirs and theirs[key] != own[key]]
        differs.sort(key=lambda key: own[key] not in seen)  # what the analysis speaks of comes first
        if differs:
            phrases = _joined([theirs[key] for key in differs[:most]])
            sentences.append(draw.one_of(_OTHERS).replace("{name}", name).replace("{differs}", phrases))
            telling += [own[key] for key in differs[:most] if own[key] not in telling]
    ending = draw.one_of(_ENDINGS).replace("{seen}", _joined((telling or list(seen))[: max(1, most - 1)]))
    opening = draw.one_of(_OPENINGS).replace("{seen}", _joined(seen))
    comparison = [*sentences, ending.replace("{label}", label)]
    return Sections(
        analysis=opening.replace("{kind}", kind),
        candidates=tuple(draw.shuffled([label, *others])),
        comparison=" ".join(comparison).replace("{kind}", kind),
        prediction=label,
    )


class _Draw:
    """Choices that hang on a text alone."""

    def __init__(self, text: str) -> None:
        self.text, self.drawn = text, 0

    def one_of(self, options: Sequence[str]) -> str:
        return options[self._number() % len(options)]

    def shuffled(self, names: Sequence[str]) -> list[str]:
        return [name for _, name in sorted((self._number(), name) for name in names)]

    def _number(self) -> int:
        self.drawn += 1
        digest = hashlib.sha256(f"{self.text}\0{self.drawn}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big")


def _shared(first: Traits, second: Traits) -> int:
    return sum(first[key] == second.get(key) for key in first)


def _joined(phrases: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), *phrases[-1:]]))
