"""What is compared on: a pool that support images are drawn from, a test set, and the draw itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fgvr.data import draw_support, per_class
from fgvr.encoders import FeatureTable
from fgvr.errors import EvaluationError, InputError
from fgvr.naming.choose import choose_support
from fgvr.types import ImageItem, SetAside

Kind = Literal["balanced", "random", "zipf", "given", "spread"]
ZIPF_EXPONENT = 2.0
ZIPF_MOST = 10
"""FineR's "random" support: the images of a class are Zipf(2), clipped to 1..10."""


@dataclass(frozen=True)
class Collection:
    """One labelled collection. The labels serve the draw (where it is balanced) and the scores, never a method."""

    name: str
    pool: tuple[ImageItem, ...]
    """Where support images are drawn from."""
    test: tuple[ImageItem, ...]
    """Images with a label, to be named."""
    notes: tuple[str, ...] = ()
    """What a figure on it must state."""
    set_aside: tuple[SetAside, ...] = ()

    def __post_init__(self) -> None:
        if not self.pool or not self.test:
            remedy = "Give a manifest with labels and splits, or class folders right inside the split folders."
            raise InputError("a comparison needs support and labelled test images", remedy=remedy, collection=self.name)
        for side, items in (("support", self.pool), ("test", self.test)):
            ids = Counter(item.id for item in items)
            if len(ids) < len(items):
                repeated = ids.most_common(1)[0][0]
                remedy = "Give every image its own id."
                raise InputError(f"two {side} images share an id", remedy=remedy, collection=self.name, item=repeated)
        unlabelled = [item.id for item in self.test if item.label is None]
        if unlabelled:
            raise EvaluationError(
                f"{len(unlabelled)} test images have no true name",
                remedy="Give a manifest with labels or one folder per class; leave the others out.",
                first=unlabelled[0],
            )


@dataclass(frozen=True)
class Draw:
    """How the support set is drawn from the pool."""

    kind: Kind = "balanced"
    """``balanced``: ``shots`` of every true class, the papers' way, which uses the truth. ``zipf``: as FineR's uneven
    set, likewise. ``random``: ``size`` at random, what a user without labels can do. ``spread``: ``size`` without
    near-duplicates, from the middle of as many clusters (``fgvr.naming.choose``). ``given``: the whole pool."""
    shots: int = 3
    size: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("balanced", "random", "zipf", "given", "spread"):
            raise InputError("no such draw", remedy="Use balanced, random, zipf, given or spread.", draw=self.kind)
        if self.kind in ("random", "spread") and self.size is None:
            raise InputError(f"a {self.kind} draw needs a size", remedy="Say how many images (--size).")

    def words(self) -> str:
        """For the protocol."""
        return {
            "balanced": f"{self.shots} support images a class, drawn with the true labels",
            "zipf": f"1 to {ZIPF_MOST} support images a class (Zipf {ZIPF_EXPONENT:g}), drawn with the true labels",
            "random": f"{self.size} support images drawn at random, no label used",
            "given": "the support set as given",
            "spread": f"{self.size} support images, near-duplicates out, from the middle of clusters; no label used",
        }[self.kind]


def drawn(pool: Sequence[ImageItem], draw: Draw, *, seed: int) -> tuple[ImageItem, ...]:
    """The support set of one seed, sorted by id. Raises ``EvaluationError`` where a draw needs labels that miss.

    Of a ``spread`` draw all of the pool: it is made of features, see ``spread_of``.
    """
    if draw.kind in ("given", "spread"):
        return tuple(pool)
    if draw.kind == "random":
        return draw_support(pool, n=draw.size, seed=seed)[0]
    if draw.kind == "balanced":
        return per_class(pool, draw.shots, seed=seed)[0]
    return _zipf(pool, seed)


def spread_of(table: FeatureTable, draw: Draw, *, seed: int) -> FeatureTable:
    """The images of an embedded pool that a ``spread`` draw takes, in the pool's order."""
    assert draw.size is not None
    rows = np.sort(choose_support(np.asarray(table.features), table.hashes, draw.size, how="spread", seed=seed))
    items, hashes = [table.items[row] for row in rows], [table.hashes[row] for row in rows]
    return FeatureTable(np.asarray(table.features)[rows], tuple(items), tuple(hashes), table.set_aside)


def _zipf(pool: Sequence[ImageItem], seed: int) -> tuple[ImageItem, ...]:
    """Each class's number of images from Zipf(2) clipped to 1..10; which images, as in a balanced draw."""
    rng = np.random.default_rng(seed)
    ordered, _ = per_class(pool, ZIPF_MOST, seed=seed)
    classes = sorted({str(item.label) for item in ordered})
    wanted = dict(zip(classes, np.clip(rng.zipf(ZIPF_EXPONENT, len(classes)), 1, ZIPF_MOST), strict=True))
    kept: list[ImageItem] = []
    for name, number in wanted.items():
        kept += per_class([item for item in ordered if item.label == name], int(number), seed=seed)[0]
    return tuple(sorted(kept, key=lambda item: item.id))


def blinded(items: Sequence[ImageItem]) -> tuple[ImageItem, ...]:
    """The items as a method may see them: no label, no accepted names, no split."""
    return tuple(replace(item, label=None, accepted=(), split=None) for item in items)
