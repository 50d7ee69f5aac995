"""Where a reply lists things: its pieces in order, one guess a layout. Pure functions of text, linear in its length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_REPLY = 20_000
"""Characters of a reply that are looked at."""
MAX_PIECES = 200
_MAX_LISTS = 20

_DECODER = json.JSONDecoder()
_FENCE = re.compile(r"```[\w-]{0,20}")
_MARKED = re.compile(r"\s*(?:\|\s*)?(?:\d{1,3}\s*[.):\]|-]|#\d{1,3}|[-*•–+])(?=\D)\s*(.*)")
_QUOTES = "\"'“”‘’`"
_QUOTED = re.compile(r"""["“]([^"“”\n]{1,300})["”]|(?<!\w)['‘]((?:[^'‘’\n]|(?<=\w)['’](?=\w)){1,300})['’](?!\w)""")
_CHAIN = re.compile(r"\s*(?:>+|→|->|=>|,|;|≻|\n|\band\b|\bthen\b)\s*")
_AFTER_NAME = re.compile(r"\s+[-–—=]+>?\s+|\s*[:(|\t—]\s*|\s*\*\*\s*|[.;!?](?:\s|$)|,(?:\s|$)")


@dataclass(frozen=True)
class Layout:
    """One way to read a reply as a list."""

    pieces: tuple[str, ...]
    cut: bool = False
    """The list has no end: the last piece may be part of a name."""
    least: int = 1
    """Candidates it must hold to be believed."""
    explained: bool = False
    """A piece may go on after the name, see `head`."""


def layouts(reply: str) -> Iterator[list[Layout]]:
    """Groups of readings, from the surest to the loosest; inside a group the one with most candidates counts."""
    text = _FENCE.sub("\n", reply[:MAX_REPLY])
    lines = [line for line in text.splitlines() if line.strip()][:MAX_PIECES]
    yield [_bracketed(text, found.start()) for found in _first(re.finditer(r"\[", text))]
    yield [Layout(tuple(a or b for a, b in _QUOTED.findall(text)[:MAX_PIECES]), least=2)]
    yield [_lines([found[1] for line in lines if (found := _MARKED.match(line))], least=1)]
    yield [_chain(_after_colon(line), least=2) for line in lines]
    yield [_lines(lines, least=2)]


def _first(found: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    for _, match in zip(range(_MAX_LISTS), found, strict=False):
        yield match


def _bracketed(text: str, start: int) -> Layout:
    """The list that opens at ``start``: JSON, Python, without quotes, of objects, or cut off."""
    if (strings := _json_strings(text, start)) is not None:
        return Layout(strings)
    inside = text[start + 1 :]
    opening = inside.lstrip()[:1]
    if opening == "{":
        stop = inside.find("]")
        part = inside if stop < 0 else inside[:stop]
        return Layout(tuple(a or b for a, b in _QUOTED.findall(part)[:MAX_PIECES]), cut=stop < 0)
    if opening and opening in _QUOTES:
        return _quoted_items(inside)
    # Brackets inside names: the list ends with the last one of its line, or of the text if it goes over lines.
    line = inside.split("\n", 1)[0]
    where = line if "]" in line else inside
    stop = where.rfind("]")
    pieces = (where if stop < 0 else where[:stop]).replace("\n", ",").split(",")
    return Layout(tuple(pieces[:MAX_PIECES]), cut=stop < 0)


def _json_strings(text: str, start: int) -> tuple[str, ...] | None:
    """The strings of a JSON list, of its objects the values; ``None`` where it is not JSON or holds no strings."""
    try:
        values, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    flat = [part for value in values[:MAX_PIECES] for part in (value.values() if isinstance(value, dict) else [value])]
    return tuple(part for part in flat if isinstance(part, str))[:MAX_PIECES] or None


def _quoted_items(inside: str) -> Layout:
    """Items between quotes; a quote ends an item only before a comma, a bracket or the end (``'Forster's Tern'``)."""
    pieces: list[str] = []
    at = 0
    while len(pieces) < MAX_PIECES:
        while at < len(inside) and inside[at] in " \t\n,":
            at += 1
        if at >= len(inside):
            return Layout(tuple(pieces), cut=True)
        if inside[at] == "]":
            return Layout(tuple(pieces))
        ends = re.compile(r"[\"'”’`]\s*(?=[,\]\n]|$)" if inside[at] in _QUOTES else r"\s*(?=[,\]\n]|$)")
        begin = at + (inside[at] in _QUOTES)
        found = ends.search(inside, begin)
        if found is None:
            return Layout((*pieces, inside[begin:]), cut=True)
        pieces.append(inside[begin : found.start()])
        at = max(found.end(), at + 1)
    return Layout(tuple(pieces))


def _lines(lines: list[str], *, least: int) -> Layout:
    return Layout(tuple(line.strip().strip("*_| \t" + _QUOTES) for line in lines), least=least, explained=True)


def head(piece: str) -> str:
    """``Arctic Tern** - since its bill is red`` to ``Arctic Tern``."""
    return next((part for part in _AFTER_NAME.split(piece) if part and re.search(r"[^\W\d_]", part)), piece)


def _chain(line: str, *, least: int) -> Layout:
    return Layout(tuple(_CHAIN.split(line)[:MAX_PIECES]), least=least)


def _after_colon(line: str) -> str:
    """``The order is: a > b`` to ``a > b``."""
    before, colon, after = line.partition(":")
    return after if colon and not _CHAIN.search(before.strip()) else line
