"""A file is either the old one or the new one, never half of each: temporary file beside it, fsync, rename, fsync."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgvr.errors import RunError

_HIDDEN = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""Control, format, separator and surrogate characters that ``json`` leaves alone."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on a clean exit it is made durable and takes the name ``path``.

    On any exception the temporary file is removed and ``path`` stays as it was. Raises ``RunError`` when the system
    refuses (disk full, no permission). A kill leaves at most a hidden ``.tmp-*`` file, which nothing reads.
    """
    path = Path(path)
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise write_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a whole file atomically. Raises ``RunError``."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 atomically; lone surrogates (from file names that are not UTF-8) are written as escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write strict JSON atomically. Raises ``TypeError`` or ``ValueError`` (NaN) before anything is touched."""
    write_text(path, json_text(value, indent=2) + "\n")


def json_text(value: object, *, indent: int | None = None) -> str:
    """Strict JSON that a person can read: letters of all scripts as they are, hidden characters as escapes.

    Names and paths may hold bidi marks, terminal commands (U+009B) or lone surrogates; the value read back is the same.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _HIDDEN.sub(lambda found: json.dumps(found.group())[1:-1], text)


def write_error(error: OSError, path: Path) -> RunError:
    """The system's refusal as an error with a remedy."""
    return RunError(
        f"cannot write: {error.strerror or error}",
        remedy="Free some space or choose another folder, then run the same command again; finished work is kept.",
        file=str(path),
    )


def _sync(path: Path) -> None:
    """fsync a file or folder. Some filesystems refuse it for folders; the rename itself still holds there."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError) if is_folder else contextlib.nullcontext():
            os.fsync(handle)
    finally:
        os.close(handle)
