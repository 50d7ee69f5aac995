"""Reading a reply for its reward: its tags, and whether its answer is one name and the right one.

1. *Tags.* Released ``cls_thinking.py``: what stands between the first ``<answer>`` and the next ``</answer>`` is the
   answer, wherever they stand. Here there must be one answer block, outside the thinking; tags in another case or with
   blanks inside are seen as tags (so that none can hide), but are not the format that was asked for.
2. *Names.* Released: the truth is a substring of the answer. Here the answer must *be* the truth or an accepted name:
   compared under ``labels.merge.variant_key``, which levels case, Unicode NFKC, hidden characters, hyphens,
   underscores, apostrophes, a leading article, plural, spelling and joined words. Accents and word order count.
3. *Frames* that add nothing may stand before the name (``FRAMES``): "The answer is X.", "It is a X", "This bird is a
   X", "Species: X", "a photo of a X". No other word may.
4. *Several names* are right only where each of them is: "Crane flower or Bird of paradise" where both are accepted
   names of the class; the same name twice is not right. A name that itself holds a comma, a slash or "or" is compared
   whole first.
5. *Signs.* A question mark, a list sign, a line break, a mathematical sign or a pictograph inside the answer makes
   another answer of it, unless the name holds it too; quotes, emphasis, brackets and full stops do not.

All of it is linear in the length of the reply.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fgvr.labels import cues
from fgvr.labels.merge import variant_key
from fgvr.labels.normalise import normalise, without_hidden

MAX_ANSWER = 300
"""Characters of an answer that may still be a mere name; hidden characters and repeated blanks do not count."""
MAX_NAME = 160
"""Characters of a true name that an answer can be compared with."""

FRAMES = re.compile(
    r"(?:(?:so|thus|therefore|hence),?\s+)?(?:"
    r"(?:the\s+|my\s+)?(?:(?:correct|final|right|best)\s+)?"
    r"(?:answer|species|breed|model|name|common name|label|class|category|prediction)\s?(?:is\s?:|is\s+|:|=)"
    r"|(?:it|this|that)(?:\s+is|['’]s)\s+"
    r"|(?:this|that|the)\s+(?:image|picture|photo|photograph)\s+(?:shows|is\s+of|is)\s+"
    r"|(?:this|that|the)\s+(?:bird|dog|cat|pet|flower|plant|car|vehicle|aircraft|plane|animal|object|species|breed|model)"
    r"(?:\s+(?:in|on)\s+(?:the|this)\s+(?:image|picture|photo|photograph))?\s+is\s+"
    r"|(?:an?\s+|the\s+)?(?:image|picture|photo|photograph)\s+of\s+"
    r")\s*(?=\S)",
    re.IGNORECASE,
)
"""What may stand before a name without saying more; a second one may follow ("The answer is: a photo of a X")."""

_TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}(think|answer)\s{0,8}>", re.IGNORECASE)
_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r"(?: ?\n)+ ?")
_MOST = 40
"""Pieces of a wrong answer that are looked at for the reason."""
_MARKS = re.compile(r"[*`\"“”„«»]+")
_SEPARATORS = re.compile(r"\s*[,;|/\n]\s*(?:(?:or|and)\s+)?|\s+(?:or|and|vs\.?|versus)\s+|\s*[()]\s*", re.IGNORECASE)
_SPLITTING = frozenset(",;|/\n?¿؟!¡")
_HEDGE = re.compile(
    r"\b(?:probably|possibly|perhaps|maybe|likely|might|may be|could|appears?|seems?|looks? like|similar|"
    r"resembl\w{1,5}|(?:kind|type|sort|member|form) of|i (?:think|believe|guess)|guess|(?:un|not )sure|uncertain|"
    r"either|such as|like|e\.g\.?|cf\.?|aff\.?|spp?\.|roughly|almost|presumably|potentially|confiden\w{2,4})(?!\w)"
    r"|[?¿؟~≈%]",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|no|never|neither|nor|unlike|except|rather than|instead of|isn['’]?t)\b|[≠¬]", re.I)


@dataclass(frozen=True)
class Tagged:
    """A reply, by its tags."""

    answer: str | None
    """Between the one pair of answer tags; ``None`` where there is no such pair."""
    answer_reason: str
    """Why there is no answer: ``no answer``, ``unclosed``, ``several answers``, ``nested``, ``wrong order``."""
    format_reason: str
    """Why the format is not met, ``""`` where it is. The same, ``no think``, ``several thinks``, ``empty think``,
    ``empty answer``, ``text outside``, ``tag form`` (case or blanks), ``thinking`` (not asked for), ``cut off``."""


def read_tags(reply: str, *, thinking: bool = True, ended: bool = True) -> Tagged:
    """Find the blocks of a reply. ``thinking``: a think block is asked for; ``ended``: the reply was not cut off."""
    text = visible(reply)
    tags = [(found[1] + found[2].lower(), found) for found in _TAG.finditer(text)]
    answer_reason = _answer_reason([kind for kind, _ in tags])
    if answer_reason:
        return Tagged(None, answer_reason, answer_reason)
    spans = dict(tags)
    answer = text[spans["answer"].end() : spans["/answer"].start()].strip()
    kinds = [kind for kind, _ in tags]
    reason = _format_reason(kinds, thinking=thinking) or _content_reason(text, tags)
    if not reason and any(reply.count(f"<{kind}>") != 1 for kind in kinds):
        reason = "tag form"
    return Tagged(answer, "", reason or ("" if ended else "cut off"))


def _answer_reason(kinds: Sequence[str]) -> str:
    """Why tags in this order hold no answer that can be read."""
    opened, closed = kinds.count("answer"), kinds.count("/answer")
    if not opened:
        return "no answer"
    if not closed:
        return "unclosed"
    first, last = kinds.index("answer"), kinds.index("/answer")
    if opened > 1 or closed > 1:
        return "nested" if kinds[first + 1 : first + 2] == ["answer"] else "several answers"
    if last < first:
        return "wrong order"
    inside_think = kinds[:first].count("think") > kinds[:first].count("/think") and "/think" in kinds[first:]
    return "nested" if last != first + 1 or inside_think else ""


def _format_reason(kinds: Sequence[str], *, thinking: bool) -> str:
    """Why tags in this order are not what was asked for, given one readable answer."""
    thoughts = [kind for kind in kinds if kind.endswith("think")]
    if not thinking:
        return "thinking" if thoughts else ""
    if not thoughts:
        return "no think"
    if thoughts == ["think", "/think"]:
        return "" if kinds[0] == "think" else "wrong order"
    return "several thinks" if len(thoughts) > 2 else "wrong order" if thoughts[0] == "/think" else "unclosed"


def _content_reason(text: str, tags: Sequence[tuple[str, re.Match[str]]]) -> str:
    """Why blocks that stand in order are not the format: an empty one, or words outside them."""
    edges = [0, *(edge for _, found in tags for edge in found.span()), len(text)]
    pieces = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if any(one.strip() for one in pieces[::2]):
        return "text outside"
    empty = [kind for (kind, _), inside in zip(tags[::2], pieces[1::2], strict=True) if not says_something(inside)]
    return f"empty {empty[0]}" if empty else ""


def name_reason(answer: str, names: Sequence[str]) -> str:
    """Why ``answer`` is not one of ``names`` (the truth and its accepted synonyms), ``""`` where it is.

    ``unusable truth``, ``empty answer``, ``too long``, ``refused``, ``hedged``, ``negated``, ``several names``, ``more
    than the name`` (a true name and other words), ``part of the name`` (a super-category, often), ``wrong name``: the
    first that fits, in this order.
    """
    text = _BREAKS.sub("\n", _SPACES.sub(" ", visible(answer))).strip()
    known = _by_key(names)
    if not known:
        return "unusable truth"
    if not says_something(text):
        return "empty answer"
    if len(text) > MAX_ANSWER or len(text := unicodedata.normalize("NFKC", text)) > MAX_ANSWER:
        return "too long"  # looked at twice: one character may become many, and names are compared by their beginning
    text = _MARKS.sub("", text).strip()
    cores = _cores(text)
    return "" if any(_is_one_of(core, known) for core in cores) else _why_wrong(text, cores[-1], known)


def unusable(name: str) -> str:
    """Why no answer can ever be ``name``: ``no letters``, ``holds a tag`` or ``too long``; ``""`` where one can.

    Items with such a truth are to be set aside before training; scored all the same, they earn nothing.
    """
    if _TAG.search(visible(unicodedata.normalize("NFKC", name))):
        return "holds a tag"
    if not variant_key(name):
        return "no letters"
    return "too long" if len(unicodedata.normalize("NFKC", name)) > MAX_NAME else ""


def visible(text: str) -> str:
    """``text`` without hidden characters (zero width, right-to-left marks, controls); line breaks become ``\\n``."""
    return "\n".join(without_hidden(line) for line in text.splitlines())


def says_something(text: str) -> bool:
    """Whether a letter or a digit stands in ``text``."""
    return any(char.isalnum() for char in text)


def _cores(text: str) -> tuple[str, ...]:
    """``text`` as it stands, then without one frame, then without two."""
    found = [text]
    while len(found) < 3 and (frame := FRAMES.match(found[-1].lstrip(" :"))):
        found.append(found[-1].lstrip(" :")[frame.end() :])
    return tuple(found)


def _by_key(names: Sequence[str]) -> dict[str, list[str]]:
    """Usable names by the form in which they are compared."""
    known: dict[str, list[str]] = {}
    for name in names:
        if not unusable(name):
            known.setdefault(variant_key(name), []).append(unicodedata.normalize("NFKC", name))
    return known


def _is_one_of(text: str, known: Mapping[str, Sequence[str]]) -> bool:
    """Whether ``text`` is one of the names, or a list of nothing else that holds none twice."""
    if _same(text, known):
        return True
    pieces = _pieces(text)
    keys = {variant_key(piece) for piece in pieces}
    return 0 < len(pieces) == len(keys) and all(_same(piece, known) for piece in pieces)


def _pieces(text: str) -> list[str]:
    """``text`` as a list: at lines, commas, slashes, brackets, "or", "and", without bullets and numbers."""
    bare = "\n".join(found[1] if (found := cues.BULLET.match(line)) else line for line in text.split("\n"))
    return [piece for piece in _SEPARATORS.split(bare) if piece.strip(" .:'’[]{}-–—•")]


def _same(text: str, known: Mapping[str, Sequence[str]]) -> bool:
    """Whether ``text`` is a known name and holds no telling sign that the name lacks."""
    signs = [sign for sign in text.strip().rstrip("!") if _telling(sign)]
    return any(all(sign in name for sign in signs) for name in known.get(variant_key(text), ()))


def _telling(sign: str) -> bool:
    return sign in _SPLITTING or (not sign.isascii() and unicodedata.category(sign)[0] == "S") or sign in "~<>=|+^$%"


def _why_wrong(text: str, core: str, known: Mapping[str, Sequence[str]]) -> str:
    """A short code for an answer that is no known name; ``core``: without its frame."""
    if cues.NON_ANSWER.match(text) or cues.REFUSAL.search(text):
        return "refused"
    if _HEDGE.search(text):
        return "hedged"
    if _NEGATION.search(text):
        return "negated"
    if any(_same(piece, known) for piece in _pieces(core)[:_MOST]):
        return "several names"
    words, names = normalise(text), [normalise(name) for found in known.values() for name in found]
    if any(f" {name} " in f" {words} " for name in names):
        return "more than the name"
    if any(f" {words} " in f" {name} " for name in names):
        return "part of the name"
    return "wrong name"
