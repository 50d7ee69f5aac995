"""What NeaR is compared with: zero-shot with the MLLM's own names (ZS-CLIP), and the MLLM on every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.methods.near.classifier import Classifier
from fgvr.mllm.base import Mllm
from fgvr.naming.labelling import Labelled, PromptKind, label_images
from fgvr.types import ImageItem, Prediction

TEMPLATES = ("a photo of a {}.",)


def zero_shot_classifier(
    encoder: DualEncoder,
    names: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    notes: Mapping[str, Any] | None = None,
) -> Classifier:
    """ZS-CLIP: ``argmax_t sim(I(x), T(t))`` over the given names. The same interface as a tuned classifier.

    The paper does not state its template; ours is CLIP's own and goes into the notes.
    """
    return Classifier(
        names=tuple(names),
        text_features=text_classifier(encoder, names, templates=templates),
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        logit_scale=encoder.logit_scale,
        method="zero-shot",
        notes={"templates": list(templates), **(notes or {})},
    )


def direct(
    items: Sequence[ImageItem], mllm: Mllm, *, prompt: PromptKind = "paper", **asking: Any
) -> tuple[list[Prediction], Labelled]:
    """Ask the MLLM about every image. Unanswered items have no prediction (see ``Labelled.answers.failures``).

    A refusal or unusable reply is ``unknown`` with probability 0. The probability of an answer is what the reply or
    its log-probabilities say, and 1 where they say nothing: it is not calibrated.
    """
    labelled = label_images(items, mllm, prompt=prompt, **asking)
    found = []
    for named in labelled.named:
        if named.status == "unanswered":
            continue
        if named.name is None:
            found.append(Prediction(named.item_id, "unknown", 0.0, unknown=True))
            continue
        stated = (
            named.confidence if named.confidence is not None else labelled.answers.replies[named.item_id].confidence
        )
        chance = 1.0 if stated is None else stated
        found.append(Prediction(named.item_id, named.name, chance, ((named.name, chance),)))
    return found, labelled
