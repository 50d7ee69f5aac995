"""Recorded replies in place of a model: ``replay:FILE.jsonl``.

One row an image: ``{"image": ..., "model": ..., "reply": ..., "alternatives": [[name, score], ...]}``; further fields
are ignored. An item is matched by its exact id first, then by the longest path ending that fits exactly one row. The
question asked is not looked at: whoever replays must know which prompt the replies answer.

Where several samples are asked for, a row with ``"samples": ["a reply", {"text": ..., "logprob": ..., "finish": ...}]``
answers with the first so many of them, and with the likeliest in place of ``reply``. Without that field, alternatives
with scores in (0, 1] are replies of that probability. Other rows answer as ever.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, MllmError
from fgvr.mllm.base import BY_ITEM, Reply, Request, Sample
from fgvr.mllm.samples import likeliest
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage


@dataclass(frozen=True)
class Recorded:
    """One row of a recording."""

    image: str
    reply: str
    model: str
    confidence: float | None
    """Score of the first alternative where the recording has scores in [0, 1]."""
    samples: tuple[Sample, ...] = ()
    """Several replies to the same question, where they were recorded."""


class ReplayMllm:
    """Answers from a recording. Free, local, deterministic; generates nothing and scores no options."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data, rows = _read(path)
        self._exact = {row.image: row for row in rows}
        self._endings = _by_ending(rows)
        models = sorted({row.model for row in rows})
        self.name = f"replay:{models[0]}" if len(models) == 1 else f"replay:{path.name}"
        self.revision = hashlib.sha256(data).hexdigest()[:16]
        self.preprocessing = BY_ITEM
        self.batch_size = 64
        self.local = True
        self.supports_options = False

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """The recorded replies. Raises ``MllmError`` for an item the recording lacks."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply:
        if request.options:
            raise MllmError("a recording cannot score options", remedy="Use a model.", item=request.item_id)
        row = self._find(request)
        samples = row.samples[: request.parameters.samples] if request.parameters.samples > 1 else ()
        chosen = samples[likeliest(samples)] if samples else Sample(row.reply)
        usage = Usage(
            calls=1,
            input_tokens=likely_input_tokens(request, row.model),
            output_tokens=sum(text_tokens(sample.text) for sample in samples or (chosen,)),
        )
        return Reply(
            item_id=request.item_id,
            text=chosen.text,
            model=row.model,
            usage=usage,
            confidence=None if samples else row.confidence,
            finish=chosen.finish,
            usage_estimated=True,
            samples=samples,
        )

    def _find(self, request: Request) -> Recorded:
        named = [request.item_id, *(path.as_posix() for path in request.images[:1])]
        wanted = [name.replace("\\", "/") for name in named]  # as the recording's rows are read
        for name in wanted:
            if name in self._exact:
                return self._exact[name]
        for name in wanted:
            for ending in _endings(name):
                rows = self._endings.get(ending, [])
                if len(rows) == 1:
                    return rows[0]
                if rows:
                    raise MllmError(
                        f"{len(rows)} recorded replies fit",
                        remedy="Use item ids that equal the recording's image field.",
                        item=request.item_id,
                        file=self.path,
                    )
        raise MllmError(
            "no recorded reply", remedy="Record this image or leave it out.", item=request.item_id, file=self.path
        )


def _read(path: Path) -> tuple[bytes, list[Recorded]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError("the recording cannot be read", remedy="Check the path.", file=path, reason=error) from error
    rows = [_row(line, path, number) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
    if not rows:
        raise InputError("the recording is empty", remedy="Check the path.", file=path)
    return data, rows


def _row(line: bytes, path: Path, number: int) -> Recorded:
    try:
        row = json.loads(line)
        if not isinstance(row["reply"], str):
            raise TypeError("reply is not a string")
        image = str(row["image"]).replace("\\", "/")
        return Recorded(image, row["reply"], str(row.get("model", "recorded")), _first_score(row), _samples(row))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "a recorded row cannot be read",
            remedy='Each line must be JSON like {"image": "a.jpg", "model": "m", "reply": "..."}.',
            file=path,
            line=number,
            reason=error,
        ) from error


def _samples(row: dict[str, Any]) -> tuple[Sample, ...]:
    found = row.get("samples")
    if isinstance(found, list):
        return tuple(Sample(each) if isinstance(each, str) else _sample(each) for each in found)
    return _scored(row.get("alternatives"))


def _scored(alternatives: Any) -> tuple[Sample, ...]:
    """Names with scores in (0, 1], as replies of that probability; nothing where there is but one, or none scored."""
    rows = alternatives if isinstance(alternatives, list) else []
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)]
    known = [(name, score) for name, score in pairs if isinstance(score, int | float) and 0 < score <= 1]
    return tuple(Sample(name, math.log(score)) for name, score in known) if len(known) > 1 else ()


def _sample(fields: dict[str, Any]) -> Sample:
    if not isinstance(fields["text"], str):
        raise TypeError("a sample's text is not a string")
    logprob = fields.get("logprob")
    return Sample(fields["text"], None if logprob is None else float(logprob), str(fields.get("finish", "stop")))


def _first_score(row: dict[str, Any]) -> float | None:
    alternatives = row.get("alternatives") or [None]
    first = alternatives[0] if isinstance(alternatives, list) else None
    if isinstance(first, list) and len(first) == 2 and isinstance(first[1], int | float) and 0 <= first[1] <= 1:
        return float(first[1])
    return None


def _endings(name: str) -> Iterator[str]:
    """``a/b/c.jpg`` -> itself, ``b/c.jpg``, ``c.jpg``."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _by_ending(rows: list[Recorded]) -> dict[str, list[Recorded]]:
    index: dict[str, dict[str, Recorded]] = defaultdict(dict)
    for row in rows:
        for ending in _endings(row.image):
            index[ending][row.image] = row
    return {ending: list(found.values()) for ending, found in index.items()}
