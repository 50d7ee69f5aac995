"""From noisy names to a label space: names that mean the same become one label, and every merge is on record.

Four steps, from certain to likely:

1. ``same``: equal after `normalise`.
2. ``spelling``: equal after plural, spelling (grey/gray) and word joins (pit bull/pitbull) are levelled.
3. ``scientific``: a scientific name seen in replies together with a common name joins that one (the most frequent
   partner; two common names are never joined through a scientific one, since replies do mispair them).
4. ``embedding`` (only with an encoder): cosine at or above ``threshold``, each the other's nearest, and not siblings.

Sibling guard of step 4: fine-grained names differ by their modifiers, which embeddings hardly see ("Black-capped" and
"Red-capped Warbler" lie close). English puts the modifier before the head, so two names that share words may differ
only in words *after* the shared ones ("Siamese", "Siamese cat") or in words spelled nearly alike ("White-eye Vireo",
"White-eyed Vireo"); a replaced or preceding word keeps them apart, and so does any differing number. Names without a
common word ("Moggy", "House cat") go by the cosine alone. Mutual nearest pairs are merged once, so chains cannot form.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fgvr.labels.normalise import display_name, normalise
from fgvr.labels.phrases import is_scientific

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fgvr.metrics.semantic import TextEncoder

_SPELLING = {
    "grey": "gray", "coloured": "colored", "colour": "color", "collared": "collared", "moustached": "mustached",
    "yoghurt": "yogurt", "sulphur": "sulfur", "mouldy": "moldy", "aeroplane": "airplane", "tyre": "tire",
    "leaves": "leaf", "wolves": "wolf", "geese": "goose", "mice": "mouse", "saint": "st",
}  # fmt: skip
_NOT_PLURAL = ("ss", "us", "is", "os", "as", "ops", "ics", "ies", "iris", "swiss", "pancreas", "series", "species")


@dataclass(frozen=True)
class Merge:
    """One raw form that became part of another label."""

    raw: str
    into: str
    why: str
    """``same``, ``spelling``, ``scientific`` or ``embedding``."""
    score: float = 1.0
    """Cosine for ``embedding``, else 1."""


@dataclass(frozen=True)
class LabelSpace:
    """C labels and how raw names map to them."""

    names: tuple[str, ...]
    """One display name per label: its most frequent form (common before scientific; of equals the longest)."""
    members: Mapping[str, tuple[str, ...]]
    """Label to its raw forms, most frequent first."""
    index: Mapping[str, int]
    """Raw form to label number; raw forms that are no name at all are absent."""
    provenance: tuple[Merge, ...] = ()
    _by_key: Mapping[str, int] = field(default_factory=dict, repr=False)

    def indices(self, raw_names: Iterable[str | None]) -> NDArray[np.int64]:
        """(N,) int64 label numbers; -1 for ``None`` and for names outside the space."""
        import numpy as np

        return np.array([self._find(name) for name in raw_names], dtype=np.int64)

    def _find(self, name: str | None) -> int:
        if name is None:
            return -1
        found = self.index.get(name)
        return self._by_key.get(normalise(name), -1) if found is None else found


def merge_synonyms(
    names: Sequence[str],
    *,
    counts: Mapping[str, int] | None = None,
    encoder: TextEncoder | None = None,
    threshold: float = 0.92,
    pairs: Sequence[tuple[str, str]] = (),
) -> LabelSpace:
    """Merge raw names (repeats allowed) into a `LabelSpace`; labels in order of first sight.

    ``counts``: how often each raw form occurs, by default as often as in ``names``. ``pairs``: (common, scientific) as
    seen in replies. ``encoder``: anything with ``encode(texts) -> (N, D) unit norm``; without it no embedding step.
    """
    tally = Counter(names) if counts is None else Counter({name: counts.get(name, 1) for name in names})
    groups = _Groups(tally)
    groups.by_key(normalise, "same")
    groups.by_key(variant_key, "spelling")
    groups.by_pairs(pairs)
    if encoder is not None:
        groups.by_embedding(encoder, threshold)
    return groups.space()


def variant_key(name: str) -> str:
    """`normalise`, then American spelling, singular last word and no blanks: equal for spelling variants."""
    words = [_SPELLING.get(word, word) for word in normalise(name).split()]
    if words:
        words[-1] = _singular(words[-1])
        words[-1] = _SPELLING.get(words[-1], words[-1])
    return "".join(f"{word} " if any(char.isdigit() for char in word) else word for word in words).strip()


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies") and word not in _NOT_PLURAL:
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(_NOT_PLURAL):
        return word[:-1]
    return word


def siblings(one: str, other: str) -> bool:
    """Whether two names look like different members of a family rather than two names of one thing."""
    first, second = normalise(one).split(), normalise(other).split()
    if {word for word in first if word.isdigit()} != {word for word in second if word.isdigit()}:
        return True
    if not set(first) & set(second):
        return False
    matcher = difflib.SequenceMatcher(a=first, b=second, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        at_end = i_end == len(first) and j_end == len(second)
        if kind in ("insert", "delete") and at_end:
            continue
        alike = difflib.SequenceMatcher(a=" ".join(first[i:i_end]), b=" ".join(second[j:j_end])).ratio() >= 0.85
        if kind != "replace" or not alike:
            return True
    return False


class _Groups:
    """Disjoint groups of raw forms, with the reasons for every join."""

    def __init__(self, tally: Counter[str]) -> None:
        self.tally = tally
        self.raw = [name for name in tally if normalise(name)]
        self.root = {name: name for name in self.raw}
        self.members = {name: [name] for name in self.raw}
        self.merges: list[tuple[str, str, str, float]] = []

    def join(self, name: str, into: str, why: str, score: float = 1.0) -> None:
        """Move the whole group of ``name`` into the group of ``into``."""
        source, target = self.root[name], self.root[into]
        if source == target:
            return
        self.merges.append((name, into, why, score))
        for member in self.members.pop(source):
            self.root[member] = target
            self.members[target].append(member)

    def by_key(self, key: Callable[[str], str], why: str) -> None:
        """Join forms of equal key; ``key`` maps a name to a string."""
        first: dict[str, str] = {}
        for name in self.raw:
            self.join(name, first.setdefault(key(name), name), why)

    def by_pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Join each scientific name to its most frequent common partner, where both are labels."""
        by_key = {normalise(name): name for name in reversed(self.raw)}
        partners: dict[str, Counter[str]] = {}
        for common, scientific in pairs:
            one, other = normalise(common), normalise(scientific)
            if one != other and one in by_key and other in by_key:
                partners.setdefault(other, Counter())[one] += 1
        for scientific, seen in partners.items():
            common = seen.most_common(1)[0][0]
            if common not in partners:
                self.join(by_key[scientific], by_key[common], "scientific")

    def by_embedding(self, encoder: TextEncoder, threshold: float) -> None:
        """Join mutual nearest groups at or above the threshold that are not siblings."""
        import numpy as np

        roots = list(self.members)
        if len(roots) < 2:
            return
        shown = [self.best(root) for root in roots]
        vectors = np.asarray(encoder.encode(shown), dtype=np.float32)
        nearest = np.empty(len(roots), dtype=np.int64)
        score = np.empty(len(roots))
        for start in range(0, len(roots), 1024):
            block = vectors[start : start + 1024] @ vectors.T
            rows = np.arange(len(block))
            block[rows, start + rows] = -np.inf
            nearest[start : start + len(block)] = block.argmax(axis=1)
            score[start : start + len(block)] = block.max(axis=1)
        for i, j in enumerate(nearest):
            if i < j and nearest[j] == i and score[i] >= threshold and not siblings(shown[i], shown[j]):
                self.join(roots[j], roots[i], "embedding", float(score[i]))

    def ranked(self, root: str) -> list[str]:
        """The group's forms, the representative first."""
        return sorted(self.members[root], key=lambda n: (is_scientific(n), -self.tally[n], -len(n), n))

    def best(self, root: str) -> str:
        return display_name(self.ranked(root)[0])

    def space(self) -> LabelSpace:
        names = tuple(self.best(root) for root in self.members)
        ranked = [tuple(self.ranked(root)) for root in self.members]
        number = {member: i for i, group in enumerate(ranked) for member in group}
        provenance = tuple(Merge(raw, names[number[raw]], why, score) for raw, _, why, score in self.merges)
        by_key = {normalise(member): i for member, i in number.items()}
        return LabelSpace(names, dict(zip(names, ranked)), number, provenance, by_key)
