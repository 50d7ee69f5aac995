"""``fgvr data check``: what a folder holds, beside what it should hold, and what is wrong.

A published data set is compared with itself as distributed: counts, classes, checksums, images that no list names. Any
other labelled or unlabelled photographs are described: how many, in which splits and classes. Either way every picture
is opened, so that unreadable files and pictures that occur twice are found before a figure depends on them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.agreement import counted
from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.benchmarks.checksums import archive_problems, list_problems
from fgvr.data.benchmarks.leaks import content_problems, file_name_problems
from fgvr.data.benchmarks.pictures import Opened, Progress, open_all
from fgvr.data.benchmarks.plain import describe
from fgvr.data.benchmarks.recognise import Reader, locate, reader, resembles, unrecognised
from fgvr.data.benchmarks.support import Support, support_problems
from fgvr.data.manifests import MANIFEST_SUFFIXES
from fgvr.data.paths import Fault, clean_id, scan
from fgvr.errors import ManifestError, NoImagesError
from fgvr.types import ImageItem, SetAside


@dataclass(frozen=True)
class SplitCount:
    """One split."""

    split: str
    images: int
    """Listed and there."""
    expected: int | None
    """As distributed; ``None`` for photographs that are of no published data set."""
    classes: int


@dataclass(frozen=True)
class Report:
    """What was found."""

    name: str | None
    """Short name of the data set; ``None`` for other photographs."""
    title: str
    root: Path
    split: str
    splits: tuple[SplitCount, ...] = ()
    classes: int = 0
    expected_classes: int | None = None
    corrected: tuple[tuple[str, str], ...] = ()
    """(as in the original list, corrected) of every class whose name was."""
    opened: bool = False
    """Whether every picture was decoded and hashed."""
    problems: tuple[Problem, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def serious(self) -> tuple[Problem, ...]:
        """What makes figures on this folder those of something else."""
        return tuple(problem for problem in self.problems if problem.serious)


def check(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    split: str = "official",
    hashes: bool = True,
    support: Support | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look through a folder, or a manifest of photographs.

    ``name`` says which data set it should be; without it the files tell. ``split``: ``official`` or ``coop``.
    ``hashes``: open every picture. ``support``: images that a method starts from (``support.read_support``); where some
    are test images, that is a serious problem.

    Damaged lists are problems of the report. Raises ``ManifestError`` when the place is missing, or resembles a data
    set without being one; ``NoImagesError`` when it holds no image.
    """
    place = Path(source).expanduser()
    if not place.is_dir() and (name is not None or place.suffix.lower() not in MANIFEST_SUFFIXES):
        raise ManifestError("no such folder", remedy="Give a folder of images or a manifest.", source=str(source))
    benchmark: Benchmark | None
    found = locate(place, name=name) if place.is_dir() else None
    if found is None and name is not None:
        found = (reader(name).NAME, place)
    if found is None:
        if place.is_dir() and resembles(place):
            raise unrecognised(place)
        report, benchmark = _plain_report(place)
    else:
        report, benchmark = _benchmark_report(reader(found[0]), found[1], split=split)
        if hashes:
            report = _worse(report, archive_problems(found[0], found[1]))
    if benchmark is None:
        return report
    opened = open_all(benchmark.items, progress=progress) if hashes else None
    if support is not None:
        report = _worse(report, support_problems(support, benchmark, opened.hashes if opened else None))
    return _with_pictures(report, benchmark.items, opened) if opened else report


# --- published data sets ----------------------------------------------------------------------------------------------


def _benchmark_report(known: Reader, folder: Path, *, split: str) -> tuple[Report, Benchmark | None]:
    """What the lists and names tell, and the images unless a list cannot be read."""
    empty = Report(known.NAME, known.TITLE, folder, split, expected_classes=known.CLASSES)
    sums = list_problems(known.NAME, folder)
    try:
        benchmark = known.read(folder, split=split)
        original = known.read(folder, split=split, original_names=True).classes
    except (ManifestError, NoImagesError) as error:
        kind = "no images" if isinstance(error, NoImagesError) else "unreadable list"
        return _worse(empty, (Problem(kind, str(error)), *sums)), None
    report = replace(
        empty,
        splits=_counts(benchmark.items, _expected(known, split)),
        classes=len(benchmark.classes),
        corrected=tuple((old, new) for old, new in zip(original, benchmark.classes, strict=True) if old != new),
        problems=(*benchmark.problems, *sums, *_unlisted(benchmark), *file_name_problems(benchmark.items)),
        set_aside=benchmark.set_aside,
        notes=benchmark.notes,
    )
    return report, benchmark


def _worse(report: Report, problems: Sequence[Problem]) -> Report:
    return replace(report, problems=(*report.problems, *problems))


def _expected(known: Reader, split: str) -> dict[str, int]:
    return coop.FILES[known.NAME].counts if split == "coop" and known.NAME in coop.FILES else known.COUNTS


def _counts(items: Sequence[ImageItem], expected: Mapping[str, int]) -> tuple[SplitCount, ...]:
    images = Counter(item.split or "all" for item in items)
    classes = Counter(split for split, label in {(item.split or "all", item.label) for item in items} if label)
    names = dict.fromkeys((*expected, *sorted(images)))
    return tuple(
        SplitCount(name, images[name], expected.get(name, 0 if expected else None), classes[name]) for name in names
    )


def _unlisted(benchmark: Benchmark) -> tuple[Problem, ...]:
    """Images in the data set's image folders that no list names."""
    listed = {item.id for item in benchmark.items} | {aside.id for aside in benchmark.set_aside}
    tops = sorted({identity.split("/")[0] for identity in listed if "/" in identity})
    extra = [identity for top in tops for identity in _images_below(benchmark.root, top) if identity not in listed]
    if not extra:
        return ()
    detail = f"{counted(len(extra), 'image')} in no list, such as {extra[0]}"
    return (Problem("unlisted images", detail, serious=False),)


def _images_below(root: Path, top: str) -> Iterable[str]:
    if not (root / top).is_dir() or (root / top).is_symlink():
        return
    for found in scan(root / top, root):
        if not isinstance(found, Fault):
            yield clean_id(os.path.relpath(found, os.path.abspath(root)).replace(os.sep, "/"))


# --- other photographs ------------------------------------------------------------------------------------------------


def _plain_report(place: Path) -> tuple[Report, Benchmark]:
    found = describe(place)
    report = Report(
        None,
        found.what,
        found.root,
        split="as found",
        splits=_counts(found.items, {}),
        classes=len({item.label for item in found.items} - {None}),
        problems=(*found.problems, *file_name_problems(found.items)),
        set_aside=found.set_aside,
        notes=found.notes,
    )
    return report, Benchmark("photographs", found.what, found.root, "as found", found.items, ())


def _with_pictures(report: Report, items: Sequence[ImageItem], opened: Opened) -> Report:
    aside = opened.unreadable
    found = [*content_problems(items, opened.hashes)]
    if aside:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in Counter(each.reason for each in aside).most_common())
        # A published data set should be whole; anyone's own folder may hold a broken file, which every run sets aside.
        serious = report.name is not None or not opened.hashes
        detail = f"{len(aside)} of {len(items)} cannot be read ({reasons})"
        found.insert(0, Problem("unreadable images", detail, serious=serious))
    return replace(_worse(report, found), opened=True, set_aside=(*report.set_aside, *aside))
