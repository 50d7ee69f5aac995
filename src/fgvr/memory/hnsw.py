"""Approximate search in a graph (HNSW, Malkov and Yashunin 2018) through faiss, extra ``ann``.

1. *Degree.* RAR's paper says that HNSW takes "576-dimensional vectors" to "64-dimensional indices". In its code 64 is
   the graph's degree M and vectors stay whole (see ``reduce``); ``AS_RELEASED`` has the code's three settings. Here
   half the degree and a wider search find more in a smaller graph.
2. *Deterministic.* Levels are drawn from faiss's own fixed seed, rows enter in blocks of fixed size, one thread inserts
   by default. (faiss 1.15 builds the same graph with any number of threads; older ones do not promise it.)
3. *Answers.* What the graph finds is ranked again by float64 cosine, lower row first: where it finds all neighbours,
   the answer is that of exact search to the bit. A query the graph gives fewer than k rows asks again with four times
   the width, in the end exactly: k rows are found whenever there are k.
4. *Removal* marks nodes: they lead the way but are not returned. When more than ``MOST_REMOVED`` of the nodes are
   marked the graph is built anew from the rows that are left, at most three built for each one removed.
5. *Memory.* faiss holds a copy of the vectors; the file too, so that an index stands on its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import EncoderError, RunError
from fgvr.memory.ann import load_faiss
from fgvr.memory.index_file import REMEDY, read_index_file, write_index_file
from fgvr.memory.pieces import Pieces, as_pieces
from fgvr.memory.rows import Rows
from fgvr.memory.search import Exact, Recall, Searcher, check_queries, nearest, recall
from fgvr.memory.shortlist import GATHERED, SLACK, best

AS_RELEASED = {"degree": 64, "ef_construction": 40, "ef_search": 16}
MOST_REMOVED = 0.25
BLOCK = 65_536
"""Rows that enter at once; part of what makes a graph reproducible."""


class Hnsw:
    """A ``Searcher`` over rows that can be added and removed. Make one with ``build``, ``of_rows`` or ``load``.

    Rows are numbered as in an array: ``add`` appends, ``remove`` closes the gap, as ``Memory`` does.
    """

    def __init__(self, index: Any, ids: np.ndarray, alive: np.ndarray, *, ef_search: int, threads: int) -> None:
        self._index = index
        self._set_nodes(ids, alive)
        self.ef_search = ef_search
        self.threads = threads

    # --- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        vectors: np.ndarray | Pieces,
        *,
        degree: int = 32,
        ef_construction: int = 40,
        ef_search: int = 64,
        threads: int = 1,
        ids: np.ndarray | None = None,
    ) -> Hnsw:
        """Build the graph of vectors (N, D), unit norm.

        Args:
            vectors: may be memory-mapped or lie in pieces; copied into the index block by block.
            degree: M, links of a node and layer (twice as many in the lowest).
            ef_construction: width of the search for a new node's neighbours.
            ef_search: width of later searches; more finds more and takes longer. Can be set later.
            threads: that insert; see the module about more than one.
            ids: (N,) int64 ascending, ``Rows.ids`` where the index shall ``follow`` a memory.

        Raises ``MissingExtraError`` without faiss.
        """
        pieces = as_pieces(vectors)
        faiss = load_faiss()
        index = faiss.IndexHNSWFlat(pieces.shape[1], degree, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = ef_construction
        made = cls(index, np.empty(0, np.int64), np.empty(0, bool), ef_search=ef_search, threads=threads)
        made._enter(pieces, np.arange(len(pieces)) if ids is None else np.asarray(ids, dtype=np.int64))
        return made

    @classmethod
    def of_rows(cls, rows: Rows, *, k: int = 5, sample: int = 200, seed: int = 0, **how: Any) -> tuple[Hnsw, Recall]:
        """Build for a memory's rows, and measure: ``sample`` rows ask for their ``k`` nearest others (``recall``)."""
        made = cls.build(rows.pieces, ids=rows.ids, **how)
        return made, recall(made, rows.pieces, k=k, sample=sample, seed=seed)

    def _set_nodes(self, ids: np.ndarray, alive: np.ndarray) -> None:
        """One id a node, in order of entry; which of them count; and what every search needs of that."""
        self._ids, self._alive = ids, alive
        self._row_of_node = np.cumsum(alive) - 1
        self._count = int(alive.sum())
        self._bits = None if alive.all() else np.packbits(alive, bitorder="little")

    def __len__(self) -> int:
        return self._count

    @property
    def dim(self) -> int:
        """D."""
        return int(self._index.d)

    @property
    def degree(self) -> int:
        """M."""
        return int(self._index.hnsw.nb_neighbors(1))

    @property
    def nodes(self) -> int:
        """Rows in the graph, removed ones included."""
        return len(self._alive)

    # --- searching ----------------------------------------------------------------------------------------------------

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Queries (Q, D), unit norm: row indices (Q, k) int64, -1 past the end; cosines (Q, k) float32, NaN there."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self.dim)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
        step = max(1, GATHERED // (k + SLACK))
        for start in range(0, len(queries) if min(k, len(self)) else 0, step):
            part = slice(start, start + step)
            found[part], cosines[part] = self._found(queries[part], k)
        return found, cosines

    def _found(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """k rows a query where there are k, by ever wider searches."""
        reachable = min(k, len(self))
        found = np.full((len(queries), k), -1, dtype=np.int64)
        cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
        todo = np.arange(len(queries))
        width = self.ef_search * self.nodes // max(1, len(self))  # removed nodes take places in the search
        while len(todo):
            if width >= 4 * self.nodes:
                found[todo], cosines[todo] = nearest(queries[todo], self._living(), k=k)
                break
            found[todo], cosines[todo] = self._graph_search(queries[todo], k, width)
            todo = todo[(found[todo] >= 0).sum(axis=1) < reachable]
            width *= 4
        return found, cosines

    def _graph_search(self, queries: np.ndarray, k: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        faiss = load_faiss()
        only = {} if self._bits is None else {"sel": faiss.IDSelectorBitmap(self._bits)}
        wanted = k + SLACK
        how = faiss.SearchParametersHNSW(efSearch=max(width, wanted), **only)
        _, nodes = self._index.search(queries, wanted, params=how)
        row, place = np.nonzero(nodes >= 0)
        at = nodes[row, place]
        exact = np.einsum("nd,nd->n", queries[row], self._vectors()[at], dtype=np.float64)
        row, at, exact, rank = best(row, at, exact, k)
        found = np.full((len(queries), k), -1, dtype=np.int64)
        cosines = np.full((len(queries), k), np.nan, dtype=np.float32)
        found[row, rank], cosines[row, rank] = self._row_of_node[at], exact
        return found, cosines

    # --- changing -----------------------------------------------------------------------------------------------------

    def add(self, vectors: np.ndarray | Pieces) -> None:
        """Append rows (n, D), unit norm, without building anew."""
        pieces = as_pieces(vectors)
        self._enter(pieces, int(self._ids.max(initial=-1)) + 1 + np.arange(len(pieces)))

    def remove(self, rows: np.ndarray) -> None:
        """Take rows (n,) out by their present numbers; the numbers of the others close up."""
        alive = self._alive.copy()
        alive[np.flatnonzero(alive)[np.asarray(rows, dtype=np.int64)]] = False
        self._set_nodes(self._ids, alive)
        if self.nodes - len(self) > MOST_REMOVED * self.nodes:
            self._rebuild(self._living(), self._ids[alive])

    def follow(self, rows: Rows) -> None:
        """Become the index of a memory's rows as they are now: take out what is gone, add what is new.

        Raises ``RunError`` when the index was made from another memory's rows.
        """
        held = self._ids[self._alive]
        known = np.isin(rows.ids, held)
        if rows.pieces.shape[1] != self.dim or not self._holds(rows, np.flatnonzero(known)):
            raise RunError("the index was made from another memory", remedy="Build it anew: fgvr memory index.")
        self.remove(np.flatnonzero(~np.isin(held, rows.ids)))
        self._enter(rows.pieces.kept(np.flatnonzero(~known)), rows.ids[~known])
        if not np.array_equal(self._ids[self._alive], rows.ids):  # the memory is older than the index
            self._rebuild(rows.pieces, rows.ids)

    def _holds(self, rows: Rows, known: np.ndarray) -> bool:
        """Whether the ``known`` rows (n,) have the vectors that are held under their ids."""
        vectors, living = self._vectors(), np.flatnonzero(self._alive)
        for start in range(0, len(known), BLOCK):
            part = known[start : start + BLOCK]
            nodes = living[np.searchsorted(self._ids[living], rows.ids[part])]
            if not np.array_equal(vectors[nodes], rows.take(part)):
                return False
        return True

    def _enter(self, pieces: Pieces, ids: np.ndarray) -> None:
        if pieces.shape[1] != self.dim:
            raise EncoderError(
                "the vectors have another dimension than the index",
                remedy="Encode with the encoder the memory was made with.",
                vectors=pieces.shape,
                index=self.dim,
            )
        with _threads(self.threads):
            for start in range(0, len(pieces), BLOCK):
                self._index.add(pieces.take(np.arange(start, min(start + BLOCK, len(pieces)))))
        alive = np.concatenate([self._alive, np.ones(len(pieces), dtype=bool)])
        self._set_nodes(np.concatenate([self._ids, ids]), alive)

    def _rebuild(self, vectors: Pieces, ids: np.ndarray) -> None:
        fresh = Hnsw.build(
            vectors,
            degree=self.degree,
            ef_construction=int(self._index.hnsw.efConstruction),
            ef_search=self.ef_search,
            threads=self.threads,
            ids=ids,
        )
        self._index = fresh._index
        self._set_nodes(fresh._ids, fresh._alive)

    def _living(self) -> Pieces:
        """Vectors of the rows that were not removed, as views."""
        return as_pieces(self._vectors()).kept(np.flatnonzero(self._alive))

    def _vectors(self) -> np.ndarray:
        """faiss's own copy of the vectors, (nodes, D), one a node; valid until the next change."""
        faiss = load_faiss()
        storage = faiss.downcast_index(self._index.storage)
        if not self.nodes:
            return np.empty((0, self.dim), dtype=np.float32)
        view = faiss.rev_swig_ptr(storage.get_xb(), self.nodes * self.dim)
        return np.asarray(view).reshape(self.nodes, self.dim)

    # --- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph with its vectors as bytes in a safetensors file with our checksum, atomically, in pieces."""
        nodes = {"ids": self._ids, "alive": self._alive.astype(np.uint8)}
        settings = np.array([self.ef_search, self.threads], dtype=np.int64)
        write_index_file(path, self._index, {**nodes, "settings": settings})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Hnsw:
        """Read an index; faiss sees its bytes only after the checksum held.

        Raises ``RunError`` for a missing, truncated, changed or foreign file, ``MissingExtraError`` without faiss.
        """
        faiss = load_faiss()
        index, arrays = read_index_file(path)
        if not isinstance(index, faiss.IndexHNSWFlat) or set(arrays) != {"ids", "alive", "settings"}:
            raise RunError("the file holds no HNSW index of fgvr", remedy=REMEDY, file=str(path))
        ids, alive = arrays["ids"], arrays["alive"].astype(bool)
        if not len(ids) == len(alive) == index.ntotal:
            raise RunError("the index does not fit its rows", remedy=REMEDY, file=str(path))
        ef_search, threads = arrays["settings"].tolist()
        return cls(index, ids, alive, ef_search=ef_search, threads=threads)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def index_path(folder: str | os.PathLike[str], kind: str = "image") -> Path:
    """Where a memory folder keeps the index of one kind of rows."""
    return Path(folder) / f"{kind}.hnsw.safetensors"


def open_searcher(folder: str | os.PathLike[str], rows: Rows, *, kind: str = "image") -> Searcher:
    """The index a memory folder keeps, brought up to date with the rows in memory (not on disk); exact search without.

    Raises ``RunError`` for a damaged index or one of another memory, ``MissingExtraError`` without faiss.
    """
    path = index_path(folder, kind)
    if not path.exists():
        return Exact(rows.pieces)
    index = Hnsw.load(path)
    index.follow(rows)
    return index
