"""From the MLLM's answers to a label space; every change on record.

NeaR's paper takes the union of all replies (section 3, ``Y = U l_i``). Here synonyms are merged first
(``fgvr.labels.merge_synonyms``), which is a linear gain in time and memory and undoes over-fragmentation; refusals have
no label (-1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.errors import InputError
from fgvr.labels import merge_synonyms
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from fgvr.labels import LabelSpace


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
