"""Data sets in the layouts of Hugging Face ``datasets``, read without that package.

1. *Image folders with metadata*: ``metadata.csv`` or ``.jsonl`` in any folder, with ``file_name`` relative to it and a
   label column. A picture that no metadata names has no label.
2. *Split folders*: ``train/<class>/1.jpg``, ``test/<class>/2.jpg``. Without metadata the class folder is the label.
3. *Parquet files with pictures inside*: ``data/train-00000-of-00002.parquet``; see ``fgvr.data.parquet_images``.
4. ``hf:org/name`` or ``hf:org/name@revision``: fetched from the Hub because the user wrote so, then read as above.
   Nothing else in this module touches the network. Python files are not fetched: loading scripts are never run.

Splits come from folder and file names, delimited by anything but letters and digits: ``train``, ``training``; ``val``,
``valid``, ``validation``, ``dev``; ``test``, ``testing``, ``eval``, ``evaluation``. They are called train, val and test
here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fgvr.data.items import Items, folder_label
from fgvr.data.manifests import Row, read_manifest
from fgvr.data.parquet_images import LABEL_COLUMNS, columns_of, readme_class_names, taken_out
from fgvr.data.paths import Fault, Found, Place, clean_id, is_hidden, scan
from fgvr.errors import InputError, ManifestError
from fgvr.images import require_some
from fgvr.types import ImageItem, SetAside

log = logging.getLogger(__name__)

PREFIX = "hf:"
METADATA = ("metadata.csv", "metadata.jsonl")
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}
_MOST_FOLDERS = 64
_MOST_FILES = 8
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)?")


def looks_like(source: str | os.PathLike[str]) -> bool:
    """Whether ``source`` is one of these layouts: an ``hf:`` name, or a folder or Parquet file as described above.

    Touches no network and opens no picture. A Parquet *manifest*, which only names pictures, is not meant.
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        return True
    place = Path(source).expanduser()
    if place.is_file():
        return place.suffix.lower() == ".parquet" and _holds_pictures(place)
    if not place.is_dir():
        return False
    return bool(
        _metadata_files(place)
        or _split_folders(place)
        or any(_holds_pictures(file) for file in _parquet_files(place)[:_MOST_FILES])
    )


def load_hugging_face(source: str | os.PathLike[str], *, out: Path | None, split: str | None = None) -> Items:
    """The pictures of ``source`` with true names and splits.

    Args:
        source: as described above.
        out: where pictures inside Parquet files are written, once; not needed for image folders.
        split: keeps one split (``validation`` and its like mean ``val``); Parquet files of others are not opened.

    Raises ``ManifestError`` when the source cannot be read or fetched or has no such split, ``InputError`` when ``out``
    is needed, ``NoImagesError`` when nothing usable is left.
    """
    wanted = None if split is None else _SPLIT_OF.get(split.lower(), split)
    place = _fetched(source) if isinstance(source, str) and source.startswith(PREFIX) else Path(source).expanduser()
    if not place.exists():
        raise ManifestError("no such file or folder", remedy="Check the path.", source=str(source))
    files = [place] if place.is_file() else _parquet_files(place)
    if place.is_file() or (files and not _metadata_files(place)):
        return _from_parquet(place, files, out, wanted)
    return _from_folder(place, wanted)


def split_of(name: str) -> str | None:
    """``"data/train-00000-of-00002.parquet"`` to ``"train"``: the split that the last part with one names."""
    for part in reversed(name.replace("\\", "/").split("/")):
        found = [_SPLIT_OF[word] for word in re.split(r"[^a-z0-9]+|_", part.lower()) if word in _SPLIT_OF]
        if found:
            return found[0]
    return None


# --- the Hub ----------------------------------------------------------------------------------------------------------


def _fetched(source: str) -> Path:
    """The folder of a data set on the Hub, from the cache or the network. Raises ``ManifestError``."""
    from huggingface_hub import snapshot_download

    name, _, revision = source.removeprefix(PREFIX).partition("@")
    if not _HUB_ID.fullmatch(name):
        raise ManifestError("this is no name of a data set on the Hub", remedy="Write hf:org/name.", source=source)
    log.info("fetching data set %s from the Hugging Face Hub", name)
    try:
        folder = snapshot_download(
            name, repo_type="dataset", revision=revision or None, ignore_patterns=["*.py", "**/*.py"]
        )
    except Exception as error:
        # huggingface_hub lets its HTTP client's connection errors through, whose base class depends on its version.
        first = str(error).strip().partition("\n")[0]
        raise ManifestError(
            f"the data set cannot be fetched: {first or type(error).__name__}",
            remedy="Check the name and the network, or fetch it once while online; gated ones need a token.",
            source=source,
        ) from error
    return Path(folder)


def _outer(folder: Path) -> Path:
    """How far links may lead: the Hub's cache keeps a data set's files beside its snapshots."""
    repository = folder.parent.parent
    in_cache = folder.parent.name == "snapshots" and repository.name.startswith("datasets--")
    return repository if in_cache else folder


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _from_parquet(place: Path, files: Sequence[Path], out: Path | None, wanted: str | None) -> Items:
    if out is None:
        raise InputError(
            "the pictures lie inside Parquet files", remedy="Say where to write them (out).", source=str(place)
        )
    base = place.parent if place.is_file() else place
    names = readme_class_names(base)
    splits = {file: split_of(file.relative_to(base).as_posix()) for file in files}
    if wanted is not None and wanted not in splits.values():
        raise _no_split(wanted, {split or "none" for split in splits.values()}, place)
    items: list[ImageItem] = []
    aside: list[SetAside] = []
    for file in (file for file in files if wanted in (None, splits[file])):
        id_prefix = clean_id(file.relative_to(base).with_suffix("").as_posix())
        try:
            columns = columns_of(file, names)
        except ManifestError as error:
            aside.append(SetAside(id_prefix, str(file), "unreadable", error.message))
            continue
        if columns is None:
            aside.append(
                SetAside(id_prefix, str(file), "not an image", "no column of this Parquet file holds pictures")
            )
            continue
        rows = taken_out(file, columns, id_prefix=id_prefix, split=splits[file], out=out, root=_outer(base))
        for row in rows:
            if isinstance(row, ImageItem):
                items.append(row)
            else:
                aside.append(row)
    return _finished(items, aside, out, place)


def _holds_pictures(file: Path) -> bool:
    """Whether a Parquet file has a column of pictures; one that cannot be read but is named as a split is taken to."""
    try:
        return columns_of(file) is not None
    except ManifestError:
        return split_of(file.name) is not None


def _parquet_files(folder: Path) -> list[Path]:
    """Parquet files in a folder and up to two below (``data/``, ``default/train/``), sorted; none linked from afar."""
    outer = Path(os.path.realpath(_outer(folder)))
    found = [file for near in _near(folder) for file in near.glob("*.parquet") if not is_hidden(file.name)]
    return sorted(file for file in found if file.is_file() and Path(os.path.realpath(file)).is_relative_to(outer))


def _near(folder: Path) -> list[Path]:
    """The folder, its sub-folders and theirs; classes, which are many, are not looked into."""
    below = _folders(folder)
    return [folder, *below, *(deeper for each in below for deeper in _folders(each))]


def _folders(folder: Path) -> list[Path]:
    """Sub-folders, unless there are so many that they are classes."""
    try:
        with os.scandir(folder) as listing:
            found = [Path(entry.path) for entry in listing if entry.is_dir() and not is_hidden(entry.name)]
    except OSError:
        return []
    return found if len(found) <= _MOST_FOLDERS else []


# --- folders ----------------------------------------------------------------------------------------------------------


def _from_folder(folder: Path, wanted: str | None) -> Items:
    where = Place(_outer(folder))
    metadata = _metadata_files(folder)
    named, aside = _from_metadata(folder, metadata, where)
    items = [*named.values()]
    for entry in scan(folder, _outer(folder)):
        found = entry if isinstance(entry, Fault) else where.resolve(str(entry), base=folder, must_exist=False)
        if isinstance(found, Fault):
            aside.append(SetAside(found.id, found.id, found.reason, found.detail))
        elif (key := _key(found, folder)) not in named:
            items.append(_unnamed(key, found, labelled=not metadata))
    splits = {item.split or "none" for item in items}
    if wanted is not None:
        if items and wanted not in splits:
            raise _no_split(wanted, splits, folder)
        items = [item for item in items if item.split == wanted]
    return _finished(items, aside, folder, folder)


def _from_metadata(folder: Path, files: Sequence[Path], where: Place) -> tuple[dict[str, ImageItem], list[SetAside]]:
    """Items by id from the metadata files; the first row that names a picture counts."""
    names = readme_class_names(folder)
    numbered = next((names[column] for column in LABEL_COLUMNS if column in names), ())
    items: dict[str, ImageItem] = {}
    aside: list[SetAside] = []
    for file in files:
        shown = clean_id(file.relative_to(folder).as_posix())
        for row in read_manifest(file, label_columns=LABEL_COLUMNS):
            if not isinstance(row, Row):
                aside.append(replace(row, id=f"{shown}, {row.id}"))
                continue
            found = where.resolve(row.image, base=file.parent, must_exist=True)
            detail = f"{shown}, row {row.number}"
            if isinstance(found, Fault):
                aside.append(SetAside(clean_id(row.image), clean_id(row.image), found.reason, detail))
                continue
            key = _key(found, folder)
            split = _SPLIT_OF.get((row.split or "").lower(), row.split) or _folder_split(key)
            label = _class_name(row.label, numbered)
            if key in items:
                aside.append(SetAside(key, str(found.path), "duplicate", f"{detail}: named before"))
            else:
                items[key] = ImageItem(key, found.path, label, row.accepted, split)
    return items, aside


def _unnamed(key: str, found: Found, *, labelled: bool) -> ImageItem:
    """A picture that no metadata names: its split is a folder and, where there is no metadata, its class too."""
    *folders, _ = key.split("/")
    split = _folder_split(key)
    if split is not None:  # what lies above or is the split's folder is no class; one below may be called "train"
        folders = folders[next(n for n, part in enumerate(folders) if part.lower() in _SPLIT_OF) + 1 :]
    label = folder_label(folders[-1]) if folders and labelled else None
    return ImageItem(key, found.path, label, (), split)


def _folder_split(key: str) -> str | None:
    """The split that one of a picture's folders is named after, as a whole."""
    return next((_SPLIT_OF[part.lower()] for part in key.split("/")[:-1] if part.lower() in _SPLIT_OF), None)


def _class_name(label: str | None, numbered: Sequence[str]) -> str | None:
    if label is not None and label.isascii() and label.isdigit() and int(label) < len(numbered):
        return folder_label(numbered[int(label)])
    return label


def _metadata_files(folder: Path) -> list[Path]:
    return sorted(file for near in _near(folder) for name in METADATA if (file := near / name).is_file())


def _split_folders(folder: Path) -> bool:
    """Whether there are two or more sub-folders, all named as splits and one of them train."""
    below = [entry.name.lower() for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name)]
    return len(below) > 1 and all(name in _SPLIT_OF for name in below) and "train" in map(_SPLIT_OF.get, below)


def _key(found: Found, folder: Path) -> str:
    """An item's id: its path below the data set's folder, also where that lies in the Hub's cache."""
    real = Path(os.path.realpath(folder))
    return clean_id(found.path.relative_to(real).as_posix()) if found.path.is_relative_to(real) else found.id


def _no_split(wanted: str, known: set[str], source: Path) -> ManifestError:
    return ManifestError(
        f"there is no split {wanted!r}", remedy=f"The splits are: {', '.join(sorted(known))}.", source=str(source)
    )


def _finished(items: list[ImageItem], aside: list[SetAside], root: Path, source: Path) -> Items:
    require_some(items, set_aside=aside, source=source)
    if aside:
        log.info("%d of %d inputs set aside", len(aside), len(aside) + len(items))
    ordered = sorted(aside, key=lambda fault: (fault.id, fault.reason, fault.detail))
    return Items(tuple(sorted(items, key=lambda item: item.id)), tuple(ordered), root)
