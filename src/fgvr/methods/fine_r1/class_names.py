"""When two names are one class: what division and mining agree on.

1. *One class*: names equal after ``fgvr.labels.merge.variant_key`` (case, hyphens, plural, grey and gray). Neither
   paper nor released code says anything.
2. *Apart*: two classes of which one counts the other's name as right, or (``nested``) of which one's name ends with the
   other's: "Warbler" may be any warbler where an MLLM gave the names. They stay two classes and are never each other's
   negative.
3. *Nearly one name*: Leonberg and Leonberger. Told, never acted upon.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from fgvr.labels.merge import variant_key
from fgvr.labels.normalise import normalise
from fgvr.types import ImageItem

_ENDING = 3
"""Letters by which the longer of two words may exceed the shorter: ``er``, ``ed``, ``ian``."""
_STEM = 4

SuperCategory = str | Mapping[str, str] | None
"""One word for all classes, or the word of each class by its name; ``None``: not known."""


def class_key(name: str) -> str:
    """The form under which two names are one class; names without a letter or digit stay as they are."""
    return variant_key(name) or name.strip()


def by_class(items: Iterable[ImageItem]) -> dict[str, list[ImageItem]]:
    """Labelled items by the key of their class, keys sorted, items of a class sorted by id."""
    found: dict[str, list[ImageItem]] = defaultdict(list)
    keys: dict[str, str] = {}  # classes are few and their keys dear
    for item in sorted(items, key=lambda one: one.id):
        name = item.label or ""
        if name not in keys:
            keys[name] = class_key(name)
        found[keys[name]].append(item)
    return {key: found[key] for key in sorted(found)}


def written(members: Iterable[ImageItem]) -> str:
    """A class's name as its pictures mostly write it; of equally frequent forms the first in the alphabet."""
    tally = Counter(item.label or "" for item in members)
    return min(tally, key=lambda name: (-tally[name], name))


def super_categories(names: Mapping[str, str], super_category: SuperCategory) -> dict[str, str]:
    """Super-category of each class by key, empty where it is not known; ``names``: key to written name."""
    if super_category is None or isinstance(super_category, str):
        return dict.fromkeys(names, super_category or "")
    known = {class_key(name): kind for name, kind in super_category.items()}
    return {key: known.get(key, "") for key in names}


def apart(classes: Mapping[str, Sequence[ImageItem]], *, nested: bool = False) -> dict[str, set[str]]:
    """For each class the other classes that may be the same thing (see the module, 2); symmetric.

    An accepted name that many classes share ("dog") sets none of them apart: only a class's own name does.
    """
    found: dict[str, set[str]] = {key: set() for key in classes}
    endings: dict[str, list[str]] = defaultdict(list)
    for key, members in classes.items():
        others = {class_key(name) for name in {name for item in members for name in item.accepted}}
        if nested:
            for name in {normalise(name) for name in {item.label or "" for item in members}}:
                endings[name].append(key)
        for other in others & classes.keys() - {key}:
            found[key].add(other)
            found[other].add(key)
    for name in [*endings]:
        words = name.split()
        for start in range(1, len(words)):
            for one in endings[name]:
                for other in endings.get(" ".join(words[start:]), ()):
                    if one != other:
                        found[one].add(other)
                        found[other].add(one)
    return found


def nearly_same(one: str, other: str) -> bool:
    """Whether two names may be spellings of one: words alike up to an ending, or a word added at the end."""
    return _nearly_same(normalise(one).split(), normalise(other).split())


def look_alikes(names: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of ``nearly_same`` names, one of each side, sorted; names that begin otherwise are not compared."""
    begins: dict[str, list[tuple[str, list[str]]]] = defaultdict(list)
    for other in others:
        words = normalise(other).split()
        begins["".join(words[:1])[:_STEM]].append((other, words))
    found = []
    for name in names:
        words = normalise(name).split()
        near = begins.get("".join(words[:1])[:_STEM], ())
        found += [(name, other) for other, theirs in near if _nearly_same(words, theirs)]
    return sorted(found)


def rank(seed: int, *parts: str) -> int:
    """A number drawn from ``seed`` and texts: the same on every machine and for any order of the input."""
    digest = hashlib.sha256("\0".join((str(seed), *parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def _nearly_same(one: Sequence[str], other: Sequence[str]) -> bool:
    short, long = sorted((one, other), key=len)
    return bool(short) and all(map(_alike, short, long)) and _numbers(short) == _numbers(long)


def _numbers(words: Sequence[str]) -> set[str]:
    return {word for word in words if any(letter.isdigit() for letter in word)}


def _alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    stem_kept = long.startswith(short) and len(short) >= _STEM and len(long) - len(short) <= _ENDING
    return one == other or (stem_kept and not any(letter.isdigit() for letter in long))
