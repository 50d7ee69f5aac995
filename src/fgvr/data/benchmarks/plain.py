"""Photographs that are of no published data set: a folder, folders of classes, folders of splits, a manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fgvr.data.benchmarks.base import Problem
from fgvr.data.items import load_items
from fgvr.data.manifests import MANIFEST_SUFFIXES
from fgvr.errors import NoImagesError
from fgvr.types import ImageItem, SetAside

SPLIT_FOLDERS = ("train", "training", "val", "valid", "validation", "test", "testing", "support")


@dataclass(frozen=True)
class Photographs:
    """What such an input holds; ``items`` is never empty."""

    what: str
    """In words: ``folder of images, one folder a class``."""
    root: Path
    items: tuple[ImageItem, ...]
    set_aside: tuple[SetAside, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def describe(place: Path) -> Photographs:
    """Raises ``NoImagesError`` when nothing usable is there, ``ManifestError`` when a manifest cannot be read."""
    manifests = [place / f"manifest{ending}" for ending in MANIFEST_SUFFIXES if (place / f"manifest{ending}").is_file()]
    if not place.is_dir() or len(manifests) == 1:
        found = load_items(manifests[0] if manifests else place)
        what = f"folder with a manifest ({manifests[0].name})" if manifests else "manifest of images"
        return _described(what, found.root, found.items, found.set_aside)
    parts = [part for part in SPLIT_FOLDERS if (place / part).is_dir()]
    if len(parts) < 2:
        found = load_items(place)
        labelled = any(item.label is not None for item in found.items)
        what = "folder of images, one folder a class" if labelled else "folder of images without labels"
        return _described(what, found.root, found.items, found.set_aside)
    items: list[ImageItem] = []
    aside: list[SetAside] = []
    empty: list[str] = []
    for part in parts:
        try:
            found = load_items(place, split=part)
        except NoImagesError:
            empty.append(part)
            continue
        items += found.items
        aside += found.set_aside
    if not items:
        raise NoImagesError("no usable image was left", remedy="Check the folder.", source=str(place))
    gone = tuple(Problem("empty split", f"folder {part} holds no image") for part in empty)
    what = f"folders of splits ({', '.join(parts)})"
    return _described(what, place, tuple(sorted(items, key=lambda item: item.id)), tuple(aside), gone)


def _described(
    what: str,
    root: Path,
    items: tuple[ImageItem, ...],
    aside: tuple[SetAside, ...],
    problems: tuple[Problem, ...] = (),
) -> Photographs:
    return Photographs(what, root, items, aside, (*problems, *_unseen_classes(items)), _notes(items))


def _unseen_classes(items: tuple[ImageItem, ...]) -> tuple[Problem, ...]:
    """Classes of test images that no training image has: right for open-world figures, a mistake for others."""
    training = {item.label for item in items if item.split in ("train", "training", "support")}
    tested = {item.label for item in items if item.split in ("test", "testing")} - {None}
    new = sorted(str(label) for label in tested - training)
    if not training - {None} or not new:
        return ()
    detail = f"{len(new)} classes of the test images have no training image, such as {new[0]!r}"
    return (Problem("classes only in test", detail, serious=False),)


def _notes(items: tuple[ImageItem, ...]) -> tuple[str, ...]:
    labels = Counter(item.label for item in items if item.label is not None)
    unlabelled = len(items) - labels.total()
    if not labels:
        folders = {item.id.rpartition("/")[0] for item in items}
        deeper = f"They lie in {len(folders)} folders: if these are classes, name the folder right above them."
        return ("No labels: names can be found, but not scored.", *((deeper,) if len(folders) > 1 else ()))
    least, most = min(labels.values()), max(labels.values())
    notes = [f"Images a class: {least} to {most}."]
    if unlabelled:
        notes.append(f"{unlabelled} images have no label.")
    return tuple(notes)
