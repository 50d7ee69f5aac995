"""Real recorded MLLM labels on real CLIP ViT-B/16 features of the same 1,965 images: what do they hold?

Label quality, the label space, agreement as a sign of a right label, coverage of candidate sets against random sets,
and a text-free classifier on held-out images. The material is read from a folder given and is not part of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fgvr.metrics.semantic import TextEncoder
from fgvr.reproduce.recorded.agreement import pair_of, second_opinions, signs
from fgvr.reproduce.recorded.alignment import refuse_shifted, shifted
from fgvr.reproduce.recorded.findings import Findings
from fgvr.reproduce.recorded.heldout import differences, held_out
from fgvr.reproduce.recorded.material import Recording
from fgvr.reproduce.recorded.neighbours import coverage_at, label_scores, neighbours
from fgvr.reproduce.recorded.quality import mentioned, quality

SIZES = (1, 3, 5)
"""k of the candidate sets."""


def measure(
    recordings: Sequence[Recording],
    encoder: TextEncoder,
    *,
    draws: int = 20,
    runs: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    classifier: bool = True,
    allow_shift: bool = False,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Findings:
    """All figures of all recordings.

    Args:
        recordings: see `load_recordings`; two of the same images are compared with each other.
        encoder: sentence encoder of every sACC.
        draws: random candidate sets; ``runs``: random sets for the classifier.
        classifier: include the text-free classifier on held-out images, which takes most of the time.
        allow_shift: go on although names fit another class than their own better.

    Raises `MaterialError` where a recording is shifted.
    """
    found = Findings(encoder.name, draws, runs, resamples, seed)
    for done, recording in enumerate(recordings):
        report("recorded", done, len(recordings))
        fits = shifted(recording, encoder)
        if not allow_shift:
            refuse_shifted(recording, fits)
        found.shifts[recording.title] = fits
        _labels(found, recording, encoder)
        _sets(found, recording, encoder)
        others = [one for one in recordings if one is not recording and one.images == recording.images]
        _agreement(found, recording, others[0] if others else None)
        if classifier:
            _classifier(found, recording, encoder)
    report("recorded", len(recordings), len(recordings))
    return found


def _labels(found: Findings, recording: Recording, encoder: TextEncoder) -> None:
    sampling = {"resamples": found.resamples, "seed": found.seed}
    found.models[recording.title] = (recording.model, len(recording.images), len(recording.class_names))
    for reading in ("authors", "ours"):
        found.quality.append(quality(recording, encoder, reading=reading, **sampling))
    found.mentioned[recording.title] = mentioned(recording)


def _sets(found: Findings, recording: Recording, encoder: TextEncoder) -> None:
    sampling = {"resamples": found.resamples, "seed": found.seed}
    labels, pairs = label_scores(recording, encoder)
    for k in SIZES:
        found.coverage.append(coverage_at(recording, labels, pairs, k=k, draws=found.draws, **sampling))
    found.neighbours.append(neighbours(recording, labels, pairs[0]))


def _agreement(found: Findings, recording: Recording, other: Recording | None) -> None:
    found.signs.extend(signs(recording, other))
    if other is None:
        return
    sampling = {"resamples": found.resamples, "seed": found.seed}
    if all(set(pair.titles) != {recording.title, other.title} for pair in found.pairs):
        found.pairs.append(pair_of(recording, other, **sampling))
    found.bought.extend(second_opinions(recording, other, resamples=found.resamples, seed=found.seed))


def _classifier(found: Findings, recording: Recording, encoder: TextEncoder) -> None:
    sampling = {"resamples": found.resamples, "seed": found.seed}
    methods = held_out(recording, encoder, runs=found.runs, **sampling)
    found.methods.extend(methods)
    for key in ("sacc", "accepted"):
        found.differences[recording.title, key] = differences(methods, recording.classes, key=key, **sampling)
