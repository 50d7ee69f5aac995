"""Where a named file really is, and whether that is inside the root it must stay in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff"),
        *("ppm", "pgm", "pbm", "pnm", "avif", "jp2", "j2k", "ico", "qoi", "heic", "heif"),
    )
)
"""Files so named are handed to the decoder, which judges by content (HEIC is set aside there, with a reason)."""


@dataclass(frozen=True)
class Found:
    """A file inside its root."""

    id: str
    path: Path


@dataclass(frozen=True)
class Fault:
    """A name that leads to no usable file."""

    id: str
    reason: str
    detail: str = ""


class Place:
    """Resolves names against one root; symbolic links are followed and must end inside."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._lexical = Path(os.path.abspath(root))

    def resolve(self, name: str, *, base: Path, must_exist: bool) -> Found | Fault:
        """``name`` relative to ``base`` or absolute; ids are relative to the root, with forward slashes."""
        if "://" in name:
            return Fault(clean_id(name), "url", "only local files are read")
        if not _possible(name):
            return Fault(clean_id(name), "bad row", "no file can have this name")
        path = Path(os.path.abspath(base / name))
        if must_exist and "\\" in name and not path.exists():
            path = Path(os.path.abspath(base / name.replace("\\", "/")))
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.root):
            return Fault(clean_id(name), "outside root", "the path leads out of its root folder")
        if must_exist and not os.path.lexists(path):
            return Fault(clean_id(name), "missing")
        for root in (self._lexical, self.root):
            if path.is_relative_to(root):  # keep the user's own spelling where it stays under the root
                return Found(clean_id(path.relative_to(root).as_posix()), self.root / path.relative_to(root))
        return Found(clean_id(real.relative_to(self.root).as_posix()), real)


def scan(folder: Path, root: Path) -> Iterator[Path | Fault]:
    """Files named like images below ``folder``, sorted; hidden ones are skipped.

    A linked folder is entered when it leads outside ``folder`` but not outside ``root`` (and only once); one that leads
    back into ``folder`` is skipped, being reached anyway; one that leads outside ``root`` is a ``Fault``.
    """
    top, limit = os.path.realpath(folder), os.path.realpath(root)
    yield from _scan(os.path.abspath(folder), Path(top), Path(limit), {top})


def _scan(folder: str, top: Path, limit: Path, entered: set[str]) -> Iterator[Path | Fault]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Fault(clean_id(folder), "unreadable folder", error.strerror or str(error))
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(entry.path, top, limit, entered)
        elif entry.is_symlink() and os.path.isdir(entry.path):
            real = Path(os.path.realpath(entry.path))
            if real.is_relative_to(top) or str(real) in entered:
                continue
            if not real.is_relative_to(limit) or top.is_relative_to(real):
                yield Fault(clean_id(os.path.relpath(entry.path, top)), "outside root", "a link to a folder elsewhere")
                continue
            entered.add(str(real))
            yield from _scan(entry.path, top, limit, entered)
        elif is_image_name(entry.name):
            yield Path(entry.path)


def is_image_name(name: str) -> bool:
    """Whether the suffix, in any case, is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_hidden(name: str) -> bool:
    """Dot files and the folders that archives from other systems leave behind."""
    last = os.path.basename(name)
    return last.startswith(".") or last == "__MACOSX"


def clean_id(name: str) -> str:
    """Valid Unicode for any file name: bytes that are not UTF-8 become escapes, NUL too."""
    try:
        data = os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate out of JSON, not out of a file name
        data = name.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _possible(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False
