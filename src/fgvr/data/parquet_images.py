"""Pictures kept inside Parquet files, as Hugging Face ``datasets`` writes them: taken out once, then files like others.

A picture goes to ``<out>/images/<first two letters>/<SHA-256>.<suffix>``. The name is the content's own digest and the
suffix comes from its first bytes, so that a run that was stopped goes on where it was, two equal pictures are one file,
and nothing is decoded here: ``fgvr.images`` judges later. Row groups are read one after another, a few rows at a time:
memory is that of one row group, not of the file.

What is recognised: an image column (a struct with ``bytes`` and ``path``, or plain binary) and a label column: a
``ClassLabel``, whose names stand in the schema's ``huggingface`` metadata or in the front matter of ``README.md``, or
plain text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.data.items import folder_label
from fgvr.data.paths import Fault, Place, clean_id
from fgvr.errors import ImageError, ManifestError, MissingExtraError
from fgvr.images import DEFAULT_LIMITS
from fgvr.runs.atomic import write_bytes
from fgvr.types import ImageItem, SetAside

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "species", "breed", "name", "target", "cls")
_ROWS_AT_ONCE = 32
# Pages are read as they are needed; without it a whole row group is held beside them.
_BUFFER = 2**20
_README_BYTES = 2**20


@dataclass(frozen=True)
class Columns:
    """Where a Parquet file keeps its pictures and true names."""

    image: str
    label: str | None
    names: tuple[str, ...] = ()
    """Class names by number; empty where labels are text."""


def columns_of(file: Path, readme_names: Mapping[str, Sequence[str]] | None = None) -> Columns | None:
    """The columns of ``file``; ``None`` when it holds no pictures. Raises ``ManifestError`` when it cannot be read."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
    except (OSError, arrow.ArrowException) as error:
        raise ManifestError(f"cannot read this Parquet file: {_why(file, error)}", file=str(file)) from error
    held = [name for name in schema.names if _holds_pictures(arrow, schema.field(name).type)]
    if not held:
        return None
    image = next((name for wanted in IMAGE_COLUMNS for name in held if name.lower() == wanted), held[0])
    known = {**(readme_names or {}), **_schema_names(schema.metadata or {})}
    others = [name for name in schema.names if name not in held]
    label = _label_column(others, known)
    return Columns(image, label, tuple(known.get(label, ())) if label else ())


def taken_out(
    file: Path, columns: Columns, *, id_prefix: str, split: str | None, out: Path, root: Path
) -> Iterator[ImageItem | SetAside]:
    """One item a row, in order, its picture written below ``out``; ids are ``<id_prefix>/<row from 0>``.

    A row without a usable picture or with a class number that does not exist is set aside, and so is what is left of a
    file that breaks off. ``root``: where pictures that are only named by a path must lie.
    """
    arrow, parquet = _pyarrow()
    wanted = [columns.image, *([columns.label] if columns.label else [])]
    where, number = _Places(out, Place(root), file.parent), 0
    try:
        with parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as opened:
            for group in range(opened.num_row_groups):
                for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE, row_groups=[group], columns=wanted):
                    for row in batch.to_pylist():
                        yield _item(row, columns, f"{id_prefix}/{number:07d}", split, where)
                        number += 1
    except (OSError, arrow.ArrowException) as error:
        yield SetAside(id_prefix, str(file), "unreadable", f"from row {number} on: {_why(file, error)}")


def readme_class_names(folder: Path) -> dict[str, tuple[str, ...]]:
    """Class names by column from the front matter of ``README.md``; empty where there are none that can be read."""
    import yaml  # type: ignore[import-untyped]

    readme = folder / "README.md"
    try:
        text = readme.read_bytes()[:_README_BYTES].decode("utf-8", "replace") if readme.is_file() else ""
        if not text.startswith("---"):
            return {}
        front = yaml.safe_load(text[3:].partition("\n---")[0])
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for info in _as_list(_get(front, "dataset_info")):
        for feature in _as_list(_get(info, "features")):
            names = _get(_get(_get(feature, "dtype"), "class_label"), "names")
            ordered = _ordered(names)
            if ordered and isinstance(_get(feature, "name"), str):
                found.setdefault(feature["name"], ordered)
    return found


def suffix_of(data: bytes) -> str | None:
    """The suffix for a picture by its first bytes; ``None`` when it is no picture this package reads."""
    starts = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"qoif": ".qoi"}
    starts |= {b"II*\0": ".tif", b"MM\0*": ".tif", b"\0\0\0\x0cjP  ": ".jp2", b"\xff\x4f\xff\x51": ".j2k"}
    starts |= {f"P{n}".encode() + end: ".ppm" for n in range(1, 7) for end in (b"\n", b" ", b"\r", b"\t")}
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:8] == b"ftyp":
        return ".avif" if data[8:12] in (b"avif", b"avis") else ".heic"
    return next((suffix for start, suffix in starts.items() if data.startswith(start)), None)


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    out: Path
    place: Place
    base: Path


def _item(
    row: Mapping[str, Any], columns: Columns, id_: str, split: str | None, where: _Places
) -> ImageItem | SetAside:
    picture = row[columns.image]
    named = _get(picture, "path")
    shown = clean_id(named) if isinstance(named, str) else id_
    try:
        label = _label(row.get(columns.label) if columns.label else None, columns.names)
        data = picture if isinstance(picture, bytes) else _get(picture, "bytes")
        if isinstance(data, bytes) and data:
            return ImageItem(id_, written_picture(data, where.out), label, (), split)
        return ImageItem(id_, _beside(named, where), label, (), split)
    except ImageError as error:
        return SetAside(id_, shown, error.reason, error.message)


def written_picture(data: bytes, out: Path) -> Path:
    """The file of a picture, written unless it is there. Raises ``ImageError`` for what is no picture."""
    if len(data) > DEFAULT_LIMITS.max_bytes:
        raise ImageError(f"{len(data):,} bytes", reason="too large")
    suffix = suffix_of(data)
    if suffix is None:
        raise ImageError("its first bytes are those of no picture", reason="not an image")
    digest = hashlib.sha256(data).hexdigest()
    path = out / "images" / digest[:2] / f"{digest}{suffix}"
    try:
        there = path.stat().st_size == len(data)
    except OSError:
        there = False
    if not there:
        write_bytes(path, data)
    return path


def _beside(named: Any, where: _Places) -> Path:
    """A picture that the row only names. Raises ``ImageError`` when it is not there, or outside."""
    if not isinstance(named, str) or not named:
        raise ImageError("the row holds no picture", reason="missing")
    found = where.place.resolve(named, base=where.base, must_exist=True)
    if isinstance(found, Fault):
        raise ImageError(found.detail or "no such file", reason=found.reason)
    return found.path


def _label(value: Any, names: Sequence[str]) -> str | None:
    """A true name; ``None`` for none (``-1`` in ``datasets``). Raises ``ImageError`` for a number without a name."""
    if value is None or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ImageError(f"the label is {type(value).__name__}, not a number or a text", reason="bad row")
    if isinstance(value, str):
        return folder_label(clean_id(value)).strip() or None
    if not names:
        return str(value)
    if not 0 <= value < len(names):
        raise ImageError(f"class number {value} of {len(names)}", reason="bad row")
    return folder_label(names[value])


# --- schema -----------------------------------------------------------------------------------------------------------


def _holds_pictures(arrow: Any, kind: Any) -> bool:
    binary = (arrow.types.is_binary, arrow.types.is_large_binary)
    if arrow.types.is_struct(kind):
        fields = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
        return "bytes" in fields and any(check(fields["bytes"]) for check in binary)
    return any(check(kind) for check in binary)


def _schema_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Names of every ``ClassLabel`` in the ``huggingface`` metadata of a schema; empty when it cannot be read."""
    try:
        stated = json.loads(metadata.get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    features = _get(_get(stated, "info"), "features")
    if not isinstance(features, Mapping):
        return {}
    return {name: ordered for name, feature in features.items() if (ordered := _ordered(_get(feature, "names")))}


def _label_column(others: Sequence[str], known: Mapping[str, Sequence[str]]) -> str | None:
    """The label column: a usual name first, then any that has class names."""
    usual = [name for wanted in LABEL_COLUMNS for name in others if name.lower() == wanted]
    named = [name for name in others if name in known]
    both = [name for name in usual if name in named]
    return next(iter([*both, *usual, *named]), None)


def _ordered(names: Any) -> tuple[str, ...]:
    """Class names in order, from a list or from ``{'0': name, ...}``; empty for anything else."""
    if isinstance(names, Mapping):
        by_number = {str(number): name for number, name in names.items()}
        names = [by_number.get(str(number)) for number in range(len(by_number))]
    if not isinstance(names, list) or not all(isinstance(name, (str, int)) for name in names):
        return ()
    return tuple(str(name) for name in names)


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _why(file: Path, error: Exception) -> str:
    try:
        with open(file, "rb") as opened:
            pointer = opened.read(40).startswith(b"version https://git-lfs")
    except OSError:
        pointer = False
    return "it is a Git LFS pointer; fetch the file itself" if pointer else str(error).partition("\n")[0]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="parquet") from error
    return pyarrow, pyarrow.parquet
