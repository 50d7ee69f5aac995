"""A few drawn pictures with the embedded encoder and a scripted MLLM: what a method is given, made in a second."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgvr.encoders import FeatureStore
from fgvr.encoders.base import DualEncoder
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from fgvr.methods.baselines.task import Task
from fgvr.mllm import Request, ScriptedMllm
from fgvr.mllm.base import Mllm
from fgvr.types import ImageItem

SPECIES = all_species()[2:27:6]
VIEWS = 900_500_000
"""First view seed: of the range that is kept for development."""


def draw(folder: Path, *, per_species: int = 3, first: int = VIEWS, size: int = 96) -> list[ImageItem]:
    """So many pictures of each species, in order of the species; no item says what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, species in enumerate(SPECIES):
        for index in range(per_species):
            path = folder / f"{number}{index}.png"
            render(species, first + 100 * number + index, size=size).image.save(path)
            items.append(ImageItem(path.name, path))
    return items


def truth(item: ImageItem) -> str:
    """The name of the species an item of ``draw`` shows."""
    return SPECIES[int(item.id[0])].name


def nobody(request: Request) -> Exception:
    """A script for methods that ask nothing."""
    return AssertionError(f"asked: {request.prompt}")


def task(
    folder: Path,
    items: Sequence[ImageItem],
    encoder: DualEncoder,
    *,
    support: Sequence[ImageItem] | None = None,
    mllm: Mllm | None = None,
    **changes: Any,
) -> Task:
    """A task whose store lies in ``folder``; without ``support`` the test images are their own."""
    store = FeatureStore(folder / "store")
    test = store.features(items, encoder)
    shown = test if support is None else store.features(support, encoder)
    asked = mllm or ScriptedMllm(nobody)
    return Task(shown, test, encoder, asked, asked, store, folder / "own", **changes)


def by_picture(items: Sequence[ImageItem], replies: Sequence[Any]) -> dict[str, Any]:
    """Content hash of each picture to what a scripted MLLM says of it."""
    hashes = [hashlib.sha256(item.path.read_bytes()).hexdigest() for item in items]
    return dict(zip(hashes, replies, strict=True))
