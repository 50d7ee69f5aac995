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

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.methods.near.baselines import TEMPLATES
from fgvr.methods.near.calibrate import STRANGE_SHARE, UNKNOWN_SHARE, Calibration, calibrate
from fgvr.methods.near.candidates import CandidateSets, make_sets
from fgvr.methods.near.classifier import Classifier
from fgvr.methods.near.label_space import Prune, Pruned, label_space, prune
from fgvr.methods.near.refine import supported_labels
from fgvr.methods.near.select import Selection, cross_fit, held_out_votes, select
from fgvr.methods.near.settings import SetSettings, TuneSettings
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from fgvr.labels import LabelSpace
    from fgvr.methods.near.tuning import Epoch, Tuned

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
        folder: where checkpoints go; interrupted tuning resumes from it bit for bit.
        progress: called with (stage, done, total).

    Raises ``InputError`` when nothing was named.
    """
    settings = settings or FitSettings()
    plain = features if features.ndim == 2 else features[:, 0]

    space, labels = label_space(named, merge=settings.merge, **_merging(settings, sentence_encoder))
    pruned = _pruned(space.names, labels, plain, settings, seed)
    names, labels = pruned.names, pruned.labels

    sets = make_sets(plain, labels, settings.sets, num_labels=len(names), seed=seed)
    text_features = _zero_shot(encoder, names)
    tuning, selection = _chosen(features, labels, encoder, names, text_features, settings, seed, progress)
    tuned = _tuned(features, sets, encoder, names, text_features, tuning, seed, folder, progress)

    kept = _kept(tuned, names, settings)
    calibration = _calibration(
        features, labels, encoder, names, text_features, tuning, tuned, kept, settings, selection, seed, progress
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


def _zero_shot(encoder: DualEncoder, names: Sequence[str]) -> np.ndarray:
    from fgvr.encoders.zero_shot import text_classifier

    return text_classifier(encoder, names, templates=TEMPLATES)


def _chosen(
    features: np.ndarray,
    labels: np.ndarray,
    encoder: DualEncoder,
    names: Sequence[str],
    text_features: np.ndarray,
    settings: FitSettings,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[TuneSettings, Selection | None]:
    """The tuning settings, chosen on the support when there are several; with its held-out predictions."""
    candidates = settings.candidates
    if len(candidates) == 1:
        return next(iter(candidates.values())), None
    if progress:
        progress("select", 0, len(candidates))
    selection = select(
        features,
        labels,
        encoder.prompt_tower(),
        names,
        text_features=text_features,
        candidates=candidates,
        sets=settings.sets,
        folds=max(2, settings.folds),
        logit_scale=encoder.logit_scale,
        seed=seed,
    )
    return selection.settings, selection


def _tuned(
    features: np.ndarray,
    sets: CandidateSets,
    encoder: DualEncoder,
    names: Sequence[str],
    text_features: np.ndarray,
    tuning: TuneSettings,
    seed: int,
    folder: Path | None,
    progress: Callable[[str, int, int], None] | None,
) -> Tuned:
    from fgvr.methods.near.tuning import tune

    def report(epoch: Epoch, total: int) -> None:
        if progress:
            progress("tune", epoch.epoch + 1, total)

    # Named by its inputs: a run that goes on with more labels than before starts a new checkpoint.
    key = _digest(features, sets.members, sets.offsets, sets.values, text_features, [*names, tuning.to_dict(), seed])
    return tune(
        features,
        sets,
        text_features if tuning.head == "lite" else encoder.prompt_tower(),
        tuning,
        names=names,
        logit_scale=encoder.logit_scale,
        seed=seed,
        checkpoint=None if folder is None else folder / f"tuning-{key[:16]}.safetensors",
        progress=report,
    )


def _kept(tuned: Tuned, names: Sequence[str], settings: FitSettings) -> np.ndarray:
    if not settings.filter_labels:
        return np.arange(len(names))
    return supported_labels(tuned.targets)


def _calibration(
    features: np.ndarray,
    labels: np.ndarray,
    encoder: DualEncoder,
    names: Sequence[str],
    text_features: np.ndarray,
    tuning: TuneSettings,
    tuned: Tuned,
    kept: np.ndarray,
    settings: FitSettings,
    selection: Selection | None,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> Calibration:
    """Temperature and thresholds over the kept names, from held-out predictions where there are any."""
    plain = features if features.ndim == 2 else features[:, 0]
    if selection is not None:
        cosines, source = selection.cosines, "cross-fit"
    elif settings.folds >= 2 and len(np.unique(plain, axis=0)) >= 2 * settings.folds:
        if progress:
            progress("calibrate", 0, 1)
        source = "cross-fit"
        cosines = cross_fit(
            features,
            labels,
            encoder.prompt_tower() if tuning.head == "prompt" else None,
            names,
            tuning,
            text_features=text_features,
            sets=settings.sets,
            folds=settings.folds,
            logit_scale=encoder.logit_scale,
            seed=seed,
        )
    else:
        cosines, source = plain @ tuned.text_features.T, "support"
    votes = held_out_votes(features, labels, len(names))[:, kept]
    totals = votes.sum(axis=1, keepdims=True)
    return calibrate(
        cosines[:, kept],
        np.divide(votes, totals, out=np.zeros_like(votes), where=totals > 0),
        plain,
        logit_scale=encoder.logit_scale,
        unknown_share=settings.unknown_share,
        strange_share=settings.strange_share,
        source=source,
    )


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


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part, sort_keys=True).encode()
        digest.update(str(len(data)).encode() + b":" + data)
    return digest.hexdigest()
