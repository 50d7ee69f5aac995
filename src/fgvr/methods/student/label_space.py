"""From the teacher's names to the student's: synonyms joined, unsupported names dropped, and a record of both.

Strings alone have been merged before (``fgvr.naming.label_space``). Here a photograph must agree:

1. *Merging* (``merging.py``): two names become one only if the names agree and their images cannot be told apart.
2. *Dropping*: a name that is nobody's best once the evidence is weighed goes, with the reason, if names as a rule have
   ``FEW`` times as many images. Where most names have two or three, one image says nothing against a name: on drawn
   development birds two of three names without support were true classes at two and a half images a name, and still at
   five; at eight and eighteen one of four. A *rare true class* stays in any case: some image so named lies far from all
   images of other names, or its neighbours do not agree on another name. A name that was never the likeliest of the
   replies drawn in a call has no image to judge it by, and stays, unless several names are finer forms of it: while
   labels are few such names are worth points of accuracy (drawn development birds).
3. *The size curve* (``size_curve.py``): how many names so many labels bring, before and after.

NeaR's paper keeps the union of all replies (section 3); what a name too many costs it, it does not say. Letters: N pool
images, D dimensions, C names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.errors import InputError
from fgvr.labels import normalise
from fgvr.methods.student.merging import Merged, MergedPair, merge_by_images
from fgvr.methods.student.opinions import Opinions, first_labels
from fgvr.methods.student.settings import LabelSpaceSettings
from fgvr.methods.student.size_curve import SizeCurve, size_curve

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEIGHBOURS = 5
"""Labelled neighbours that are asked whether a name without support is rare or wrong."""
ROUNDING = 1e-6
FEW = 5
"""A name may be dropped if names as a rule have at least so many times its images."""
FAR_SHARE = 0.1
"""An image is far from the others if its nearest one of another name is as far as for this share of the images."""


@dataclass(frozen=True)
class Dropped:
    """One name that was left out, and why."""

    name: str
    reason: str
    rows: tuple[int, ...] = ()
    """Pool images that the teacher gave it to."""


@dataclass(frozen=True)
class Rare:
    """One name that is the best name of no image, and that stays all the same."""

    name: str
    reason: str
    row: int
    """The pool image that speaks for it."""


@dataclass(frozen=True)
class Supported:
    """The names that are left."""

    names: tuple[str, ...]
    mapping: np.ndarray
    """(C,) int64: each name's new index, -1 where it is gone."""
    dropped: tuple[Dropped, ...]
    rare: tuple[Rare, ...]


@dataclass(frozen=True)
class SettledNames:
    """The student's names, and how they came from the teacher's."""

    names: tuple[str, ...]
    mapping: np.ndarray
    """(C,) int64: index of each of the teacher's names in ``names``, -1 where it was dropped."""
    merges: tuple[MergedPair, ...]
    dropped: tuple[Dropped, ...]
    rare: tuple[Rare, ...]
    curve: SizeCurve

    def to_dict(self) -> dict[str, Any]:
        """JSON-like; ``mapping`` as a list, so that every step can be undone."""
        return {
            "names": list(self.names),
            "mapping": self.mapping.tolist(),
            "merges": [asdict(pair) for pair in self.merges],
            "dropped": [asdict(one) for one in self.dropped],
            "rare": [asdict(one) for one in self.rare],
            "curve": self.curve.to_dict(),
        }


def label_space(
    names: Sequence[str],
    opinions: Opinions,
    features: np.ndarray,
    soft: csr_matrix,
    *,
    similarity: np.ndarray,
    settings: LabelSpaceSettings | None = None,
) -> SettledNames:
    """Merge, then drop, as ``settings`` say.

    Args:
        names: C names, distinct.
        features: (N, D) float32, unit norm, of the whole pool.
        soft: (N, C), the weighed evidence; rows without mass are images that say nothing.
        similarity: (C, C) in [0, 1], of the names.

    Use ``opinions.relabelled(mapping)`` and ``reindexed(soft, mapping)`` afterwards.
    """
    settings = settings or LabelSpaceSettings()
    merged = Merged.nothing(names)
    if settings.merge_by_images:
        merged = merge_by_images(names, opinions, features, soft, similarity=similarity)
    told = opinions.relabelled(merged.mapping)
    kept = Supported(merged.names, np.arange(len(merged.names)), (), ())
    if settings.drop:
        kept = drop_unsupported(merged.names, told, features, reindexed(soft, merged.mapping))
    stages = {
        "teacher": opinions.labels,
        "merged": told.labels,
        "kept": told.relabelled(kept.mapping).labels,
    }
    curve = size_curve(stages)
    return SettledNames(kept.names, kept.mapping[merged.mapping], merged.merges, kept.dropped, kept.rare, curve)


def reindexed(soft: csr_matrix, mapping: np.ndarray) -> csr_matrix:
    """``soft`` (N, C) in the label space of ``mapping`` (C,): columns that became one are added, dropped ones left out.

    What is left of a row keeps the row's sum; a row of dropped names only is empty.
    """
    from scipy.sparse import csr_matrix, diags

    alive = np.flatnonzero(mapping >= 0)
    shape = (len(mapping), int(mapping.max(initial=-1)) + 1)
    table = csr_matrix((np.ones(len(alive), np.float32), (alive, mapping[alive])), shape=shape)
    moved = csr_matrix(soft @ table)
    before, after = np.asarray(soft.sum(axis=1)).ravel(), np.asarray(moved.sum(axis=1)).ravel()
    scale = np.divide(before, after, out=np.zeros_like(before), where=after > 0)
    return csr_matrix(diags(scale) @ moved, dtype=np.float32)


def drop_unsupported(
    names: Sequence[str],
    opinions: Opinions,
    features: np.ndarray,
    soft: csr_matrix,
    *,
    neighbours: int = NEIGHBOURS,
    far_share: float = FAR_SHARE,
    few: float = FEW,
) -> Supported:
    """Leave out the names that are the best name of no image of ``soft``, unless they may be rare true classes.

    Args:
        soft: (N, C), the weighed evidence. Of equally good names of an image, all are supported.
        neighbours: nearest images of other names that must agree by more than half on one name to call a label wrong.
        far_share: of the images, how many may count as far from all other names.
        few: how many times as many images the median name must have; 0 drops by the evidence alone.

    Raises ``InputError`` where no image supports any name.
    """
    supported = np.zeros(len(names), dtype=bool)
    supported[best_names(soft)[1]] = True
    if opinions.chances:
        drawn = np.asarray(soft.sum(axis=0)).ravel() > 0
        likeliest = first_labels(opinions, np.unique(opinions.rows))
        supported |= drawn & np.isin(np.arange(len(names)), likeliest, invert=True) & ~kinds(names)
    if not supported.any():
        raise InputError(
            "no image supports any name",
            remedy="Look at the teacher's replies; weigh the evidence less strictly.",
            names=len(names),
        )
    surroundings = _Surroundings(opinions.named, features, neighbours, far_share)
    dropped, rare = [], []
    for label in np.flatnonzero(~supported).tolist():
        reason, row = surroundings.speaks_for(label, few)
        if row >= 0:
            rare.append(Rare(names[label], reason, row))
            supported[label] = True
            continue
        rows = tuple(int(one) for one in np.unique(opinions.rows[opinions.labels == label]))
        dropped.append(Dropped(names[label], surroundings.against(label, names), rows))
    mapping = np.where(supported, np.cumsum(supported) - 1, -1).astype(np.int64)
    kept = tuple(name for name, stays in zip(names, supported) if stays)
    return Supported(kept, mapping, tuple(dropped), tuple(rare))


def kinds(names: Sequence[str]) -> np.ndarray:
    """(C,) bool: names that are the last word of several others (``Warbler``), and so no name of one of them."""
    normal = [normalise(name) for name in names]
    finer = Counter(name.split()[-1] for name in normal if " " in name)
    return np.array([finer[name] > 1 for name in normal], dtype=bool)


def best_names(soft: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (int64) of the greatest value of each row of ``soft``, and of all that equal it."""
    cells = soft.tocoo()
    greatest = np.zeros(soft.shape[0], dtype=np.float32)
    np.maximum.at(greatest, cells.row, cells.data)
    best = (cells.data > 0) & (cells.data >= greatest[cells.row])
    return cells.row[best].astype(np.int64), cells.col[best].astype(np.int64)


class _Surroundings:
    """What lies around the images of a name that nothing supports."""

    def __init__(self, opinions: Opinions, features: np.ndarray, neighbours: int, far_share: float) -> None:
        from fgvr.memory.exact import nearest_others

        # One opinion an image, the first teacher's first: an image must not be its own neighbour.
        order = np.lexsort((opinions.labels, opinions.source, opinions.rows))
        first = order[np.unique(opinions.rows[order], return_index=True)[1]]
        self.rows, self.labels = opinions.rows[first], opinions.labels[first]
        self.features = features[self.rows]
        self.neighbours = neighbours
        counts = np.bincount(self.labels)
        self.usual = float(np.median(counts[counts > 0]))
        cosines = nearest_others(self.features, k=1)[1]
        self.far = float(np.quantile(cosines[:, 0], far_share)) if len(first) > 1 else 1.0

    def speaks_for(self, label: int, few: float) -> tuple[str, int]:
        """The reason to keep a name, and the pool image behind it; ("", -1) if there is none."""
        images = np.flatnonzero(self.labels == label)
        if len(images) and few * len(images) > self.usual:
            reason = (
                f"it has {len(images)} of the {self.usual:g} images that are usual: too few images to speak against it"
            )
            return reason, int(self.rows[images[0]])
        for image in images:
            nearest, around = self._around(int(image))
            if nearest < self.far - ROUNDING:
                return f"its image is far from all others (cosine {nearest:.3f} to the nearest)", int(self.rows[image])
            agreed = np.bincount(around).max(initial=0)
            if 2 * agreed <= len(around):
                return f"its image's {len(around)} neighbours do not agree on a name", int(self.rows[image])
        return "", -1

    def against(self, label: int, names: Sequence[str]) -> str:
        """The reason to drop a name."""
        images = np.flatnonzero(self.labels == label)
        if not len(images):
            return "no image was given this name first"
        around = np.concatenate([self._around(int(one))[1] for one in images])
        rival = names[int(np.bincount(around).argmax())]
        return f"the best name of none of its {len(images)} images, whose neighbours are mostly {rival!r}"

    def _around(self, image: int) -> tuple[float, np.ndarray]:
        """Cosine to the nearest image of another name, and the names of the nearest such images."""
        others = np.flatnonzero(self.labels != self.labels[image])
        cosines = self.features[others] @ self.features[image]
        nearest = np.lexsort((self.rows[others], -cosines))[: self.neighbours]
        return (float(cosines[nearest[0]]) if len(nearest) else -1.0), self.labels[others[nearest]]
