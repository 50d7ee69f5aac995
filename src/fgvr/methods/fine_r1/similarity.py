"""Relative semantic similarity: how much closer to the true name than the mere super-category an answer is.

Paper: section 4, open world: ``max(0, (S(c, c*) - S(k, c*)) / (1 - S(k, c*)))`` with c the answer, c* the true name, k
the super-category's word and S the cosine of text embeddings (SigLIP's text tower).

1. *The super-category* is a field of the data. The released code looks for "aircraft", "birds", "cars" and "flower" in
   the picture's *path* and takes "object" for anything else; with the paths of its own files birds, dogs and pets are
   all "object", which changes half of the table against the definition: `official_kind`.
2. *Edge cases.* Where the true name is the super-category itself (S(k, c*) = 1) the released code divides by zero; here
   the same text scores 1 and any other 0. No answer, or one without a letter, scores 0. An item without a
   super-category has no such figure.
3. *Texts.* The released code compares the answer as written, or the whole output where there are no tags, with the name
   as the file writes it (underscores and all). Here names are compared as ``labels.normalise`` leaves them.
4. *Cost.* The released code embeds three texts an item, one by one; here each distinct text once, in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fgvr.labels.normalise import normalise
from fgvr.metrics.semantic import TextEncoder

if TYPE_CHECKING:
    from fgvr.encoders.base import DualEncoder

ANY_KIND = "object"
_KINDS = {"aircraft": "aircraft", "birds": "bird", "cars": "car", "flower": "flower"}
_NEAR_ONE = 1e-6
"""Cosines of float32 unit vectors within this of 1 are 1."""


class DualTexts:
    """A dual encoder's text tower as a sentence encoder; each distinct text is encoded once."""

    def __init__(self, encoder: DualEncoder) -> None:
        self.name = f"{encoder.name} (text tower)"
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32, unit norm."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._encoder.encode_texts(new), strict=True))
        if not texts:
            return np.zeros((0, self._encoder.dim), dtype=np.float32)
        return np.stack([self._known[text] for text in texts])


def official_kind(path: str) -> str:
    """The super-category's word by the released rule: what the picture's path, as the data writes it, contains."""
    return next((word for part, word in _KINDS.items() if part in path), ANY_KIND)


def relative_similarity(to_truth: float, kind_to_truth: float) -> float:
    """The formula, in [0, 1]: ``to_truth`` is S(c, c*), ``kind_to_truth`` S(k, c*)."""
    if kind_to_truth >= 1 - _NEAR_ONE:
        return float(to_truth >= 1 - _NEAR_ONE)
    return min(1.0, max(0.0, (to_truth - kind_to_truth) / (1 - kind_to_truth)))


def relative_similarities(
    answers: Sequence[str | None],
    truths: Sequence[str],
    kinds: Sequence[str | None],
    encoder: TextEncoder,
    *,
    form: Callable[[str], str] = normalise,
) -> list[float]:
    """One figure an item: 0 without an answer, NaN without a super-category.

    ``form``: what is done to a text before it is embedded. Raises ``ValueError`` for lengths that differ.
    """
    rows = [
        (form(answer or ""), form(truth), form(kind or ""))
        for answer, truth, kind in zip(answers, truths, kinds, strict=True)
    ]
    texts = list(dict.fromkeys(text for row in rows for text in row if text))
    vectors = dict(zip(texts, np.asarray(encoder.encode(texts), dtype=np.float64), strict=True)) if texts else {}

    def cosine(one: str, other: str) -> float:
        return float(vectors[one] @ vectors[other])

    def of(answer: str, truth: str, kind: str) -> float:
        if not kind or not truth:
            return float("nan")
        return relative_similarity(cosine(answer, truth), cosine(kind, truth)) if answer else 0.0

    each = {row: of(*row) for row in dict.fromkeys(rows)}
    return [each[row] for row in rows]


def official_similarities(
    outputs: Sequence[str | None], truths: Sequence[str], paths: Sequence[str], encoder: TextEncoder
) -> list[float]:
    """By the released rules: texts as they are, the super-category from the path. NaN where there is no output."""
    found = relative_similarities(outputs, truths, [official_kind(path) for path in paths], encoder, form=_as_written)
    return [float("nan") if output is None else value for output, value in zip(outputs, found, strict=True)]


def _as_written(text: str) -> str:
    return text.strip().encode("utf-8", "replace").decode("utf-8")
