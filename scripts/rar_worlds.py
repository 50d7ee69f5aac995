"""The drawn pictures, features and name scores that RAR's tables on the embedded world stand on; all kept in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from embedded_results import draw

from fgvr.encoders import FeatureStore
from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.fieldguide.guide import all_species, by_key
from fgvr.fieldguide.training.texts import withheld
from fgvr.methods.rar.fewshot_protocol import FewShotData
from fgvr.methods.rar.prompts import NAMING_QUESTION
from fgvr.mllm import Request
from fgvr.mllm.base import Mllm
from fgvr.runs import load_arrays, save_arrays
from fgvr.types import ImageItem

POOL_SEED, TEST_SEED, POOL, TEST = 230_000_000, 240_000_000, 20, 15
"""View seeds and pictures a species: to draw shots from, and to be named."""
CHUNK = 256
SYLLABLES = ("ba", "dor", "fen", "gul", "hi", "jax", "kel", "lo", "mur", "nep", "or", "pli", "qua", "rus", "sol", "tiv")


@dataclass(frozen=True)
class World:
    """One collection under one set of names, and what the MLLM thinks of every name for every picture."""

    data: FewShotData
    train_said: np.ndarray
    """(N, C) log-probabilities of the C names, normalised over them."""
    test_said: np.ndarray
    """(T, C)"""
    train_items: tuple[ImageItem, ...]
    test_items: tuple[ImageItem, ...]


def guide_world(work: Path, encoder: DualEncoder, mllm: Mllm) -> World:
    """Every species of the guide under its own name."""
    keys = [one.key for one in all_species()]
    names = [by_key(key).name for key in keys]
    sides = [draw(work / "pool", POOL_SEED, POOL), draw(work / "test", TEST_SEED, TEST)]
    tables = [FeatureStore(work / "features").features(items, encoder) for items in sides]
    labels = [np.array([keys.index(str(item.label)) for item in table.items]) for table in tables]
    said = [
        name_scores(table.items, names, mllm, work / f"said_guide_{side}")
        for table, side in zip(tables, ("pool", "test"), strict=True)
    ]
    data = FewShotData(
        tuple(names),
        np.asarray(tables[0].features),
        labels[0],
        np.asarray(tables[1].features),
        labels[1],
        text_classifier(encoder, names),
        encoder.logit_scale,
        tuple(item.id for item in tables[0].items),
        tables[0].hashes,
    )
    return World(data, said[0], said[1], tables[0].items, tables[1].items)


def renamed(guide: World, encoder: DualEncoder, *, every: int) -> World:
    """The same pictures (``every`` n-th of the test) under invented names; nothing is known yet about what is said."""
    names = invented_names(len(guide.data.names))
    data = replace(
        guide.data,
        names=tuple(names),
        test=guide.data.test[::every],
        test_labels=guide.data.test_labels[::every],
        texts=text_classifier(encoder, names),
    )
    nothing = [np.full((count, len(names)), np.nan, np.float32) for count in (len(data.train), len(data.test))]
    return World(data, nothing[0], nothing[1], guide.train_items, guide.test_items[::every])


def with_scores(world: World, needed: tuple[np.ndarray, np.ndarray], mllm: Mllm, work: Path) -> World:
    """The world with the MLLM's word about the ``needed`` names of each picture, (N, C) and (T, C) bool; NaN elsewhere."""
    train = name_scores(world.train_items, world.data.names, mllm, work / "said_invented_pool", needed=needed[0])
    test = name_scores(world.test_items, world.data.names, mllm, work / "said_invented_test", needed=needed[1])
    return replace(world, train_said=train, test_said=test)


def withheld_part(world: World) -> World:
    """Only the species that the MLLM was never shown, under their true names."""
    keys = [one.key for one in all_species()]
    kept = sorted(keys.index(one.key) for one in withheld())
    new = np.full(len(keys), -1)
    new[kept] = np.arange(len(kept))
    data = world.data
    train, test = (np.flatnonzero(new[labels] >= 0) for labels in (data.train_labels, data.test_labels))
    assert data.texts is not None
    part = FewShotData(
        tuple(data.names[index] for index in kept),
        data.train[train],
        new[data.train_labels[train]],
        data.test[test],
        new[data.test_labels[test]],
        data.texts[kept],
        data.logit_scale,
        tuple(data.train_ids[row] for row in train),
        tuple(data.train_hashes[row] for row in train),
    )
    items = [tuple(world.train_items[row] for row in train), tuple(world.test_items[row] for row in test)]
    return World(part, world.train_said[np.ix_(train, kept)], world.test_said[np.ix_(test, kept)], *items)


def invented_names(count: int) -> list[str]:
    """Names of two or three syllables that mean nothing, all different."""
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice(SYLLABLES, size=int(rng.integers(2, 4)))).capitalize()] = None
    return list(found)


def name_scores(
    items: Sequence[ImageItem], names: Sequence[str], mllm: Mllm, folder: Path, *, needed: np.ndarray | None = None
) -> np.ndarray:
    """(N, C) log-probability of names as the answer to the naming question, normalised over those asked about.

    ``needed``: (N, C) bool, which names of which picture; NaN elsewhere. All by default.
    """
    wanted = np.ones((len(items), len(names)), dtype=bool) if needed is None else needed
    rows = []
    for start in range(0, len(items), CHUNK):
        part = slice(start, start + CHUNK)
        file = folder / f"{start:06d}.safetensors"
        if not file.exists():
            save_arrays(file, {"said": _scored(items[part], names, mllm, wanted[part])})
        rows.append(load_arrays(file)[0]["said"])
    return np.concatenate(rows)


def _scored(items: Sequence[ImageItem], names: Sequence[str], mllm: Mllm, wanted: np.ndarray) -> np.ndarray:
    requests = [
        Request(item.id, NAMING_QUESTION, (item.path,), options=tuple(names[column] for column in np.flatnonzero(row)))
        for item, row in zip(items, wanted, strict=True)
        if row.any()
    ]
    said = np.full(wanted.shape, np.nan, dtype=np.float32)
    rows = iter(np.flatnonzero(wanted.any(axis=1)))
    for at in range(0, len(requests), mllm.batch_size):
        for reply in mllm.answer(requests[at : at + mllm.batch_size]):
            row = next(rows)
            said[row, wanted[row]] = reply.option_logprobs
    return said
