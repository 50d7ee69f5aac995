"""Guards against test images that a method has seen: by content, by name, and by where a support list lies.

1. *Content.* The same bytes in two splits, or under two class names, whatever the files are called.
2. *Names.* Stanford Cars has ``00001.jpg`` in train and in test: whoever joins by file name alone scores the wrong
   picture. ``by_file_name`` refuses.
3. *Support lists.* FineR's discovery images of Bird-200 are drawn from CUB's test split, and E-FineR, FiNDR and RAR use
   the same ones; those of cars, dogs, flowers and pets come from training images. ``in_split`` tells where a list lies.
   It reads those lists' file names, which carry a class before the data set's own name
   (``105.Horned_Puffin_Horned_Puffin_0050_100645.jpg``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fgvr.data.benchmarks.agreement import counted
from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.errors import EvaluationError, InputError
from fgvr.types import ImageItem


@dataclass(frozen=True)
class Whereabouts:
    """Where the images of a list lie in a data set; all names as they were given."""

    by_split: Mapping[str, tuple[str, ...]]
    ambiguous: tuple[str, ...]
    """Could be an image of more than one split."""
    unknown: tuple[str, ...]
    """Of no image of the data set."""


def content_problems(items: Sequence[ImageItem], hashes: Mapping[str, str]) -> tuple[Problem, ...]:
    """Pictures with the same bytes. ``hashes``: SHA-256 by id; items without one are left out.

    Across splits is serious; under two class names is, too, one of them being wrong; in one class and split is not.
    """
    groups: dict[str, list[ImageItem]] = defaultdict(list)
    for item in items:
        if item.id in hashes:
            groups[hashes[item.id]].append(item)
    same = [group for group in groups.values() if len(group) > 1]
    crossing = [group for group in same if len({item.split for item in group}) > 1]
    rest = [group for group in same if len({item.split for item in group}) == 1]
    torn = [group for group in rest if len({item.label for item in group}) > 1]
    plain = [group for group in rest if len({item.label for item in group}) == 1]
    told = (
        ("same picture in two splits", crossing, True),
        ("same picture in two classes", torn, True),
        ("same picture twice", plain, False),
    )
    return tuple(Problem(kind, _groups(found), serious=serious) for kind, found, serious in told if found)


def file_name_problems(items: Iterable[ImageItem]) -> tuple[Problem, ...]:
    """Tells file names that occur in more than one split; the ids differ, so nothing is wrong until they are joined."""
    splits: dict[str, set[str | None]] = defaultdict(set)
    for item in items:
        splits[_base(item.id)].add(item.split)
    shared = sorted(name for name, found in splits.items() if len(found) > 1)
    if not shared:
        return ()
    detail = f"{counted(len(shared), 'file name')}, such as {shared[0]}: join by id, never by file name"
    return (Problem("same file name in two splits", detail, serious=False),)


def by_file_name(items: Iterable[ImageItem]) -> dict[str, ImageItem]:
    """Items by bare file name. Raises ``InputError`` when two share one, as in Stanford Cars."""
    found: dict[str, ImageItem] = {}
    for item in items:
        other = found.setdefault(_base(item.id), item)
        if other is not item:
            raise InputError(
                "two images have the same file name",
                remedy="Join by id, or take one split at a time.",
                first=other.id,
                second=item.id,
            )
    return found


def whereabouts(names: Sequence[str], benchmark: Benchmark) -> Whereabouts:
    """Where the images called ``names`` (ids, paths, file names, or names of FineR's discovery sets) lie."""
    ids: dict[str, set[str]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for item in benchmark.items:
        ids[item.id.casefold()].add(item.split or "all")
        files[_base(item.id).casefold()].add(item.split or "all")
    found: dict[str, list[str]] = defaultdict(list)
    ambiguous: list[str] = []
    unknown: list[str] = []
    for name in names:
        splits = _splits_of(name.replace("\\", "/").casefold(), ids, files)
        if len(splits) == 1:
            found[next(iter(splits))].append(name)
        else:
            (ambiguous if splits else unknown).append(name)
    return Whereabouts({split: tuple(of) for split, of in sorted(found.items())}, tuple(ambiguous), tuple(unknown))


def in_split(names: Sequence[str], benchmark: Benchmark, *, split: str = "test") -> tuple[str, ...]:
    """Those of ``names`` that are images of ``split``."""
    return tuple(whereabouts(names, benchmark).by_split.get(split, ()))


def refuse_test_support(names: Sequence[str], benchmark: Benchmark, *, allowed: bool = False) -> tuple[Problem, ...]:
    """Raises ``EvaluationError`` when support images are test images; with ``allowed`` they are told instead.

    A name that could be either is told, never taken for harmless.
    """
    where = whereabouts(names, benchmark)
    inside = where.by_split.get("test", ())
    if inside and not allowed:
        raise EvaluationError(
            f"{len(inside)} of {len(names)} support images are test images of {benchmark.title}",
            remedy="Draw the support set from train, leave those images out of the test, or allow it openly.",
            first=inside[0],
        )
    told = []
    if inside:
        detail = f"{len(inside)} of {len(names)} are test images, such as {inside[0]}"
        told.append(Problem("support in test split", detail))
    if where.ambiguous:
        detail = f"{len(where.ambiguous)} names occur in several splits, such as {where.ambiguous[0]}: give ids"
        told.append(Problem("support cannot be placed", detail))
    return tuple(told)


def _splits_of(name: str, ids: Mapping[str, set[str]], files: Mapping[str, set[str]]) -> set[str]:
    parts = name.split("/")
    for start in range(len(parts)):  # any path that ends like an id
        if (found := ids.get("/".join(parts[start:]))) is not None and (start < len(parts) - 1 or len(parts) == 1):
            return found
    for candidate in _file_names(parts[-1]):
        if candidate in files:
            return files[candidate]
    return set()


def _file_names(base: str) -> list[str]:
    """The name itself, then without a discovery set's prefix of number and class, the longest rest first."""
    plain = re.sub(r"^\d{3}\.", "", base)
    ends = [plain[match.end() :] for match in re.finditer("_", plain)]
    return [base, plain, *ends] if plain != base else [base]


def _base(text: str) -> str:
    return text.rpartition("/")[2]


def _groups(found: Sequence[Sequence[ImageItem]]) -> str:
    images = sum(len(group) for group in found)
    first = sorted(item.id for item in found[0])
    return f"{images} files are {counted(len(found), 'picture')}, such as {first[0]} and {first[1]}"
