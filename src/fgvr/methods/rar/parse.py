"""A ranker's free reply to an order of its candidates. One parser, a pure function of the reply and the candidates.

Released code against what is done here:

1. *Layout.* Code: the first ``[...]``, items by one regular expression, compared as written. Here lists of any layout
   (`parse_pieces.layouts`), then names in prose; names are compared under `fgvr.labels.normalise` (case, spaces,
   underscores, hyphens, apostrophes do not count).
2. *State.* Code: where the expression finds nothing, the list of the *previous image* is used again, and not even
   counted as an error. A pure function cannot do that: such a reply is ``unusable``, the retriever's order stands.
3. *Other names.* Code: one unknown name discards the whole reply; a class outside the candidates is accepted. Here
   names outside the candidates are ignored.
4. *Short lists.* Code: the list stays short. Here the missing candidates follow in the retriever's order.

Misspelt names count inside lists only, see ``parse_names.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fgvr.methods.rar.parse_names import FILLERS, Known, alike, completed, same_form, unwrapped
from fgvr.methods.rar.parse_pieces import MAX_REPLY, Layout, head, layouts

_JOINED = 4
"""Pieces that may be one name with commas in it."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_DENIALS = frozenset({
    "not", "isnt", "unlike", "than", "never", "no", "without", "neither", "nor",
})  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """A reply read as an order."""

    order: tuple[int, ...]
    """A permutation of ``range(len(candidates))``, best first."""
    status: str
    """``parsed`` (every candidate once, nothing else), ``repaired``, or ``unusable`` (the retriever's order)."""
    note: str = ""
    """What was repaired, in words."""
    named: int = 0
    """How many of ``order``, from its beginning, the reply itself named."""


def parse_ranking(reply: str, candidates: Sequence[str], *, letters: bool = False) -> Parsed:
    """Read ``reply`` as an order of ``candidates`` (names, in the retriever's order); never raises.

    A name that occurs twice among the candidates takes its places one after the other. ``letters``: the prompt showed
    the candidates as A, B, ...; a reply of letters alone is then understood too.
    """
    known = Known.of(candidates)
    found = _Found()
    for group in layouts(reply):
        readings = [(layout, _read(layout, known)) for layout in group]
        good = [one for layout, one in readings if len(one.order) >= layout.least]
        if good:
            # Of equals the last: a reply that repeats the question answers after it.
            found = max(enumerate(good), key=lambda pair: (len(pair[1].order), pair[0]))[1]
            break
    if not found.order and letters:
        found = _letters(reply, len(candidates))
    if not found.order:
        found = _prose(reply, known)
    return _finish(found, len(candidates))


@dataclass
class _Found:
    """An order in the making."""

    order: list[int] = field(default_factory=list)
    repeated: int = 0
    misspelt: int = 0
    foreign: int = 0

    def take(self, name: str, known: Known) -> None:
        """The next free place of a name."""
        free = [place for place in known.places[name] if place not in self.order]
        if free:
            self.order.append(free[0])
        else:
            self.repeated += 1


def _finish(found: _Found, count: int) -> Parsed:
    missing = [place for place in range(count) if place not in found.order]
    if not found.order:
        return Parsed(tuple(range(count)), "unusable", "no candidate in the reply")
    repairs = {
        "missing": len(missing),
        "repeated": found.repeated,
        "misspelt": found.misspelt,
        "not a candidate": found.foreign,
    }
    note = ", ".join(f"{number} {what}" for what, number in repairs.items() if number)
    return Parsed((*found.order, *missing), "repaired" if note else "parsed", note, len(found.order))


def _read(layout: Layout, known: Known) -> _Found:
    """The candidates among a list's pieces, in order."""
    found, at, pieces = _Found(), 0, [same_form(piece) for piece in layout.pieces]
    while at < len(pieces):
        name, used = _name_at(pieces, at, known)
        if name is None and layout.explained:
            pieces[at] = same_form(head(layout.pieces[at]))
            name, used = _name_at(pieces, at, known)
        if name is not None:
            found.take(name, known)
        elif (close := alike(pieces[at], known)) is not None:
            found.misspelt += 1
            found.take(close, known)
        elif layout.cut and at == len(pieces) - 1 and (whole := completed(pieces[at], known, found.order)) is not None:
            found.take(whole, known)
        else:
            found.foreign += any(letter.isalpha() for letter in pieces[at])
        at += used
    return found


def _name_at(pieces: Sequence[str], at: int, known: Known) -> tuple[str | None, int]:
    """The candidate that starts with piece ``at``, and how many pieces it takes ("Tern, Arctic" takes two)."""
    for count in range(min(_JOINED, len(pieces) - at), 0, -1):
        joined = " ".join(filter(None, pieces[at : at + count]))
        if joined in known.places:
            return joined, count
    return unwrapped(pieces[at].split(), known), 1


def _letters(reply: str, count: int) -> _Found:
    """ "B, A, C", "B > A > C", "1. B": capital letters that stand alone; small ones only where nothing else is said."""
    allowed = [chr(ord("A") + place) for place in range(min(count, 26))]
    text = reply[:MAX_REPLY].strip()
    if re.fullmatch(r"[a-z\W\d]{1,200}", text) and re.fullmatch(r"(?:\W|\d|(?<![a-z])[a-z](?![a-z]))+", text):
        text = text.upper()
    found = _Found()
    for letter in re.findall(r"(?<![\w-])(?<!\w['’])([A-Z])(?![\w-]|['’]\w| [a-z])", text):
        place = ord(letter) - ord("A")
        if letter not in allowed:
            found.foreign += 1
        elif place in found.order:
            found.repeated += 1
        else:
            found.order.append(place)
    return found


def _prose(reply: str, known: Known) -> _Found:
    """Names in running text, by first mention; not where one is denied or part of another capitalised name."""
    text = reply[:MAX_REPLY]
    found, at = _Found(), 0
    matches = list(_WORD.finditer(text))
    # ``normalise`` drops a lone article; it must keep its place.
    words = [same_form(match[0]) or match[0].lower() for match in matches]
    while at < len(words):
        lengths = range(min(known.longest, len(words) - at), 0, -1)
        count = next((n for n in lengths if " ".join(words[at : at + n]) in known.places), 0)
        if count and not _DENIALS & set(words[max(0, at - 3) : at]) and not _goes_on(text, matches, at, at + count):
            name = " ".join(words[at : at + count])
            if any(place not in found.order for place in known.places[name]):
                found.take(name, known)  # a second mention is no fault in prose
        at += max(1, count)
    return found


def _goes_on(text: str, matches: Sequence[re.Match[str]], start: int, stop: int) -> bool:
    """Whether words ``start`` to ``stop`` are part of a longer name: "Common Tern" is not the candidate "Tern"."""

    def one_name(first: int, second: int) -> bool:
        before, after = matches[first], matches[second]
        other = before if second == start else after
        between = text[before.end() : after.start()]
        return between in (" ", "-", "_") and other[0][0].isupper() and other[0].lower() not in FILLERS

    return (start > 0 and one_name(start - 1, start)) or (stop < len(matches) and one_name(stop - 1, stop))
