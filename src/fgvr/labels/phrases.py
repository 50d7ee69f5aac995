"""From a stretch of prose to the name it begins with; telling scientific names from common ones.

Bold text arrives here marked by ``BOLD`` on both sides (a control character, which no cleaned reply contains), single
emphasis already removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fgvr.labels.words import DESCRIBING, GENERIC, JOIN, STOP, TRAILING

BOLD = "\x01"

_LEAD = re.compile(
    r"^(?:(?:a|an|the|one|some|another|likely|most|very|probably|possibly|perhaps|indeed|clearly|definitely|almost|"
    r"certainly|undoubtedly|specifically|either|simply|just|more|young|adult|juvenile|immature|male|female|definitively|"
    r"unequivocally|unmistakably|unambiguously|positively|actually|apparently|precisely|conclusively|confidently|purebred|"
    r"it's|it|is|being|be|that|of|to|exact|breed|species|or|and|breeding|non-breeding|subadult|resembling|resembles|"
    r"breeds? (?:that resembles|like)|from the genus|genus|those of|that of|"
    r"also known as|(?:dog|cat|bird) could (?:potentially )?be|pair of)\s+"
    r"|(?:kind|type|sort|form|species|variety|breed|member|example|specimen|photo|photograph|picture|image|close-up|cultivar|hybrid)"
    r"(?:\s+of)\s+)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_][\w'’.\-/&#+]*|[×x](?=\s)|'[^']{1,30}'|&")
_SPLIT_WORD = re.compile(r"\s+")
_LATIN = re.compile(
    r"^[A-Z][a-z]{2,}(?: ×| x)? (?:[a-z]{3,}(?:-[a-z]+)?|spp?\.?)(?: (?:subsp\.|var\.|ssp\.) [a-z]+| [a-z]{4,})?$"
)
_LATIN_END = re.compile(
    r"(?:us|um|is|ii|ae|ensis|oides|ans|ens|ata|ica|osa|ina|alis|aris|ella|ula|ea|ia|ra|na|la|ta|cens|tor|ax|ops|ex|ipes"
    r"|ana|arum|orum|ei|yx|ps|os|i|odon|ma|ys|spp?\.?)$"
)
_ENGLISH_END = re.compile(r"(?:ous|ness|ss|less|ies|ers|ing|tion|ian|ish|eaf)$")


@dataclass(frozen=True)
class Phrase:
    """A name read from prose."""

    names: tuple[str, ...]
    """Best first; more than one where the text hedges ("a kestrel or a merlin")."""
    scientific: str | None
    bold: bool
    proper: bool
    """Begins with a capital letter: written like a name, not like a description."""
    closed: bool = True
    """Was followed by punctuation or the end, not by more prose."""


def is_scientific(name: str) -> bool:
    """Whether ``name`` looks like a binomial: "Fratercula cirrhata", "Rosa sp."; a heuristic on form and endings."""
    if not _LATIN.match(name):
        return False
    genus, *_, last = name.split(" ")
    return (
        bool(_LATIN_END.search(last))
        and not _ENGLISH_END.search(last)
        and bool(_LATIN_END.search(genus.lower()) or genus.endswith(("o", "e")))
    )


def split_pair(first: str, second: str) -> tuple[str, str | None]:
    """(common, scientific) of a written pair "first (second)", whichever way round it was given."""
    if is_scientific(second) and not is_scientific(first):
        return first, second
    if is_scientific(first) and not is_scientific(second):
        return second, first
    if _LATIN.match(second) and first.istitle():
        return first, second
    if _LATIN.match(first) and second.istitle():
        return second, first
    return (first, second) if _LATIN.match(second) else (first, None)


def clean_name(raw: str) -> str:
    """Strip marks, quotes, leading articles and hedges, trailing generic words and punctuation."""
    text = raw.replace(BOLD, "").strip(' \t\n"“”‘’`*_#>:;,!?|=~<[]{}-–—•')
    text = text.removeprefix("'").removesuffix(".") if not text.endswith(("sp.", "spp.")) else text
    for _ in range(8):
        shorter = _LEAD.sub("", text, count=1)
        if shorter == text or not shorter:
            break
        text = shorter
    words = _SPLIT_WORD.split(text.strip(' .,;:"“”’'))
    while len(words) > 1 and words[-1].lower() in TRAILING:
        words.pop()
    text = " ".join(words)
    return text[:-1] if text.endswith("'") and text.count("'") == 1 and not text.endswith("s'") else text


def is_description(text: str) -> bool:
    """Whether ``text``, read from prose, describes rather than names: lower case with a describing word or ending."""
    words = text.split()
    if any(word[:1].isupper() for word in words[1:]):
        return False
    lower = [word.lower() for word in words]
    if words[0][:1].isupper():
        return (lower[0] in DESCRIBING and len(words) == 1) or lower[-1] in STOP or lower[0] in GENERIC
    return lower[-1] in STOP | JOIN or any(word in DESCRIBING for word in lower) or lower[0].endswith(("ing", "ly"))


def is_name(text: str) -> bool:
    """Whether cleaned ``text`` can be a name at all: one to ten words, letters in it, not only generic words."""
    words = text.lower().split()
    if not words or len(words) > 10 or len(text) > 120 or not any(char.isalpha() for char in text):
        return False
    return not all(word.strip(".,") in GENERIC or word in JOIN or word in STOP for word in words)


def read_phrase(tail: str) -> Phrase | None:
    """The name with which ``tail`` (the text after "the bird is ...") begins; ``None`` where it begins with no name."""
    text = _skip_lead(tail[:240])
    bold = text.startswith(BOLD)
    if bold:
        inner, _, rest = text[1:].partition(BOLD)
    else:
        inner, rest = _words_of_name(text)
    name, paren, inside = inner.partition("(")
    paren_text = inside.partition(")")[0] if paren else _leading_parenthesis(rest)
    names = [clean_name(part) for part in re.split(r"\s+or\s+(?:an?\s+|the\s+)?|\s*/\s+|\s+/\s*|,\s+", name)]
    names = [part for part in names if is_name(part)]
    if not names:
        return None
    scientific: str | None = None
    others = [clean_name(part) for part in re.split(r"\s+/\s+|\s+or\s+|[,;]\s+", paren_text)]
    others = [part for part in others if is_name(part) and not part[-1].isdigit()]
    if others:
        pair = split_pair(names[0], others[0])
        names, scientific = ([pair[0], *others[1:]] if is_scientific(names[0]) else [pair[0], *names[1:]]), pair[1]
    if scientific is None and is_scientific(names[0]):
        scientific = names[0]
    proper = names[0][:1].isupper()
    if is_description(names[0]) and not (bold and scientific):
        return None
    closed = not rest.lstrip(f" {BOLD}")[:1].isalpha()
    return Phrase(tuple(dict.fromkeys(names)), scientific, bold, proper, closed)


def _skip_lead(text: str) -> str:
    text = text.lstrip(" \t\n\"“‘':–—-")
    for _ in range(10):
        if text.startswith(BOLD):
            after = _LEAD.sub("", text[1:], count=1)
            if after != text[1:] and not after.startswith(BOLD):
                text = BOLD + after
                continue
            return text
        shorter = _LEAD.sub("", text, count=1).lstrip(" \"“‘'")
        if shorter == text:
            return text
        text = shorter
    return text


def _leading_parenthesis(rest: str) -> str:
    found = re.match(r"[\s\x01,]*(?:the\s+)?\(([^()\n]{2,80})\)", rest)
    return found.group(1) if found else ""


def _words_of_name(text: str) -> tuple[str, str]:
    """Split prose after the words that can belong to a name: (name words, the rest)."""
    position, words, capital = 0, 0, False
    end = 0
    while words < 9:
        gap = re.compile(r"[ \t]*").match(text, position)
        start = gap.end() if gap else position
        if start < len(text) and text[start] == BOLD:
            break
        found = _WORD.match(text, start)
        if not found:
            break
        word = found.group()
        bare = word.rstrip(".")
        lower = bare.lower()
        ends = word.endswith(".") and lower not in {"st", "mt", "sp", "spp", "var", "subsp", "dr"} and len(bare) > 1
        if lower in STOP:
            break
        following = text[found.end() : found.end() + 8].lstrip().removeprefix("the ")
        if lower == "of" and re.match(r"\s*(?:an?|the)\s", text[found.end() : found.end() + 6]) and not capital:
            break
        if lower in {"and", "in"} and not (capital and following[:1].isupper()):
            break
        capital = capital or word[:1].isupper()
        words += lower not in JOIN
        position = end = found.end() - (len(word) - len(bare) if ends else 0)
        if ends or position >= len(text):
            break
    return text[:end], text[end:]
