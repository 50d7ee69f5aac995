"""How good the recorded labels are, and the label space they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.data.benchmarks.names import without_year
from fgvr.labels import merge_synonyms, normalise
from fgvr.metrics import Interval, exact_accuracy
from fgvr.metrics.semantic import TextEncoder
from fgvr.reproduce.recorded.material import Recording
from fgvr.reproduce.recorded.scores import class_interval, score


@dataclass(frozen=True)
class Quality:
    """One recording under one way of reading its replies."""

    title: str
    reading: str
    images: int
    answered: int
    exact: Interval
    corrected: Interval
    accepted: Interval
    sacc: Interval
    sacc_accepted: Interval
    siou_cased: Interval
    siou_split: Interval
    cacc: Interval
    raw: int
    """Distinct labels as written; ``labels`` after normalising; ``merged`` after synonym merging by string."""
    labels: int
    merged: int
    hit: float
    """Share of classes whose listed name is a label; ``hit_accepted``: one of whose accepted names is."""
    hit_accepted: float
    class_best: float
    """Mean over classes of the best cosine between the class's listed name and any label."""
    precision: float
    """Share of normalised labels that are a listed class name."""
    yearless: float | None
    """Cars only: exact once model years are dropped on both sides."""


def quality(recording: Recording, encoder: TextEncoder, *, reading: str, resamples: int, seed: int) -> Quality:
    """Figures of one recording; ``reading`` is ``authors`` (their parsed name) or ``ours`` (the full reply)."""
    raw = recording.named if reading == "authors" else tuple(found.name for found in recording.read)
    at = np.array([i for i, name in enumerate(raw) if name is not None])
    names = [name for name in raw if name is not None]
    scores, classes = score(names, recording, encoder, at=at), recording.classes[at]
    listed = [recording.listed[i] for i in at]

    def interval(values: np.ndarray) -> Interval:
        return class_interval(values, classes, resamples=resamples, seed=seed)

    keys = {normalise(name) for name in names} - {""}
    class_keys = [normalise(name) for name in recording.class_names]
    accepted = {c: {normalise(n) for n in recording.accepted[i]} for i, c in enumerate(recording.classes)}
    intervals = {metric: interval(values) for metric, values in vars(scores).items()}
    return Quality(
        title=recording.title,
        reading=reading,
        images=len(raw),
        answered=len(names),
        **intervals,
        raw=len(set(names)),
        labels=len(keys),
        merged=len(merge_synonyms(names, pairs=_pairs(recording)).names),
        hit=float(np.mean([key in keys for key in class_keys])),
        hit_accepted=float(np.mean([bool(forms & keys) for forms in accepted.values()])),
        class_best=_class_best(recording.class_names, names, encoder),
        precision=len(keys & set(class_keys)) / len(keys),
        yearless=exact_accuracy([without_year(n) for n in names], [without_year(n) for n in listed])
        if recording.dataset == "cars196"
        else None,
    )


def _pairs(recording: Recording) -> list[tuple[str, str]]:
    """(common, scientific) names that one reply gives together."""
    return [(found.name, found.scientific) for found in recording.read if found.name and found.scientific]


def _class_best(class_names: Sequence[str], names: Sequence[str], encoder: TextEncoder) -> float:
    similarity = encoder.encode(list(class_names)) @ encoder.encode(sorted(set(names))).T
    return float(similarity.max(axis=1).mean())


def mentioned(recording: Recording) -> tuple[float, float]:
    """Share of images whose full reply holds the listed name, and any accepted name, as whole words."""
    replies = [f" {normalise_long(found.reply)} " for found in recording.read]
    listed = [f" {normalise(name)} " in reply for name, reply in zip(recording.listed, replies)]
    forms = [{normalise(name) for name in names} for names in recording.accepted]
    accepted = [any(f" {form} " in reply for form in several) for several, reply in zip(forms, replies)]
    return float(np.mean(listed)), float(np.mean(accepted))


def normalise_long(text: str) -> str:
    """`normalise` word by word, for texts longer than a name."""
    return " ".join(filter(None, (normalise(f"x {word}")[2:] for word in text.split())))
