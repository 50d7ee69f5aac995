"""A teacher's reply, read: the four sections and the candidates. Any text comes back as `Sections`; nothing raises.

1. *Order.* Sections count in whatever order they come; the rationale is put together again in the paper's.
2. *Closing tags* may be missing where the next section, or the end, follows.
3. *Faults.* A missing or empty section, one that comes twice with different texts, one inside another, and the tags of
   the final format (think, answer) inside a section are noted in ``faults``: such a reply is not used.
4. *Candidates* are read from a list of any kind: bullets, numbers, lines, JSON, or names between commas. What follows a
   name ("Tu-154: a trijet") is dropped, what stands in brackets behind it is kept: names have brackets too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fgvr.labels.lists import read_list
from fgvr.labels.normalise import normalise

SECTIONS = ("analysis", "options", "comparison", "prediction")
MOST_READ = 20
"""Candidates that are read; more than four are the filters' business."""

_TAG = re.compile(rf"<\s*(/?)\s*({'|'.join(SECTIONS)})\s*>", re.IGNORECASE)
_FINAL_TAG = re.compile(r"<\s*/?\s*(?:think|answer)\s*>", re.IGNORECASE)
_BULLET = re.compile(r"^\s{0,8}(?:[-*•]+|\(?\d{1,2}[.):]|\(?[A-Da-d][.):])\s+")
_AFTER_NAME = re.compile(r"\s*:(?:\s|$).*|\s+[-–—]\s+.*", re.DOTALL)
_LEAD = re.compile(r"^(?:and|or)\s+(?=\S)", re.IGNORECASE)


@dataclass(frozen=True)
class Sections:
    """What a reply says, section by section; "" or () where it does not."""

    analysis: str = ""
    candidates: tuple[str, ...] = ()
    """As written, in order, repeated ones included; at most ``MOST_READ``."""
    comparison: str = ""
    prediction: str = ""
    faults: tuple[str, ...] = ()
    """In words; empty for a well-formed reply."""


def read_sections(reply: str) -> Sections:
    """The sections of ``reply``."""
    texts, faults = _texts(reply)
    for name in SECTIONS:
        own = texts.get(name, [])
        if not any(own):
            faults.append(f"no {name}")
        elif len(set(filter(None, own))) > 1:
            faults.append(f"several {name}")
    if any(_FINAL_TAG.search(text) for own in texts.values() for text in own):
        faults.append("think or answer tags inside a section")
    first = {name: next(filter(None, texts.get(name, [])), "") for name in SECTIONS}
    candidates = read_candidates(first["options"])
    if first["options"] and not candidates:
        faults.append("no candidate in options")
    return Sections(
        first["analysis"],
        candidates,
        first["comparison"],
        first["prediction"].strip("\"'*. \n"),
        tuple(dict.fromkeys(faults)),
    )


def read_candidates(text: str) -> tuple[str, ...]:
    """The names in a list, as written."""
    if text.lstrip().startswith("["):
        pieces = list(read_list(text, most=MOST_READ))
    else:
        lines = [line for line in text.splitlines() if line.strip()]
        listed = [line for line in lines if _BULLET.match(line)]
        plain = lines if len(lines) > 1 else re.split(r"[,;]", text)  # one name a line, or all between commas
        pieces = listed or plain
    names = (_name(piece) for piece in pieces)
    return tuple(name for name in names if normalise(name))[:MOST_READ]


def _name(piece: str) -> str:
    text = _BULLET.sub("", piece).replace("**", "").strip()
    return _LEAD.sub("", _AFTER_NAME.sub("", text)).strip(" \t\"'*`.,;")


def _texts(reply: str) -> tuple[dict[str, list[str]], list[str]]:
    """Texts of each section, and what is wrong with the tags."""
    texts: dict[str, list[str]] = {}
    faults: list[str] = []
    tags = list(_TAG.finditer(reply))
    for number, tag in enumerate(tags):
        closing, name = bool(tag[1]), tag[2].lower()
        if closing:
            continue
        after = tags[number + 1] if number + 1 < len(tags) else None
        inside = reply[tag.end() : after.start() if after else len(reply)]
        texts.setdefault(name, []).append(inside.strip())
        if after is None or after[2].lower() == name:
            continue
        closes_later = any(later[1] and later[2].lower() == name for later in _until_reopened(tags[number + 1 :], name))
        if closes_later or after[1]:
            faults.append(f"{after[2].lower()} inside {name}")
    return texts, faults


def _until_reopened(tags: list[re.Match[str]], name: str) -> list[re.Match[str]]:
    """``tags`` up to the next opening tag of ``name``."""
    place = next((i for i, tag in enumerate(tags) if not tag[1] and tag[2].lower() == name), len(tags))
    return tags[:place]
