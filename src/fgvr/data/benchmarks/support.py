"""The images a method starts from, and whether they are test images of a data set: by name, and by content."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.benchmarks.leaks import refuse_test_support, whereabouts
from fgvr.data.items import load_items
from fgvr.data.manifests import MANIFEST_SUFFIXES, Row, read_manifest
from fgvr.errors import ImageError, ManifestError, NoImagesError
from fgvr.images import content_hash
from fgvr.types import ImageItem


@dataclass(frozen=True)
class Support:
    """Images a method starts from."""

    names: tuple[str, ...]
    hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by name, of those that are there."""


def read_support(source: str | os.PathLike[str]) -> Support:
    """A folder of images, a manifest, or a text file of names, one a line; the images need not be there.

    A manifest may be a recording of replies, whose rows have ``image`` too. Raises ``ManifestError`` when it cannot be
    read, ``NoImagesError`` when it names none.
    """
    place = Path(source).expanduser()
    if place.is_dir():
        items = load_items(place, labels="none").items
        return Support(tuple(item.id for item in items), _hashes(items))
    if place.suffix.lower() in MANIFEST_SUFFIXES:
        names = [row.image for row in read_manifest(place) if isinstance(row, Row)]
        hashes: dict[str, str] = {}
        with suppress(NoImagesError):  # a recording names pictures that are elsewhere
            hashes = _hashes(load_items(place).items)
    else:
        names, hashes = _lines(place), {}
    if not names:
        raise NoImagesError("no image is named", remedy="Give one name a line, or a manifest.", source=str(place))
    return Support(tuple(names), hashes)


def support_problems(
    support: Support, benchmark: Benchmark, hashes: Mapping[str, str] | None = None
) -> tuple[Problem, ...]:
    """Support images that are test images, by name and, with the data set's ``hashes`` by id, by content."""
    told = [*refuse_test_support(support.names, benchmark, allowed=True)]
    test = {(hashes or {}).get(item.id): item.id for item in benchmark.items if item.split == "test"}
    same = [(name, test[digest]) for name, digest in sorted(support.hashes.items()) if digest in test]
    if same:
        detail = f"{len(same)} of {len(support.names)} have the bytes of a test image: {same[0][0]} is {same[0][1]}"
        told.append(Problem("support in test split by content", detail))
    unknown = len(whereabouts(support.names, benchmark).unknown)
    if unknown:
        detail = f"{unknown} of {len(support.names)} have no image's name here"
        told.append(Problem("support not found", detail, serious=False))
    return tuple(told)


def _hashes(items: Sequence[ImageItem]) -> dict[str, str]:
    found = {}
    for item in items:
        with suppress(ImageError):
            found[item.id] = content_hash(item.path)
    return found


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        message = f"cannot read the list of images: {error.strerror}"
        raise ManifestError(message, remedy="Check the path.", file=str(file)) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
