"""From the MLLM's answers to a label space, and the removal of labels nothing supports; every change on record.

The paper takes the union of all replies (section 3, ``Y = U l_i``). Here synonyms are merged first
(``fgvr.labels.merge_synonyms``), which is a linear gain in time and memory and undoes over-fragmentation; refusals have
no label (-1) and take their neighbours'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fgvr.errors import InputError
from fgvr.labels import merge_synonyms
from fgvr.methods.near.candidates import CandidateSets
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from fgvr.labels import LabelSpace

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


def label_space(named: Sequence[NamedImage], *, merge: bool = True, **merging: Any) -> tuple[LabelSpace, np.ndarray]:
    """The label space of all answers and each image's label, (N,) int64 with -1 for an image without a name.

    ``merge`` off keeps every distinct normalised string apart from trivial spelling (case, spaces, hyphens).
    ``merging`` goes to ``merge_synonyms`` (``encoder``, ``threshold``). Raises ``InputError`` when nothing was named.
    """
    names = [image.name for image in named if image.name is not None]
    if not names:
        raise InputError(
            "the MLLM named none of the support images",
            remedy="Look at the replies in the ledger; try another model or prompt.",
            images=len(named),
        )
    counts = Counter(names)
    pairs = [(image.name, image.scientific) for image in named if image.name and image.scientific] if merge else []
    space = merge_synonyms(sorted(counts), counts=counts, pairs=pairs, **(merging if merge else {}))
    labels = np.full(len(named), -1, dtype=np.int64)
    labels[[i for i, image in enumerate(named) if image.name is not None]] = space.indices(names)
    return space, labels


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
