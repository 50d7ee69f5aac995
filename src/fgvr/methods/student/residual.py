"""A learned residual on initial class vectors (texts or prototypes), fitted to soft labels of the pool.

``W = normalise(init + R)``, the head of ``near-lite`` (``fgvr.methods.near.lite``; TaskRes, Yu et al. 2023, has
``init + alpha R``), here fitted by soft-target cross-entropy over the whole pool.

1. *Targets* are soft labels and stay as they are; an image counts as much as its row sums to.
2. *Decay* pulls R to zero and so the head to where it began (AdamW's, decoupled from the loss). A step of Adam is
   about the learning rate long in each coordinate, so that R stays within about ``1 / weight_decay`` in each: strong
   decay is a narrow fence round the start. It has to be: a free residual learns wrong labels by heart.
3. *Names without images* keep their initial vector: cross-entropy alone would push them away from every image.
4. *Large pools.* An epoch is one step: on all labelled images, or, past ``batch`` of them, on the next ``batch`` of a
   random order. So the time does not grow with the pool, and results depend on the order of images only there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.heads import LinearHead
from fgvr.methods.student.prototypes import check, class_masses, cosine_head

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from torch import Tensor


def residual_head(
    features: np.ndarray,
    soft: csr_matrix,
    init: np.ndarray,
    *,
    epochs: int = 60,
    learning_rate: float = 0.001,
    weight_decay: float = 300.0,
    scale: float = 20.0,
    batch: int = 4096,
    seed: int = 0,
) -> LinearHead:
    """The initial vectors, moved to where the soft labels want them.

    Args:
        features: (N, D) float32, unit norm.
        soft: (N, C) soft labels >= 0.
        init: (C, D) float32, unit norm; rows of zeros are names that never win.
        epochs: steps; see the module's fourth point.
        learning_rate: AdamW's at the start of a cosine to zero.
        weight_decay: AdamW's, of the residual; times the learning rate at most 1.
        scale: factor from cosine to logit, while learning and after; an encoder's 100 makes it fit doubtful labels.
        batch: most images a step.
        seed: of the order of images; without effect where all fit in one batch.

    Raises ``ValueError`` for shapes that do not fit or a decay past the start.
    """
    import torch

    from fgvr.methods.near.lite import ResidualHead

    check(features, soft, init)
    if not 0 <= weight_decay * learning_rate <= 1:
        raise ValueError("weight_decay times learning_rate is between 0 and 1")
    known = init.any(axis=1)
    usable = soft.tocsr()[:, np.flatnonzero(known)]
    used = np.flatnonzero(np.asarray(usable.sum(axis=1)).ravel() > 0)
    if not len(used) or epochs < 1:
        return cosine_head(init, scale=scale)
    head = ResidualHead(init[known])
    learned = torch.as_tensor(class_masses(usable) > 0)[:, None]
    optimiser = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=weight_decay)
    for epoch, (images, targets) in enumerate(_batches(features[used], usable[used], batch, epochs, seed)):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1.0 + math.cos(math.pi * epoch / epochs)) / 2.0
        loss = -(targets * (scale * images @ head().T).log_softmax(dim=1)).sum() / targets.sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        assert head.residual.grad is not None
        head.residual.grad.mul_(learned)
        optimiser.step()
    vectors = np.zeros_like(init, dtype=np.float32)
    vectors[known] = head().detach().numpy()
    return cosine_head(vectors, scale=scale)


def _batches(
    features: np.ndarray, soft: csr_matrix, batch: int, steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """``steps`` batches: all images every time if they fit, else the next ones of ever new random orders."""
    import torch

    def taken(rows: np.ndarray | slice) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(features[rows]).float(), torch.as_tensor(soft[rows].toarray()).float()

    if len(features) <= batch:
        yield from itertools.repeat(taken(slice(None)), steps)
        return
    rng = np.random.default_rng(seed)
    order, at = rng.permutation(len(features)), 0
    for _ in range(steps):
        if at + batch > len(order):
            order, at = rng.permutation(len(features)), 0
        yield taken(order[at : at + batch])
        at += batch
