"""The collections of the student's study: a pool of photographs, a test set, and what the teacher says of each.

Photographs and recordings are not part of fgvr (``--shared``, see docs/development.md); the drawn world is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from embedded_results import draw
from photo_results import Collection, birds, groceries, pets

from fgvr.encoders import FeatureStore, FeatureTable, crop_views, load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.fieldguide.guide import accepted_names, by_key
from fgvr.methods.student.views import averaged_views
from fgvr.mllm import load_mllm
from fgvr.mllm.base import Mllm
from fgvr.naming.labelling import PromptKind, label_images
from fgvr.naming.sampled import parse_samples
from fgvr.reproduce.recorded.heldout import folds
from fgvr.reproduce.recorded.material import RECORDINGS, load_recording
from fgvr.runs import Ledger
from fgvr.types import ImageItem, NamedImage

POOL_SEED, TEST_SEED = 320_000_000, 322_000_000
DEV_POOL_SEED, DEV_TEST_SEED = 899_300_000, 899_400_000
PER_SPECIES, TESTED = 22, 10
REPLIES = (8, 16)
"""Drawn in each call."""
VIEWS = 4
"""Crops whose features are averaged with those of the plain view."""
SPLIT_SEED = 0


@dataclass(frozen=True)
class Part:
    """Photographs with features (N, D), what the teacher says of each, and the truth, for scoring only."""

    features: np.ndarray
    """Means over the views; the plain view's where nothing else is recorded."""
    plain: np.ndarray
    """(N, D) of the plain view alone."""
    hashes: tuple[str, ...]
    named: tuple[NamedImage, ...]
    truth: tuple[tuple[str, ...], ...]
    """Accepted names of each photograph's class, its own name first."""
    second: tuple[NamedImage, ...] | None = None
    """A second opinion of each: another question, or another model."""
    drawn: Mapping[int, tuple[NamedImage, ...]] = field(default_factory=dict)
    """By the number of replies drawn in each call: what the teacher then says; nothing where replies are recorded."""

    @property
    def classes(self) -> list[str]:
        """(N,) true names."""
        return [names[0] for names in self.truth]

    def part(self, rows: np.ndarray) -> Part:
        """Some of the rows."""
        second = None if self.second is None else tuple(self.second[row] for row in rows)
        return Part(
            self.features[rows],
            self.plain[rows],
            tuple(self.hashes[row] for row in rows) if self.hashes else (),
            tuple(self.named[row] for row in rows),
            tuple(self.truth[row] for row in rows),
            second,
            {number: tuple(named[row] for row in rows) for number, named in self.drawn.items()},
        )


@dataclass(frozen=True)
class World:
    """One draw of one collection."""

    name: str
    pool: Part
    test: Part
    encoder: DualEncoder | None
    """``None`` where there are only recorded picture features: no text tower."""
    note: str = ""


def drawn_world(
    work: Path, seed: int, *, pool_seed: int = POOL_SEED, test_seed: int = TEST_SEED, crops: int = VIEWS
) -> World:
    """The embedded world: ``PER_SPECIES`` pictures a species to choose from, ``TESTED`` to be tested on."""
    pool = _drawn_part(work, f"pool{pool_seed + 1000 * seed}", pool_seed + 1000 * seed, PER_SPECIES, crops)
    test = _drawn_part(work, f"test{test_seed}", test_seed, TESTED, crops)
    return World("drawn species", pool, test, load_encoder("fieldguide"), f"draw {seed}")


def _drawn_part(work: Path, name: str, first: int, per_species: int, crops: int) -> Part:
    items = draw(work / name, first, per_species)
    table, averaged = _encoded(items, load_encoder("fieldguide"), work, crops)
    mllm = load_mllm("fieldguide", batch_size=64)

    def said(prompt: PromptKind) -> tuple[NamedImage, ...]:
        ledger = Ledger(work / f"replies_{name}_{prompt}.jsonl", sync=False)
        return label_images(table.items, mllm, prompt=prompt, hashes=table.hashes, ledger=ledger).named

    truth = tuple(accepted_names(by_key(item.label or "")) for item in table.items)
    sampled = drawn_replies(work, name, table, mllm)
    return Part(averaged, table.features[:, 0], table.hashes, said("paper"), truth, said("structured"), sampled)


def drawn_replies(work: Path, name: str, table: FeatureTable, mllm: Mllm) -> dict[int, tuple[NamedImage, ...]]:
    """What the teacher says when each call draws several replies; the fewer ones are the first of the many."""
    ledger = Ledger(work / f"replies_{name}_drawn.jsonl", sync=False)
    answers = label_images(table.items, mllm, hashes=table.hashes, samples=max(REPLIES), ledger=ledger).answers
    replies = [answers.replies[item.id] for item in table.items]
    return {
        number: tuple(
            parse_samples(replace(reply, samples=reply.samples[:number]), item.id)
            for reply, item in zip(replies, table.items, strict=True)
        )
        for number in REPLIES
    }


def _encoded(
    items: Sequence[ImageItem], encoder: DualEncoder, work: Path, crops: int = VIEWS
) -> tuple[FeatureTable, np.ndarray]:
    """The table of all views, features (N, 1 + crops, D), and their averages (N, D)."""
    table = FeatureStore(work / "features").features(items, encoder, views=("plain", *crop_views(crops)))
    return table, averaged_views(table.features)


def photo_world(name: str, shared: Path, work: Path) -> World:
    """pets37, cub832 or grocery81: a fixed half of each class's photographs is the pool (grocery81: its train list)."""
    collection = _collection(name, shared / "data", work)
    encoder = load_encoder(str(shared / "models" / "photo_dual_encoder"))
    replies = load_mllm(f"replay:{collection.replies}")
    pool, test = collection.support, collection.test
    if name != "grocery81":
        pool, test = _halves((*pool, *test))

    def part(items: tuple[ImageItem, ...]) -> Part:
        table, averaged = _encoded(items, encoder, work)
        named = label_images(table.items, replies, hashes=table.hashes).named
        truth = tuple((item.label or "", *item.accepted) for item in table.items)
        several = label_images(table.items, replies, hashes=table.hashes, samples=max(REPLIES)).named
        drawn = dict.fromkeys(REPLIES, several) if any(one.chances for one in several) else {}
        return Part(averaged, table.features[:, 0], table.hashes, named, truth, drawn=drawn)

    return World(name, part(pool), part(test), encoder, collection.note)


def _collection(name: str, data: Path, work: Path) -> Collection:
    if name == "grocery81":
        return groceries(data, work, whole=True)
    return {"pets37": pets, "cub832": birds}[name](data, work)


def _halves(items: tuple[ImageItem, ...]) -> tuple[tuple[ImageItem, ...], tuple[ImageItem, ...]]:
    """Each class's photographs in two halves, by ``SPLIT_SEED``; the odd one goes to the pool."""
    rng = np.random.default_rng(SPLIT_SEED)
    labels = np.array([item.label or "" for item in items])
    pool = np.zeros(len(items), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        pool[members[: (len(members) + 1) // 2]] = True
    return tuple(np.array(items, dtype=object)[pool]), tuple(np.array(items, dtype=object)[~pool])


def recorded_worlds(shared: Path, dataset: str, recorder: str) -> list[World]:
    """Three worlds of one recording: each third of the pictures held out once; there is no text tower."""
    title = next(title for data, who, title in RECORDINGS if (data, who) == (dataset, recorder))
    recording = load_recording(shared, dataset, recorder, title)
    other = {"qwen": "gemini", "gemini": "qwen"}[recorder]
    second = (
        load_recording(shared, dataset, other, "").read if (dataset, other) in {r[:2] for r in RECORDINGS} else None
    )
    whole = Part(recording.features, recording.features, (), recording.read, tuple(recording.accepted), second)
    fold = folds(recording.classes, seed=SPLIT_SEED)
    return [
        World(
            title,
            whole.part(np.flatnonzero(fold != held)),
            whole.part(np.flatnonzero(fold == held)),
            None,
            f"third {held}",
        )
        for held in range(3)
    ]
