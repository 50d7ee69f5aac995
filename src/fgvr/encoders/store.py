"""The feature store: an image content is encoded once per encoder and view, for every method and every later run.

A row's key is encoder fingerprint x SHA-256 of the image file x view. Renaming or copying a file keeps its row; another
byte, other weights or other preprocessing miss. A killed run loses at most the shard being gathered
(``SHARD_ROWS`` rows or ``SHARD_SECONDS`` seconds of work). Several processes may use one store.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fgvr.encoders.base import DualEncoder, PreparingEncoder
from fgvr.encoders.hashes import HashMemo
from fgvr.encoders.shards import Key, ShardFolder
from fgvr.encoders.views import PLAIN, render_view
from fgvr.errors import EncoderError
from fgvr.images import available_cpus, decode_or_set_aside, require_some
from fgvr.types import ImageItem, SetAside

SHARD_ROWS = 1024
SHARD_SECONDS = 10.0
BATCHES_IN_FLIGHT = 2
"""While one batch is in the tower, another is put together."""
MOST_THREADS = 16

A = TypeVar("A")
B = TypeVar("B")
Prepared = tuple[Key, Any]
"""A row's key, and what of the image the encoder is given."""
Progress = Callable[[int, int], None]
"""Called with (rows done, rows wanted); what the store already held counts as done."""


@dataclass(frozen=True)
class FeatureTable:
    """Features of the images that could be read, in the order they were given."""

    features: np.ndarray
    """(N, D) float32, unit norm, when only the plain view was asked for; else (N, V, D)."""
    items: tuple[ImageItem, ...]
    hashes: tuple[str, ...]
    """SHA-256 of each item's bytes; equal hashes are the same picture twice."""
    set_aside: tuple[SetAside, ...] = ()


@dataclass
class _Pending:
    """Rows computed but not yet on disk."""

    keys: list[Key] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return len(self.keys) >= SHARD_ROWS or time.monotonic() - self.since >= SHARD_SECONDS

    def write(self, shards: ShardFolder) -> None:
        if self.keys:
            shards.append(self.keys, np.concatenate(self.rows))
        self.keys, self.rows, self.since = [], [], time.monotonic()


class FeatureStore:
    """All features under one folder, which is made when first needed."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._memo = HashMemo(self.root / "hashes")
        self._folders: dict[str, ShardFolder] = {}

    def features(
        self,
        items: Sequence[ImageItem],
        encoder: DualEncoder,
        *,
        batch_size: int = 64,
        threads: int | None = None,
        views: Sequence[str] = (PLAIN,),
        progress: Progress | None = None,
        verify: bool = False,
    ) -> FeatureTable:
        """Features of ``items``: read where they are known, computed and kept where not.

        Args:
            items: images; unreadable ones come back in ``set_aside``.
            encoder: any dual encoder; its ``encode_images`` is called from two threads.
            batch_size: images per forward pass.
            threads: for reading, decoding and resizing; by default the processors this process may use, at most 16.
            views: ``plain`` and names from ``crop_views``.
            progress: called after every batch.
            verify: hash every file anew instead of trusting path, size and modification time.

        Raises:
            NoImagesError: nothing could be read.
            EncoderError: the encoder's features have another shape than it says, or are not finite.
        """
        threads = threads or min(MOST_THREADS, available_cpus())
        shards = self._shards(encoder)
        shards.refresh()
        known = self._memo.hashes([item.path for item in items], threads=threads, verify=verify)
        hashes = {index: sha256 for index, sha256 in enumerate(known) if sha256 is not None}
        job = _Job(items, encoder, shards, tuple(views), batch_size, threads, progress or _silent, hashes)
        while todo := job.unencoded():  # again only when a file changed, or failed, after its twin was skipped
            job.encode(todo)
        total = len(items) * len(job.views)
        job.progress(total, total)
        return job.table()

    def _shards(self, encoder: DualEncoder) -> ShardFolder:
        if encoder.fingerprint not in self._folders:
            path = self.root / encoder.fingerprint[:16]
            self._folders[encoder.fingerprint] = ShardFolder(path, encoder.dim)
        return self._folders[encoder.fingerprint]


@dataclass
class _Job:
    """One call of ``FeatureStore.features``: what was asked, and what is known so far."""

    items: Sequence[ImageItem]
    encoder: DualEncoder
    shards: ShardFolder
    views: tuple[str, ...]
    batch_size: int
    threads: int
    progress: Progress
    hashes: dict[int, str]
    bad: dict[int, SetAside] = field(default_factory=dict)

    def unencoded(self) -> list[int]:
        """Indices to decode: a view is missing (or the hash unknown), and no earlier item has the same content."""
        todo, taken = [], set()
        for index in range(len(self.items)):
            sha256 = self.hashes.get(index)
            if index in self.bad or sha256 in taken or (sha256 is not None and not self._missing(sha256)):
                continue
            if sha256 is not None:
                taken.add(sha256)
            todo.append(index)
        return todo

    def encode(self, todo: Sequence[int]) -> None:
        """Decode, encode and keep the items at ``todo``; fills in their hashes, and sets the unreadable aside."""
        total = len(self.items) * len(self.views)
        done = total - len(todo) * len(self.views)
        pending = _Pending()
        try:
            for keys, rows in _encoded(_batches(self._prepared(todo), self.batch_size), self.encoder):
                pending.keys += keys
                pending.rows.append(rows)
                done += len(keys)
                if pending.due():
                    pending.write(self.shards)
                self.progress(min(done, total), total)
        finally:
            pending.write(self.shards)  # an interrupt or a failing batch does not cost the finished ones

    def table(self) -> FeatureTable:
        """Read back what was asked for."""
        kept = [index for index in range(len(self.items)) if index not in self.bad]
        set_aside = tuple(self.bad[index] for index in sorted(self.bad))
        require_some(kept, set_aside=set_aside)
        rows = self.shards.read([(self.hashes[index], view) for index in kept for view in self.views])
        if self.views != (PLAIN,):
            rows = rows.reshape(len(kept), len(self.views), -1)
        return FeatureTable(rows, tuple(self.items[i] for i in kept), tuple(self.hashes[i] for i in kept), set_aside)

    def _missing(self, sha256: str) -> list[str]:
        return [view for view in self.views if (sha256, view) not in self.shards]

    def _prepared(self, todo: Sequence[int]) -> Iterator[Prepared]:
        """Missing views of each image, in the order of ``todo``; the unreadable ones are set aside."""
        with closing(in_order(self._one_prepared, todo, threads=self.threads)) as outcomes:
            for index, outcome in zip(todo, outcomes, strict=True):
                if isinstance(outcome, SetAside):
                    self.bad[index] = outcome
                    continue
                # The hash of the decoded bytes is the truth, whatever the memo said.
                self.hashes[index], views = outcome
                yield from views

    def _one_prepared(self, index: int) -> SetAside | tuple[str, list[Prepared]]:
        """In a decoding thread: all that can be done with one image alone."""
        side = self.encoder.image_size
        outcome = decode_or_set_aside(self.items[index], side=side)
        if isinstance(outcome, SetAside):
            return outcome
        image, sha256 = outcome.image, outcome.sha256
        prepare = self.encoder.prepare if isinstance(self.encoder, PreparingEncoder) else _as_it_is
        views = self._missing(sha256)
        return sha256, [((sha256, view), prepare(render_view(image, view, sha256=sha256, side=side))) for view in views]


def in_order(function: Callable[[A], B], values: Iterable[A], *, threads: int) -> Generator[B, None, None]:
    """``map`` in threads, in order; at most ``2 * threads`` results wait, however slow the consumer is."""
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fgvr-decode")
    try:
        for value in values:
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, value))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _as_it_is(image: A) -> A:
    return image


def _silent(_done: int, _total: int) -> None:
    """No progress wanted."""


def _batches(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    batch: list[Prepared] = []
    for pair in prepared:
        batch.append(pair)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _encoded(batches: Iterable[list[Prepared]], encoder: DualEncoder) -> Iterator[tuple[list[Key], np.ndarray]]:
    """Features of each batch, in order, with ``BATCHES_IN_FLIGHT`` being encoded while the next is decoded."""
    waiting: deque[tuple[list[Key], Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(BATCHES_IN_FLIGHT, thread_name_prefix="fgvr-encode") as pool:
        for batch in batches:
            waiting.append(([key for key, _ in batch], pool.submit(_checked, encoder, [one for _, one in batch])))
            if len(waiting) > BATCHES_IN_FLIGHT:
                keys, future = waiting.popleft()
                yield keys, future.result()
        while waiting:
            keys, future = waiting.popleft()
            yield keys, future.result()


def _checked(encoder: DualEncoder, prepared: list[Any]) -> np.ndarray:
    encode = encoder.encode_prepared if isinstance(encoder, PreparingEncoder) else encoder.encode_images
    rows = np.asarray(encode(prepared), dtype=np.float32)
    if rows.shape != (len(prepared), encoder.dim) or not np.isfinite(rows).all():
        raise EncoderError(
            f"the encoder returned features of shape {rows.shape} or values that are not finite",
            remedy="Check the encoder; try dtype float32.",
            encoder=encoder.name,
            expected=(len(prepared), encoder.dim),
        )
    return rows
