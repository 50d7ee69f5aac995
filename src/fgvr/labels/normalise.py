"""Names as they are compared (`normalise`) and as they are shown (`display_name`)."""

from __future__ import annotations

import re
import unicodedata

MAX_COMPARED = 200
"""Characters of a name that take part in comparison; longer ones are not names."""
MAX_SHOWN = 120

_APOSTROPHES = re.compile("['’‘ʼ`´＇]")
_ARTICLE = re.compile(r"^(?:(?:a|an|the)\s+)+(?=\S)")
_SPACES = re.compile(r"\s+")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def without_hidden(text: str) -> str:
    """Line breaks and tabs become spaces; every other control, bidi, surrogate or private character goes."""
    if text.isprintable():  # nothing of the kind: by far the commonest case
        return text
    return "".join(
        " " if char in "\n\r\t\v\f\u0085\u2028\u2029" else char
        for char in text
        if char in "\n\r\t\v\f\u0085\u2028\u2029" or unicodedata.category(char) not in _HIDDEN
    )


def normalise(name: str) -> str:
    """The form under which two names are the same name; ``""`` where nothing is left.

    Unicode NFKC, case folded, hidden characters dropped, apostrophes dropped ("Forster's" = "Forsters"), every other
    sign (hyphen, slash, underscore, full stop) a space, spaces collapsed, leading article dropped. Letters keep their
    accents. Idempotent.
    """
    text = without_hidden(name[: 4 * MAX_COMPARED])
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).casefold()
    text = _APOSTROPHES.sub("", text)
    text = "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in without_hidden(text))
    text = unicodedata.normalize("NFKC", _SPACES.sub(" ", text).strip()[:MAX_COMPARED].strip())
    return _ARTICLE.sub("", text).strip()


def display_name(raw: str) -> str:
    """``raw`` made fit to be shown: hidden characters dropped, spaces collapsed, at most 120 characters.

    The case stays as written. Escaping for HTML, spreadsheets or file names is the business of whoever writes those.
    """
    text = _SPACES.sub(" ", without_hidden(unicodedata.normalize("NFC", raw[: 40 * MAX_SHOWN]))).strip()
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1].rstrip() + "…"
