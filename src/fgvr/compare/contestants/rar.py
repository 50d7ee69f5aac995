"""RAR without labels as a contestant: ``fgvr.methods.rar`` with a memory of support images under the MLLM's names.

1. *Pseudo-labels.* The paper takes FineR's (section 4.2); here the MLLM's own, as for the other contestants. FineR's
   names, as the released code merges them, are ``rar_released``.
2. *Who ranks.* An MLLM that scores no options writes its list instead; a recording knows nothing about candidates, so
   retrieval decides alone. The notes say so.
3. *Preset.* ``default`` (retrieve, ask where in doubt, fuse), or ``as-described``: the paper's text, where the MLLM
   writes a list for every image and decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fgvr.methods.baselines.task import Naming, Task
from fgvr.methods.rar.asking import Asker
from fgvr.methods.rar.fitting import fitted, identity
from fgvr.methods.rar.pipeline import RarSettings, as_described, as_released, to_ask
from fgvr.methods.rar.recogniser import Recogniser
from fgvr.methods.rar.vocabulary_free import named_as
from fgvr.mllm.base import BY_ITEM, Mllm
from fgvr.naming import label_space
from fgvr.naming.labelling import PromptKind
from fgvr.types import Prediction

TITLE = "RAR"


@dataclass(frozen=True)
class Settings:
    """Defaults are ours; ``preset=as-described`` is the paper's."""

    preset: Literal["default", "as-described", "as-released"] = "default"
    k: int | None = None
    asking: Literal["margin", "always", "never"] | None = None
    prompt: PromptKind = "paper"
    merge: bool = True


def calls(support: int, test: int, settings: Settings) -> int:
    """At most: a question a support image for its name, one about its candidates, one a test image."""
    free = to_ask(_preset(settings), free=True)
    ranked = 0 if settings.asking == "never" else test
    return support + min(support, free) + ranked + (settings.prompt == "structured")


def name_images(task: Task, settings: Settings) -> Naming:
    """Name the support, put it into a memory, retrieve for every test image, ask where the rules say so."""
    labelled = task.label_support(prompt=settings.prompt)
    space, labels = label_space(labelled.named, merge=settings.merge)
    made, notes = _for(task.mllm, _preset(settings))
    asker = _asker(task, made)
    fit = fitted(
        named_as(task.support, space.names, labels),
        task.encoder,
        made,
        k=settings.k,
        names=(),
        set_aside=(),
        asker=asker,
        answers=labelled,
        mllm=identity(task.mllm),
        free=task.mllm.local,
        seed=task.seed,
    )
    asked_before = asker.asked
    found = _recognised(task, fit.recogniser, asker)
    best = [prediction.top[0] for prediction in found]
    return Naming(
        names=tuple(name for name, _ in best),
        vocabulary=fit.recogniser.names,
        probabilities=tuple(chance for _, chance in best),
        notes=(*notes, *_account(asker)),
        figures={
            "share of test images asked about": (asker.asked - asked_before) / len(found),
            "weight of the MLLM": float(fit.recogniser.rules.weight),
        },
    )


def _preset(settings: Settings) -> RarSettings:
    presets = {"default": RarSettings(), "as-described": as_described(), "as-released": as_released()}
    made = presets[settings.preset]
    return made if settings.asking is None else replace(made, asking=settings.asking)


def _for(mllm: Mllm, made: RarSettings) -> tuple[RarSettings, tuple[str, ...]]:
    """The settings as this MLLM can follow them, and what had to change."""
    if made.asking == "never":
        return made, ()
    if mllm.preprocessing == BY_ITEM:
        return replace(made, asking="never"), ("recorded replies rank nothing: retrieval alone",)
    if made.ranking.mode == "score" and not mllm.supports_options:
        written = replace(made.ranking, mode="generate")
        return replace(made, ranking=written), (f"{mllm.name} scores no options: its written lists are read",)
    return made, ()


def _asker(task: Task, settings: RarSettings) -> Asker:
    given = task.asking()
    options = {key: value for key, value in given.items() if key not in ("ledger", "budget", "cache")}
    return Asker(
        task.mllm,
        settings.ranking,
        ledger=given.get("ledger"),
        budget=given.get("budget"),
        options=options,
        report=lambda done, total: task.report("rank", done, total),
    )


def _recognised(task: Task, recogniser: Recogniser, asker: Asker) -> list[Prediction]:
    features = np.asarray(task.test.features)
    candidates = recogniser.candidates(features)
    chosen = np.flatnonzero(recogniser.asks(candidates))
    said = None
    if len(chosen):
        said = np.full(candidates.classes.shape, np.nan)
        items, hashes = [task.test.items[i] for i in chosen], [task.test.hashes[i] for i in chosen]
        said[chosen] = asker(items, hashes, candidates.rows(chosen), recogniser.names)
    return recogniser.predictions(candidates, [item.id for item in task.test.items], said=said)


def _account(asker: Asker) -> tuple[str, ...]:
    if not asker.unanswered:
        return ()
    return (f"{asker.unanswered} questions without a usable answer: retrieval alone decided there",)
