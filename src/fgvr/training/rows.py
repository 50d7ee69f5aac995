"""Training rows: pictures, a prompt, the answer to be learned; from ShareGPT JSON or JSON Lines, checked one by one.

ShareGPT (what the released LLaVA, Finedefics and Fine-R1 data use): a list of ``{"image": path or "images": [paths],
"conversations": [{"from": "human", "value": "<image>\\n..."}, {"from": "gpt", "value": "..."}]}``, or, as Fine-R1's,
``"messages": [{"role": "user", "content": "<image>..."}, {"role": "assistant", "content": "..."}]``. JSON Lines: one
``{"image" or "images", "prompt", "answer"}`` a line, optionally ``id``, ``system`` and ``meta``.

1. *Where pictures stand.* ``<image>`` marks in a text are counted (as many as pictures, or none at all) and removed:
   the model's chat template puts the pictures first, in training as in use.
2. *One turn.* A conversation of several turns is set aside: these methods ask one question.

Reason codes of rows set aside: ``bad row``, ``several turns``, ``empty prompt``, ``empty answer``, ``image marks``,
``duplicate id``, and those of ``fgvr.images`` (``missing``, ``truncated``, ...).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, ManifestError
from fgvr.runs import write_json, write_text
from fgvr.runs.atomic import json_text
from fgvr.types import ImageItem, SetAside

MARK = "<image>"
_HUMAN, _MODEL = ("human", "user"), ("gpt", "assistant", "model")
_TURNS = {"conversations": ("from", "value"), "messages": ("role", "content")}


@dataclass(frozen=True)
class TrainingRow:
    """One question about zero or more pictures, and its answer."""

    id: str
    images: tuple[Path, ...]
    prompt: str
    """Without picture marks."""
    answer: str
    system: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """JSON-like, for whoever reads the file; training does not look at it."""


@dataclass(frozen=True)
class TrainingRows:
    """What a file holds; ``rows`` is never empty."""

    rows: tuple[TrainingRow, ...]
    set_aside: tuple[SetAside, ...] = ()


class _BadRowError(ValueError):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


def read_rows(path: str | Path, *, root: str | Path | None = None) -> TrainingRows:
    """Rows of a ``.json`` (ShareGPT) or ``.jsonl`` file; pictures relative to ``root`` (default: the file's folder).

    Pictures are not opened here: ``readable_rows`` does. Raises ``ManifestError`` when the file cannot be read,
    ``InputError`` when no row is good.
    """
    path = Path(path)
    base = Path(root) if root is not None else path.parent
    good: list[TrainingRow] = []
    bad: list[SetAside] = []
    seen: set[str] = set()
    for number, record in enumerate(_records(path), start=1):
        try:
            row = _row(record, number, base)
            if row.id in seen:
                raise _BadRowError("duplicate id", f"{row.id} came before")
        except _BadRowError as error:
            bad.append(SetAside(f"row {number}", str(path), error.reason, str(error)))
            continue
        seen.add(row.id)
        good.append(row)
    return TrainingRows(require_rows(good, bad, source=path), tuple(bad))


def readable_rows(rows: Sequence[TrainingRow], *, threads: int | None = None) -> TrainingRows:
    """``rows`` whose pictures can all be decoded; every picture is opened once. Raises ``InputError`` when none is."""
    from fgvr.images import decode_all

    wanted = dict.fromkeys(picture for row in rows for picture in row.images)
    items = [ImageItem(str(path), path) for path in wanted]
    faults = {
        item.path: result
        for item, result in decode_all(items, threads=threads, side=64)
        if isinstance(result, SetAside)
    }
    bad = [
        SetAside(row.id, fault.path, fault.reason, fault.detail)
        for row in rows
        for fault in [next((faults[path] for path in row.images if path in faults), None)]
        if fault is not None
    ]
    left_out = {aside.id for aside in bad}
    return TrainingRows(require_rows([row for row in rows if row.id not in left_out], bad), tuple(bad))


def require_rows(
    good: Sequence[TrainingRow], set_aside: Sequence[SetAside] = (), *, source: object = ""
) -> tuple[TrainingRow, ...]:
    """``good`` itself; ``InputError`` with a tally of reasons when it is empty."""
    if good:
        return tuple(good)
    tally = ", ".join(f"{reason}: {count}" for reason, count in Counter(one.reason for one in set_aside).most_common())
    raise InputError(
        "no usable training row was left",
        remedy="Check the file and the reasons.",
        **({"source": str(source)} if str(source) else {}),
        set_aside=f"{len(set_aside)} [{tally}]" if set_aside else 0,
    )


def write_rows(path: str | Path, rows: Iterable[TrainingRow]) -> None:
    """Write ``.jsonl`` (everything) or ``.json`` (ShareGPT: without ``system`` where there is none), atomically."""
    path = Path(path)
    if path.suffix == ".json":
        write_json(path, [_sharegpt(row) for row in rows])
    else:
        write_text(path, "".join(json_text(_record(row)) + "\n" for row in rows))


# --- one record -------------------------------------------------------------------------------------------------------


def _record(row: TrainingRow) -> dict[str, Any]:
    pictures = [str(path) for path in row.images]
    record = {**asdict(row), "images": pictures, "meta": dict(row.meta)}
    if len(pictures) == 1:
        record = {"id": row.id, "image": record.pop("images")[0], **{k: v for k, v in record.items() if k != "id"}}
    return {key: value for key, value in record.items() if key not in ("system", "meta") or value}


def _sharegpt(row: TrainingRow) -> dict[str, Any]:
    marks = f"{MARK}\n" * len(row.images)
    turns = [{"from": "human", "value": marks + row.prompt}, {"from": "gpt", "value": row.answer}]
    if row.system:
        turns.insert(0, {"from": "system", "value": row.system})
    pictures = [str(path) for path in row.images]
    shown = {"image": pictures[0]} if len(pictures) == 1 else {"images": pictures}
    return {"id": row.id, **shown, "conversations": turns}


def _row(record: object, number: int, base: Path) -> TrainingRow:
    if not isinstance(record, Mapping):
        raise _BadRowError("bad row", "not an object")
    form = next((name for name in _TURNS if name in record), None)
    system, prompt, answer = _turns(record, form) if form else _plain(record)
    pictures = _pictures(record)
    marks = prompt.count(MARK)
    if marks not in (0, len(pictures)):
        raise _BadRowError("image marks", f"{marks} marks for {len(pictures)} pictures")
    prompt = prompt.replace(f"{MARK}\n", "").replace(MARK, "").strip()
    for name, text in (("prompt", prompt), ("answer", answer.strip())):
        if not text:
            raise _BadRowError(f"empty {name}")
    meta = record.get("meta")
    return TrainingRow(
        id=str(record.get("id", f"row-{number}")),
        images=tuple(base / picture for picture in pictures),
        prompt=prompt,
        answer=answer.strip(),
        system=system or None,
        meta=dict(meta) if isinstance(meta, Mapping) else {},
    )


def _turns(record: Mapping[str, Any], form: str) -> tuple[str | None, str, str]:
    """(system, prompt, answer) of a ShareGPT record; ``form`` is one of ``_TURNS``."""
    turns, (speaker, said_in) = record[form], _TURNS[form]
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise _BadRowError("bad row", f"{form} is not a list of turns")
    said = [(str(turn.get(speaker)), _text(turn.get(said_in), said_in)) for turn in turns]
    system = said.pop(0)[1] if said and said[0][0] == "system" else None
    if len(said) > 2:
        raise _BadRowError("several turns", f"{len(said)} turns")
    if len(said) < 2 or said[0][0] not in _HUMAN or said[1][0] not in _MODEL:
        raise _BadRowError("bad row", "not one question and one answer")
    return system, said[0][1], said[1][1]


def _plain(record: Mapping[str, Any]) -> tuple[str | None, str, str]:
    system = record.get("system")
    said = _text(record.get("prompt"), "prompt"), _text(record.get("answer"), "answer")
    return (_text(system, "system") if system is not None else None), *said


def _pictures(record: Mapping[str, Any]) -> list[str]:
    given = record.get("images", record.get("image"))
    listed = given if isinstance(given, list) else [] if given is None else [given]
    if not all(isinstance(path, str) and path.strip() and "\0" not in path for path in listed):
        raise _BadRowError("bad row", "a picture is not a path")
    return listed


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _BadRowError("bad row", f"{name} is not text")
    return value


def _records(path: Path) -> Iterator[object]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"the training rows cannot be read: {error}", remedy=_REMEDY, file=str(path)) from error
    if path.suffix == ".json":
        try:
            records = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"this is not JSON: {error}", remedy=_REMEDY, file=str(path)) from error
        if not isinstance(records, list):
            raise ManifestError("this is not a list of conversations", remedy=_REMEDY, file=str(path))
        yield from records
        return
    for line in filter(str.strip, text.split("\n")):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield None


_REMEDY = "Give ShareGPT JSON (a list), or JSON Lines with image, prompt and answer."
