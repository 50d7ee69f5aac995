"""Which data set a folder holds, told by the files every copy of it has.

There is no list of readers: every module of this package with ``NAME``, ``TITLE``, ``MARKS``, ``COUNTS``, ``CLASSES``
and ``read`` is one. A new data set is a new file.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from fgvr.data import benchmarks
from fgvr.data.benchmarks.base import Benchmark
from fgvr.errors import ManifestError

_OF_A_READER = {"NAME", "TITLE", "MARKS", "COUNTS", "CLASSES", "read"}


class Reader(Protocol):
    """A module of this package that reads one data set."""

    NAME: str
    """Short name: ``cub200``."""
    TITLE: str
    """As papers write it."""
    MARKS: tuple[str, ...]
    """Relative paths that every copy of the data set has; ``a|b`` where copies have one or the other."""
    COUNTS: dict[str, int]
    """Images in each official split; ``all`` where there is none."""
    CLASSES: int

    def read(self, folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
        """The data set in ``folder``."""


@dataclass(frozen=True)
class Guess:
    """A data set that a folder resembles."""

    name: str
    title: str
    there: tuple[str, ...]
    """Marks of it that the folder has."""
    lacking: tuple[str, ...]


@cache
def readers() -> dict[str, Reader]:
    """All readers by name, in alphabetical order."""
    found = {}
    for module in pkgutil.iter_modules(benchmarks.__path__, f"{benchmarks.__name__}."):
        loaded = importlib.import_module(module.name)
        if vars(loaded).keys() >= _OF_A_READER:
            found[cast("Reader", loaded).NAME] = cast("Reader", loaded)
    return dict(sorted(found.items()))


def reader(name: str) -> Reader:
    """The reader of a data set. Raises ``ManifestError`` naming the known ones."""
    known = readers()
    if name not in known:
        raise ManifestError(f"no data set is called {name!r}", remedy=f"Known are: {', '.join(known)}.")
    return known[name]


def recognise(folder: str | os.PathLike[str]) -> str | None:
    """Short name of the data set in ``folder`` or, archives being what they are, one folder further down."""
    found = locate(folder)
    return found[0] if found else None


def locate(folder: str | os.PathLike[str], *, name: str | None = None) -> tuple[str, Path] | None:
    """(short name, the folder it starts in): ``folder`` itself or the one folder in it that is a data set's.

    ``name`` looks for that data set only. ``None`` when there is none, or more than one a level further down.
    """
    top = Path(folder).expanduser()
    here = _marked(top, name)
    if here is not None:
        return here, top
    below = [(found, place) for place in _folders(top) if (found := _marked(place, name)) is not None]
    return below[0] if len(below) == 1 else None


def guesses(folder: str | os.PathLike[str]) -> list[Guess]:
    """Data sets some of whose lists ``folder`` has, the likeliest first. Folders alone ("images") suggest nothing."""
    top = Path(folder).expanduser()
    found = []
    for name, known in readers().items():
        ways = {mark: _way(top, mark) for mark in known.MARKS}
        there = tuple(way for way in ways.values() if way is not None)
        if any(os.path.isfile(top / way) for way in there):
            lacking = tuple(mark.partition("|")[0] for mark, way in ways.items() if way is None)
            found.append(Guess(name, known.TITLE, there, lacking))
    return sorted(found, key=lambda guess: (-len(guess.there) / (len(guess.there) + len(guess.lacking)), guess.name))


def read_benchmark(
    folder: str | os.PathLike[str], *, name: str | None = None, split: str = "official", original_names: bool = False
) -> Benchmark:
    """The data set in ``folder``, recognised by its files unless ``name`` says which it is.

    Raises ``ManifestError`` when the folder is of no known data set (with the nearest guess), lacks a list or holds a
    damaged one; ``NoImagesError`` when not one listed image is there.
    """
    top = Path(folder).expanduser()
    if not os.path.isdir(top):
        raise ManifestError("no such folder", remedy="Check the path.", folder=str(folder))
    if name is not None:
        known = reader(name)
        found = locate(top, name=name)
        return known.read(found[1] if found else top, split=split, original_names=original_names)
    found = locate(top)
    if found is None:
        raise unrecognised(top)
    return reader(found[0]).read(found[1], split=split, original_names=original_names)


def resembles(folder: Path) -> bool:
    """Whether ``folder``, which is of no one known data set, holds several, or some lists of one."""
    return bool(_several(folder) or _near(folder))


def unrecognised(folder: Path) -> ManifestError:
    """The error for a folder that is of no known data set: what was looked for, and the nearest guess."""
    several = _several(folder)
    if several:
        names = ", ".join(f"{place.name} ({name})" for name, place in several)
        return ManifestError("there are several data sets in this folder", remedy=f"Name one: {names}.")
    near = _near(folder)
    if near:
        place, guess = near
        message = f"this has {', '.join(guess.there)} but no {', '.join(guess.lacking)}: {guess.title}?"
        remedy = f"Add what is missing, or name the data set (it is called {guess.name})."
        return ManifestError(message, remedy=remedy, folder=str(place))
    looked_for = "; ".join(f"{known.TITLE} ({known.MARKS[0].partition('|')[0]})" for known in readers().values())
    return ManifestError(
        "no known data set is in this folder",
        remedy=f"Looked for: {looked_for}.",
        folder=str(folder),
    )


def _several(folder: Path) -> list[tuple[str, Path]]:
    return [(name, place) for place in _folders(folder) if (name := _marked(place, None)) is not None]


def _near(folder: Path) -> tuple[Path, Guess] | None:
    """The nearest guess and where, the folder itself before those in it."""
    return next(((place, found[0]) for place in (folder, *_folders(folder)) if (found := guesses(place))), None)


def _marked(folder: Path, name: str | None) -> str | None:
    """The data set whose marks are all there; the one with most marks where two are.

    ``os.path`` and not ``Path``: a folder that may not be entered holds nothing we know, and is no error here.
    """
    known = readers().values() if name is None else [reader(name)]
    whole = [each for each in known if all(_way(folder, mark) is not None for mark in each.MARKS)]
    return max(whole, key=lambda each: len(each.MARKS)).NAME if whole else None


def _way(folder: Path, mark: str) -> str | None:
    """The first alternative of a mark that ``folder`` has."""
    return next((way for way in mark.split("|") if os.path.exists(folder / way)), None)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if os.path.isdir(entry))
    except OSError:
        return []
