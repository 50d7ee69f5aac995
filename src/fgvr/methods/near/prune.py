"""Labels that nothing supports are taken out before tuning; every removal on record. Not in the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fgvr.methods.near.candidates import CandidateSets

Prune = Literal["none", "unsupported"]


@dataclass(frozen=True)
class Removal:
    """One name taken out of the label space, and why."""

    name: str
    reason: str
    images: tuple[int, ...] = ()
    """Support images that carried it; they have no label of their own any more."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return {"name": self.name, "reason": self.reason, "images": list(self.images)}


@dataclass(frozen=True)
class Pruned:
    """A smaller label space."""

    names: tuple[str, ...]
    labels: np.ndarray
    """(N,) indices into ``names``, -1 for unnamed."""
    removed: tuple[Removal, ...]


def prune(names: Sequence[str], labels: np.ndarray, sets: CandidateSets, *, how: Prune = "none") -> Pruned:
    """Take out labels before tuning.

    ``unsupported``: a label given to one image only, all of whose (at least two) neighbours agree on one other label.
    ``sets`` are those of the unpruned space; make them anew afterwards.
    """
    if how not in ("none", "unsupported"):
        raise ValueError("prune is none or unsupported")
    removed = []
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    for image in np.flatnonzero((labels >= 0) & (counts[labels] == 1)) if how == "unsupported" else ():
        others = sets.neighbours[image, 1:]
        around = labels[others[others >= 0]]
        if len(around) >= 2 and len(set(around.tolist())) == 1:
            reason = f"named once, and all {len(around)} neighbours are {names[around[0]]!r}"
            removed.append(Removal(names[labels[image]], reason, (int(image),)))
    gone = {removal.name for removal in removed}
    kept = [index for index, name in enumerate(names) if name not in gone]
    renumber = np.full(len(names) + 1, -1, dtype=np.int64)  # the last slot is for label -1
    renumber[kept] = np.arange(len(kept))
    return Pruned(tuple(names[index] for index in kept), renumber[labels], tuple(removed))
