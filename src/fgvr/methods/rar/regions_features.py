"""Image features of boxes: every picture is decoded once, however many boxes it has, and no box is encoded twice.

A feature's key is encoder fingerprint x SHA-256 of the image file x box x crop policy; features lie in the same shards
as those of whole pictures (``fgvr.encoders.shards``), so a killed run goes on from the last shard. Pictures are
decoded and boxes cropped in threads, a few ahead of the encoder: memory does not grow with the number of pictures or
boxes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgvr.data.boxes import Box, Boxes, Corners, corners_in_file
from fgvr.encoders.base import DualEncoder, PreparingEncoder
from fgvr.encoders.hashes import HashMemo
from fgvr.encoders.shards import Key, ShardFolder
from fgvr.encoders.store import in_order
from fgvr.errors import EncoderError
from fgvr.images import Decoded, available_cpus, decode_or_set_aside, encode_jpeg, require_some
from fgvr.regions import CropPolicy, crop
from fgvr.runs.atomic import write_error
from fgvr.types import ImageItem, SetAside

SHARD_ROWS = 4096
MOST_THREADS = 16
CROP_QUALITY = 95

Progress = Callable[[int, int], None]
"""Called with (boxes done, boxes wanted)."""


@dataclass(frozen=True)
class RegionTable:
    """Features of the boxes that could be cropped, in the order they were given."""

    boxes: tuple[Box, ...]
    features: np.ndarray
    """(N, D) float32, unit norm."""
    crops: tuple[ImageItem, ...]
    """The crops as files for an MLLM, one a box, where a folder was given; their ids are those of ``crop_id``."""
    set_aside: tuple[SetAside, ...] = ()


def region_features(
    boxes: Boxes,
    pictures: Mapping[int, ImageItem],
    encoder: DualEncoder,
    policy: CropPolicy,
    *,
    store: Path | None = None,
    crop_folder: Path | None = None,
    shown: CropPolicy | None = None,
    batch_size: int = 64,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RegionTable:
    """Features of all boxes that are no crowd and whose picture is in ``pictures`` (``fgvr.data.boxes.locate``).

    Args:
        policy: how boxes are cropped; ``side`` is best the encoder's ``image_size``.
        store: folder of kept features; ``None``: all are computed.
        crop_folder: also write every crop there as JPEG, in the same pass; existing ones stay as they are.
        shown: how the crops of ``crop_folder`` are made; like ``policy`` by default.
        batch_size: crops per forward pass.
        threads: for decoding, and as many for cropping; by default the processors this process may use, at most 16.

    Raises ``NoImagesError`` when nothing could be cropped, ``EncoderError`` for features of another shape or not
    finite.
    """
    wanted = [box for box in boxes.boxes if not box.crowd and box.image in pictures]
    threads = threads or min(MOST_THREADS, available_cpus())
    hashes = _hashes(wanted, pictures, store, threads)
    shards = None if store is None else ShardFolder(store / encoder.fingerprint[:16], encoder.dim)
    job = _Job(boxes, wanted, pictures, encoder, policy, shown or policy, crop_folder, shards, hashes, threads)
    job.fill(batch_size, progress or (lambda _done, _total: None))
    return job.table()


def crop_id(box: Box) -> str:
    """The item id of a box in ledgers."""
    return f"annotation {box.id}"


def crops(
    image: Image.Image,
    boxes: Sequence[Corners],
    policy: CropPolicy = CropPolicy(),  # noqa: B008
) -> list[Image.Image]:
    """The crops of several boxes (inside the picture) of one decoded picture."""
    return [crop(image, box, policy) for box in boxes]


def _hashes(
    wanted: Sequence[Box], pictures: Mapping[int, ImageItem], store: Path | None, threads: int
) -> dict[int, str]:
    """SHA-256 of each picture's file by image id, where it can be read."""
    numbers = list(dict.fromkeys(box.image for box in wanted))
    if store is None:  # nothing to look up: the decoder will say
        return {}
    found = HashMemo(store / "hashes").hashes([pictures[number].path for number in numbers], threads=threads)
    return {number: sha256 for number, sha256 in zip(numbers, found, strict=True) if sha256 is not None}


@dataclass
class _Job:
    """One call of ``region_features``."""

    boxes: Boxes
    wanted: Sequence[Box]
    pictures: Mapping[int, ImageItem]
    encoder: DualEncoder
    policy: CropPolicy
    shown: CropPolicy
    crop_folder: Path | None
    shards: ShardFolder | None
    hashes: dict[int, str]
    threads: int
    bad: dict[int, SetAside] = field(default_factory=dict)
    """By index into ``wanted``."""
    bad_pictures: dict[int, SetAside] = field(default_factory=dict)
    rows: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.zeros((len(self.wanted), self.encoder.dim), dtype=np.float32)

    def fill(self, batch_size: int, progress: Progress) -> None:
        """Read the known features, compute the others, and write the crops that are missing."""
        todo = self._unknown()
        done = len(self.wanted) - len(todo)
        progress(done, len(self.wanted))
        keys: list[Key] = []
        rows: list[np.ndarray] = []
        try:
            for batch in _batches(self._prepared(todo), batch_size):
                indices = [index for index, _ in batch]
                features = self._encode([prepared for _, prepared in batch])
                self.rows[indices] = features
                keys += [self._key(index) for index in indices]
                rows.append(features)
                if len(keys) >= SHARD_ROWS:
                    self._keep(keys, rows)
                    keys, rows = [], []
                done += len(batch)
                progress(done, len(self.wanted))
        finally:
            self._keep(keys, rows)  # an interrupt does not cost what is finished
        progress(len(self.wanted), len(self.wanted))

    def table(self) -> RegionTable:
        """What was found."""
        good = [
            index
            for index, box in enumerate(self.wanted)
            if index not in self.bad and box.image not in self.bad_pictures
        ]
        aside = (*self.bad_pictures.values(), *(self.bad[index] for index in sorted(self.bad)))
        require_some(good, set_aside=aside)
        files = [] if self.crop_folder is None else [self._crop_file(index) for index in good]
        items = [ImageItem(crop_id(self.wanted[index]), file) for index, file in zip(good, files, strict=False)]
        return RegionTable(tuple(self.wanted[index] for index in good), self.rows[good], tuple(items), aside)

    def _unknown(self) -> list[int]:
        """Indices whose picture must be decoded; the features of the others are read."""
        if self.shards is None:
            return list(range(len(self.wanted)))
        self.shards.refresh()
        hashed = [index for index, box in enumerate(self.wanted) if box.image in self.hashes]
        known = [index for index in hashed if self._key(index) in self.shards]
        if known:
            self.rows[known] = self.shards.read([self._key(index) for index in known])
        finished = {index for index in known if self.crop_folder is None or _is_there(self._crop_file(index))}
        return [index for index in range(len(self.wanted)) if index not in finished]

    def _prepared(self, todo: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """(index, what the encoder takes) of every box that can be cropped, in order."""
        by_picture: dict[int, list[int]] = {}
        for index in todo:
            by_picture.setdefault(self.wanted[index].image, []).append(index)

        def decoded() -> Iterator[tuple[Decoded, int]]:
            items = [self.pictures[number] for number in by_picture]
            with closing(in_order(decode_or_set_aside, items, threads=self.threads)) as outcomes:
                for number, outcome in zip(by_picture, outcomes, strict=True):
                    if isinstance(outcome, SetAside):
                        detail = f"{outcome.detail}; {len(by_picture[number])} boxes"
                        self.bad_pictures[number] = SetAside(outcome.id, outcome.path, outcome.reason, detail)
                        continue
                    self.hashes[number] = outcome.sha256  # of the decoded bytes: the truth, whatever the memo said
                    yield from ((outcome, index) for index in by_picture[number])

        order = [index for indices in by_picture.values() for index in indices]
        assert len(order) == len(todo)
        with closing(in_order(self._one, decoded(), threads=self.threads)) as outcomes:
            for index, prepared in outcomes:
                if isinstance(prepared, SetAside):
                    self.bad[index] = prepared
                else:
                    yield index, prepared

    def _one(self, task: tuple[Decoded, int]) -> tuple[int, Any]:
        """In a thread: one box of a decoded picture."""
        decoded, index = task
        box = self.wanted[index]
        place, fault = self._corners(box, decoded)
        if place is None:
            return index, fault
        area = box.bbox[2] * box.bbox[3]
        picture = crop(decoded.image, place, self.policy, area=area)
        if self.crop_folder is not None and not _is_there(file := self._crop_file(index)):
            seen = picture if self.shown == self.policy else crop(decoded.image, place, self.shown, area=area)
            _write_quickly(file, encode_jpeg(seen, max_side=max(seen.size), quality=CROP_QUALITY))
        return index, self.encoder.prepare(picture) if isinstance(self.encoder, PreparingEncoder) else picture

    def _corners(self, box: Box, decoded: Decoded) -> tuple[Corners | None, SetAside | None]:
        try:
            place = corners_in_file(box.corners, self.boxes.pictures[box.image].size, (decoded.width, decoded.height))
        except ValueError as error:
            return None, SetAside(crop_id(box), "", "other size", str(error))
        return place, None if place else SetAside(crop_id(box), "", "outside image", "nothing of it lies in the file")

    def _encode(self, prepared: list[Any]) -> np.ndarray:
        encoder = self.encoder
        found = (
            encoder.encode_prepared(prepared)
            if isinstance(encoder, PreparingEncoder)
            else encoder.encode_images(prepared)
        )
        features = np.asarray(found, dtype=np.float32)
        if features.shape != (len(prepared), encoder.dim) or not np.isfinite(features).all():
            raise EncoderError(
                f"the encoder returned features of shape {features.shape} or values that are not finite",
                remedy="Check the encoder; try dtype float32.",
                encoder=encoder.name,
            )
        return features

    def _keep(self, keys: list[Key], rows: list[np.ndarray]) -> None:
        if self.shards is not None and keys:
            self.shards.append(keys, np.concatenate(rows))

    def _key(self, index: int) -> Key:
        return self.hashes[self.wanted[index].image], self._view(index, self.policy)

    def _view(self, index: int, policy: CropPolicy) -> str:
        """All that a crop depends on besides the file's bytes."""
        box = self.wanted[index]
        return f"crop {policy.digest} {box.bbox!r} of {self.boxes.pictures[box.image].size}"

    def _crop_file(self, index: int) -> Path:
        import hashlib

        assert self.crop_folder is not None
        name = f"{self.hashes[self.wanted[index].image]} {self._view(index, self.shown)}"
        return self.crop_folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.jpg"


def _batches(pairs: Iterator[tuple[int, Any]], size: int) -> Iterator[list[tuple[int, Any]]]:
    batch: list[tuple[int, Any]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_there(file: Path) -> bool:
    try:
        return file.stat().st_size > 0  # 0: the machine lost power before the bytes reached the disk
    except OSError:
        return False


def _write_quickly(path: Path, data: bytes) -> None:
    """Whole or not at all after a kill; not flushed to the disk, which would take longer than making the crop again."""
    temporary = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_error(error, path) from error
