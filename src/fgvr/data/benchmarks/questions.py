"""Multiple-choice questions about pictures: what FOCI's and Fine-R1's files hold, in one shape.

A bad row is set aside with its number and the reason; a file without one good row is an error. Pictures are looked for
only when a folder is named, and never outside it.

Files name their pictures by paths of their authors' machines, and Stanford Cars' train and test share file names: a
wrong folder gives other cars under the right names, and chance-level scores. So a picture is taken when its folder's
name and its own agree with the file's; by its name alone only from the very folder the user named, and that is noted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgvr.data.paths import Found, Place, clean_id, scan
from fgvr.errors import ManifestError, NoImagesError
from fgvr.types import SetAside


@dataclass(frozen=True)
class Question:
    """Which of some names a picture shows."""

    id: str
    """The picture's path as the file writes it; no two questions share one."""
    options: tuple[str, ...]
    """As written, in the file's order; some files write underscores for blanks (``names``)."""
    answer: int
    """Position of the true name in ``options``."""
    text: str = ""
    """The question asked; empty where the file gives none."""
    seen: bool | None = None
    """Fine-R1: whether the class was among those trained on; ``None`` elsewhere."""
    path: Path | None = None
    """Where the picture is, once it has been looked for."""

    @property
    def truth(self) -> str:
        """The true name as written."""
        return self.options[self.answer]

    @property
    def names(self) -> tuple[str, ...]:
        """The options with blanks for underscores."""
        return tuple(" ".join(option.replace("_", " ").split()) for option in self.options)


@dataclass(frozen=True)
class Questions:
    """What a file of questions holds; ``questions`` is never empty."""

    questions: tuple[Question, ...]
    """In the file's order."""
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    """What a figure on them must state."""


def question(row: Any, *, image: str, truth: str, text: str | None = None, seen: bool | None = None) -> Question:
    """A question from a JSON object; ``image``, ``truth`` and ``text`` name its keys. Raises ``ValueError``."""
    if not isinstance(row, Mapping):
        raise ValueError("not a JSON object")
    options, true_name = row.get("options"), _filled(row.get(truth), truth)
    if not isinstance(options, Sequence) or isinstance(options, str) or len(options) < 2:
        raise ValueError("options is not a list of two or more names")
    named = tuple(_filled(option, "an option") for option in options)
    if len({*named}) < len(named):
        raise ValueError("an option is listed twice")
    if true_name not in named:
        raise ValueError(f"the true name {true_name!r} is not among the options")
    return Question(
        id=clean_id(_filled(row.get(image), image)),
        options=named,
        answer=named.index(true_name),
        text=_filled(row.get(text), text) if text is not None else "",
        seen=seen,
    )


def collected(rows: Iterable[Question | SetAside], *, source: Path, notes: Sequence[str] = ()) -> Questions:
    """Good rows once each, bad ones set aside. Raises ``ManifestError`` when no row is good."""
    questions: dict[str, Question] = {}
    aside: list[SetAside] = []
    for row in rows:
        if isinstance(row, SetAside):
            aside.append(row)
        elif row.id in questions:
            aside.append(SetAside(row.id, row.id, "duplicate", "an earlier row asks about this picture"))
        else:
            questions[row.id] = row
    if not questions:
        first = f"; first: {aside[0].detail}" if aside else ""
        raise ManifestError(
            f"no usable question in this file ({len(aside)} bad rows{first})",
            remedy="Check that it is a file of questions as published.",
            file=str(source),
        )
    return Questions(tuple(questions.values()), tuple(aside), (*notes, *_position_note([*questions.values()])))


def bad_row(where: str, detail: object) -> SetAside:
    """A row that is no question; ``where`` names it: ``row 12``."""
    return SetAside(where, "", "bad row", f"{where}: {detail}")


def located(found: Questions, folder: Path) -> Questions:
    """Questions with the paths of their pictures below ``folder``; those without one are set aside.

    Reasons: ``missing``; ``ambiguous`` (two pictures fit equally well). Raises ``NoImagesError`` when none is found.
    """
    by_name, root = _pictures(folder), Place(folder).root
    kept: list[Question] = []
    aside: list[SetAside] = []
    by_name_alone = 0
    for each in found.questions:
        best, tail = _best(each.id, by_name)
        usable = [path for path in best if tail > 1 or path.parent == root]
        if len(usable) == 1:
            kept.append(replace(each, path=usable[0]))
            by_name_alone += tail == 1
        else:
            reason = "ambiguous" if len(usable) > 1 or len(best) > 1 else "missing"
            aside.append(SetAside(each.id, each.id, reason, f"{len(best)} pictures of this name, none in its folder"))
    if not kept:
        raise NoImagesError(
            "not one picture of these questions was found",
            remedy="Name the folder that holds the test pictures themselves.",
            folder=str(folder),
            set_aside=len(aside),
        )
    alone = f"{by_name_alone} pictures were found by file name alone: make sure {folder.name} holds the test pictures."
    return Questions(tuple(kept), (*found.set_aside, *aside), (*found.notes, *((alone,) if by_name_alone else ())))


def shuffled(asked: Question, *, seed: int) -> Question:
    """The same question with its options in an order drawn from ``seed`` and its id; the same on every machine.

    FOCI's code shuffles without a seed; Fine-R1's does not shuffle at all.
    """
    keys = [
        hashlib.sha256(f"{seed}\0{asked.id}\0{option}".encode("utf-8", "surrogatepass")).digest()
        for option in asked.options
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return replace(asked, options=tuple(asked.options[i] for i in order), answer=order.index(asked.answer))


def _filled(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is not a text")
    return clean_id(value.strip())


def _position_note(questions: Sequence[Question]) -> tuple[str, ...]:
    if len(questions) > 1 and all(each.answer == 0 for each in questions):
        return ("The true name is the first option in every row: shuffle the options before asking.",)
    return ()


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """Pictures below a folder by file name; what a link leads out to is left out."""
    place = Place(folder)
    found: dict[str, list[Path]] = defaultdict(list)
    for entry in scan(place.root, place.root):
        if isinstance(entry, Path) and isinstance(place.resolve(str(entry), base=place.root, must_exist=True), Found):
            found[entry.name].append(entry)
    return found


def _best(image: str, by_name: Mapping[str, Sequence[Path]]) -> tuple[list[Path], int]:
    """The pictures whose path ends most like ``image``, and how many last parts agree."""
    parts = image.replace("\\", "/").split("/")
    tails = [(_common_tail(path.parts, parts), path) for path in by_name.get(parts[-1], ())]
    longest = max((tail for tail, _ in tails), default=0)
    return [path for tail, path in tails if tail == longest], longest


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
