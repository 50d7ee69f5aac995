"""Prompt tuning on candidate sets (workshop paper, section 3.1): what is tuned, for how long, and what a kill costs.

The mathematics of one epoch, and the deviations from CoOp's and PRODEN's code, are in ``loop.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from fgvr.encoders.base import PromptTower
from fgvr.methods.near.candidates import CandidateSets
from fgvr.methods.near.lite import ResidualHead
from fgvr.methods.near.loop import Epoch as Epoch
from fgvr.methods.near.loop import Loop
from fgvr.methods.near.loop import Tuned as Tuned
from fgvr.methods.near.loop import learning_rate as learning_rate
from fgvr.methods.near.prompt_learner import PromptLearner
from fgvr.methods.near.settings import TuneSettings

CHECKPOINT_SECONDS = 5.0
"""Of work that a kill may cost, one epoch aside. Writing takes milliseconds, which short tunings do not have to pay."""


def tune(
    features: np.ndarray,
    sets: CandidateSets,
    tower: PromptTower | np.ndarray,
    settings: TuneSettings | None = None,
    *,
    names: Sequence[str],
    logit_scale: float = 100.0,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    stop_after: int | None = None,
    progress: Callable[[Epoch, int], None] | None = None,
) -> Tuned:
    """Tune a classifier over ``names`` on the candidate sets of the support.

    Args:
        features: (N, D) or (N, V, D) float32, unit norm; view 0 is the plain image.
        tower: the text tower, or for ``settings.head == "lite"`` the zero-shot text features (C, D).
        names: the C labels of the space that ``sets`` index.
        logit_scale: factor from cosine to logit, frozen as in CoOp.
        checkpoint: file to resume from and to write (atomic; safetensors) at the end and after every epoch by which
            ``CHECKPOINT_SECONDS`` have passed since the last writing.
        checkpoint_every: write also after so many epochs.
        stop_after: end after this many epochs of the schedule, leaving the checkpoint.
        progress: called with each epoch and their number.

    Raises ``ValueError`` for shapes that do not fit or no image with a candidate; ``RunError`` when the checkpoint
    belongs to another run or the loss stops being finite.
    """
    settings = settings or TuneSettings()
    head = _head(tower, names, settings, seed)
    loop = Loop(head, features, sets.weights(len(names)), settings, logit_scale=logit_scale, seed=seed)
    if checkpoint is not None and checkpoint.exists():
        loop.load(checkpoint)
    last = settings.epochs if stop_after is None else min(stop_after, settings.epochs)
    every, saved = checkpoint_every or last, time.monotonic()
    while loop.epoch < last:
        loop.run_epoch()
        if progress is not None:
            progress(loop.trace[-1], settings.epochs)
        due = loop.epoch % every == 0 or loop.epoch == last or time.monotonic() - saved >= CHECKPOINT_SECONDS
        if checkpoint is not None and due:
            loop.save(checkpoint)
            saved = time.monotonic()
    return loop.result()


def _head(tower: PromptTower | np.ndarray, names: Sequence[str], settings: TuneSettings, seed: int) -> torch.nn.Module:
    if settings.head == "lite":
        if not isinstance(tower, np.ndarray) or len(tower) != len(names):
            raise ValueError("near-lite needs the zero-shot text features (C, D) in place of a tower")
        return ResidualHead(tower)
    if isinstance(tower, np.ndarray):
        raise ValueError("the prompt head needs a text tower")
    return PromptLearner(
        tower,
        names,
        context_length=settings.context_length,
        words=settings.context_words,
        chunk=settings.chunk,
        seed=seed,
    )
