"""Structured replies: JSON, fenced, in prose, cut off, or written like a Python dict. Never evaluated.

Well-formed JSON goes through ``json``; what is cut off or single-quoted is read field by field with regular
expressions, which is safe on any text and needs no second parser.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME_KEYS = (
    "common_name", "name", "species_name", "species", "label", "breed", "class", "class_name", "category",
    "answer", "prediction", "identification", "object", "best_guess", "variety", "model", "cultivar", "result",
)  # fmt: skip
_SCIENTIFIC_KEYS = ("scientific_name", "scientific", "latin_name", "latin", "binomial", "binomial_name")
_LIST_KEYS = (
    "alternatives", "alternative_names", "candidates", "other_names", "synonyms", "alternative",
    "possible_species", "top_5", "top5", "predictions", "guesses", "labels", "names", "species_list",
    "other_candidates",
)  # fmt: skip
_CONFIDENCE_KEYS = ("confidence", "probability", "score", "certainty", "confidence_score", "confidence_level")
_WORDS = {
    "very high": 0.95, "certain": 0.95, "high": 0.9, "medium": 0.6, "moderate": 0.6, "low": 0.3, "very low": 0.1,
}  # fmt: skip
_MAX_STARTS = 12
_DECODER = json.JSONDecoder()
_FIELD = re.compile(r"""["']([A-Za-z][\w \-]{0,30})["']\s*:\s*""")
_STRING = re.compile(r"""\s*(?:"((?:[^"\\\n]|\\.){0,300})"?|'((?:[^'\\\n]|\\.|(?<=\w)'(?=\w)){0,300})'?)""")
_NEXT_KEY = re.compile(r"""["'][^"']{0,80}["']\s{0,20}:""")
_BARE = re.compile(r"\s*(-?\d{1,12}(?:\.\d{1,12})?%?|null|None|true|false)")


@dataclass(frozen=True)
class Fields:
    """What a structured reply said, unclean."""

    name: str | None
    scientific: str | None
    alternatives: tuple[str, ...]
    confidence: float | None


def read_structured(text: str) -> Fields | None:
    """Fields of the first JSON-like object or list in ``text``; ``None`` where there is none with a known field."""
    starts = [found.start() for found in re.finditer(r"[{\[]", text)][:_MAX_STARTS]
    for start in starts:
        try:
            value, _ = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        fields = _from_value(value)
        if fields is not None:
            return fields
    return _from_pieces(text, starts[0]) if starts else None


def read_confidence(value: object) -> float | None:
    """0.8, "0.8", "80%", 80 or "high" to [0, 1]; anything else to ``None``."""
    if isinstance(value, bool) or value is None:
        return None
    percent = False
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _WORDS:
            return _WORDS[text]
        percent = text.endswith("%")
        try:
            value = float(text.rstrip("% "))
        except ValueError:
            return None
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if percent or 1 < number <= 100:
        number /= 100
    return number if math.isfinite(number) and 0 <= number <= 1 else None


def _key(raw: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(raw).strip().lower()).strip("_")


def _from_value(value: object, depth: int = 0) -> Fields | None:
    if isinstance(value, Mapping):
        return _from_mapping({_key(key): item for key, item in list(value.items())[:100]}, depth)
    if isinstance(value, list) and value:
        if isinstance(value[0], Mapping):
            first = _from_value(value[0], depth + 1)
            others = _strings(value[1:])
            return first and Fields(first.name, first.scientific, (*first.alternatives, *others), first.confidence)
        names = _strings(value)
        return Fields(names[0], None, names[1:], None) if names else None
    return None


def _from_mapping(value: Mapping[str, object], depth: int) -> Fields | None:
    name = next((text for key in _NAME_KEYS if (text := _text(value.get(key)))), None)
    scientific = next((text for key in _SCIENTIFIC_KEYS if (text := _text(value.get(key)))), None)
    lists = tuple(text for key in _LIST_KEYS for text in _strings(value.get(key)))
    confidence = next((c for key in _CONFIDENCE_KEYS if (c := read_confidence(value.get(key))) is not None), None)
    known = any(key in value for key in (*_NAME_KEYS, *_SCIENTIFIC_KEYS, *_LIST_KEYS))
    if name is None and depth < 4:
        for item in value.values():
            inner = _from_value(item, depth + 1) if isinstance(item, Mapping) else None
            if inner is not None:
                return inner
    if not known:
        return None
    if name is None and scientific is None and lists:
        name, lists = lists[0], lists[1:]
    return Fields(name, scientific, lists, confidence)


def _text(value: object) -> str | None:
    if isinstance(value, list) and value:
        value = value[0]
    return value.strip() or None if isinstance(value, str) else None


def _strings(value: object) -> tuple[str, ...]:
    """Names in a list of strings, of {"name": ...} objects, or in one comma-separated string."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",")[:20] if part.strip())
    if not isinstance(value, list):
        return ()
    found = []
    for item in value[:50]:
        if isinstance(item, Mapping):
            inner = _from_value(item, depth=3)
            item = (inner.name or inner.scientific) if inner else None
        if isinstance(item, str) and item.strip():
            found.append(item.strip())
    return tuple(found)


def _from_pieces(text: str, start: int) -> Fields | None:
    """Field by field, for cut-off or single-quoted objects."""
    if text[start] == "[":
        items = re.match(r"\[\s*([\"'][^\[\]{}]{0,2000})", text[start : start + 2100])
        names = tuple(a or b for a, b in _STRING.findall(items.group(1)) if (a or b).strip()) if items else ()
        names = tuple(name for name in names if name.strip(" ,"))
        return Fields(names[0], None, names[1:], None) if names else None
    value: dict[str, object] = {}
    for found in list(_FIELD.finditer(text, start))[:60]:
        key = _key(found.group(1))
        if key not in value:
            value[key] = _piece(text, found.end())
    return _from_mapping(value, depth=0) if value else None


def _piece(text: str, position: int) -> object:
    if text[position : position + 1] == "[":
        body = text[position + 1 : position + 1500].partition("]")[0]
        body = _NEXT_KEY.split(body, maxsplit=1)[0]  # a list that was never closed ends where the next field begins
        return [a or b for a, b in _STRING.findall(body) if (a or b).strip(" ,")]
    found = _STRING.match(text, position)
    if found:
        return found.group(1) or found.group(2) or ""
    bare = _BARE.match(text, position)
    if not bare:
        return None
    return None if bare.group(1) in ("null", "None") else bare.group(1)
