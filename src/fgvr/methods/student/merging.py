"""Two names become one only if the names agree and their images cannot be told apart.

*Names agree* (``name_agreement``): one continues the other (``Siamese``, ``Siamese cat``), one is the coarser form of
the other (``Warbler``, ``Black-capped Warbler``), or they are alike (words or sentence encoder) and no siblings
(``fgvr.labels.siblings``: ``Black-capped`` and ``Red-capped Warbler`` are two birds, however alike the words).

*Images agree* (``name_images.py``): the squared distance between the mean images, without bias from the cosines
of pairs (an image is never compared with itself: leave-one-out), is *certainly* small. "No difference was found" would
merge whatever has too few images to show one; so this is a test of equivalence. Shuffling the two names over their
images gives the standard error, and its upper limit must stay below the margin: what different names that lie side by
side show. Where the names can be shared out over the images in fewer than ``WAYS`` ways, no difference could be found
at all, and nothing is merged: strings that are certain have been merged before.

A coarser name that could be several finer ones is left alone: the evidence says which image is which. Merging never
chains: all names that become one agree with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from fgvr.labels import normalise
from fgvr.labels.merge import siblings
from fgvr.methods.student.name_images import Images, distance, images_of, rival_margin
from fgvr.methods.student.opinions import Opinions

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Agreement = Literal["continued", "coarser", "alike"]
ALIKE = 0.85
"""Similarity of names from which two that are no siblings may be the same."""


@dataclass(frozen=True)
class MergedPair:
    """One name that became part of another."""

    raw: str
    into: str
    name_similarity: float
    image_similarity: float
    """Cosine between the two mean images, free of what few images take from it; can exceed 1 a little."""
    reason: str


@dataclass(frozen=True)
class Merged:
    """A label space in which some names have become one."""

    names: tuple[str, ...]
    mapping: np.ndarray
    """(C,) int64, new index of each old name."""
    merges: tuple[MergedPair, ...]

    @classmethod
    def nothing(cls, names: Sequence[str]) -> Merged:
        """All names as they are."""
        return cls(tuple(names), np.arange(len(names), dtype=np.int64), ())


def merge_by_images(
    names: Sequence[str],
    opinions: Opinions,
    features: np.ndarray,
    soft: csr_matrix,
    *,
    similarity: np.ndarray,
    alike: float = ALIKE,
    seed: int = 0,
) -> Merged:
    """Join the names whose words and images both agree.

    Args:
        names: C distinct names.
        features: (N, D) float32, unit norm.
        soft: (N, C) weighed evidence; an image counts for its own label as much as the evidence leaves of it.
        similarity: (C, C) in [0, 1], of the names.
        alike: similarity from which names agree by likeness.

    The names that stay keep their order. The greatest group of images gives the name; of a coarser and a finer name
    the finer one stays.
    """
    images = images_of(opinions, soft, len(names))
    pairs = agreeing_pairs(names, similarity, alike=alike)
    margin = rival_margin(features, images, same=[pair[:2] for pair in pairs]) if pairs else 0.0
    accepted: dict[tuple[int, int], tuple[Agreement, float]] = {}
    for one, other, how in pairs:
        found = distance(features, images[one], images[other], seed=seed)
        if found is not None and found.upper < margin:
            accepted[one, other] = how, found.cosine
    groups = _groups(names, accepted, images)
    return _merged(names, groups, accepted, similarity)


def name_agreement(one: str, other: str) -> Literal["continued", "coarser"] | None:
    """How one of two names contains the other: it begins with it, or it ends with it and that is one word, its kind."""
    short, long = sorted((normalise(one).split(), normalise(other).split()), key=len)
    if not short or len(short) == len(long):
        return None
    if long[: len(short)] == short:
        return "continued"
    return "coarser" if short == long[-1:] else None


def agreeing_pairs(
    names: Sequence[str], similarity: np.ndarray, *, alike: float = ALIKE
) -> list[tuple[int, int, Agreement]]:
    """All pairs (lower index first) whose names agree, and how. Names with different numbers never do."""
    normal = [normalise(name) for name in names]
    maybe = containing(normal)
    near = np.argwhere(np.triu(similarity >= alike, k=1))
    maybe |= {(int(one), int(other)) for one, other in near}
    found: list[tuple[int, int, Agreement]] = []
    for one, other in sorted(maybe):
        if _numbers(normal[one]) != _numbers(normal[other]):
            continue
        contained = name_agreement(names[one], names[other])
        if contained:
            found.append((one, other, contained))
        elif similarity[one, other] >= alike and not siblings(names[one], names[other]):
            found.append((one, other, "alike"))
    return found


def containing(normal: Sequence[str]) -> set[tuple[int, int]]:
    """Pairs (lower index first) of which one name is how the other begins, or its last word.

    Looked up: ten thousand names of a few kinds would be millions of pairs with a word in common.
    """
    whole: dict[str, list[int]] = {}
    for at, name in enumerate(normal):
        whole.setdefault(" ".join(name.split()), []).append(at)
    found = set()
    for at, name in enumerate(normal):
        words = name.split()
        parts = {" ".join(words[:length]) for length in range(1, len(words))} | set(words[-1:] if words[1:] else ())
        found |= {(min(at, other), max(at, other)) for part in parts for other in whole.get(part, ())}
    return found


def _numbers(name: str) -> set[str]:
    return {word for word in name.split() if any(char.isdigit() for char in word)}


def _groups(
    names: Sequence[str], accepted: dict[tuple[int, int], tuple[Agreement, float]], images: Sequence[Images]
) -> list[list[int]]:
    """Names that become one, the nearest images first; all of a group agree with each other."""
    groups = {at: [at] for at in range(len(names))}
    for (one, other), (how, _) in sorted(accepted.items(), key=lambda pair: (-pair[1][1], *_sorted(names, pair[0]))):
        left, right = groups[one], groups[other]
        if left is right or (how == "coarser" and _ambiguous(names, accepted, one, other)):
            continue
        if all(tuple(sorted(pair)) in accepted for pair in product(left, right)):
            left.extend(right)
            for member in right:
                groups[member] = left
    whole = {id(group): group for group in groups.values() if len(group) > 1}
    return sorted((sorted(group, key=lambda at: _rank(names, images, group, at)) for group in whole.values()), key=min)


def _sorted(names: Sequence[str], pair: tuple[int, int]) -> list[str]:
    return sorted(names[at] for at in pair)


def _ambiguous(names: Sequence[str], accepted: dict[tuple[int, int], tuple[Agreement, float]], *pair: int) -> bool:
    """Whether the coarser of the two could be another finer name just as well."""
    coarser = min(pair, key=lambda at: len(normalise(names[at]).split()))
    finer = [
        other
        for key, (how, _) in accepted.items()
        if how == "coarser" and coarser in key
        for other in key
        if other != coarser and len(normalise(names[other])) > len(normalise(names[coarser]))
    ]
    return len(finer) > 1


def _rank(
    names: Sequence[str], images: Sequence[Images], group: Sequence[int], at: int
) -> tuple[bool, float, int, str]:
    """Least for the name that stays: no coarser name of the group, most images, longest."""
    coarse = any(
        name_agreement(names[at], names[other]) == "coarser" and len(names[other]) > len(names[at])
        for other in group
        if other != at
    )
    return coarse, -images[at].mass, -len(names[at]), names[at]


def _merged(
    names: Sequence[str],
    groups: Sequence[Sequence[int]],
    accepted: dict[tuple[int, int], tuple[Agreement, float]],
    similarity: np.ndarray,
) -> Merged:
    into = np.arange(len(names))
    merges = []
    for stays, *others in groups:
        for at in others:
            how, cosine = accepted[min(at, stays), max(at, stays)]
            into[at] = stays
            reason = f"names {_WORDS[how]}, and their images cannot be told apart"
            alike = float(similarity[at, stays])
            merges.append(MergedPair(names[at], names[stays], alike, cosine, reason))
    stay = into == np.arange(len(names))
    renumber = np.where(stay, np.cumsum(stay) - 1, -1).astype(np.int64)
    return Merged(tuple(name for name, stays in zip(names, stay) if stays), renumber[into], tuple(merges))


_WORDS: dict[Agreement, str] = {
    "continued": "one of which continues the other",
    "coarser": "one of which is the coarser form of the other",
    "alike": "that are alike",
}
