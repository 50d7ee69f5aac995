"""Predictions beside true names: alignment by image, unanswered items, images seen in training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.inputs import content_hashes
from fgvr.cli.predict import is_rar
from fgvr.errors import EvaluationError, InputError

if TYPE_CHECKING:
    from fgvr.metrics import Evaluation
    from fgvr.types import ImageItem, Prediction

CURVE_POINTS = 100
LISTED = 3
"""Examples named in a message."""


@dataclass(frozen=True)
class Aligned:
    """One entry per labelled image, in the order of the items."""

    items: tuple[ImageItem, ...]
    predictions: tuple[Prediction | None, ...]
    names: tuple[str | None, ...]
    """What is scored; ``None`` is unanswered and never wrong."""
    unlabelled: int
    """Images left out because the input has no true name for them."""
    extra: int
    """Predictions about images the input does not hold."""

    @property
    def unknown(self) -> int:
        """Answered items reported as unknown."""
        return sum(prediction is not None and prediction.unknown for prediction in self.predictions)


def align(predictions: Sequence[Prediction], items: Sequence[ImageItem], *, unknown: str = "best") -> Aligned:
    """Match by image id.

    ``unknown``: ``best`` scores the best name behind an "unknown" (a refusal has none and is unanswered); ``missing``
    counts every "unknown" as unanswered. Raises ``EvaluationError`` when there are no true names or nothing matches.
    """
    labelled = tuple(item for item in items if item.label is not None)
    if not labelled:
        raise EvaluationError(
            "the images have no true names",
            remedy="Give a manifest with a label column, or one folder per class.",
            images=len(items),
        )
    by_id = {prediction.item_id: prediction for prediction in predictions}
    found = tuple(by_id.get(item.id) for item in labelled)
    if not any(found):
        raise EvaluationError(
            "no prediction is about any of these images",
            remedy="Give the same folder or manifest that was predicted: images are matched by their path below it.",
            predicted=next(iter(by_id), None),
            labelled=labelled[0].id,
        )
    return Aligned(
        items=labelled,
        predictions=found,
        names=tuple(_name(prediction, unknown) for prediction in found),
        unlabelled=len(items) - len(labelled),
        extra=len(by_id.keys() - {item.id for item in items}),
    )


def _name(prediction: Prediction | None, unknown: str) -> str | None:
    if prediction is None:
        return None
    if not prediction.unknown:
        return prediction.name
    return prediction.top[0][0] if prediction.top and unknown == "best" else None


def score(
    aligned: Aligned,
    *,
    sentence_encoder: Any = None,
    accepted: Mapping[str, Sequence[str]] | None = None,
    allow_missing: bool = False,
    seed: int = 0,
    resamples: int = 1000,
    k: int = 5,
) -> Evaluation:
    """All figures. Top-k and calibration only where every answer has a ranking."""
    from fgvr.metrics import evaluate

    more = accepted or {}
    ranked = all(p is None or len(p.top) > 1 for p in aligned.predictions)
    return evaluate(
        aligned.names,
        [item.label or "" for item in aligned.items],
        accepted=[(*item.accepted, *more.get(item.label or "", ())) for item in aligned.items],
        sentence_encoder=sentence_encoder,
        probabilities=[0.0 if p is None else p.probability for p in aligned.predictions],
        top=[() if p is None else p.top for p in aligned.predictions] if ranked else None,
        k=k,
        allow_missing=allow_missing,
        seed=seed,
        resamples=resamples,
    )


def curves(aligned: Aligned, result: Evaluation) -> dict[str, Any]:
    """Risk-coverage points and reliability bins of the answered items, JSON-like; for the report."""
    from dataclasses import asdict

    import numpy as np

    from fgvr.metrics import reliability_bins
    from fgvr.metrics.accuracy import hits

    scored = [
        (name, (item.label or "", *item.accepted), prediction.probability)
        for item, name, prediction in zip(aligned.items, aligned.names, aligned.predictions, strict=True)
        if name is not None and prediction is not None
    ]
    right = hits([name for name, _, _ in scored], [truth for _, truth, _ in scored])
    bins = reliability_bins([chance for _, _, chance in scored], right, bins=10)
    points: list[tuple[float, float]] = []
    if result.curve is not None:
        kept = np.unique(np.linspace(0, len(result.curve.coverage) - 1, CURVE_POINTS).astype(int))
        points = [(float(result.curve.coverage[i]), float(result.curve.risk[i])) for i in kept]
    return {"risk_coverage": points, "reliability": [asdict(one) for one in bins]}


def support_hashes(run: Path) -> dict[str, str]:
    """SHA-256 of every support image of a fit, to its id; of a RAR run, what its memory holds by now.

    Raises ``EvaluationError`` where the run does not tell.
    """
    if is_rar(run):
        from fgvr.methods.rar import Recogniser

        images = Recogniser.load(run).memory.images
        return dict(zip(images.hashes, images.sources, strict=True))
    try:
        rows = [json.loads(line) for line in (run / "support.jsonl").read_bytes().splitlines()]
        return {str(row["sha256"]): str(row["item"]) for row in [*rows, *_named_by_hand(run)]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            "the run does not say which images it was fitted on",
            remedy="Finish the fit, or leave --support away (then leaks are not looked for).",
            run=str(run),
        ) from error


def _named_by_hand(run: Path) -> list[dict[str, Any]]:
    """Pool images of a student that a person has named: seen with a name, as those asked about."""
    try:
        rows = [json.loads(line) for line in (run / "pool.jsonl").read_bytes().splitlines()]
        return [row for row in rows if row.get("given") is not None]
    except (OSError, ValueError, AttributeError):
        return []


def pool_hashes(run: Path) -> frozenset[str]:
    """SHA-256 of every image a student has seen, named or not; empty where the run tells of no pool."""
    try:
        return frozenset(str(json.loads(line)["sha256"]) for line in (run / "pool.jsonl").read_bytes().splitlines())
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def leaked(items: Sequence[ImageItem], support: Mapping[str, str]) -> dict[str, str]:
    """Ids of ``items`` whose bytes are those of a support image, to the support's id."""
    pairs = zip(items, content_hashes(items), strict=True)
    return {item.id: support[digest] for item, digest in pairs if digest in support}


def refuse_leaks(pairs: Mapping[str, str], *, images: int) -> None:
    """Raises ``EvaluationError`` when there are any."""
    if pairs:
        raise EvaluationError(
            f"{len(pairs)} of {images} images were in the support set",
            remedy="--exclude-support leaves them out; --allow-leaks scores them and says so.",
            examples="; ".join(f"{item} = {seen}" for item, seen in list(pairs.items())[:LISTED]),
        )


def read_accepted(path: Path) -> dict[str, list[str]]:
    """``{"true name": ["also right", ...]}`` from JSON. Raises ``InputError``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(names, list) for names in found.values()):
            raise TypeError("a value is not a list")
        return {str(name): [str(other) for other in others] for name, others in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        remedy = 'It must be JSON like {"Grey Heron": ["Common Heron"]}.'
        raise InputError("the accepted names cannot be read", remedy=remedy, file=path, reason=error) from error
