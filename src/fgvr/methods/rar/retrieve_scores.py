"""How well each class fits a query: the cosines of its rows drawn together into one score a class.

``max``: the best row. ``mean``: the average over rows. ``softmax-sum``: ``t log sum exp(cos / t)``, between the two: a
class with several good rows beats one with a single good row (and, other things equal, more rows beat fewer).

Rows of classes with equally many rows lie together, first rows first: a tile of cosines is then (Q, rows, classes) and
one reduction over the middle gives the scores. Work goes block by block of queries, a tile is ``TILE`` values at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from fgvr.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor

Aggregate = Literal["max", "mean", "softmax-sum"]
AGGREGATES: tuple[Aggregate, ...] = ("max", "mean", "softmax-sum")
TILE = 8 * 2**20
"""Cosines held at once (32 MiB of float32), or those of one query where they are more."""
NO_PAIRS = np.empty((0, 2), dtype=np.int64)


class Searcher(Protocol):
    """Anything that finds nearest rows, exactly or nearly (``fgvr.memory.search``)."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Row indices (Q, k), -1 past the end, and cosines (Q, k), NaN there; nearest first."""
        ...


def class_scores(
    queries: np.ndarray,
    vectors: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    aggregate: Aggregate = "max",
    temperature: float = 0.05,
    hits: int | None = None,
    searcher: Searcher | None = None,
    exclude: np.ndarray | None = None,
    leave_out: np.ndarray | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """Score of every class for every query, (Q, C) float32, in units of cosine; -inf for a class without a row.

    Args:
        queries: (Q, D), unit norm.
        vectors: (N, D), unit norm; may be memory-mapped.
        labels: (N,) class indices in [0, ``num_classes``).
        aggregate: see the module.
        temperature: of ``softmax-sum``, in units of cosine.
        hits: only so many nearest rows of each query count (the released code: 100); ``None``: all rows.
        searcher: finds the hits; exact search by default.
        exclude: (E, 2) int64 pairs (query, row) that do not count: leave-one-out, see ``same_rows``.
        leave_out: (Q,) int64; of every class with more than one row, the query does not see the row of this number
            (modulo the class's rows): leave-one-shot-out. Not with ``hits``.
        device: where cosines are computed, as torch writes it.

    Raises ``EncoderError`` when queries and rows have different dimensions, ``ValueError`` for other misfits.
    """
    queries, labels = np.asarray(queries, dtype=np.float32), np.asarray(labels, dtype=np.int64)
    check(queries, vectors, labels, num_classes=num_classes, aggregate=aggregate, temperature=temperature)
    if hits is not None and leave_out is not None:
        raise ValueError("leave_out needs all rows: hits must be None")
    pairs = NO_PAIRS if exclude is None else np.asarray(exclude, dtype=np.int64).reshape(-1, 2)
    scores = np.empty((len(queries), num_classes), dtype=np.float32)
    if hits is not None:
        for part in blocks(len(queries), max(num_classes, hits)):
            rows, cosines = nearest_rows(
                queries[part], vectors, hits=hits, searcher=searcher, exclude=within(pairs, part), device=device
            )
            scores[part] = scores_of_hits(
                rows, cosines, labels, num_classes, aggregate=aggregate, temperature=temperature
            )
        return scores
    means = aggregate == "mean" and not len(pairs) and leave_out is None
    table = ClassTable.of(vectors, labels, num_classes, means=means, device=device)
    for part in blocks(len(queries), table.width):
        left = None if leave_out is None else leave_out[part]
        found = table.scores(
            queries[part], aggregate=aggregate, temperature=temperature, exclude=within(pairs, part), leave_out=left
        )
        scores[part] = found.cpu().numpy()
    return scores


def same_rows(hashes: Sequence[str]) -> np.ndarray:
    """Pairs (row, row of the same content hash), itself included, (E, 2) int64: what leave-one-out must not count.

    A row without a hash has no twin.
    """
    where: dict[str, list[int]] = {}
    for row, digest in enumerate(hashes):
        where.setdefault(digest or f"row {row}", []).append(row)
    pairs = sorted((a, b) for rows in where.values() for a in rows for b in rows)
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)


def blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of ``count`` queries; a block times ``width`` values stays within ``TILE``."""
    step = max(1, TILE // max(1, width))
    return (slice(at, min(at + step, count)) for at in range(0, count, step))


@dataclass(frozen=True)
class ClassTable:
    """A copy of the rows, laid out for aggregation (see the module)."""

    groups: tuple[tuple[np.ndarray, Tensor], ...]
    """For each number n of rows a class: the classes (M,), and their rows (n * M, D), all first rows first."""
    place: np.ndarray
    """(N, 2) int64: group of each row, and its place there."""
    num_classes: int
    means: bool = False
    """Only class means are kept: no row can be left out."""

    @classmethod
    def of(
        cls, vectors: np.ndarray, labels: np.ndarray, num_classes: int, *, means: bool = False, device: str = "cpu"
    ) -> ClassTable:
        """Lay rows (N, D) of classes (N,) out. ``means``: only the mean row of each class (not of unit norm)."""
        import torch

        sizes = np.bincount(labels, minlength=num_classes)
        ordered = np.argsort(labels, kind="stable")
        first = np.cumsum(sizes) - sizes
        place = np.empty((len(labels), 2), dtype=np.int64)
        groups = []
        for number, size in enumerate(np.unique(sizes[sizes > 0])):
            classes = np.flatnonzero(sizes == size)
            rows = ordered[first[classes] + np.arange(size)[:, None]]  # (n, M)
            place[rows.ravel(), 0], place[rows.ravel(), 1] = number, np.arange(rows.size)
            taken = np.asarray(vectors[rows.ravel()], dtype=np.float32)
            if means:
                taken = taken.reshape(size, len(classes), -1).mean(axis=0)
            groups.append((classes, torch.as_tensor(taken, device=device)))
        return cls(tuple(groups), place, num_classes, means)

    @property
    def present(self) -> np.ndarray:
        """(C,) bool: classes that have a row."""
        present = np.zeros(self.num_classes, dtype=bool)
        for classes, _ in self.groups:
            present[classes] = True
        return present

    @property
    def width(self) -> int:
        """Values a query takes at once."""
        return max(self.num_classes, *(len(rows) for _, rows in self.groups), 1)

    def scores(
        self,
        queries: np.ndarray,
        *,
        aggregate: Aggregate,
        temperature: float,
        exclude: np.ndarray = NO_PAIRS,
        leave_out: np.ndarray | None = None,
    ) -> Tensor:
        """(Q, C) scores of one block of queries (Q, D); arguments as for ``class_scores``."""
        import torch

        if self.means and (len(exclude) or leave_out is not None):
            raise ValueError("a table of class means cannot leave rows out")

        device = self.groups[0][1].device if self.groups else "cpu"
        asked = torch.as_tensor(queries, device=device)
        out = torch.full((len(queries), self.num_classes), float("-inf"), device=device)
        for number, (classes, rows) in enumerate(self.groups):
            tile = asked @ rows.T
            mine = exclude[self.place[exclude[:, 1], 0] == number]
            tile[torch.as_tensor(mine[:, 0]), torch.as_tensor(self.place[mine[:, 1], 1])] = float("-inf")
            cube = tile.view(len(queries), -1, len(classes))
            if leave_out is not None and cube.shape[1] > 1:
                cube[torch.arange(len(queries)), torch.as_tensor(leave_out % cube.shape[1])] = float("-inf")
            found = _drawn_together(cube, aggregate, temperature)
            if len(classes) == self.num_classes:
                return found
            out[:, torch.as_tensor(classes)] = found
        return out


def _drawn_together(cube: Tensor, aggregate: Aggregate, temperature: float) -> Tensor:
    """Cosines (Q, n, M), -inf where a row does not count, to scores (Q, M). The cosines are overwritten."""
    import torch

    if cube.shape[1] == 1:
        return cube[:, 0]
    best = cube.amax(dim=1)
    if aggregate == "max":
        return best
    if aggregate == "softmax-sum":  # log-sum-exp in place: nothing of the size of the tile is made besides it
        shift = torch.where(torch.isfinite(best), best, 0.0)
        return shift + temperature * cube.sub_(shift[:, None]).div_(temperature).exp_().sum(dim=1).log()
    counted = torch.isfinite(cube)
    mean = torch.where(counted, cube, 0.0).sum(dim=1) / counted.sum(dim=1)
    return torch.where(counted.any(dim=1), mean, float("-inf"))


def nearest_rows(
    queries: np.ndarray,
    vectors: np.ndarray,
    *,
    hits: int,
    searcher: Searcher | None = None,
    exclude: np.ndarray = NO_PAIRS,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """The ``hits`` nearest rows that count: indices (Q, hits) int64, -1 past the end, and cosines, NaN there."""
    from fgvr.memory.search import nearest

    spare = int(np.bincount(exclude[:, 0]).max()) if len(exclude) else 0
    wanted = min(hits + spare, len(vectors))
    if searcher is not None:
        rows, cosines = searcher.search(queries, wanted)
    else:
        rows, cosines = nearest(queries, vectors, k=wanted, device=device)
    cell = rows + np.arange(len(rows))[:, None] * len(vectors)
    gone = (rows < 0) | np.isin(cell, exclude[:, 0] * len(vectors) + exclude[:, 1])
    order = np.argsort(gone, axis=1, kind="stable")[:, :hits]  # what counts first, nearest first
    left = ~np.take_along_axis(gone, order, axis=1)
    found = np.where(left, np.take_along_axis(rows, order, axis=1), -1)
    return found, np.where(left, np.take_along_axis(cosines, order, axis=1), np.float32(np.nan))


def scores_of_hits(
    rows: np.ndarray,
    cosines: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    aggregate: Aggregate = "max",
    temperature: float = 0.05,
) -> np.ndarray:
    """Hits (Q, n), -1 for none, and their cosines to class scores (Q, C) float32, -inf where a class has no hit."""
    at, slot = np.nonzero(rows >= 0)
    cell = at * num_classes + labels[rows[at, slot]]
    value = cosines[at, slot].astype(np.float64)
    hit, where = np.unique(cell, return_inverse=True)
    best = np.full(len(hit), -np.inf)
    np.maximum.at(best, where, value)
    if aggregate == "mean":
        best = np.bincount(where, value) / np.bincount(where)
    elif aggregate == "softmax-sum":
        best += temperature * np.log(np.bincount(where, np.exp((value - best[where]) / temperature)))
    scores = np.full((len(rows), num_classes), -np.inf, dtype=np.float32)
    scores.ravel()[hit] = best
    return scores


def check(
    queries: np.ndarray,
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    aggregate: str = "max",
    temperature: float = 1.0,
) -> None:
    """Raises ``EncoderError`` for another dimension, ``ValueError`` for other arguments that do not fit."""
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate must be one of {', '.join(AGGREGATES)}, not {aggregate!r}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    if queries.ndim != 2 or vectors.ndim != 2 or labels.shape != (len(vectors),):
        shapes = f"{queries.shape}, {vectors.shape}, {labels.shape}"
        raise ValueError(f"queries (Q, D), vectors (N, D) and labels (N,) do not fit: {shapes}")
    if queries.shape[1] != vectors.shape[1]:
        raise EncoderError(
            "queries and memory have different dimensions",
            remedy="Encode the queries with the encoder the memory was made with.",
            queries=queries.shape[1],
            memory=vectors.shape[1],
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(f"labels must lie in [0, {num_classes})")


def within(pairs: np.ndarray, part: slice) -> np.ndarray:
    """Pairs (query, row) of the queries in a block, counted from its first."""
    mine = pairs[(pairs[:, 0] >= part.start) & (pairs[:, 0] < part.stop)]
    return np.asarray(mine - np.array([part.start, 0]), dtype=np.int64)
