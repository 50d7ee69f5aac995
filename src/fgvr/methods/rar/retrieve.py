"""Retrieve: the likeliest classes of a query, from a memory of images, of texts, or of both (RAR, section 3.2).

Paper, released code, and what we do:

1. *Categories.* The paper retrieves the "top-k categories". The code takes the labels of the k nearest images, so that
   five slots may hold two classes. Here candidates are distinct classes; ``AS_RELEASED`` keeps the duplicates.
2. *Hits.* The code looks at the 100 nearest images only. Here all rows count (``hits`` restores the limit).
3. *Score of a class.* Paper and code know only the nearest image (``max``). Default here is ``softmax-sum``.
4. *Text.* In the few-shot setting the paper never asks CLIP's text tower, in detection never the images. Here the two
   are fused where a memory has both: ``log p = w_i log p_image + w_t log p_text`` (a logarithmic opinion pool),
   renormalised over all classes.
5. *Probabilities.* The paper has none. Here each side is a softmax over all classes with a temperature of its own; what
   is not set follows from the memory (``resolved``) or is calibrated on it (``fit_retrieval``).
6. *k.* 5, and 4 with four shots (section 4.1); the code has 5 there, too.

A class that has only one of the two kinds of rows is judged by that kind on both sides: ``log p_image`` of a class
known by its name alone is its ``log p_text``. So it is neither favoured (it must be as convincing as the others) nor
lost (it does not count as the least similar of all). A class without any row has probability 0 and is no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.rar.candidates import NO_CLASS, Candidates
from fgvr.methods.rar.retrieve_scores import (
    NO_PAIRS,
    ClassTable,
    Searcher,
    blocks,
    check,
    nearest_rows,
    scores_of_hits,
    within,
)
from fgvr.methods.rar.retrieve_scores import class_scores as class_scores
from fgvr.methods.rar.retrieve_scores import same_rows as same_rows
from fgvr.methods.rar.retrieve_settings import AS_DESCRIBED as AS_DESCRIBED
from fgvr.methods.rar.retrieve_settings import AS_RELEASED as AS_RELEASED
from fgvr.methods.rar.retrieve_settings import DEFAULT as DEFAULT
from fgvr.methods.rar.retrieve_settings import MemoryLike as MemoryLike
from fgvr.methods.rar.retrieve_settings import PlainMemory as PlainMemory
from fgvr.methods.rar.retrieve_settings import PlainRows as PlainRows
from fgvr.methods.rar.retrieve_settings import RetrieveSettings as RetrieveSettings
from fgvr.methods.rar.retrieve_settings import RowsLike, Source, resolved
from fgvr.methods.rar.retrieve_settings import candidates_for as candidates_for

if TYPE_CHECKING:
    from torch import Tensor


def retrieve(
    queries: np.ndarray,
    memory: MemoryLike,
    settings: RetrieveSettings = DEFAULT,
    *,
    searcher: Searcher | None = None,
    device: str = "cpu",
) -> Candidates:
    """The ``k`` likeliest classes of queries (Q, D), unit norm.

    With fewer classes than k all are returned and the rest of the row is -1. Equal scores: the lower class index first.
    With ``distinct=False`` a class may stand in a row twice; each time with its own (equal) log-probability.
    ``searcher`` finds the image hits (``settings.hits``). Raises ``InputError`` when the memory lacks the rows asked
    for, ``EncoderError`` for another dimension.
    """
    return Retriever.of(memory, settings, searcher=searcher, device=device).candidates(queries)


@dataclass(frozen=True)
class Retriever:
    """A memory laid out for many queries."""

    settings: RetrieveSettings
    """Resolved."""
    num_classes: int
    images: ClassTable | None
    texts: ClassTable | None
    rows: RowsLike
    """The image rows, for settings with ``hits`` or duplicates."""
    searcher: Searcher | None
    device: str

    @classmethod
    def of(
        cls,
        memory: MemoryLike,
        settings: RetrieveSettings = DEFAULT,
        *,
        searcher: Searcher | None = None,
        leaving_out: bool = False,
        device: str = "cpu",
    ) -> Retriever:
        """``leaving_out``: queries may leave rows out. Raises ``InputError`` when the rows asked for are lacking."""
        settings = resolved(settings, memory)
        count = len(memory.names)
        asked = _asked(memory, settings.source)

        def table(rows: RowsLike, *, means: bool) -> ClassTable:
            labels = np.asarray(rows.labels, dtype=np.int64)
            return ClassTable.of(rows.vectors, labels, count, means=means, device=device)

        images = (
            table(memory.images, means=settings.aggregate == "mean" and not leaving_out) if "image" in asked else None
        )
        texts = table(memory.texts, means=True) if "text" in asked else None
        return cls(settings, count, images, texts, memory.images, searcher, device)

    def candidates(
        self, queries: np.ndarray, *, exclude: np.ndarray = NO_PAIRS, leave_out: np.ndarray | None = None
    ) -> Candidates:
        """The k likeliest classes of queries (Q, D); ``exclude`` and ``leave_out`` as for ``class_scores``."""
        queries = self._checked(queries)
        classes = np.full((len(queries), self.settings.k), NO_CLASS, dtype=np.int64)
        log_probs = np.full(classes.shape, -np.inf, dtype=np.float32)
        for part in blocks(len(queries), self._width):
            pairs = within(exclude, part)
            found = self._log_probs(queries[part], pairs, None if leave_out is None else leave_out[part])
            if self.settings.distinct:
                best, values = top_classes(found, self.settings.k)
            else:
                best, values = self._nearest_labels(queries[part], pairs, found.cpu().numpy())
            classes[part, : best.shape[1]], log_probs[part, : best.shape[1]] = best, values
        return Candidates(classes, log_probs)

    def log_probs(
        self, queries: np.ndarray, *, exclude: np.ndarray = NO_PAIRS, leave_out: np.ndarray | None = None
    ) -> np.ndarray:
        """Log-probability of every class, (Q, C) float32; rows of probabilities sum to one."""
        queries = self._checked(queries)
        out = np.empty((len(queries), self.num_classes), dtype=np.float32)
        for part in blocks(len(queries), self._width):
            left = None if leave_out is None else leave_out[part]
            out[part] = self._log_probs(queries[part], within(exclude, part), left).cpu().numpy()
        return out

    @property
    def _width(self) -> int:
        return max(table.width for table in (self.images, self.texts) if table is not None)

    def _checked(self, queries: np.ndarray) -> np.ndarray:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        for table in (self.images, self.texts):
            if table is not None:
                dim = table.groups[0][1].shape[1]
                check(queries, np.empty((0, dim)), np.empty(0), num_classes=self.num_classes)
        return queries

    def _log_probs(self, queries: np.ndarray, exclude: np.ndarray, leave_out: np.ndarray | None) -> Tensor:
        """(B, C) of one block."""
        sides = []
        if self.images is not None:
            sides.append(calm(self._image_scores(queries, exclude, leave_out), self.settings.image_temperature))
        if self.texts is not None:
            scores = self.texts.scores(queries, aggregate="mean", temperature=1.0)
            sides.append(calm(scores, self.settings.text_temperature))
        if len(sides) == 1:
            return sides[0]
        image, text = sides
        return fused(image, text, image_weight=self.settings.image_weight, text_weight=self.settings.text_weight)

    def _image_scores(self, queries: np.ndarray, exclude: np.ndarray, leave_out: np.ndarray | None) -> Tensor:
        import torch

        assert self.images is not None
        settings = self.settings
        temperature = settings.temperature or 1.0
        if settings.hits is None:
            return self.images.scores(
                queries,
                aggregate=settings.aggregate,
                temperature=temperature,
                exclude=exclude,
                leave_out=leave_out,
            )
        rows, cosines = self._hits(queries, settings.hits, exclude)
        labels = np.asarray(self.rows.labels)
        scores = scores_of_hits(
            rows, cosines, labels, self.num_classes, aggregate=settings.aggregate, temperature=temperature
        )
        if self.texts is not None:  # the last hit's cosine bounds what was not hit; -inf would be a veto in the fusion
            floor = np.nanmin(cosines, axis=1, keepdims=True)
            scores = np.where(np.isneginf(scores) & self.images.present, floor, scores)
        return torch.as_tensor(scores, device=self.device)

    def _hits(self, queries: np.ndarray, wanted: int, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return nearest_rows(
            queries, self.rows.vectors, hits=wanted, searcher=self.searcher, exclude=exclude, device=self.device
        )

    def _nearest_labels(
        self, queries: np.ndarray, exclude: np.ndarray, log_probs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the k nearest images (B, k), duplicates kept, and their classes' log-probabilities."""
        rows, _ = self._hits(queries, self.settings.k, exclude)
        classes = np.where(rows >= 0, np.asarray(self.rows.labels)[rows], NO_CLASS)
        values = np.take_along_axis(log_probs, np.maximum(classes, 0), axis=1)
        return classes, np.where(rows >= 0, values, -np.inf)


def calm(scores: Tensor, temperature: float | None) -> Tensor:
    """Scores (Q, C), -inf for a class without rows, to log-probabilities; all -inf where no class has rows."""
    import torch

    log_probs = torch.log_softmax(scores / (temperature or 1.0), dim=1)
    return log_probs.masked_fill(torch.isneginf(scores), float("-inf"))


def fused(image: Tensor, text: Tensor, *, image_weight: float, text_weight: float) -> Tensor:
    """Log-probabilities of the two sides (Q, C), -inf for classes a side does not know, to fused ones (Q, C)."""
    import torch

    nowhere = torch.isneginf(image) & torch.isneginf(text)
    from_image, from_text = (
        torch.where(torch.isneginf(image), text, image),
        torch.where(torch.isneginf(text), image, text),
    )
    pooled = image_weight * from_image + text_weight * from_text
    return torch.log_softmax(pooled.masked_fill(nowhere, float("-inf")), dim=1)


def top_classes(log_probs: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` largest of each row of (Q, C), equal ones by lower index: classes and values (Q, min(k, C)).

    Where the value is -inf the class is -1.
    """
    import torch

    count = log_probs.shape[1]
    k = min(k, count)
    values, classes = (found.cpu().numpy() for found in torch.topk(log_probs, min(k + 1, count), dim=1))
    tied = np.flatnonzero(values[:, k - 1] == values[:, k]) if count > k else np.empty(0, np.int64)
    order = np.lexsort((classes, -values))[:, :k]
    classes, values = np.take_along_axis(classes, order, axis=1), np.take_along_axis(values, order, axis=1)
    if len(tied):  # which of the equal ones made it is luck
        rows = log_probs[torch.as_tensor(tied)].cpu().numpy()
        classes[tied] = np.argsort(-rows, axis=1, kind="stable")[:, :k]
        values[tied] = np.take_along_axis(rows, classes[tied], axis=1)
    return np.where(np.isneginf(values), NO_CLASS, classes), values


def _asked(memory: MemoryLike, source: Source) -> tuple[str, ...]:
    """The kinds of rows to ask: those of the source, as far as the memory has them. Raises ``InputError`` for none."""
    held = [kind for kind, rows in (("image", memory.images), ("text", memory.texts)) if len(rows.labels)]
    asked = tuple(kind for kind in held if source in (kind, "fused"))
    if not asked:
        lacking = "anything" if source == "fused" else f"any {source}"
        raise InputError(
            f"the memory does not hold {lacking} to compare with",
            remedy="Add rows of that kind, or choose another source.",
            source=source,
            classes=len(memory.names),
        )
    return asked
