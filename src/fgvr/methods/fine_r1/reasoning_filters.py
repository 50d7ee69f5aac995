"""Which rationales may be learned from: filters, each a pure function that returns a reason, or "" where all is well.

The paper (section 3.2) resamples until the label matches, mends mixed languages by hand, and checks by hand that the
prediction is among the candidates. In its released file 97 of 404 rows never name the exact label in their reasoning.

1. *By rule, not by hand.* All of it is checked here, and what fails is sampled again.
2. *Names* are compared after ``fgvr.labels.normalise``: case, signs and spaces do not count, years and body types do. A
   name inside a longer candidate's name ("Wren" in "House Wren") is not a mention of it.
3. *Label in the reasoning.* The comparison must name it, since short rationales consist of the comparison alone.
4. *Told.* The teacher was told the label; a rationale that speaks of that, or of having seen no picture, teaches a
   model to say so. The released file has both.
5. *Unseen classes.* A teacher that knows more names than the training classes may tell them as wrong candidates; where
   unseen classes are evaluated afterwards, ``among`` keeps them out.
6. *Language* is English: letters of other scripts are only allowed inside the given names, and other languages'
   function words must not outnumber English ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1.reasoning_replies import Sections

MOST_CANDIDATES = 4

FORMAT = "format"
PREDICTION = "label not predicted"
REASONING = "label not in the reasoning"
CANDIDATES = "label not among the candidates"
TOO_MANY = "too many candidates"
TOO_FEW = "too few candidates"
REPEATED = "candidate twice"
OUTSIDE = "candidate not allowed"
LANGUAGE = "language"
SHORT, LONG = "too short", "too long"
TOLD = "speaks of having been told"
UNSEEN = "says it saw no picture"

_VISION = r"(?:images?|pictures?|photos?|photographs?)"
_SHOWN = r"(?:picture|image|photo(?:graph)?|object|subject|animal|plant|bird|flower|fish|beetle|butterfly|car|dog|cat)"
_SOURCE = (
    r"(?:label|caption|prompt|context|hint|annotation|ground[- ]truth|metadata|instructions?"
    r"|description(?!s?\s+(?:of|and)\b))"
)
_TOLD = re.compile(
    rf"\b(?:the|this|that|its|given|provided|your)\s+(?:\w+\s+)?{_SOURCE}\s+"
    r"(?:says?|states?|tells?|reads?|gives?|is|given|provided|indicates?|mentions?|names?|identif\w+|confirms?|calls?)\b"
    rf"|\b(?:according to|based on|from|per|match(?:es|ing)|confirms?|(?:consistent|align\w*) with)\s+"
    rf"(?:the|this|your|its)\s+(?:\w+\s+)?{_SOURCE}"
    rf"|\b(?:given|provided|stated|supplied)\s+(?:name|visual features|{_SOURCE})"
    r"|\bas\s+(?:given|provided|told|labell?ed|captioned)\b"
    r"|\b(?:mentioned|given|stated|provided|specified|described)\s+(?:in|by)\s+(?:the|your)\s+"
    rf"(?:question|user|{_SOURCE})"
    rf"|\b{_SHOWN}\s+(?:is|was|has been)\s+(?:said|labell?ed|captioned|stated|given|told)\s+(?:to be|as)\b"
    r"|\bis\s+said\s+to\s+be\b|\b(?:i|we)\s+(?:was|were|am|are|have been)\s+(?:told|given|informed)\b"
    r"|\byou\s+(?:said|told|gave|mentioned|provided|stated)\b|\bground[- ]truth\b",
    re.IGNORECASE,
)


_UNSEEN = re.compile(
    rf"\b(?:no|without)\s+(?:an?\s+|any\s+)?(?:actual\s+|attached\s+)?{_VISION}\s+"
    r"(?:is\s+|was\s+|has\s+been\s+)?(?:attached|provided|available|given|to\s+(?:analy[sz]e|look|see|examine))"
    rf"|\bif\s+(?:an|the)\s+{_VISION}\s+(?:were|was)\s+available\b"
    rf"|\b(?:can(?:no|')t|unable to|not able to)\s+(?:directly\s+)?(?:see|view|access)\s+(?:the|this|any)\s+"
    rf"{_VISION}\b",
    re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words("the of and is are with this that which it its has have from but not while than")
_OTHERS = (
    _words("le les des est une dans avec qui sur pour pas sont du cette ce il elle"),
    _words("der die das und ist ein eine mit nicht sind auf den dem im von zu auch"),
    _words("el los las es una con que por para del se su este esta pero como más"),
    _words("il gli che di una con per sono della nel non questo questa ma come è"),
    _words("o os um uma com que não para do da dos das este esta mas como são"),
)
"""Function words of French, German, Spanish, Italian, Portuguese."""
_FEWEST_FOREIGN = 3


@dataclass(frozen=True)
class Names:
    """What the class may be called."""

    label: str
    accepted: tuple[str, ...] = ()
    """Synonyms; allowed in any script, but no substitute for the label."""


@dataclass(frozen=True)
class Rules:
    """What a rationale must satisfy."""

    words: tuple[int, int] = (40, 1000)
    """Of the whole reasoning. The released rows, which the authors sifted, have 253 to 826."""
    most_candidates: int = MOST_CANDIDATES
    least_candidates: int = 2
    """One candidate leaves nothing to compare."""
    english: bool = True
    told: bool = True
    """Off for packaged goods, whose printed labels may well "say" something."""


def broken_rules(
    sections: Sections, names: Names, *, rules: Rules | None = None, among: Collection[str] | None = None
) -> tuple[str, ...]:
    """Reason codes of every filter that a reply breaks, the format first; () for one that may be learned from.

    ``among``: the only names that may be candidates, besides the label. Of a reply with faults in its format nothing
    else is looked at.
    """
    rules = rules or Rules()
    if sections.faults:
        return (f"{FORMAT}: {', '.join(sections.faults)}",)
    candidates, reasoning = sections.candidates, f"{sections.analysis}\n{sections.comparison}"
    whole = f"{reasoning}\n{' '.join(candidates)}"
    found = (
        not_predicted(sections.prediction, names, candidates),
        not_a_candidate(candidates, names),
        wrong_number(candidates, most=rules.most_candidates, least=rules.least_candidates),
        not_allowed(candidates, (names.label, *among)) if among is not None else "",
        not_reasoned(sections.comparison, names, candidates),
        wrong_length(whole, words=rules.words),
        other_language(whole, (names.label, *names.accepted)) if rules.english else "",
        was_told(whole) if rules.told else "",
        saw_nothing(whole),
    )
    return tuple(filter(None, found))


def not_predicted(prediction: str, names: Names, candidates: Sequence[str] = ()) -> str:
    """``PREDICTION`` unless the prediction states the label, and no other candidate."""
    others = [one for one in candidates if not same_name(one, names.label)]
    rival = any(mentions(prediction, one, among=[*candidates, names.label]) for one in others)
    return "" if mentions(prediction, names.label, among=others) and not rival else PREDICTION


def not_reasoned(reasoning: str, names: Names, candidates: Sequence[str] = ()) -> str:
    """``REASONING`` unless the text names the label itself."""
    return "" if mentions(reasoning, names.label, among=candidates) else REASONING


def not_a_candidate(candidates: Sequence[str], names: Names) -> str:
    """``CANDIDATES`` unless the label is one of them."""
    return "" if any(same_name(one, names.label) for one in candidates) else CANDIDATES


def wrong_number(candidates: Sequence[str], *, most: int = MOST_CANDIDATES, least: int = 2) -> str:
    """``TOO_MANY``, ``TOO_FEW`` or ``REPEATED``, or ""."""
    if len(candidates) > most:
        return TOO_MANY
    if len(candidates) < least:
        return TOO_FEW
    return REPEATED if len({normalise(one) for one in candidates}) < len(candidates) else ""


def not_allowed(candidates: Sequence[str], among: Collection[str]) -> str:
    """``OUTSIDE`` where a candidate is none of the names ``among``, with or without its brackets."""
    known = {normalise(name) for name in among}
    forms = ({normalise(one), normalise(without_brackets(one))} for one in candidates)
    return "" if all(known & own for own in forms) else OUTSIDE


def other_language(text: str, names: Sequence[str] = ()) -> str:
    """``LANGUAGE`` where a text is not in English (deviation 6); ``names`` may be in any script."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, " ")
    if _foreign_letters(text):
        return LANGUAGE
    words = re.findall(r"[^\W\d_]+", text.lower())
    english = sum(word in _ENGLISH for word in words)
    foreign = max(sum(word in other for word in words) for other in _OTHERS)
    return LANGUAGE if foreign >= _FEWEST_FOREIGN and foreign > english else ""


def wrong_length(text: str, *, words: tuple[int, int]) -> str:
    """``SHORT`` or ``LONG`` where the number of words is outside ``words`` (both ends allowed), or ""."""
    count = len(text.split())
    return SHORT if count < words[0] else LONG if count > words[1] else ""


def was_told(text: str) -> str:
    """``TOLD`` where a text speaks of a label, caption or prompt that it was given."""
    return TOLD if _TOLD.search(" ".join(text.split())) else ""


def saw_nothing(text: str) -> str:
    """``UNSEEN`` where a text says that there was no picture; the released file has such rows."""
    return UNSEEN if _UNSEEN.search(" ".join(text.split())) else ""


# --- names ------------------------------------------------------------------------------------------------------------


def same_name(first: str, second: str) -> bool:
    """Equal after normalisation, with or without what stands in brackets at the end."""
    return normalise(second) in {normalise(first), normalise(without_brackets(first))} - {""}


def mentions(text: str, name: str, *, among: Sequence[str] = ()) -> bool:
    """Whether ``text`` holds ``name`` as whole words, other than inside a longer name of ``among``."""
    wanted = normalise(name)
    if not wanted:
        return False
    body = f" {_normalised(text)} "
    longer = {one for one in map(normalise, among) if f" {wanted} " in f" {one} " and one != wanted}
    for one in sorted(longer, key=len, reverse=True):
        body = body.replace(f" {one} ", "  ")
    return f" {wanted} " in body or f" {wanted}s " in body


def _normalised(text: str) -> str:
    """``normalise``, which reads names only, for a text of any length: word by word."""
    return " ".join(filter(None, (normalise(f"x {word}")[2:] for word in text.split())))  # x: articles stay


def without_brackets(name: str) -> str:
    """``name`` without what stands in brackets at its end."""
    return re.sub(r"\s*\([^()]*\)\s*$", "", name)


def _foreign_letters(text: str) -> bool:
    """A letter of a script written without spaces, or two letters in a row of any other non-Latin script."""
    run = 0
    for char in text:
        script = unicodedata.name(char, "").split(" ")[0] if char.isalpha() and not char.isascii() else "LATIN"
        if script in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "BOPOMOFO"):
            return True
        run = 0 if script in ("LATIN", "FEMININE", "MASCULINE", "MODIFIER", "MICRO") or not char.isalpha() else run + 1
        if run > 1:
            return True
    return False
