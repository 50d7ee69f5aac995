"""From an MLLM's reply to the name it gives: the one home of reading free text.

Of a reply in tags (``<think>reasons</think> <answer>name</answer>``) only the answer is read, in the way of any other
reply; what stands in the thinking never becomes a name, and tags without one clear answer name nothing (``tagged.py``).
Without answer tags, what stands outside the thinking is the reply.

A reply is tried as structured data, as a bare name or list, and then as prose. In prose every place that announces a
name ("Species: ...", "is identified as ...", "the bird in the image is ...") is a candidate; candidates are weighed by
how final their cue is, whether they are written like a name, and how often the reply repeats them. Nothing is ever
evaluated, no text raises, and time is linear: of a very long reply only the head and the tail are read.

The weights were set on recorded replies of two MLLMs and are ordinary heuristics, not a published method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fgvr.labels import cues
from fgvr.labels.doubts import instruction_like, suspicion
from fgvr.labels.normalise import display_name, normalise, without_hidden
from fgvr.labels.phrases import BOLD, Phrase, clean_name, is_name, is_scientific, read_phrase, split_pair
from fgvr.labels.structured import Fields, read_confidence, read_structured
from fgvr.labels.tagged import NO_ANSWER, NO_TAGS, answer_in
from fgvr.types import NamedImage

HEAD, TAIL = 16_000, 16_000
"""Characters read from the two ends of a long reply: a conclusion stands at one of them."""
MAX_ALTERNATIVES = 10


@dataclass(frozen=True)
class _Candidate:
    phrase: Phrase
    weight: float
    position: int
    end: int


def parse_reply(text: str, item_id: str = "") -> NamedImage:
    """The name (and scientific name, alternatives, confidence) that ``text`` gives. Never raises on a string.

    ``status`` is ``named``; ``refused`` ("I'm sorry, I can't ...", "unknown"); ``empty``; or ``unparsed`` where the
    reply says something but no name was found. ``name`` is ``None`` for all but the first. A reply with only a
    scientific name carries it in both ``name`` and ``scientific``. ``note`` says what deserves a second look, also why
    tags hold no answer; a name that reads like instructions is no name.
    """
    tagged = answer_in(text)
    if tagged.fault not in ("", NO_TAGS) and (tagged.fault != NO_ANSWER or not tagged.outside):
        return NamedImage(item_id, None, status="unparsed", reply=text, note=f"tags: {tagged.fault}")
    plain = _plain(text if tagged.fault == NO_TAGS else tagged.answer or tagged.outside)
    if not plain:
        return NamedImage(item_id, None, status="empty", reply=text)
    note = suspicion(plain)
    answer = _answer(plain, item_id, text)
    return _without_instructions(answer, note) if note else answer


def _answer(plain: str, item_id: str, text: str) -> NamedImage:
    """``parse_reply`` of a reply that is not empty, before anything in it is doubted."""
    fields = read_structured(plain) if "{" in plain or "[" in plain else None
    if fields is not None:
        return _from_fields(fields, item_id, text)
    marked = _mark(plain)
    found = _bare(marked) or _prose(marked)
    confidence = _confidence(marked)
    if found is None:
        status = "refused" if cues.REFUSAL.search(marked) or cues.NON_ANSWER.match(marked.strip(" .")) else "unparsed"
        return NamedImage(item_id, None, status=status, confidence=confidence, reply=text)
    return _named(item_id, text, list(found.names), found.scientific, confidence)


def _without_instructions(answer: NamedImage, note: str) -> NamedImage:
    """``answer`` with its ``note``, and without the names that read like instructions."""
    if answer.name is not None and instruction_like(answer.name):
        return replace(answer, name=None, scientific=None, alternatives=(), status="unparsed", note=note)
    scientific = None if instruction_like(answer.scientific or "") else answer.scientific
    others = tuple(name for name in answer.alternatives if not instruction_like(name))
    return replace(answer, scientific=scientific, alternatives=others, note=note)


def _named(item_id: str, reply: str, names: list[str], scientific: str | None, confidence: float | None) -> NamedImage:
    """Assemble the answer: unique, clean, alternatives without the name itself."""
    shown = [display_name(name) for name in names]
    seen = {normalise(shown[0]), normalise(scientific or "")}
    alternatives = []
    for other in shown[1:]:
        key = normalise(other)
        if key and key not in seen:
            seen.add(key)
            alternatives.append(other)
    return NamedImage(
        item_id,
        shown[0],
        scientific=display_name(scientific) if scientific else None,
        alternatives=tuple(alternatives[:MAX_ALTERNATIVES]),
        confidence=confidence,
        reply=reply,
    )


def _plain(text: str) -> str:
    """Bounded, without hidden characters; line breaks kept."""
    if len(text) > HEAD + TAIL:
        text = text[:HEAD] + "\n" + text[-TAIL:]
    return "\n".join(without_hidden(line) for line in text.splitlines()).strip()


def _mark(text: str) -> str:
    """Bold to ``BOLD`` marks; headings, quotes, code marks and single emphasis removed; bold outer pairs kept apart."""
    text = re.sub(r"```[\w-]{0,20}|`", "", text)
    text = re.sub(r"\*\*\*|___", "**", text)
    text = re.sub(r"\*\*|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)", BOLD, text)
    text = re.sub(r"(?m)^(\s*)\*(?=\s)", r"\1•", text)
    text = re.sub(r"\*|(?<![\w])_(?=\S)|(?<=\S)_(?!\w)", "", text)
    return re.sub(r"(?m)^#{1,6}\s+", "", text).strip()


def _from_fields(fields: Fields, item_id: str, reply: str) -> NamedImage:
    names = [clean_name(name) for name in (fields.name or "", *fields.alternatives)]
    first, scientific = names[0], clean_name(fields.scientific or "") or None
    if scientific and cues.NON_ANSWER.match(scientific):
        scientific = None
    common, paren, inside = first.partition("(")
    if paren and is_name(clean_name(common)):
        first, found = split_pair(clean_name(common), clean_name(inside.partition(")")[0]))
        scientific = scientific or found
    if not first or not is_name(first) or cues.NON_ANSWER.match(first) or cues.REFUSAL.search(first):
        if scientific and is_name(scientific):
            first = scientific
        else:
            said = fields.name is not None and bool(first)
            return NamedImage(item_id, None, confidence=fields.confidence, reply=reply,
                              status="refused" if said or fields.name is None else "unparsed")  # fmt: skip
    if scientific is None and is_scientific(first):
        scientific = first
    others = [name for name in names[1:] if is_name(name) and not cues.NON_ANSWER.match(name)]
    return _named(item_id, reply, [first, *others], scientific, fields.confidence)


def _bare(marked: str) -> Phrase | None:
    """A reply that is nothing but a name, a comma-separated set of synonyms, or a list of names."""
    lines = [line.strip() for line in marked.splitlines() if line.strip()][:60]
    bullets = [found.group(1) for line in lines if (found := cues.BULLET.match(line))]
    if len(bullets) >= 2 and len(bullets) >= len(lines) - 1 and all(len(item.split()) <= 8 for item in bullets):
        parts = [phrase for item in bullets if ":" not in item and (phrase := _short_name(item))]
        if len(parts) == len(bullets):
            names = [name for part in parts for name in part.names[:1]]
            return Phrase(tuple(dict.fromkeys(names)), parts[0].scientific, False, True)
    return _short_name(lines[0]) if len(lines) == 1 else None


def _short_name(line: str) -> Phrase | None:
    """``line`` as a whole is a name (with a bracketed partner, or comma-separated synonyms)."""
    line = cues.PROMPT_WORDS.sub("", line.replace(BOLD, "").strip())
    bullet = cues.BULLET.match(line)
    line = bullet.group(1) if bullet else line
    if len(line) > 160 or cues.REFUSAL.search(line) or re.search(r"[.!?]\s+\w|:", line) or cues.SENTENCE.search(line):
        return None
    name, paren, inside = line.partition("(")
    parts = [clean_name(part) for part in re.split(r",\s*|\s+or\s+", name) if part.strip()]
    parts = [part for part in parts if is_name(part) and not cues.NON_ANSWER.match(part)]
    if not parts or len(parts[0].split()) > 8:
        return None
    scientific = None
    if paren and is_name(other := clean_name(inside.partition(")")[0])):
        parts[0], scientific = split_pair(parts[0], other)
    latin = next((part for part in parts if is_scientific(part)), None)
    return Phrase(tuple(dict.fromkeys(parts)), scientific or latin, False, True)


def _prose(marked: str) -> Phrase | None:
    """The best-supported name in running text."""
    candidates = list(_candidates(marked))
    if not candidates:
        return None if cues.REFUSAL.search(marked) else _fallback(marked)
    compared = f" {normalise_all(marked)} "
    best = max(candidates, key=lambda candidate: _score(candidate, compared))
    return _with_context(_more_exact(best, candidates, compared), marked)


def _more_exact(best: _Candidate, candidates: list[_Candidate], compared: str) -> _Candidate:
    """Where the best is a bare head noun ("grebe"), the best candidate that ends in it ("Horned Grebe")."""
    name = normalise(best.phrase.names[0])
    if " " in name or best.phrase.scientific:
        return best
    closer = [other for other in candidates if normalise(other.phrase.names[0]).endswith(f" {name}")]
    return max(closer, key=lambda candidate: _score(candidate, compared), default=best)


def normalise_all(text: str) -> str:
    """As `normalise`, line by line and unbounded, for counting mentions."""
    return re.sub(r"[^\w]+", " ", text.replace("'", "").replace("’", "")).casefold()


def _score(candidate: _Candidate, compared: str) -> float:
    name = normalise(candidate.phrase.names[0])
    mentions = compared.count(f" {name}")
    written = 2.5 * candidate.phrase.proper + 0.6 * candidate.phrase.bold + 0.3 * candidate.phrase.closed
    described = 0.4 if candidate.phrase.scientific and candidate.phrase.scientific != candidate.phrase.names[0] else 0.0
    return candidate.weight + written + described + 0.1 * min(mentions, 6)


def _candidates(marked: str) -> Iterator[_Candidate]:
    """Every announced name, in order of the cues; later repeats of strong cues weigh a little more."""
    length = max(len(marked), 1)
    for pattern, weight in (
        (cues.LABELLED, 4.0),
        (cues.IDENTIFIED, 3.0),
        (cues.SUBJECT_IS, 2.5),
        (cues.KNOWN_AS, 2.5),
        (cues.APPEARS, 2.2),
        (cues.POSSIBLY, 1.5),
        (cues.BOLD_NAME, 0.8),
    ):
        for count, found in enumerate(pattern.finditer(marked)):
            if count >= 200:
                break
            before = marked[max(0, found.start() - 40) : found.start()]
            if cues.NEGATION.search(before) or (found.groupdict().get("key") or "").lower() == "scientific name":
                continue
            phrase = read_phrase(marked[found.end() : found.end() + 240])
            if (
                phrase is None
                or (pattern is cues.LABELLED and not phrase.closed)
                or cues.NON_ANSWER.match(phrase.names[0])
            ):
                continue
            sentence = marked[max(0, found.start() - 250) : found.end()]
            final = 0.8 if cues.CONCLUSION.search(re.split(r"[.\n](?=\s)", sentence)[-1]) else 0.0
            place = found.start() / length
            early = 0.6 if found.start() < 250 else 0.0
            yield _Candidate(phrase, weight + final + max(early, 0.5 * place), found.start(), found.end())


def _with_context(best: _Candidate, marked: str) -> Phrase:
    """Sharpen by what the same sentence adds: "specifically ...", "also known as ..."."""
    phrase = best.phrase
    sentence = re.split(r"\.\s|\n\n", marked[best.end : best.end + 320], maxsplit=1)[0]
    found = cues.SPECIFICALLY.search(sentence)
    closer = read_phrase(sentence[found.end() :]) if found else None
    if closer is not None and closer.proper and closer.closed and not _says_more(phrase, closer):
        phrase = Phrase((*closer.names, *phrase.names), closer.scientific or phrase.scientific, closer.bold, True)
    found = cues.LATIN_NAME.search(sentence)
    latin = read_phrase(sentence[found.end() :]) if found and phrase.scientific is None else None
    if latin is not None and latin.scientific == latin.names[0]:
        phrase = Phrase(phrase.names, latin.scientific, phrase.bold, phrase.proper)
    found = cues.ALSO.search(sentence)
    other = read_phrase(sentence[found.end() :]) if found else None
    if other is None:
        return phrase
    names = (*phrase.names, *other.names)
    if phrase.scientific == phrase.names[0]:
        names = (*other.names, *phrase.names[1:])
    return Phrase(tuple(dict.fromkeys(names)), phrase.scientific or other.scientific, phrase.bold, phrase.proper)


def _says_more(phrase: Phrase, closer: Phrase) -> bool:
    """Whether ``phrase`` already contains the whole of ``closer``."""
    return normalise(closer.names[0]) in normalise(phrase.names[0])


def _fallback(marked: str) -> Phrase | None:
    """No cue: the first bold name, else the first short line or sentence."""
    for found in list(re.finditer(f"{BOLD}([^{BOLD}\n]{{2,100}}){BOLD}", marked))[:50]:
        inner = found.group(1)
        if not inner.rstrip().endswith(":") and marked[found.end() : found.end() + 1] != ":":
            phrase = read_phrase(BOLD + inner + BOLD + marked[found.end() : found.end() + 100])
            if phrase is not None:
                return phrase
    for piece in re.split(r"\n+|(?<=\w\w)[.!?](?:\s|$)", marked)[:20]:
        phrase = _short_name(piece) if len(piece.split()) <= 6 else None
        if phrase is not None:
            return phrase
    return None


def _confidence(marked: str) -> float | None:
    found = cues.CONFIDENCE.search(marked)
    return read_confidence(found.group(1)) if found else None
