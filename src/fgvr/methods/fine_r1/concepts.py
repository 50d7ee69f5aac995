"""Visual concepts of a picture: what several captions of it say, counted, and the few that tell its class apart.

Fine-R1 (ICLR 2026), section 3.2: many captions of one image, each emphasising other attributes, are aggregated, and
concepts are selected from them by the information bottleneck, after Shi et al. (arXiv 2502.14044). Neither a formula
nor code was published. The choice made here:

1. *Aggregation.* A caption is cut into phrases of one to five words ("the crown is black" becomes "black crown").
   Phrases are merged by normalised text; one caption counts a phrase once. The *support* s(z, x) of concept z for image
   x is the share of its captions that say z.
2. *Relevance.* Of the mutual information I(Z; C) of concept and class, the part that image x of class c contributes:
   s(z, x) · ln(p(z | c) / p(z)), with p(z | c) = (a + sum of supports in class c) / (2a + images of c), p(z) likewise
   over all images, a = ``smoothing`` (a Beta prior, mean one half). In nats.
3. *Compression.* The bottleneck's other term, the price of what is kept, is redundancy: concepts are taken greedily,
   and the relevance r of z loses ``redundancy`` · abs(r) · the largest share of words (Jaccard) that it has in common
   with one taken already. What is left at or below zero is not worth its place.
4. *One image a class* (the usual case): p(z | c) comes from x alone, so that relevance is support times a smoothed
   inverse document frequency: said often of this picture, rarely of others. Without any other image all relevances are
   nearly equal, and support and order of mention decide.
5. *No names.* Phrases that hold a class name are left out: a captioner that recognises the class must not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from fgvr.errors import InputError
from fgvr.labels.doubts import instruction_like
from fgvr.labels.lists import display_line
from fgvr.labels.normalise import normalise

LONGEST = 5
"""Words of a concept."""

_CUT = re.compile(
    r"[.;:!?\n]+|,|\s[-–—]\s|\b(?:and|with|while|but|as well as|which|that|having|features?|including)\b", re.IGNORECASE
)
_IS = re.compile(r"(?P<part>[^\W\d_][\w\s-]*?)\s+(?:is|are|appears?|looks?)\s+(?P<value>[^\W_][\w\s-]*)", re.IGNORECASE)
_LEAD = re.compile(
    r"^(?:(?:an?|the|its?|has|have|is|are|there|this|these|very|also|shows?|in|on|of|some|clearly|visible|overall"
    r"|bears?|displays?)\s+)+",
    re.IGNORECASE,
)
_EMPTY = frozenset(
    [
        "a",
        "an",
        "and",
        "animal",
        "appears",
        "are",
        "bird",
        "close",
        "feature",
        "features",
        "has",
        "have",
        "image",
        "is",
        "it",
        "its",
        "none",
        "of",
        "object",
        "one",
        "photo",
        "photograph",
        "picture",
        "plant",
        "shown",
        "shows",
        "species",
        "the",
        "there",
        "this",
        "unknown",
        "up",
        "view",
        "visible",
        "what",
        "with",
    ]
)


@dataclass(frozen=True)
class Concept:
    """A short phrase about what a picture shows."""

    text: str
    """As first said."""
    support: float
    """Share of the picture's captions that say it, in (0, 1]."""


def split_caption(caption: str, *, kind: str = "", names: Iterable[str] = ()) -> tuple[str, ...]:
    """The concepts of one caption, in order, each once.

    Args:
        caption: any text; what reads like instructions gives nothing.
        kind: the super-category; alone it is no concept.
        names: class names; a phrase that holds one, or is the last word of one, is left out.
    """
    text = display_line(caption.replace("\n", " . "))
    if instruction_like(text):
        return ()
    known = [f" {name} " for name in map(normalise, names) if name]
    heads = {name.split()[-1] for name in known}  # "warbler" is half of the answer
    found: dict[str, str] = {}
    for piece in _CUT.split(text):
        phrase = _phrase(piece)
        key = normalise(phrase)
        if _says_something(key, kind) and key not in heads and not any(name in f" {key} " for name in known):
            found.setdefault(key, phrase)
    return tuple(found.values())


def count_concepts(captions: Sequence[str], *, kind: str = "", names: Iterable[str] = ()) -> tuple[Concept, ...]:
    """The concepts of one picture's captions, the best supported first, else in order of mention.

    Captions without any concept still count as captions.
    """
    names = tuple(names)
    texts: dict[str, str] = {}
    counts: dict[str, int] = {}
    for caption in captions:
        for phrase in split_caption(caption, kind=kind, names=names):
            key = normalise(phrase)
            texts.setdefault(key, phrase)
            counts[key] = counts.get(key, 0) + 1
    ordered = sorted(texts, key=lambda key: -counts[key])
    return tuple(Concept(texts[key], counts[key] / len(captions)) for key in ordered)


def relevances(
    pictures: Sequence[Sequence[Concept]], classes: Sequence[str], *, smoothing: float = 0.5
) -> list[dict[str, float]]:
    """Normalised concept to relevance in nats, one mapping a picture (deviation 2).

    Args:
        pictures: (N) concepts of each picture.
        classes: (N) its class.
        smoothing: pseudo-count a, above 0.

    Raises ``InputError`` where the lengths differ or ``smoothing`` is not positive.
    """
    if len(pictures) != len(classes) or not smoothing > 0:
        raise InputError(
            "concepts need one class a picture and a positive smoothing",
            remedy="Correct the arguments.",
            pictures=len(pictures),
            classes=len(classes),
            smoothing=smoothing,
        )
    supports = [{normalise(one.text): one.support for one in own} for own in pictures]
    overall: dict[str, float] = {}
    within: dict[tuple[str, str], float] = {}
    sizes: dict[str, int] = {}
    for own, name in zip(supports, classes, strict=True):
        sizes[name] = sizes.get(name, 0) + 1
        for key, support in own.items():
            overall[key] = overall.get(key, 0.0) + support
            within[name, key] = within.get((name, key), 0.0) + support

    def information(key: str, name: str) -> float:
        given_class = (smoothing + within[name, key]) / (2 * smoothing + sizes[name])
        anywhere = (smoothing + overall[key]) / (2 * smoothing + len(pictures))
        return log(given_class / anywhere)

    return [
        {key: support * information(key, name) for key, support in own.items()}
        for own, name in zip(supports, classes, strict=True)
    ]


def choose(
    concepts: Sequence[Concept],
    relevance: Mapping[str, float],
    *,
    most: int = 8,
    least: int = 3,
    redundancy: float = 0.5,
) -> tuple[str, ...]:
    """Concepts of one picture, in the order they were taken (deviation 3); ``least`` of them whatever their worth.

    Ties go to the better supported, then to the one said first. Raises ``InputError`` where ``redundancy`` is outside
    [0, 1].
    """
    if not 0 <= redundancy <= 1:
        raise InputError("redundancy is a share", remedy="Give a number from 0 to 1.", redundancy=redundancy)
    left = list(concepts)
    taken: list[Concept] = []
    while left and len(taken) < most:

        def worth(one: Concept) -> float:
            own = relevance[normalise(one.text)]
            return own - redundancy * abs(own) * max((overlap(one.text, other.text) for other in taken), default=0.0)

        best = max(left, key=lambda one: (worth(one), one.support))  # max keeps the first of equals
        if worth(best) <= 0 and len(taken) >= least:
            break
        taken.append(best)
        left.remove(best)
    return tuple(one.text for one in taken)


def select_concepts(
    captions: Sequence[Sequence[str]],
    classes: Sequence[str],
    *,
    kinds: Sequence[str] = (),
    names: Iterable[str] = (),
    most: int = 8,
    redundancy: float = 0.5,
    smoothing: float = 0.5,
) -> list[tuple[str, ...]]:
    """The visual concepts of N pictures: captions (N, any number) to at most ``most`` phrases each.

    Args:
        captions: of each picture.
        classes: (N) class of each picture.
        kinds: (N) super-category of each; empty: unknown.
        names: further class names that must not be told, besides ``classes``.
    """
    hidden = tuple(dict.fromkeys([*classes, *names]))
    kinds = kinds or [""] * len(captions)
    counted = [count_concepts(own, kind=kind, names=hidden) for own, kind in zip(captions, kinds, strict=True)]
    worth = relevances(counted, classes, smoothing=smoothing)
    return [choose(own, value, most=most, redundancy=redundancy) for own, value in zip(counted, worth, strict=True)]


def overlap(first: str, second: str) -> float:
    """Share of words two phrases have in common (Jaccard, in [0, 1])."""
    one, other = set(normalise(first).split()), set(normalise(second).split())
    return len(one & other) / len(one | other) if one | other else 0.0


def _phrase(piece: str) -> str:
    """A stretch of a caption as a noun phrase: articles dropped, "the crown is black" turned to "black crown"."""
    text = piece.strip(" \t\"'*•-–—()")
    said = _IS.fullmatch(text)
    if said:
        part, value = (_LEAD.sub("", said[name].strip()) for name in ("part", "value"))
        if normalise(part) not in _EMPTY:
            text = f"{value} {part}"
    return _LEAD.sub("", text).strip()


def _says_something(key: str, kind: str) -> bool:
    words = key.split()
    own = set(normalise(kind).split())
    return 0 < len(words) <= LONGEST and not all(word in _EMPTY or word in own or word.isdigit() for word in words)
