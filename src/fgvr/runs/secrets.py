"""Keys and passwords never reach a file: what looks like one is replaced before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "(not stored)"
_SECRET_NAME = re.compile(
    r"(^|[_\-. ])(api[_-]?key|key|secret|password|passwd|authorization|bearer|credentials?|token)$", re.IGNORECASE
)
_SHORTEST_SECRET = 8


def redact(value: Any, *, environ: Mapping[str, str] | None = None) -> Any:
    """JSON-like ``value`` without secrets.

    Masked: values under keys such as ``api_key`` or ``hf_token``; the value of any environment variable with such a
    name, wherever it occurs in a string; user and password in URLs; ``--api-key VALUE`` and ``sk-...`` in strings.
    """
    variables = os.environ if environ is None else environ
    known = [v for k, v in variables.items() if _SECRET_NAME.search(k) and len(v) >= _SHORTEST_SECRET]
    return _redact(value, sorted(known, key=len, reverse=True))


def _redact(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        return _redact_text(value, known)
    if isinstance(value, Mapping):
        return {
            _redact(key, known): MASK
            if isinstance(key, str) and _SECRET_NAME.search(key) and item is not None
            else _redact(item, known)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact(item, known) for item in value]
    return value


def _redact_text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, MASK)
    text = re.sub(r"(\w://)[^/\s@]+@", rf"\1{MASK}@", text)
    text = re.sub(r"(?i)(--?[\w-]*(?:key|token|secret|password)[= ]+)(?![-(])\S+", rf"\1{MASK}", text)
    return re.sub(r"\b(?:sk|hf)[-_][A-Za-z0-9_-]{16,}", MASK, text)
