"""What crosses a boundary between two parts of fgvr: frozen, typed, and free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ImageItem:
    """One photograph the user named, before anything has been read."""

    id: str
    """Stable within a run: the path relative to the input's root, with forward slashes."""
    path: Path
    """Where the bytes are."""
    label: str | None = None
    """True name where the input gives one; used by ``evaluate`` only, never by a method."""
    accepted: tuple[str, ...] = ()
    """Further names that count as right (synonyms, scientific name)."""
    split: str | None = None
    """``support``, ``train``, ``test`` or whatever the manifest says."""


@dataclass(frozen=True)
class SetAside:
    """An input left out, and why; shown in every summary and report."""

    id: str
    path: str
    reason: str
    """Short stable code for tallies, e.g. ``truncated``."""
    detail: str = ""


@dataclass(frozen=True)
class Usage:
    """What answering cost. Sums with ``+``."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    """Sum of the model's own time over calls (more than wall time when calls run side by side)."""
    cost: float | None = 0.0
    """In US dollars; ``None`` where a price is unknown (and then in every sum)."""

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
            cost,
        )


@dataclass(frozen=True)
class NamedImage:
    """An MLLM's answer for one image, parsed."""

    item_id: str
    name: str | None
    """The chosen common name as the model wrote it, trimmed; ``None`` for a refusal or an unusable reply."""
    scientific: str | None = None
    alternatives: tuple[str, ...] = ()
    """Further names the model offered, best first."""
    confidence: float | None = None
    """In [0, 1] where the reply or the log-probabilities give one."""
    chances: tuple[float, ...] = ()
    """Where several replies were drawn: the probability of ``name``, then of each of ``alternatives``; at most 1 in
    all. Else empty."""
    status: str = "named"
    """``named``, ``refused``, ``empty`` or ``unparsed``."""
    reply: str = ""
    note: str = ""
    """Why the reply deserves a second look (``fgvr.labels.suspicion``), else empty."""


@dataclass(frozen=True)
class Prediction:
    """One classified image."""

    item_id: str
    name: str
    """Best name, or ``"unknown"`` when ``unknown`` is true."""
    probability: float
    """Calibrated on the support set, in [0, 1]; that of the best name even when it is reported as unknown."""
    top: tuple[tuple[str, float], ...] = field(default=())
    """Top-k (name, probability), descending, always real names."""
    unknown: bool = False
