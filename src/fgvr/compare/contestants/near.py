"""NeaR as a contestant: ``fgvr.methods.near`` on a comparison's terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.baselines.task import Naming, Task
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.methods.near.presets import tunings
from fgvr.methods.near.settings import SetSettings
from fgvr.naming.labelling import PromptKind

TITLE = "NeaR"


@dataclass(frozen=True)
class Settings:
    """Defaults are the workshop paper's; ``preset`` as of ``fgvr fit near``."""

    preset: str = "workshop"
    k: int = 3
    sets: Literal["neighbours", "random", "none"] = "neighbours"
    policy: Literal["vote", "set", "own"] = "vote"
    prompt: PromptKind = "paper"
    merge: bool = True
    filter_labels: bool = False
    epochs: int | None = None
    folds: int = 0
    """Of the cross-fit that calibrates probabilities; 0 leaves them out. A preset that selects needs some: 3 then."""
    views: int = 0


def calls(support: int, test: int, settings: Settings) -> int:
    """One question a support image, one about the collection with the structured prompt."""
    return support + (settings.prompt == "structured")


def name_images(task: Task, settings: Settings) -> Naming:
    """Label the support, clean up by neighbours, tune, classify; every image gets its best name ("unknown" is off)."""
    named = task.label_support(prompt=settings.prompt).named
    features = np.asarray(task.support.features) if not settings.views else task.views(task.support, settings.views)
    fitted = fit_classifier(
        features,
        named,
        task.encoder,
        _fit_settings(settings),
        seed=task.seed,
        folder=task.folder,
        progress=task.report,
    )
    classifier, test = fitted.classifier, np.asarray(task.test.features)
    best = classifier.logits(test).argmax(axis=1)
    chances = classifier.probabilities(test).max(axis=1) if settings.folds or fitted.selection else None
    return Naming(
        names=tuple(classifier.names[j] for j in best),
        vocabulary=classifier.names,
        probabilities=None if chances is None else tuple(float(chance) for chance in chances),
        notes=() if fitted.selection is None else (f"chosen on the support: {fitted.selection.name}",),
        figures={"names before filtering": float(len(fitted.pruned.names))},
    )


def _fit_settings(settings: Settings) -> FitSettings:
    tuning = tunings(settings.preset)
    if settings.folds == 1 or settings.folds < 0:
        raise InputError("one fold cannot be held out", remedy="Use folds=0, 2 or more.")
    if settings.epochs is not None and settings.epochs < 1:
        raise InputError("a fit needs at least one epoch", remedy="Use epochs >= 1.", epochs=settings.epochs)
    tuning = {name: replace(one, epochs=settings.epochs or one.epochs) for name, one in tuning.items()}
    return FitSettings(
        sets=SetSettings(kind=settings.sets, k=settings.k, policy=settings.policy),
        tuning=tuning if len(tuning) > 1 else next(iter(tuning.values())),
        merge=settings.merge,
        filter_labels=settings.filter_labels,
        folds=settings.folds or (3 if len(tuning) > 1 else 0),
    )
