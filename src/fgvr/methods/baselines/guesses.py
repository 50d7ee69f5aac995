"""Reading the names that a language model was asked to write as JSON or as a Python list or dict: never evaluated.

The released codes call ``eval`` (E-FineR, FiNDR) or force braces round the reply and drop what ``json`` refuses
(FineR: 43 of its 1,965 recorded replies). Here well-formed JSON goes through ``json``; what is cut off, single-quoted
or wrapped in prose is read by regular expressions, and where no JSON came, the names announced before it. Any text
comes back as a (perhaps empty) tuple; nothing raises. Lists and phrases that are no names: ``fgvr.labels.lists``.

A name from a reply may enter another prompt. So ``plain_name`` lets through only what is short, on one line, without
signs that delimit prompts, and does not read like instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fgvr.labels import display_name, instruction_like, normalise
from fgvr.labels.lists import BULLET, DELIMITERS, MOST, json_values, plain_phrase, read_list
from fgvr.labels.phrases import clean_name, is_name

_KEY_OF_LIST = re.compile(r"""["']([^"\n]{2,120}?)["']\s{0,4}:\s{0,4}[\[{]""")
_TEXT = r"""(?:"([^"\n]{1,200})"|'((?:[^'\n]|(?<=\w)'(?=\w)){1,200})')"""
_NUMBERED = re.compile(rf"""["']?\d{{1,3}}["']?\s{{0,4}}:\s{{0,4}}{_TEXT}""")
_OUTPUT = re.compile(r"output\s{1,4}json\s{0,4}:", re.IGNORECASE)
_ANNOUNCED = re.compile(r"possible [^:\n]{0,60}:[ \t]{0,4}([^\n]{0,300})((?:\n[^\n]{0,200}){0,6})", re.IGNORECASE)
_HEADINGS = frozenset(
    ["answer", "attributes", "description", "general", "guesses", "json", "list", "output", "summary", "three"]
)
_PLURALS = frozenset(
    ["breeds", "candidates", "categories", "guesses", "models", "name", "names", "species", "suggestions"]
)


def read_guesses(text: str, *, most: int = 3) -> tuple[str, ...]:
    """Names in a reply to FineR's guess prompt, best first, at most ``most``: keys whose values are sentences.

    Also read: names listed under a heading (``{"three possible species": ["A", "B", "C"]}``), an object of such
    objects, a list of names, cut-off and single-quoted JSON, and without any of these the names after "Three possible
    species:". Repeats and what is no name are dropped.
    """
    body = _after_heading(text[:MOST])
    first = next(json_values(body, most=1), None)
    keys = (found.group(1) for found in _KEY_OF_LIST.finditer(body) if not _is_heading(found.group(1)))
    # The keys come before what stands deeper: in an object that was cut off, the lists of sentences are sound JSON.
    return (
        _names(_guessed(first), most)
        or _names(keys, most)
        or _names(_guessed(list(json_values(body))), most)
        or _names(_announced(text[:MOST]), most)
    )


def read_numbered(text: str, *, most: int = 10) -> tuple[str, ...]:
    """Names in ``{1: "A", 2: "B"}``, JSON or Python, in the order of writing; a plain list of names counts too."""
    body = text[:MOST]
    found = [double or single for double, single in _NUMBERED.findall(body)]
    return _names(found or read_list(body, most=most), most)


def read_words(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """Of the first JSON object in ``text`` that has any of ``keys``: those whose value is a plain short phrase."""
    for value in json_values(text[:MOST]):
        if isinstance(value, Mapping):
            held = {
                key: plain_phrase(value[key], letters=40, words=4) for key in keys if isinstance(value.get(key), str)
            }
            if held:
                return {key: phrase for key, phrase in held.items() if phrase}
    return {}


def plain_name(raw: str) -> str | None:
    """``raw`` as a name fit for a label space and for prompts, or ``None``."""
    # Cleaned again, since what a delimiter hid may be an article or the like.
    name = display_name(clean_name(DELIMITERS.sub(" ", clean_name(raw[:400])).replace('"', "'")))
    long_enough = sum(letter.isalpha() for letter in name) > 1 and len(name) <= 100
    return name if long_enough and is_name(name) and normalise(name) and not instruction_like(name) else None


def _after_heading(text: str) -> str:
    """What follows the last "Output JSON:", or all of it."""
    found = list(_OUTPUT.finditer(text))
    after = text[found[-1].end() :] if found else text
    body = after if after.strip() else text
    stripped = body.lstrip()
    return "{" + stripped if stripped[:1] in "\"'" else body


def _guessed(value: object, depth: int = 0) -> Iterator[str]:
    """Candidate names of one JSON value: keys, but for headings, whose names stand below them."""
    if depth > 3:
        return
    if isinstance(value, Mapping):
        for key, inner in list(value.items())[:50]:
            if not _is_heading(key):
                yield key
            elif _announces_names(key):
                yield from _guessed(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value[:50]:
            named = inner.get("name") if isinstance(inner, Mapping) else inner
            if isinstance(named, str):
                yield named
            else:
                yield from _guessed(inner, depth + 1)
    elif isinstance(value, str) and depth:
        yield value


def _announced(text: str) -> Iterator[str]:
    """What follows the last "Three possible ...:": on its line, or as the bullets below."""
    found = list(_ANNOUNCED.finditer(text))
    if found:
        line, below = found[-1].groups()
        bullets = [bullet.group(1) for bullet in BULLET.finditer(below)]
        yield from [line] if line.strip(" *_") else bullets


def _is_heading(key: str) -> bool:
    """ "Three possible bird species", "names", "Summary": words about the answer, not a name."""
    words = re.findall(r"[^\W\d_]+", key.lower())
    return bool(words) and (_announces_names(key) or all(word in _HEADINGS for word in words))


def _announces_names(key: str) -> bool:
    words = re.findall(r"[^\W\d_]+", key.lower())
    return bool(words) and ("possible" in words or words[-1] in _PLURALS)


def _names(raw: Iterator[str] | list[str] | tuple[str, ...], most: int) -> tuple[str, ...]:
    """Clean names without repeats; a key that is a comma-separated list counts as its parts."""
    kept: dict[str, str] = {}
    for entry in raw:
        for part in str(entry)[:400].split(","):
            name = plain_name(part)
            if name is not None:
                kept.setdefault(normalise(name), name)
            if len(kept) >= most:
                return tuple(kept.values())
    return tuple(kept.values())
