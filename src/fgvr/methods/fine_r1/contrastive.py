"""Contrastive baselines: what dual encoders name, on the same questions and pictures, as rows of the same table.

Paper: Fine-R1's tables compare with CLIP, EVA and SigLIP: the likeliest of the four options under "a photo of a
<class>"; the appendix has SigLIP with a prompt ensemble. Its code for them is not released.

1. *Ensemble.* The paper's prompts are not published; `ENSEMBLE` holds plain ones, and a name's texts are averaged.
2. *Open world.* A dual encoder cannot name what it was not told. Here it chooses among all class names, seen and
   unseen, which the MLLM is not given: an easier task, and the row says so.
3. *Whose questions.* Where the wrong options are the encoder's own mistakes its figure is not comparable;
   with the questions' ``source`` the row says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.data.benchmarks.questions import Question
from fgvr.errors import InputError
from fgvr.methods.fine_r1.closed import ClosedAnswer
from fgvr.methods.fine_r1.evaluation import Examined
from fgvr.methods.fine_r1.exam import SuperCategory, usable
from fgvr.methods.fine_r1.figures import Seen
from fgvr.methods.fine_r1.open_world import OpenAnswer, kind_of
from fgvr.methods.fine_r1.parts import CLOSED, OPEN, Part, closed_part, open_part
from fgvr.metrics.semantic import TextEncoder
from fgvr.metrics.strata import Unit
from fgvr.mllm.outcomes import Answers
from fgvr.multiple_choice.asking import Turn
from fgvr.multiple_choice.distractors import Source
from fgvr.multiple_choice.similarity import choose_by_similarity
from fgvr.types import ImageItem, SetAside, Usage

if TYPE_CHECKING:
    from fgvr.encoders.base import DualEncoder

PROMPT = ("a photo of a {}",)
"""The paper's."""
ENSEMBLE = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of a {}.",
    "a good photo of a {}.",
    "a picture of a {}.",
    "{}",
)


def contrastive_rows(
    encoders: Sequence[DualEncoder],
    *,
    closed: Sequence[Question] = (),
    open_items: Sequence[ImageItem] = (),
    names: Sequence[str] = (),
    seen: Seen = None,
    super_category: SuperCategory = None,
    prompt: Sequence[str] = PROMPT,
    ensemble: Sequence[str] = ENSEMBLE,
    sentences: TextEncoder | None = None,
    store: Path | None = None,
    unit: Unit = "items",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    source: Source | None = None,
) -> tuple[Examined, ...]:
    """Two rows an encoder, with ``prompt`` and with ``ensemble`` (one row where that is empty).

    Args:
        names: all class names, among which open items are named; required with ``open_items``.
        store: folder of picture features kept between runs.

    The other arguments are those of ``examine``. Pictures that cannot be read have no answer and are set aside. Raises
    ``InputError`` when there is nothing to name or nothing to choose from, ``NoImagesError`` when no picture is usable.
    """
    if not closed and not open_items:
        raise InputError("nothing to examine", remedy="Give questions with options, or labelled pictures.")
    if open_items and not names:
        raise InputError("a dual encoder names among names", remedy="Give all class names (names=).")
    scoring: dict[str, Any] = {"seen": seen, "unit": unit, "resamples": resamples, "level": level, "seed": seed}
    questions, items, aside = usable(closed, open_items)
    found = []
    for encoder in encoders:
        features, lost = _features(encoder, questions, items, store)
        for templates in filter(None, (tuple(prompt), tuple(ensemble))):
            parts: dict[str, Part] = {}
            if questions:
                parts[CLOSED] = closed_part(
                    _chosen(questions, encoder, features, templates), _NOTHING, free=True, **scoring
                )
            if items:
                answers = _named(items, encoder, features, templates, names, super_category)
                marked = {one.id: one.seen for one in closed}
                parts[OPEN] = open_part(answers, _NOTHING, marked=marked, sentences=sentences, free=True, **scoring)
            label = f"{encoder.name} ({'prompt' if len(templates) == 1 else f'ensemble of {len(templates)}'})"
            protocol = _protocol(encoder, templates, names if items else (), unit, seed, source)
            found.append(Examined(label, parts, protocol, tuple(dict.fromkeys((*aside, *lost)))))
    return tuple(found)


_NOTHING = Answers({}, {}, (), Usage(), Usage())
"""Nobody was asked."""


def _features(
    encoder: DualEncoder, questions: Sequence[Question], items: Sequence[ImageItem], store: Path | None
) -> tuple[dict[Path, np.ndarray], tuple[SetAside, ...]]:
    """(D,) unit norm by picture, each picture encoded once; and the pictures that cannot be read."""
    from fgvr.encoders.store import FeatureStore

    pictures = {one.path: one.id for one in questions if one.path is not None}
    pictures |= {one.path: one.id for one in items}
    wanted = [ImageItem(item_id, path) for path, item_id in pictures.items()]
    with tempfile.TemporaryDirectory() as scratch:
        table = FeatureStore(store or scratch).features(wanted, encoder)
        rows = np.array(table.features)  # read before the scratch folder goes
    return {item.path: row for item, row in zip(table.items, rows, strict=True)}, table.set_aside


def _chosen(
    questions: Sequence[Question],
    encoder: DualEncoder,
    features: dict[Path, np.ndarray],
    templates: Sequence[str],
) -> list[ClosedAnswer]:
    readable = [one for one in questions if one.path in features]
    answered: dict[str, Turn] = {}
    if readable:
        rows = np.stack([features[one.path] for one in readable if one.path is not None])
        asked = choose_by_similarity(readable, encoder, image_features=rows, templates=templates)
        answered = {one.question.id: one.turns[0] for one in asked.answered}
    unread = {one.id: Turn(tuple(range(len(one.options))), "unanswered") for one in questions}
    return [ClosedAnswer(one, (answered.get(one.id, unread[one.id]),)) for one in questions]


def _named(
    items: Sequence[ImageItem],
    encoder: DualEncoder,
    features: dict[Path, np.ndarray],
    templates: Sequence[str],
    names: Sequence[str],
    super_category: SuperCategory,
) -> list[OpenAnswer]:
    """The likeliest of all names for each item; ties go to the name given first."""
    from fgvr.encoders import text_classifier

    distinct = list(dict.fromkeys(names))
    texts = text_classifier(encoder, distinct, templates=templates)
    found = []
    for item in items:
        kind, row = kind_of(item.id, super_category), features.get(item.path)
        name = None if row is None else distinct[int((texts @ row).argmax())]
        found.append(OpenAnswer(item, kind, name, name, name or ""))
    return found


def _protocol(
    encoder: DualEncoder, templates: Sequence[str], names: Sequence[str], unit: Unit, seed: int, source: Source | None
) -> tuple[str, ...]:
    own = source is not None and source.fingerprint == encoder.fingerprint
    among = (f"open world: chosen among all {len(set(names))} names, which a model is not told",) if names else ()
    return (
        f"dual encoder: {encoder.name} ({encoder.fingerprint[:12]}), zero-shot",
        f"prompts: {' / '.join(templates)}",
        "closed world: the most similar option" + (", WRONG OPTIONS ARE THIS ENCODER'S OWN MISTAKES" if own else ""),
        *among,
        f"intervals: bootstrap over {unit}, seed {seed}",
    )
