"""Whether a data set's lists agree with each other: numbers of classes, images a class, labels against folder names.

A list whose labels are off by one reads well and scores at chance. The folder an image lies in says which class it is
of: where the two disagree it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from fgvr.data.benchmarks import names
from fgvr.data.benchmarks.base import Problem
from fgvr.data.benchmarks.coop import CoopRow
from fgvr.data.benchmarks.layout import ClassName, Entry
from fgvr.data.items import folder_label


def classes_of(spelled: Sequence[str], dataset: str) -> tuple[list[ClassName], list[Problem]]:
    """The classes a data set's own list spells, and what is wrong with that list.

    A name that is not known keeps its spelling, without number and underscores.
    """
    found = [names.find_listed(text, dataset) for text in spelled]
    classes = [_class_name(text, listed, dataset) for text, listed in zip(spelled, found, strict=True)]
    return classes, [*_list_problems(spelled, found, dataset)]


def count_problem(count: int, expected: int) -> tuple[Problem, ...]:
    """A problem when a data set has more or fewer classes than distributed."""
    return () if count == expected else (Problem("wrong count", f"{count} classes, {expected} expected"),)


def per_class_problem(entries: Sequence[Entry], bounds: Mapping[str, tuple[int, int]]) -> tuple[Problem, ...]:
    """Classes with more or fewer images in a split than the data set gives every class; ``bounds`` by split."""
    found = []
    for split, (low, high) in bounds.items():
        counts = Counter(entry.label for entry in entries if entry.split == split)
        odd = sorted(label for label, count in counts.items() if not low <= count <= high)
        if odd:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            detail = f"{split}: {counted(len(odd), 'class')} without {wanted} images, the first is number {odd[0] + 1}"
            found.append(Problem("wrong count in classes", detail))
    return tuple(found)


def folder_problem(pairs: Sequence[tuple[str, str]]) -> tuple[Problem, ...]:
    """``pairs``: (class as the label says, class as the file's place says), one an image."""
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    if not wrong:
        return ()
    label, folder = wrong[0]
    detail = f"{len(wrong)} of {len(pairs)} images: one labelled {label!r} lies in {folder!r}"
    return (Problem("labels disagree with folders", detail),)


def coop_problem(rows: Sequence[CoopRow], classes: Sequence[ClassName], dataset: str) -> tuple[Problem, ...]:
    """A problem when the class names in CoOp's file are not those its class numbers stand for here."""
    pairs = {(row.label, row.listed) for row in rows}
    named = [(number, text, names.find_listed(text, dataset)) for number, text in sorted(pairs)]
    wrong = [
        f"class {number} is {text!r} there and {classes[number].name!r} here"
        for number, text, listed in named
        if listed is not None and names.corrected_name(listed, dataset) != classes[number].name
    ]
    return (Problem("labels disagree", f"{counted(len(wrong), 'class')}: {wrong[0]}"),) if wrong else ()


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def _class_name(text: str, listed: str | None, dataset: str) -> ClassName:
    if listed is None:
        plain = folder_label(text)
        return ClassName(plain, plain)
    corrected, *others = names.accepted_names(listed, dataset)
    return ClassName(corrected, names.published_name(listed, dataset), tuple(others))


def _list_problems(spelled: Sequence[str], found: Sequence[str | None], dataset: str) -> Iterator[Problem]:
    unknown = [text for text, listed in zip(spelled, found, strict=True) if listed is None]
    if unknown:
        detail = f"{len(unknown)} of {len(spelled)} are not of this data set, such as {unknown[0]!r}"
        yield Problem("unknown classes", detail)
        return
    own_order = [listed for listed in names.LISTED[dataset] if listed in set(found)]
    if [*found] != own_order:
        yield Problem("classes out of order", "the class list is not in the order it was distributed in")
