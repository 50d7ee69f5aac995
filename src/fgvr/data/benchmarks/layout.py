"""What the readers of published data sets share: reading lists, finding the listed images, putting a ``Benchmark``
together.

A list that is missing or damaged is a ``ManifestError`` that names the file: figures on half a list would be another
data set's. A listed image that is missing, or lies outside the folder, is set aside and told as a problem. Images are
never opened here.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.paths import Fault, Found, Place, clean_id, is_hidden, is_image_name
from fgvr.errors import ManifestError
from fgvr.images import require_some
from fgvr.types import ImageItem, SetAside


@dataclass(frozen=True)
class Entry:
    """One image as a data set's lists name it."""

    image: str
    """Relative to the data set's folder, with forward slashes."""
    label: int
    """Position in the class list, from 0."""
    split: str | None
    """train, val or test; ``None`` where the data set has no division of its own."""


@dataclass(frozen=True)
class ClassName:
    """One class: how it is written here, how the data set writes it, what else counts as right."""

    name: str
    listed: str
    accepted: tuple[str, ...] = ()


# --- lists ------------------------------------------------------------------------------------------------------------


def first_present(folder: Path, *candidates: str) -> Path | None:
    """The first of some relative paths that exists below ``folder``; layouts differ in how archives were unpacked."""
    return next((folder / name for name in candidates if (folder / name).exists()), None)


def require_file(folder: Path, *candidates: str) -> Path:
    """As ``first_present``; raises ``ManifestError`` when none is there."""
    found = first_present(folder, *candidates)
    if found is None:
        raise ManifestError(
            "a list of the data set is missing",
            remedy="Unpack the whole archive; the list is part of it.",
            file=str(folder / candidates[0]),
        )
    return found


def read_text(file: Path) -> str:
    """A list as text; raises ``ManifestError`` when it cannot be read or is no text."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise damaged(file, error.strerror or str(error)) from error
    if b"\0" in data:
        raise damaged(file, "it is not a text file")
    return data.decode("utf-8-sig", "surrogateescape")


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, stripped line) of every line that is not empty; raises ``ManifestError`` for none."""
    lines = [(number, line.strip()) for number, line in enumerate(read_text(file).splitlines(), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if not filled:
        raise damaged(file, "it is empty")
    return iter(filled)


def damaged(file: Path, what: str, *, line: int | None = None) -> ManifestError:
    """The error for a list that is not as distributed."""
    where = {} if line is None else {"line": line}
    return ManifestError(
        f"a list of the data set is damaged: {what}", remedy="Unpack it again.", file=str(file), **where
    )


def words(name: str) -> str:
    """``"apartment_building"`` to ``"apartment building"``."""
    return " ".join(name.replace("_", " ").split())


def list_digest(entries: Iterable[str]) -> str:
    """SHA-256 of a list's entries, one a line: line endings and a missing last one make no difference."""
    return hashlib.sha256("\n".join(entries).encode("utf-8", "surrogateescape")).hexdigest()


def class_list_problems(entries: Sequence[str], *, count: int, sha256: str) -> list[Problem]:
    """Problems when a class list has not ``count`` entries or is not the one distributed (``list_digest``)."""
    if len(entries) != count:
        return [Problem("wrong count", f"{len(entries)} classes, {count} expected")]
    found = list_digest(entries)
    if found == sha256:
        return []
    return [Problem("wrong checksum", f"the class list is not as distributed: {found[:12]}, not {sha256[:12]}")]


# --- images -----------------------------------------------------------------------------------------------------------


class Finder:
    """Finds listed images below a folder. Each folder is read once; links are followed and must end inside.

    A file whose name differs from the listed one in capitals only is taken for it where it is the only one: copies of
    UCF-101 have ``v_HandStandPushups`` as the lists do, or ``v_HandstandPushups``.
    """

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self._plain: dict[str, frozenset[str]] = {}
        self._folded: dict[str, dict[str, list[str]]] = {}

    def find(self, image: str) -> Found | Fault:
        """``image`` relative to the folder, with forward slashes."""
        parent, _, name = image.rpartition("/")
        if name in self._plain_files(parent):
            return Found(clean_id(image), self.place.root / image)
        found = self.place.resolve(image, base=self.place.root, must_exist=True)
        if isinstance(found, Fault) and found.reason == "missing":
            alike = self._alike(parent, name)
            if len(alike) == 1:
                other = f"{parent}/{alike[0]}" if parent else alike[0]
                return Found(clean_id(other), self.place.root / other)
        return found

    def _alike(self, parent: str, name: str) -> list[str]:
        """Files of a folder that are called ``name`` but for capitals."""
        if parent not in self._folded:
            self._folded[parent] = {}
            for each in self._plain_files(parent):
                self._folded[parent].setdefault(each.casefold(), []).append(each)
        return self._folded[parent].get(name.casefold(), [])

    def _plain_files(self, parent: str) -> frozenset[str]:
        """Names of the regular files in a folder inside the root; what is a link goes the slow way."""
        if parent not in self._plain:
            self._plain[parent] = self._listed(parent)
        return self._plain[parent]

    def _listed(self, parent: str) -> frozenset[str]:
        if parent != os.path.normpath(parent or ".").removeprefix(".") or "\\" in parent:
            return frozenset()  # not in its simplest form: every name in it is resolved
        where = self.place.resolve(parent or ".", base=self.place.root, must_exist=True)
        if isinstance(where, Fault):
            return frozenset()
        try:
            with os.scandir(where.path) as listing:
                return frozenset(entry.name for entry in listing if entry.is_file(follow_symlinks=False))
        except OSError:
            return frozenset()


def list_folders(
    folder: Path, images: Path, *, only: Iterable[str], split: str | None = None
) -> tuple[list[str], list[Entry]]:
    """Class folders below ``images`` in alphabetical order, of those in ``only``, and the images directly in them."""
    wanted = {*only}
    below = images.relative_to(folder).as_posix().removeprefix(".")
    names = [name for name in file_names(images, folders=True) if name in wanted]
    return names, [
        Entry("/".join(part for part in (below, name, image) if part), index, split)
        for index, name in enumerate(names)
        for image in file_names(images / name)
    ]


def file_names(folder: Path, *, folders: bool = False) -> list[str]:
    """Names of the images (or sub-folders) directly in a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(folder) as listing:
            return sorted(
                entry.name
                for entry in listing
                if not is_hidden(entry.name) and (entry.is_dir() if folders else is_image_name(entry.name))
            )
    except OSError:
        return []


def per_class_problems(names: Sequence[str], entries: Iterable[Entry], expected: Mapping[str, int]) -> list[Problem]:
    """A problem for every class that has not as many images as it should; ``expected`` by class folder."""
    found = Counter(names[entry.label] for entry in entries)
    return [
        Problem("wrong count", f"{name}: {found[name]} images, {count} expected")
        for name, count in expected.items()
        if found[name] != count
    ]


# --- the whole --------------------------------------------------------------------------------------------------------


def assemble(
    folder: Path,
    entries: Iterable[Entry],
    *,
    name: str,
    title: str,
    split: str,
    classes: Sequence[ClassName],
    counts: Mapping[str, int],
    original_names: bool,
    notes: Sequence[str] = (),
    problems: Sequence[Problem] = (),
) -> Benchmark:
    """The data set as it lies in ``folder``, from its lists.

    ``counts``: images expected in each split (``"all"`` where there are no splits). Raises ``NoImagesError`` when not
    one listed image is there.
    """
    listed = list(entries)
    items, aside, twice = _resolved(folder, listed, _names(classes, original_names))
    require_some(items, set_aside=aside, source=folder)
    missing = Counter(fault.reason for fault in aside)
    found = [*problems, *_count_problems(listed, counts), *_name_problems(classes, original_names), *twice]
    if missing["missing"]:
        found.append(Problem("missing images", f"{missing['missing']} of {len(listed)} listed images are not there"))
    if missing["outside root"]:
        found.append(Problem("outside root", f"{missing['outside root']} listed images lie outside the folder"))
    which = "the original list" if original_names else "corrected; the original list under a flag"
    return Benchmark(
        name=name,
        title=title,
        root=folder,
        split=split,
        items=tuple(sorted(items, key=lambda item: item.id)),
        classes=tuple(entry.listed if original_names else entry.name for entry in classes),
        problems=tuple(found),
        set_aside=tuple(sorted(aside, key=lambda fault: (fault.id, fault.reason, fault.detail))),
        notes=(f"Class names: {which}.", *notes),
    )


def _names(classes: Sequence[ClassName], original: bool) -> list[tuple[str, tuple[str, ...]]]:
    """(label, further names) of each class; a further name that two classes share would be right for the wrong one."""
    groups = [dict.fromkeys((c.listed if original else c.name, c.name, c.listed, *c.accepted)) for c in classes]
    bearers = Counter(key for group in groups for key in {name.casefold() for name in group})
    return [
        (next(iter(group)), tuple(name for name in [*group][1:] if bearers[name.casefold()] == 1)) for group in groups
    ]


def _resolved(
    folder: Path, entries: Sequence[Entry], names: Sequence[tuple[str, tuple[str, ...]]]
) -> tuple[list[ImageItem], list[SetAside], list[Problem]]:
    finder = Finder(folder)
    items: dict[str, ImageItem] = {}
    aside: list[SetAside] = []
    crossing: list[str] = []
    for entry in entries:
        found = finder.find(entry.image)
        if isinstance(found, Fault):
            aside.append(SetAside(found.id, found.id, found.reason, found.detail))
            continue
        label, accepted = names[entry.label]
        item = ImageItem(found.id, found.path, label, accepted, entry.split)
        first = items.setdefault(item.id, item)
        if first is not item:
            aside.append(SetAside(item.id, str(item.path), "duplicate", f"also in {item.split} as {item.label!r}"))
            if first.split != item.split:
                crossing.append(item.id)
    shown = f"{len(crossing)} images, such as {crossing[0]}" if crossing else ""
    return [*items.values()], aside, [Problem("in two splits", shown)] if crossing else []


def _count_problems(entries: Sequence[Entry], counts: Mapping[str, int]) -> Iterator[Problem]:
    found = Counter(entry.split or "all" for entry in entries)
    for split in dict.fromkeys((*counts, *found)):
        if found[split] != counts.get(split, 0):
            yield Problem("wrong count", f"{split}: {found[split]} images listed, {counts.get(split, 0)} expected")


def _name_problems(classes: Sequence[ClassName], original: bool) -> Iterator[Problem]:
    bearers = Counter((entry.listed if original else entry.name).casefold() for entry in classes)
    shared = sorted(name for name, count in bearers.items() if count > 1)
    if shared:
        yield Problem("two classes share a name", ", ".join(shared), serious=False)
