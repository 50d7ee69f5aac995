"""From what the user names to a sorted list of photographs: folder, pattern, file, list of paths, or manifest.

True labels come from a manifest's ``label`` column or from folder names (``labels=``): ``"auto"`` takes the folder name
when every image lies exactly one folder down and there are at least two such folders; ``"folders"`` always takes the
name of the folder an image lies in (none for images at the top); ``"none"`` never. Underscores become spaces and a
leading ``NNN.`` is dropped. They serve evaluation only.

Nothing outside the root is ever opened: a manifest's root is its own folder, a folder's is itself, unless ``root``
names a wider one. What leads out (``..``, absolute paths, symbolic links) is set aside.
"""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from fgvr.data.manifests import MANIFEST_SUFFIXES, Row, read_manifest
from fgvr.data.paths import Fault, Place, clean_id, is_hidden, is_image_name, scan
from fgvr.errors import ManifestError, NoImagesError
from fgvr.images import require_some
from fgvr.types import ImageItem, SetAside

Labels = Literal["auto", "folders", "none"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Items:
    """What an input holds; ``items`` is never empty and sorted by id."""

    items: tuple[ImageItem, ...]
    set_aside: tuple[SetAside, ...]
    root: Path


Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sequence[ImageItem] | Items
"""Any way of naming images."""


def load_items(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Items,
    *,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
    labels: Labels = "auto",
) -> Items:
    """List the images of a folder (recursive), glob pattern, file, list of these, or CSV/TSV/JSONL/Parquet manifest.

    ``split`` keeps a manifest's rows of that split, or a folder's sub-folder of that name. Files are not opened; the
    decoder judges them later. Raises ``ManifestError`` when the source itself cannot be read, ``NoImagesError`` when
    nothing usable is left.
    """
    if labels not in ("auto", "folders", "none"):
        raise ManifestError(f"labels={labels!r} is not known", remedy="Use 'auto', 'folders' or 'none'.")
    if isinstance(source, Items):
        return source if split is None else _only(source, split)
    outer = Path(root).expanduser() if root is not None else None
    if not isinstance(source, (str, os.PathLike)):
        found = _from_list([Path(entry).expanduser() for entry in source], outer, labels)
    else:
        place = Path(source).expanduser()
        if place.suffix.lower() in MANIFEST_SUFFIXES and not place.is_dir():
            found = _from_manifest(place, outer)
            return found if split is None else _only(found, split)
        found = _from_place(place, outer, labels if split is None else "none", split)
        if split is not None:
            return _relabelled(replace(found, items=tuple(replace(i, split=split) for i in found.items)), split, labels)
    return found


def as_items(source: Source) -> Items:
    """Any way of naming images to ``Items``; ready-made ones pass through. Raises as ``load_items`` does."""
    if isinstance(source, Items):
        return source
    if not isinstance(source, (str, os.PathLike)):
        ready = [entry for entry in source if isinstance(entry, ImageItem)]
        if ready and len(ready) == len(source):
            return Items(tuple(ready), (), Path())
        return load_items([entry for entry in source if not isinstance(entry, ImageItem)])
    return load_items(source)


def folder_label(name: str) -> str:
    """``"001.Black_footed_Albatross"`` to ``"Black footed Albatross"``."""
    return " ".join(re.sub(r"^\d+\.", "", name).replace("_", " ").split()) or name


# --- sources ----------------------------------------------------------------------------------------------------------


def _from_place(place: Path, outer: Path | None, labels: Labels, split: str | None) -> Items:
    if place.is_dir():
        if split is not None:
            if not (place / split).is_dir():
                raise ManifestError("this folder has no such split", remedy="Name a sub-folder.", split=split)
            return _collect(scan(place / split, outer or place), place, outer, "none", place)
        return _collect(scan(place, outer or place), place, outer, labels, place)
    if split is not None:
        raise ManifestError("only manifests and folders have splits", remedy="Drop the split.", source=str(place))
    if place.exists() or place.is_symlink():
        return _collect([place], place.parent, outer, "none", place)
    if any(mark in str(place) for mark in "*?["):
        matches = sorted(glob.glob(str(place), recursive=True))
        base = _fixed_part(place)
        images = [Path(m) for m in matches if is_image_name(m) and not is_hidden(m) and not os.path.isdir(m)]
        return _collect(images, base, outer, labels, place)
    raise ManifestError("no such file or folder", remedy="Check the path.", source=str(place))


def _from_list(places: list[Path], outer: Path | None, labels: Labels) -> Items:
    if not places:
        raise NoImagesError("the list of images is empty", remedy="Name at least one image or folder.")
    absolute = [Path(os.path.abspath(place)) for place in places]
    common = Path(os.path.commonpath([p if p.is_dir() else p.parent for p in absolute]))
    entries: list[Path | Fault] = []
    for place in absolute:
        entries.extend(scan(place, outer or place) if place.is_dir() else [place])
    return _collect(entries, common, outer, "folders" if labels == "folders" else "none", f"{len(places)} paths")


def _from_manifest(place: Path, outer: Path | None) -> Items:
    where = Place(outer or place.parent)
    items: list[tuple[ImageItem, str]] = []
    aside: list[SetAside] = []
    for row in read_manifest(place):
        if not isinstance(row, Row):
            aside.append(row)
            continue
        found = where.resolve(row.image, base=place.parent, must_exist=True)
        if isinstance(found, Fault):
            aside.append(SetAside(clean_id(row.image), clean_id(row.image), found.reason, f"row {row.number}"))
        else:
            item = ImageItem(found.id, found.path, row.label, row.accepted, row.split)
            items.append((item, f"row {row.number}"))
    return _finished(items, aside, where.root, place)


def _collect(entries: Iterable[Path | Fault], base: Path, outer: Path | None, labels: Labels, source: object) -> Items:
    where, here = Place(outer or base), Path.cwd()
    items: list[tuple[ImageItem, str]] = []
    aside: list[SetAside] = []
    for entry in entries:
        found = entry if isinstance(entry, Fault) else where.resolve(os.fspath(entry), base=here, must_exist=False)
        if isinstance(found, Fault):
            aside.append(SetAside(found.id, found.id, found.reason, found.detail))
        else:
            items.append((ImageItem(found.id, found.path), ""))
    result = _finished(items, aside, where.root, source)
    return replace(result, items=_with_folder_labels(result.items, Path(os.path.realpath(base)), labels))


# --- finishing --------------------------------------------------------------------------------------------------------


def _finished(items: list[tuple[ImageItem, str]], aside: list[SetAside], root: Path, source: object) -> Items:
    """Sort by id; one item per id, the first wins."""
    kept: list[ImageItem] = []
    ordered = sorted(items, key=lambda pair: pair[0].id)  # stable: the manifest's order within one id
    for _, group in groupby(ordered, key=lambda pair: pair[0].id):
        first, *others = [*group]
        kept.append(first[0])
        for item, origin in others:
            differs = item.label != first[0].label
            detail = f"{origin}: named before" + (f", there with label {first[0].label!r}" if differs else "")
            aside.append(SetAside(item.id, str(item.path), "duplicate", detail.removeprefix(": ")))
    require_some(kept, set_aside=aside, source=source)
    if aside:
        log.info("%d of %d inputs set aside", len(aside), len(aside) + len(kept))
    return Items(tuple(kept), tuple(sorted(aside, key=lambda a: (a.id, a.reason, a.detail))), root)


def _with_folder_labels(items: tuple[ImageItem, ...], base: Path, labels: Labels) -> tuple[ImageItem, ...]:
    if labels == "none":
        return items
    folders = [_below(item.path, base) for item in items]
    if labels == "auto" and (any(len(parts) != 1 for parts in folders) or len({*folders}) < 2):
        return items
    pairs = zip(items, folders, strict=True)
    return tuple(replace(item, label=folder_label(parts[-1])) if parts else item for item, parts in pairs)


def _below(path: Path, base: Path) -> tuple[str, ...]:
    """Folders between ``base`` and the file."""
    try:
        return tuple(clean_id(part) for part in path.relative_to(base).parent.parts)
    except ValueError:  # reached through a link, elsewhere under a wider root
        return path.parent.parts[-1:]


def _relabelled(found: Items, split: str, labels: Labels) -> Items:
    base = next(p for p in (found.root, *found.items[0].path.parents) if (p / split).is_dir()) / split
    return replace(found, items=_with_folder_labels(found.items, base, labels))


def _only(found: Items, split: str) -> Items:
    kept = tuple(item for item in found.items if item.split == split)
    if not kept:
        known = sorted({str(item.split) for item in found.items})
        raise NoImagesError(f"no image is in split {split!r}", remedy=f"The splits are: {', '.join(known)}.")
    return replace(found, items=kept)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob pattern before its first wildcard."""
    parts: Iterator[str] = iter(pattern.parent.parts)
    fixed = []
    for part in parts:
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()
