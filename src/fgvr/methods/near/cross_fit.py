"""Predictions for every support image by a classifier tuned without it: the ground of choosing and calibrating.

The support is cut into folds. For each fold, candidate sets are made and the classifier tuned on the other images
only; it then predicts the fold. All C names stay in the label space: a text tower can score names it was not tuned on.
Copies of one picture share a fold.

With a folder, every finished fold is kept there, and the one being tuned can be gone on with, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.near.candidates import candidate_sets, make_sets
from fgvr.methods.near.durable import inputs_digest, read_sound, sound_or_absent
from fgvr.methods.near.settings import SetSettings, TuneSettings
from fgvr.runs import save_arrays

if TYPE_CHECKING:
    from fgvr.encoders.base import PromptTower


def cross_fit(
    features: np.ndarray,
    labels: np.ndarray,
    tower: PromptTower | None,
    names: Sequence[str],
    settings: TuneSettings,
    *,
    text_features: np.ndarray,
    sets: SetSettings | None = None,
    folds: int = 3,
    logit_scale: float = 100.0,
    seed: int = 0,
    folder: Path | None = None,
) -> np.ndarray:
    """Cosines (N, C) float32 of every support image to the names, from a classifier that was tuned without it.

    Args:
        features: (N, D) or (N, V, D), unit norm.
        labels: (N,) indices into ``names``, -1 for unnamed.
        tower: needed by the prompt head.
        text_features: (C, D) zero-shot features, for ``lite``; of the encoder that ``tower`` belongs to.
        folder: where finished folds are kept. A kill repeats at most what ``tune`` says of the fold being tuned.
    """
    plain = features if features.ndim == 2 else features[:, 0]
    fold_of = assign_folds(plain, folds=folds, seed=seed)
    cosines = np.zeros((len(plain), len(names)), dtype=np.float32)
    head = text_features if settings.head == "lite" else tower
    if head is None:
        raise ValueError("the prompt head needs a text tower")

    def predicted(train: np.ndarray, held: np.ndarray, checkpoint: Path | None) -> np.ndarray:
        """Cosines of the ``held`` images by a classifier tuned on the ``train`` ones."""
        from fgvr.methods.near.tuning import tune

        tuned = tune(
            features[train],
            make_sets(plain[train], labels[train], sets or SetSettings(), num_labels=len(names), seed=seed),
            head,
            settings,
            names=names,
            logit_scale=logit_scale,
            seed=seed,
            checkpoint=checkpoint,
        )
        return np.asarray(plain[held] @ tuned.text_features.T)

    given = [list(names), settings.to_dict(), asdict(sets or SetSettings()), logit_scale, seed]
    for fold in range(folds):
        train, held = fold_of != fold, fold_of == fold
        if not held.any():
            continue
        if folder is None:
            cosines[held] = predicted(train, held, None)
        else:
            key = inputs_digest(features[train], labels[train], plain[held], text_features, given)
            cosines[held] = _kept(folder, key, partial(predicted, train, held))
    return cosines


def _kept(folder: Path, key: str, make: Callable[[Path], np.ndarray]) -> np.ndarray:
    """The fold's cosines from its file, or made now (resuming from the checkpoint that ``make`` is given) and kept."""
    file, checkpoint = folder / f"{key[:16]}.safetensors", folder / f"{key[:16]}.tuning.safetensors"
    kept = read_sound(file, key="inputs", value=key)
    if kept is None:
        kept = {"cosines": make(sound_or_absent(checkpoint))}
        save_arrays(file, kept, metadata={"inputs": key})
    checkpoint.unlink(missing_ok=True)
    return kept["cosines"]


def assign_folds(features: np.ndarray, *, folds: int, seed: int = 0) -> np.ndarray:
    """(N,) fold numbers, balanced at random; rows that are exactly equal (copies of a picture) share a fold."""
    if folds < 2:
        raise ValueError("cross-fitting needs at least two folds")
    _, group = np.unique(features, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    return np.asarray(order[group] % folds)


def held_out_votes(features: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
    """What held-out predictions are judged by: (N, C) votes of each image and its two neighbours."""
    plain = features if features.ndim == 2 else features[:, 0]
    return candidate_sets(plain, labels, k=3).weights(num_labels)
