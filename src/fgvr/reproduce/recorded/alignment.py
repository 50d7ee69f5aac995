"""Are names and classes those of the same image? Two published recordings are off by one class; this would tell.

A recording whose keys are off by one scores best against the class before or after its own. On cars the same table
shows the fault of the published figures, whose code scores against the class before.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgvr.metrics import exact_accuracy, semantic_accuracy, semantic_iou
from fgvr.metrics.semantic import TextEncoder
from fgvr.reproduce.recorded.material import MaterialError, Recording

SHIFTS = (-1, 0, 1)
WORDS = {-1: "the class before", 0: "the class", 1: "the class after"}


@dataclass(frozen=True)
class Fit:
    """How well the recorded names fit the class that stands ``shift`` places further; shares in [0, 1]."""

    shift: int
    exact: float
    sacc: float
    siou: float
    """As CaSED."""


def shifted(recording: Recording, encoder: TextEncoder) -> tuple[Fit, ...]:
    """The fit at each of `SHIFTS`; the class lists are taken as rings."""
    names, count = [name or "" for name in recording.named], len(recording.class_names)
    found = []
    for by in SHIFTS:
        true = [recording.class_names[(c + by) % count] for c in recording.classes]
        sacc = semantic_accuracy(names, true, encoder).value
        found.append(Fit(by, exact_accuracy(names, true), sacc, semantic_iou(names, true, "cased")))
    return tuple(found)


def refuse_shifted(recording: Recording, fits: tuple[Fit, ...]) -> None:
    """Raise `MaterialError` where another shift than 0 fits better, by sACC or by sIOU."""
    for measure in ("sacc", "siou"):
        best = max(fits, key=lambda fit: (getattr(fit, measure), fit.shift == 0))
        if best.shift != 0:
            here, there = (next(getattr(fit, measure) for fit in fits if fit.shift == by) for by in (0, best.shift))
            raise MaterialError(
                f"{recording.title}: the names fit {WORDS[best.shift]} better than their own",
                remedy="The recording's keys are off; mend them, or go on with --allow-shift to see by how much.",
                measure=measure,
                own=f"{100 * here:.1f}",
                shifted=f"{100 * there:.1f}",
            )
