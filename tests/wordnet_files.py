"""A WordNet of a few words, in files of the real format: licence lines, byte offsets, hexadecimal word counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LICENCE = "".join(f"  {number} a line of the licence of Princeton University  \n" for number in range(1, 30))


@dataclass(frozen=True)
class Meaning:
    """One synset; ``above`` is the number of its hypernym in the list."""

    lemmas: tuple[str, ...]
    gloss: str = "a thing"
    above: int | None = None
    instance: bool = False


BIRDS = (
    Meaning(("entity",), "what exists"),
    Meaning(("Bird",), "a feathered animal | with a beak", above=0),
    Meaning(("Arctic_tern", "Sterna_paradisaea"), "a far traveller", above=1),
    Meaning(("finch",), above=1),
    Meaning(("leaf", "leafage"), above=0),
    Meaning(("leave",), above=0),
    Meaning(("glass",), above=0),
    Meaning(("glasses", "spectacles"), above=0),
    Meaning(("lens",), above=0),
    Meaning(("leaf",), "a sheet of paper", above=0),
    Meaning(("Linnaeus",), "a naturalist", above=0, instance=True),
    Meaning(tuple(f"synonym_{letter}" for letter in "abcdefghijkl"), "twelve names", above=0),
    Meaning(("bird_of_paradise",), above=1),
    Meaning(("paradise",), above=0),
    Meaning(("man",), above=0),
    Meaning(("handful",), above=0),
)
EXCEPTIONS = {"leaves": ("leaf", "leave"), "geese": ("goose",), "mice": ("mouse",)}


def write_wordnet(
    folder: Path,
    meanings: Sequence[Meaning] = BIRDS,
    *,
    exceptions: Mapping[str, Sequence[str]] = EXCEPTIONS,
    verbs: Sequence[str] = ("sit", "crown", "perch", "move"),
    adjectives: Sequence[str] = ("black", "footed"),
    adverbs: Sequence[str] = ("quickly",),
) -> Path:
    """Write ``index.*``, ``data.noun`` and ``*.exc`` below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets = _write_data(folder / "data.noun", meanings)
    index: dict[str, list[int]] = {}
    for meaning, offset in zip(meanings, offsets, strict=True):
        for lemma in meaning.lemmas:
            index.setdefault(lemma.lower(), []).append(offset)
    (folder / "index.noun").write_text(LICENCE + "".join(_entry(lemma, "n", index[lemma]) for lemma in sorted(index)))
    for part, letter, words in (("verb", "v", verbs), ("adj", "a", adjectives), ("adv", "r", adverbs)):
        (folder / f"index.{part}").write_text(LICENCE + "".join(_entry(word, letter, [1740]) for word in sorted(words)))
    (folder / "noun.exc").write_text("".join(f"{form} {' '.join(bases)}\n" for form, bases in exceptions.items()))
    (folder / "verb.exc").write_text("sat sit\n")
    return folder


def _entry(lemma: str, letter: str, offsets: Sequence[int]) -> str:
    places = " ".join(f"{offset:08d}" for offset in offsets)
    return f"{lemma} {letter} {len(offsets)} 2 @ ~ {len(offsets)} 0 {places}  \n"


def _write_data(file: Path, meanings: Sequence[Meaning]) -> list[int]:
    """Offsets are of fixed width, so a first pass with zeros finds them."""
    offsets = [0] * len(meanings)
    for _ in range(2):
        text, found = LICENCE, []
        for number, meaning in enumerate(meanings):
            found.append(len(text.encode()))
            words = " ".join(f"{lemma} 0" for lemma in meaning.lemmas)
            pointers = ["~ 00001740 n 0000"]
            if meaning.above is not None:
                symbol = "@i" if meaning.instance else "@"
                pointers.insert(0, f"{symbol} {offsets[meaning.above]:08d} n 0000")
            head = f"{found[number]:08d} 03 n {len(meaning.lemmas):02x} {words}"
            text += f"{head} {len(pointers):03d} {' '.join(pointers)} | {meaning.gloss}  \n"
        offsets = found
    file.write_text(text)
    return offsets
