"""From the captions found for an image to the words its name is looked for among (CaSED, section 3.2).

The released filters, in their order; what is done here:

1. *Tokens, links, signs, file endings, separators.* As released, its slip included: whatever follows a full stop
   without a blank ("end.Start") is taken for a file ending and dropped.
2. *Singular.* The code asks ``inflect``, for words in -s but not -ss, -us, -is, -ies or -oes. Here WordNet's base forms
   where it is at hand, and the regular endings for words it does not know.
3. *Parts of speech.* The code keeps nouns, adjectives and participles as the tagger ``flair`` sees them, in the bag of
   words, where there is no sentence to see. Here a word stays if WordNet has it as a noun, an adjective or a
   participle, or does not have it at all (a tagger calls such a word a name). Words without content (the, with, two)
   always go, and are all that goes where WordNet is not at hand.
4. *Order.* The code's is a set's, random from run to run. Here that of first appearance.
5. *Phrases.* Not released (its "compound nouns" are off). Here, if asked for, every run of up to ``LONGEST_PHRASE``
   words next to one another in a caption that were all kept, and that ends in a noun as far as one can tell; hyphens
   stay, so "black-footed albatross" can be found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from fgvr.wordnet import WordNet

NOTHING = "object"
"""The vocabulary of an image whose captions leave no word."""
LONGEST_PHRASE = 6
"""Words; a hyphenated word counts as its parts."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DROPPED = _words("""
    clipart icon illustration image logo painting photo picture portrait profile symbol thumbnail
""")
"""What captions say of the picture, not of what it shows."""
FUNCTION_WORDS = _words("""
    about above across after against all along among and another any are around because been before behind being below
    beneath beside between both but can could did does doing down during each either else every few for from further
    had has have having her here hers herself him himself his how into its itself just many may might more most much
    must near neither nor not off once one only onto other our ours out over own same shall she should some such than
    that the their theirs them themselves then there these they this those three through too toward towards two under
    until upon very was were what when where which while who whom whose why will with within without would you your
""")
"""Articles, pronouns, prepositions, conjunctions, auxiliaries, small numbers: no name is one of these."""

_TOKEN = re.compile(r"<[^>]+>")
_LINK = re.compile(r"http\S+")
_SIGN = re.compile(r"[^\w\s\-.'&]")
_ENDING = re.compile(r"\.\w+")
_SEPARATOR = re.compile(r"[_\-]")
_OTHER = re.compile(r"[^a-zA-Z\s]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")

Singular = Callable[[str], str]
Keep = Callable[[str], bool]


def cleaned(text: str) -> list[str]:
    """Words of a text: tokens, links, signs and file endings dropped, at least three letters, lower case."""
    for pattern in (_TOKEN, _LINK, _SIGN, _ENDING):
        text = pattern.sub("", text)
    long = " ".join(word for word in _SEPARATOR.sub(" ", text).split() if len(word) >= 3)
    return _OTHER.sub("", long).lower().split()


def frequent(words: Sequence[str], *, minimum: int = 2) -> list[str]:
    """The words that occur at least ``minimum`` times, or as often as the most frequent one where none does."""
    counts = Counter(words)
    bar = min(minimum, max(counts.values(), default=0))
    return [word for word in words if counts[word] >= bar]


def vocabulary(
    captions: Sequence[str], *, singular: Singular, keep: Keep, minimum: int = 2, phrases: Keep | None = None
) -> tuple[str, ...]:
    """The candidate names of one image from its ``captions``, distinct; ``("object",)`` where nothing is left.

    Args:
        singular: a word's singular.
        keep: whether a word's part of speech may name something.
        minimum: occurrences a word needs over all captions.
        phrases: whether a word can end a noun phrase; ``None`` for single words only.
    """
    words = [singular(word) for word in cleaned(" ".join(captions))]
    often = frequent([word for word in words if word not in DROPPED], minimum=minimum)
    kept = dict.fromkeys(word for word in often if keep(word))
    found = dict(kept)
    if phrases is not None:
        for caption in captions:
            found |= dict.fromkeys(_phrases(caption, frozenset(kept), singular, phrases))
    return tuple(found) or (NOTHING,)


def _phrases(caption: str, kept: frozenset[str], singular: Singular, ends: Keep) -> list[str]:
    """Of every run of kept words the pieces of two to ``LONGEST_PHRASE`` words that end in a noun, in the singular."""
    found = []
    for run in _runs(caption, lambda word: singular("".join(cleaned(word))) in kept):
        for last in range(1, len(run)):
            gap, word = run[last]
            head = singular(word)
            for first in range(max(0, last + 1 - LONGEST_PHRASE), last if ends(head) else 0):
                modifiers = run[first][1] + "".join(between + other for between, other in run[first + 1 : last])
                found.append(modifiers + gap + head)
    return found


def _runs(caption: str, wanted: Keep) -> list[list[tuple[str, str]]]:
    """Stretches of wanted words with only a blank or a hyphen between them: [(what stands before the word, word)]."""
    text = _LINK.sub("|", _TOKEN.sub("|", caption))
    runs: list[list[tuple[str, str]]] = [[]]
    end = 0
    for found in _WORD.finditer(text):
        gap = text[end : found.start()].replace("_", " ")
        end = found.end()
        if gap not in (" ", "-"):
            runs.append([])
        if wanted(found.group().lower()):
            runs[-1].append((gap, found.group().lower()))
        else:
            runs.append([])
    return runs


def plain_singular(word: str) -> str:
    """The singular by regular endings alone: ``finches`` to ``finch``.

    Only of words in -s, and not in -ss, -us, -is, -ies or -oes, which the released filter leaves as they are.
    """
    if not _may_be_plural(word):
        return word
    for ending, base in (("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("zzes", "zz")):
        if word.endswith(ending):
            return word.removesuffix(ending) + base
    return word[:-1]


def word_filters(wordnet: WordNet | None) -> tuple[Singular, Keep, Keep]:
    """(singular, which words to keep, which words end a noun phrase), with WordNet or without."""
    if wordnet is None:
        return plain_singular, _has_content, _has_content

    @lru_cache(maxsize=100_000)
    def singular(word: str) -> str:
        if not _may_be_plural(word):
            return word
        bases = [base for base in wordnet.base_forms(word) if base != word]
        known = bool(bases) or wordnet.is_noun(word)
        return bases[0] if bases else word if known else plain_singular(word)

    @lru_cache(maxsize=100_000)
    def keep(word: str) -> bool:
        parts = wordnet.parts_of_speech(word)
        inflected = "verb" in parts and word not in wordnet.base_forms(word, "verb")
        participle = inflected and word.endswith(("ing", "ed", "en"))
        return _has_content(word) and (not parts or participle or bool(parts & {"noun", "adj"}))

    @lru_cache(maxsize=100_000)
    def ends(word: str) -> bool:
        parts = wordnet.parts_of_speech(word)
        return _has_content(word) and (not parts or "noun" in parts)

    return singular, keep, ends


def _has_content(word: str) -> bool:
    return word not in FUNCTION_WORDS


def _may_be_plural(word: str) -> bool:
    return len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is", "ies", "oes"))
