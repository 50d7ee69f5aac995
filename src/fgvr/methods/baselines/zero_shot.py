"""ZS-CLIP with the MLLM's names: ``argmax_t sim(I(x), T(t))`` over the names it gave the support images.

Kuchibhotla et al., section 4 ("ZS-CLIP-<MLLM>"); no training, no use of which image a name belongs to.

1. *Label space.* The paper takes the union of the replies. Here spellings and synonyms are merged (recorded);
   ``merge=False`` keeps all.
2. *Template.* The paper states none; ``a photo of a {}.`` is CLIP's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.encoders.zero_shot import text_classifier, zero_shot_logits
from fgvr.errors import InputError
from fgvr.methods.baselines.task import Naming, Task
from fgvr.naming import label_space
from fgvr.naming.labelling import PromptKind

TITLE = "zero-shot, the MLLM's names"


@dataclass(frozen=True)
class Settings:
    """Defaults are the paper's but for 1 above."""

    prompt: PromptKind = "paper"
    merge: bool = True
    template: str = "a photo of a {}."


def calls(support: int, test: int, settings: Settings) -> int:
    """One question a support image, one about the collection with the structured prompt."""
    return support + (settings.prompt == "structured")


def name_images(task: Task, settings: Settings) -> Naming:
    """The likeliest of the support images' names, with its softmax probability (not calibrated)."""
    if settings.template.count("{}") != 1:
        raise InputError("a template holds one {} for the name", remedy="Correct it.", template=settings.template)
    named = task.label_support(prompt=settings.prompt).named
    space, _ = label_space(named, merge=settings.merge)
    texts = text_classifier(task.encoder, space.names, templates=(settings.template,))
    logits = zero_shot_logits(np.asarray(task.test.features), texts, task.encoder.logit_scale)
    best = logits.argmax(axis=1)
    chances = np.exp(logits.max(axis=1) - np.logaddexp.reduce(logits.astype(np.float64), axis=1))
    unnamed = sum(one.name is None for one in named)
    return Naming(
        names=tuple(space.names[j] for j in best),
        vocabulary=tuple(space.names),
        probabilities=tuple(float(chance) for chance in chances),
        figures={"support images without a name": float(unnamed)},
    )
