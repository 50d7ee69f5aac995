"""NeaR's prompt learner on soft labels: CoOp's context, tuned to what the whole pool is believed to show.

The tuning is ``fgvr.methods.near.tune`` with one full-batch step an epoch (its ``FAST`` settings).

1. *Targets.* NeaR starts from uniform votes and lets PRODEN sharpen them. Soft labels are weighed evidence already:
   they stay as they are, and an image counts as much as its row sums to.
2. *Size.* The learner holds images x names densely; at most ``most`` images take part, the surest of each name.

The text tower runs once an epoch, forth and back: seconds with small towers, minutes with CLIP's on a CPU. It is off
by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.cache import surest
from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.prototypes import check, zero_shot_head

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from fgvr.encoders.base import DualEncoder
    from fgvr.methods.near.candidates import CandidateSets


def prompt_head(
    features: np.ndarray,
    soft: csr_matrix,
    names: Sequence[str],
    encoder: DualEncoder,
    *,
    epochs: int = 60,
    learning_rate: float = 0.01,
    most: int = 4096,
    seed: int = 0,
) -> LinearHead:
    """Text features of the C ``names`` under a tuned context, at the encoder's scale.

    Args:
        features: (N, D) float32, unit norm, of the same encoder.
        soft: (N, C) soft labels >= 0, at least one of them positive.
        most: images at most.

    Raises ``ValueError`` for shapes that do not fit or no label at all.
    """
    from fgvr.methods.near.settings import FAST
    from fgvr.methods.near.tuning import tune

    check(features, soft)
    if len(names) != soft.shape[1]:
        raise ValueError(f"{len(names)} names do not fit soft labels over {soft.shape[1]}")
    rows = surest(soft, most=most)
    if not len(rows):
        raise ValueError("no image has a label")
    settings = replace(FAST, epochs=epochs, learning_rate=learning_rate, weight_warmup_epochs=epochs)
    tuned = tune(
        features[rows],
        as_candidates(soft[rows]),
        encoder.prompt_tower(),
        settings,
        names=names,
        logit_scale=encoder.logit_scale,
        seed=seed,
    )
    return zero_shot_head(tuned.text_features, scale=encoder.logit_scale)


def as_candidates(soft: csr_matrix) -> CandidateSets:
    """Soft labels (N, C) as NeaR's candidate sets: the names above 0 and their weights as they are, no neighbours."""
    from fgvr.methods.near.candidates import CandidateSets

    rows = soft.tocsr(copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    alone = np.arange(rows.shape[0], dtype=np.int64)[:, None]
    return CandidateSets(
        members=rows.indices.astype(np.int64),
        offsets=rows.indptr.astype(np.int64),
        values=rows.data.astype(np.float32),
        neighbours=alone,
        similarities=np.ones_like(alone, dtype=np.float32),
    )
