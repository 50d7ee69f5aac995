"""The nouns of WordNet 3.0, read from its database files: a word list to search in, and a sense of what is a noun.

The files are those of wndb(5WN): ``index.noun``, ``data.noun``, ``noun.exc`` and their like for verbs, adjectives and
adverbs. Only ``index.noun`` must be there; the others are read when something asks for them. WordNet 3.0 has 117,798
noun lemmas (Debian's ``wordnet-base``); other releases and NLTK's copies have the same format and other counts.

1. *Lemmas* are written as the index has them, lower case, with spaces for underscores.
2. *Base forms* follow morphy(7WN): the exception list, then the endings; a phrase word by word. Unlike the original, a
   form that WordNet does not know is never returned, and all base forms are given, not only the first.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from fgvr.errors import InputError
from fgvr.labels import normalise

PartOfSpeech = Literal["noun", "verb", "adj", "adv"]
PARTS: tuple[PartOfSpeech, ...] = ("noun", "verb", "adj", "adv")
NOUNS_OF_3_0 = 117_798
"""Noun lemmas of WordNet 3.0 (wnstats(7WN))."""
REMEDY = "Install it (apt install wordnet-base) or name the folder that holds index.noun (--wordnet FOLDER)."

_SYSTEM_FOLDERS = (
    "/usr/share/wordnet",
    "/usr/share/wordnet/dict",
    "/usr/local/WordNet-3.0/dict",
    "/usr/share/nltk_data/corpora/wordnet",
    "~/nltk_data/corpora/wordnet",
)
_ENDINGS: Mapping[PartOfSpeech, tuple[tuple[str, str], ...]] = {
    "noun": (
        ("s", ""),
        ("ses", "s"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "verb": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
"""Rules of detachment, morphy(7WN)."""
_MOST_WORDS = 6
"""Longer phrases are not taken apart: the combinations of base forms would be too many."""


@dataclass(frozen=True)
class Synset:
    """One meaning: the lemmas that share it, and the synsets above it."""

    offset: int
    """Where its line begins in ``data.noun``; its identity within one release."""
    lemmas: tuple[str, ...]
    """As WordNet writes them, capitals kept, spaces for underscores."""
    gloss: str
    hypernyms: tuple[int, ...]
    """Offsets of what it is a kind of, or an instance of."""


@dataclass(frozen=True)
class WordNet:
    """A folder of database files. Each file is read once, when first needed."""

    folder: Path

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """All noun lemmas in the order of the index. Raises ``InputError`` for a damaged or empty index."""
        return tuple(self._noun_index)

    @cached_property
    def _noun_index(self) -> dict[str, tuple[int, ...]]:
        return _read_index(self.folder / "index.noun")

    @cached_property
    def _lemmas(self) -> dict[PartOfSpeech, frozenset[str]]:
        """Lemmas of every part of speech whose index is there."""
        found: dict[PartOfSpeech, frozenset[str]] = {"noun": frozenset(self._noun_index)}
        for part in PARTS[1:]:
            file = self.folder / f"index.{part}"
            found[part] = frozenset(_read_index(file)) if file.is_file() else frozenset()
        return found

    @cached_property
    def _exceptions(self) -> dict[PartOfSpeech, dict[str, tuple[str, ...]]]:
        return {part: _read_exceptions(self.folder / f"{part}.exc") for part in PARTS}

    def is_noun(self, text: str) -> bool:
        """Whether ``text`` (any case, spaces or underscores) is a noun lemma as it stands."""
        return _spaced(text) in self._noun_index

    def base_forms(self, text: str, part: PartOfSpeech = "noun") -> tuple[str, ...]:
        """Lemmas that ``text`` is a form of: ``leaves`` to ``("leaf", "leave")``; itself last where it is a lemma.

        The exception list comes first, then the endings; a phrase is taken word by word ("birds of paradise").
        """
        form = _spaced(text)
        lemmas = self._lemmas[part]
        words = form.split(" ")
        forms = [*self._exceptions[part].get(form, ()), *_detached(form, part)]
        if 1 < len(words) <= _MOST_WORDS:
            choices = [[*self._exceptions[part].get(word, ()), *_detached(word, part), word] for word in words]
            forms += [" ".join(choice) for choice in itertools.product(*choices)]
        return tuple(dict.fromkeys(one for one in (*forms, form) if one in lemmas))

    def morphy(self, text: str) -> str | None:
        """The noun lemma of ``text``, its singular where it is a plural; ``None`` where WordNet has none.

        A word that is a lemma as it stands is one ("bus", "lens"), unless the exception list says what it comes from.
        """
        form = _spaced(text)
        exceptions = [one for one in self._exceptions["noun"].get(form, ()) if one in self._noun_index]
        if exceptions or form in self._noun_index:
            return exceptions[0] if exceptions else form
        return next(iter(self.base_forms(form)), None)

    def parts_of_speech(self, word: str) -> frozenset[PartOfSpeech]:
        """What ``word`` can be, inflected or not; empty where WordNet does not know it at all."""
        return frozenset(part for part in PARTS if self.base_forms(word, part))

    def synsets(self, noun: str) -> tuple[Synset, ...]:
        """The meanings of a noun lemma, the most frequent first; none for what is no lemma.

        Raises ``InputError`` when ``data.noun`` is missing or does not belong to the index.
        """
        return tuple(self.synset(offset) for offset in self._noun_index.get(_spaced(noun), ()))

    def synset(self, offset: int) -> Synset:
        """The synset at ``offset`` of ``data.noun``. Raises ``InputError`` where there is none."""
        file = self.folder / "data.noun"
        try:
            with file.open("rb") as data:
                data.seek(offset)
                return _parsed_synset(data.readline(1 << 20).decode("utf-8"), offset)
        except (OSError, ValueError, IndexError) as error:
            raise _damaged(file, f"no synset at {offset}: {error}") from error


def find_wordnet(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder with ``index.noun``: ``folder`` (or its ``dict``), else where systems keep WordNet.

    ``WNSEARCHDIR`` and ``WNHOME`` are looked at first, as WordNet's own programs do. Raises ``InputError``.
    """
    for place in _given(folder) if folder is not None else _usual():
        if (place / "index.noun").is_file():
            return place
    where = "there" if folder is not None else "on this system"
    raise InputError(f"no WordNet database {where}", remedy=REMEDY, **({"folder": str(folder)} if folder else {}))


def read_wordnet(folder: str | os.PathLike[str] | None = None) -> WordNet:
    """WordNet from ``folder`` or where it is installed, its nouns read. Raises ``InputError``."""
    wordnet = WordNet(find_wordnet(folder))
    _ = wordnet.nouns  # a damaged index is said at once
    return wordnet


@dataclass(frozen=True)
class Coverage:
    """Which names a word list holds."""

    found: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """In [0, 1]; NaN without names."""
        total = len(self.found) + len(self.missing)
        return len(self.found) / total if total else float("nan")

    def __str__(self) -> str:
        """``71 of 200 (35.5 %)``."""
        total = len(self.found) + len(self.missing)
        return f"{len(self.found)} of {total}" + (f" ({100 * self.share:.1f} %)" if total else "")


def coverage(names: Sequence[str], lemmas: Collection[str]) -> Coverage:
    """Which of ``names`` stand in ``lemmas`` exactly, after ``fgvr.labels.normalise`` of both."""
    known = {normalise(lemma) for lemma in lemmas} - {""}
    found = [normalise(name) in known for name in names]
    return Coverage(
        tuple(name for name, hit in zip(names, found, strict=True) if hit),
        tuple(name for name, hit in zip(names, found, strict=True) if not hit),
    )


def _given(folder: str | os.PathLike[str]) -> Iterator[Path]:
    place = Path(folder).expanduser()
    yield place
    yield place / "dict"


def _usual() -> Iterator[Path]:
    if "WNSEARCHDIR" in os.environ:
        yield Path(os.environ["WNSEARCHDIR"])
    if "WNHOME" in os.environ:
        yield from _given(os.environ["WNHOME"])
    yield from (Path(place).expanduser() for place in _SYSTEM_FOLDERS)


def _read_index(file: Path) -> dict[str, tuple[int, ...]]:
    """Lemma to the offsets of its synsets. Raises ``InputError`` for what is no index, or half of one."""
    lines = _lines(file)
    if lines and lines.pop():
        raise _damaged(file, "the last line is cut off")
    index: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if line.startswith("  "):  # the licence
            continue
        fields = line.split()
        try:
            count, pointers = int(fields[2]), int(fields[3])
            offsets = tuple(map(int, fields[6 + pointers :]))
        except (ValueError, IndexError) as error:
            raise _damaged(file, f"line {number} is no index entry") from error
        if len(offsets) != count or not count:
            raise _damaged(file, f"line {number} has {len(offsets)} synsets, not {count}")
        index[_spaced(fields[0])] = offsets
    if not index:
        raise _damaged(file, "it has no entries")
    return index


def _read_exceptions(file: Path) -> dict[str, tuple[str, ...]]:
    """Irregular form to base forms; nothing where the file is missing (the endings then do alone)."""
    if not file.is_file():
        return {}
    rows = [line.split() for line in _lines(file)]
    return {_spaced(row[0]): tuple(map(_spaced, row[1:])) for row in rows if len(row) > 1}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(file, str(error)) from error


def _parsed_synset(line: str, offset: int) -> Synset:
    """One line of ``data.noun``; word counts are hexadecimal, pointer counts decimal. Raises ``ValueError`` and kin."""
    data, _, gloss = line.partition("|")
    fields = data.split()
    if int(fields[0]) != offset or fields[2] != "n":
        raise ValueError("another line stands there")
    words = int(fields[3], 16)
    lemmas = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * words : 2])
    first = 5 + 2 * words
    pointers = [fields[at : at + 4] for at in range(first, first + 4 * int(fields[first - 1]), 4)]
    above = tuple(int(target) for symbol, target, *_ in pointers if symbol in ("@", "@i"))
    return Synset(offset, lemmas, gloss.strip(), above)


def _detached(word: str, part: PartOfSpeech) -> Iterator[str]:
    if part == "noun" and word.endswith("ful"):
        return
    if part == "noun" and (word.endswith("ss") or len(word) <= 2):  # morphy(7WN): "grass" is no plural
        return
    for ending, base in _ENDINGS[part]:
        if word.endswith(ending):
            yield word.removesuffix(ending) + base


def _spaced(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())


def _damaged(file: Path, what: str) -> InputError:
    return InputError(f"a WordNet file cannot be read: {what}", remedy=REMEDY, file=str(file))
