"""NeaR end to end; ``fit_classifier`` reads like the paper's Figure 1.

Kuchibhotla et al., "Fine-Grained Visual Recognition in the Age of Multimodal LLMs", section 3. Deviations and choices,
numbered; the first alternative is the default:

1. *Prompt.* The paper's own words, or a structured question that follows one about the super-category.
2. *Order.* Images are read and encoded before the MLLM is asked, so that no call is paid for an unreadable file.
3. *Label space.* The paper takes the union of replies. Here synonyms are merged (recorded); ``merge=False`` keeps all.
4. *Candidate sets.* k = 3 with the image itself. Repeated labels are votes; see ``candidates.py``.
5. *Tuning.* CoOp's released ``vit_b16_ep50`` settings, which the paper does not state; image views are cached instead
   of drawn afresh; see ``tuning.py`` and ``prompt_learner.py`` (exact, faster text tower).
6. *PRODEN.* In log space; temperature, momentum and warm-up off; see ``proden.py``.
7. *NeaR-style stage.* Off, or the reconstruction in ``refine.py``. It is not NeaR as published, whose text we have not
   read; call results "NeaR-style".
8. *Label filtering.* Off, or only names some support image ends up with. Part of NeaR, not of the workshop paper.
9. *Probabilities and "unknown".* Not in the paper; see ``calibrate.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.methods.near.baselines import TEMPLATES
from fgvr.methods.near.calibrate import STRANGE_SHARE, UNKNOWN_SHARE
from fgvr.methods.near.candidates import CandidateSets, make_sets
from fgvr.methods.near.classifier import Classifier
from fgvr.methods.near.problem import Problem
from fgvr.methods.near.prune import Prune, Pruned, prune
from fgvr.methods.near.refine import supported_labels
from fgvr.methods.near.select import Selection
from fgvr.methods.near.settings import SetSettings, TuneSettings
from fgvr.naming import label_space
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from fgvr.labels import LabelSpace
    from fgvr.methods.near.tuning import Tuned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSettings:
    """Everything between the MLLM's answers and the classifier. Defaults: the workshop method."""

    sets: SetSettings = field(default_factory=SetSettings)
    tuning: TuneSettings | Mapping[str, TuneSettings] = field(default_factory=TuneSettings)
    """One setting, or named candidates of which the support set chooses one (``select.py``)."""
    merge: bool = True
    merge_threshold: float | None = None
    """Cosine of a sentence encoder above which names are one; ``None`` merges by string only."""
    prune: Prune = "none"
    filter_labels: bool = False
    folds: int = 3
    """Of the cross-fit that calibrates (and selects); 0 skips it, and then probabilities are optimistic."""
    unknown_share: float = UNKNOWN_SHARE
    strange_share: float = STRANGE_SHARE

    @property
    def candidates(self) -> dict[str, TuneSettings]:
        """The tuning candidates by name."""
        return {"given": self.tuning} if isinstance(self.tuning, TuneSettings) else dict(self.tuning)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        rest = {key: value for key, value in vars(self).items() if key not in ("sets", "tuning")}
        tuning = {name: settings.to_dict() for name, settings in self.candidates.items()}
        return {**rest, "sets": asdict(self.sets), "tuning": tuning}


@dataclass(frozen=True)
class Fitted:
    """A classifier and how it came about."""

    classifier: Classifier
    space: LabelSpace
    pruned: Pruned
    sets: CandidateSets
    """Over ``pruned.names``."""
    tuned: Tuned
    kept: np.ndarray
    """Indices of ``pruned.names`` that the classifier has after label filtering."""
    selection: Selection | None = None

    def support_rows(self, named: Sequence[NamedImage]) -> list[dict[str, Any]]:
        """One JSON-like row per support image: reply, label, candidates, final weights; for reports."""
        names, rows = self.pruned.names, []
        for index, image in enumerate(named):
            label, members = int(self.pruned.labels[index]), self.sets[index]
            target = self.tuned.targets[index]
            others = self.sets.neighbours[index, 1:]
            rows.append(
                {
                    "item": image.item_id,
                    "status": image.status,
                    "reply_name": image.name,
                    "label": names[label] if label >= 0 else None,
                    "neighbours": [named[j].item_id for j in others[others >= 0]],
                    "candidates": [[names[j], round(float(self.tuned.weights[index, j]), 6)] for j in members],
                    "settled_on": names[int(target.argmax())] if target.sum() > 0 else None,
                    "clean": round(float(self.tuned.clean[index]), 6),
                }
            )
        return rows


def fit_classifier(
    features: np.ndarray,
    named: Sequence[NamedImage],
    encoder: DualEncoder,
    settings: FitSettings | None = None,
    *,
    sentence_encoder: Any = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Fitted:
    """Figure 1 from step 2 on: candidate sets, prompt tuning, classifier.

    Args:
        features: (N, D) or (N, V, D) of the support images, unit norm, view 0 plain.
        named: the MLLM's parsed answers, in the same order.
        sentence_encoder: for merging synonyms by meaning, when ``merge_threshold`` is set.
        folder: where checkpoints go; an interrupted fit resumes from them bit for bit.
        progress: called with (stage, done, total).

    Raises ``InputError`` when nothing was named.
    """
    from fgvr.encoders.zero_shot import text_classifier

    settings = settings or FitSettings()
    plain = features if features.ndim == 2 else features[:, 0]

    space, labels = label_space(named, merge=settings.merge, **_merging(settings, sentence_encoder))
    pruned = _pruned(space.names, labels, plain, settings, seed)
    names, labels = pruned.names, pruned.labels

    problem = Problem(
        features=features,
        labels=labels,
        names=names,
        encoder=encoder,
        text_features=text_classifier(encoder, names, templates=TEMPLATES),
        sets=settings.sets,
        folds=settings.folds,
        seed=seed,
        folder=folder,
        progress=progress,
    )

    sets = make_sets(plain, labels, settings.sets, num_labels=len(names), seed=seed)
    tuning, selection = problem.chosen(settings.candidates)
    tuned = problem.tuned(sets, tuning)

    kept = _kept(tuned, names, settings)
    calibration = problem.calibration(
        tuned,
        tuning,
        kept,
        selection,
        unknown_share=settings.unknown_share,
        strange_share=settings.strange_share,
    )
    classifier = Classifier(
        names=tuple(names),
        text_features=tuned.text_features,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        logit_scale=encoder.logit_scale,
        calibration=calibration,
        support=np.ascontiguousarray(plain, dtype=np.float32),
        parameters=tuned.parameters,
        notes=_notes(settings, tuning, space, pruned, selection, tuned, kept, seed),
    ).restricted(kept)
    return Fitted(classifier, space, pruned, sets, tuned, kept, selection)


def _merging(settings: FitSettings, sentence_encoder: Any) -> dict[str, Any]:
    if settings.merge_threshold is None or sentence_encoder is None:
        return {}
    return {"encoder": sentence_encoder, "threshold": settings.merge_threshold}


def _pruned(names: Sequence[str], labels: np.ndarray, plain: np.ndarray, settings: FitSettings, seed: int) -> Pruned:
    sets = make_sets(plain, labels, SetSettings(k=settings.sets.k), num_labels=len(names), seed=seed)
    pruned = prune(names, labels, sets, how=settings.prune)
    for removal in pruned.removed:
        logger.info("label %r removed: %s", removal.name, removal.reason)
    return pruned


def _kept(tuned: Tuned, names: Sequence[str], settings: FitSettings) -> np.ndarray:
    if not settings.filter_labels:
        return np.arange(len(names))
    return supported_labels(tuned.targets)


def _notes(
    settings: FitSettings,
    tuning: TuneSettings,
    space: LabelSpace,
    pruned: Pruned,
    selection: Selection | None,
    tuned: Tuned,
    kept: np.ndarray,
    seed: int,
) -> dict[str, Any]:
    filtered = [name for index, name in enumerate(pruned.names) if index not in set(kept.tolist())]
    return {
        "settings": settings.to_dict(),
        "tuning": tuning.to_dict(),
        "seed": seed,
        "selection": selection.to_dict() if selection else None,
        "merged": [asdict(merge) for merge in space.provenance],
        "removed": [removal.to_dict() for removal in pruned.removed],
        "filtered": filtered,
        "trace": [asdict(epoch) for epoch in tuned.trace],
    }
