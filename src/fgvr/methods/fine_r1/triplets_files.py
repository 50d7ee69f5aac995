"""Files of triplets: Parquet as released (EasyR1's layout), and JSON Lines with every field.

Released columns: ``problem`` ("<image> Based on this image, ..."), ``answer``, ``images`` (the anchor: a list of one
picture), ``image_noisy`` (the positive) and ``image_aug`` (the negative). A picture is a struct of ``bytes`` and
``path``, a path, or bytes, with or without a list around it.

1. *Missing positives and negatives.* Where ``image_aug`` is missing, as a column or in a row, the released code
   blackens random patches of the anchor without a word. Here the triplet has no negative, and a note says how many;
   ``mine_triplets(negatives="masked")`` is the same thing by choice. A positive or negative that cannot be used counts
   as missing; an anchor that cannot is a row set aside.
2. *Pictures inside* are written to ``out`` once, named by their content; nothing is decoded here.
3. *Paths* are relative to ``root``, and nothing outside it is taken; without ``root`` they are relative to the file's
   folder and may be absolute, as this module writes them for pictures elsewhere.
4. *More columns.* Ours after the five are ``id``, ``negative_category``, ``super_category``, ``accepted`` and
   ``similarity``; the released code does not look at them. The released file has none: ids are then numbers of rows.

Reason codes of rows set aside: ``bad row``, ``no question``, ``no answer``, ``no image``, ``duplicate id``,
``missing``, ``outside root``, ``url``, ``not an image``, ``too large``, ``unreadable``.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgvr.data.parquet_images import written_picture
from fgvr.data.paths import Fault, Place, clean_id
from fgvr.errors import ImageError, InputError, ManifestError
from fgvr.methods.fine_r1.prompts import TRAIN
from fgvr.methods.fine_r1.triplets import Mined, Triplet
from fgvr.methods.fine_r1.triplets_parquet import MARK, parquet_records, write_parquet
from fgvr.runs import write_text
from fgvr.runs.atomic import json_text
from fgvr.types import SetAside

SUFFIXES = (".jsonl", ".parquet")
_TAGS = TRAIN.partition("{question}")[2].strip()


class BadRowError(ValueError):
    """A row that is no triplet; ``reason`` is its code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


def read_triplets(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, out: str | Path | None = None
) -> Mined:
    """Triplets of a ``.jsonl`` or ``.parquet`` file, in its order.

    Args:
        root: see the module, 3.
        out: folder for pictures inside a Parquet file; needed only for those.

    Raises ``ManifestError`` when the file cannot be read, ``InputError`` for another suffix, for pictures inside
    without ``out`` and when no row is good, ``MissingExtraError`` without pyarrow (Parquet).
    """
    path = Path(path)
    parquet = _suffix(path) == ".parquet"
    base = path.parent if root is None else Path(root)
    pictures = _Pictures(base, None if root is None else Place(base), None if out is None else Path(out))
    good: dict[str, Triplet] = {}
    bad: list[SetAside] = []
    for number, record in (parquet_records if parquet else _jsonl_records)(path):
        try:
            if not isinstance(record, Mapping):
                raise BadRowError("bad row" if isinstance(record, str) else "unreadable", str(record))
            triplet = _triplet(record, pictures, f"{clean_id(path.stem)}/{number - 1:07d}")
            if triplet.id in good:
                raise BadRowError("duplicate id", f"{triplet.id} came before")
        except BadRowError as error:
            bad.append(SetAside(f"row {number}", str(path), error.reason, str(error)))
            continue
        good[triplet.id] = triplet
    if not good:
        tally = ", ".join(f"{reason}: {count}" for reason, count in Counter(one.reason for one in bad).most_common())
        remedy = "Check that it is a file of triplets and that its pictures are where it says."
        raise InputError("no usable triplet in this file", remedy=remedy, file=str(path), set_aside=tally or 0)
    return Mined(tuple(good.values()), tuple(bad), tuple(_notes([*good.values()], pictures.faults)))


def write_triplets(path: str | os.PathLike[str], triplets: Iterable[Triplet], *, embed: bool = False) -> None:
    """Write ``.jsonl`` or ``.parquet`` atomically; paths are relative where they lie below the file's folder.

    ``embed``: put the pictures' bytes into the Parquet file, as released, so that it can be read anywhere.

    Raises ``InputError`` (suffix; no triplet; JSON Lines cannot embed; a picture that cannot be read),
    ``MissingExtraError`` (Parquet), ``RunError`` (disk).
    """
    path = Path(path)
    parquet, kept = _suffix(path) == ".parquet", [*triplets]
    if not kept:
        raise InputError("there is no triplet to write", remedy="Mine some first.", file=str(path))
    if parquet:
        write_parquet(path, [_record(one, path.parent) for one in kept], embed=embed)
    elif embed:
        raise InputError("JSON Lines holds no pictures", remedy="Write .parquet, or paths.", file=str(path))
    else:
        write_text(path, "".join(json_text(_record(one, path.parent)) + "\n" for one in kept))


# --- one row ----------------------------------------------------------------------------------------------------------


@dataclass
class _Pictures:
    """Where the pictures of a file are; ``faults`` counts positives and negatives that could not be used."""

    base: Path
    place: Place | None
    out: Path | None
    faults: Counter[str] = field(default_factory=Counter)

    def required(self, cell: Any) -> Path:
        """The picture of a cell. Raises ``BadRowError``."""
        if isinstance(cell, list):
            if len(cell) > 1:
                raise BadRowError("bad row", f"{len(cell)} pictures in one cell")
            cell = cell[0] if cell else None
        data = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if isinstance(data, bytes) and data:
            return self._written(data)
        named = cell.get("path") if isinstance(cell, Mapping) else cell
        if not named:
            raise BadRowError("no image")
        if not isinstance(named, str):
            raise BadRowError("bad row", f"a picture is {type(named).__name__}")
        return self._found(named)

    def optional(self, cell: Any, what: str) -> Path | None:
        """The picture of a cell, or none; a picture that is named and cannot be used is counted."""
        try:
            return self.required(cell)
        except BadRowError as error:
            if error.reason != "no image":
                self.faults[f"{what}: {error.reason}"] += 1
            return None

    def _written(self, data: bytes) -> Path:
        if self.out is None:
            raise InputError("the pictures lie inside this file", remedy="Say where to write them (out).")
        try:
            return written_picture(data, self.out)
        except ImageError as error:
            raise BadRowError(error.reason, error.message) from error

    def _found(self, named: str) -> Path:
        if self.place is not None:
            found = self.place.resolve(named, base=self.base, must_exist=True)
            if isinstance(found, Fault):
                raise BadRowError(found.reason, found.detail or named)
            return found.path
        if "://" in named or "\0" in named:
            raise BadRowError("url" if "://" in named else "bad row", clean_id(named))
        path = self.base / named
        if not os.path.lexists(path):
            raise BadRowError("missing", clean_id(named))
        return path


def _triplet(row: Mapping[str, Any], pictures: _Pictures, number: str) -> Triplet:
    question = _question(_text(row, "question"))
    category = _text(row, "category", numbers=True)
    if not question or not category:
        raise BadRowError("no answer" if question else "no question")
    return Triplet(
        id=_text(row, "id", numbers=True) or number,
        anchor=pictures.required(row.get("anchor")),
        category=category,
        question=question,
        positive=pictures.optional(row.get("positive"), "positive"),
        negative=pictures.optional(row.get("negative"), "negative"),
        negative_category=_text(row, "negative_category", numbers=True),
        super_category=_text(row, "super_category"),
        accepted=_names(row.get("accepted")),
        similarity=_number(row.get("similarity")),
    )


def _question(problem: str) -> str:
    """The question without picture marks and without the sentence about tags."""
    return " ".join(problem.replace(MARK, " ").split()).removesuffix(_TAGS).strip()


def _text(row: Mapping[str, Any], key: str, *, numbers: bool = False) -> str:
    """A trimmed cell, empty where there is none; ``numbers``: classes and pictures may be called 1, 2, 3."""
    value = row.get(key)
    if value is None:
        return ""
    if numbers and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRowError("bad row", f"{key} is {type(value).__name__}, not text")
    return value.strip()


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRowError("bad row", "accepted is not a list of names")
    return tuple(name for name in value if name.strip())


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadRowError("bad row", "similarity is no number")
    return float(value)


def _record(triplet: Triplet, folder: Path) -> dict[str, Any]:
    return {
        "id": triplet.id,
        "anchor": _shown(triplet.anchor, folder),
        "category": triplet.category,
        "question": triplet.question,
        "positive": triplet.positive and _shown(triplet.positive, folder),
        "negative": triplet.negative and _shown(triplet.negative, folder),
        "negative_category": triplet.negative_category,
        "super_category": triplet.super_category,
        "accepted": list(triplet.accepted),
        "similarity": triplet.similarity,
    }


def _shown(picture: Path, folder: Path) -> str:
    """Relative to ``folder`` where it lies below, so that a folder of triplets and pictures can be moved as one."""
    image, below = Path(os.path.abspath(picture)), Path(os.path.abspath(folder))
    return image.relative_to(below).as_posix() if image.is_relative_to(below) else str(image)


def _notes(triplets: Sequence[Triplet], faults: Counter[str]) -> list[str]:
    notes = []
    alone, lonely = (sum(getattr(one, what) is None for one in triplets) for what in ("positive", "negative"))
    if alone:
        notes.append(f"{alone} of {len(triplets)} rows have no positive (image_noisy).")
    if lonely:
        notes.append(
            f"{lonely} of {len(triplets)} rows have no negative (image_aug): the released code would blacken patches "
            "of the anchor instead; here they have no inter-class term."
        )
    if faults:
        notes.append("Left out: " + ", ".join(f"{count} ({what})" for what, count in sorted(faults.items())) + ".")
    return notes


# --- formats ----------------------------------------------------------------------------------------------------------


def _suffix(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        remedy = f"End the file name in {' or '.join(SUFFIXES)}."
        raise InputError("triplets are kept as JSON Lines or Parquet", remedy=remedy, file=str(path))
    return path.suffix.lower()


def _jsonl_records(path: Path) -> Iterator[tuple[int, object]]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise ManifestError(f"the triplets cannot be read: {error.strerror}", remedy=_REMEDY, file=str(path)) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
            yield number, record if isinstance(record, dict) else "not a JSON object"
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"


_REMEDY = "Give JSON Lines with the fields of a triplet, or Parquet with problem, answer and images."
