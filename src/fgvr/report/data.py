"""What a report is made of: plain values, nothing about how they came about. Everything but the title is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fgvr.types import NamedImage, Prediction, SetAside, Usage

if TYPE_CHECKING:
    from fgvr.metrics.bootstrap import Interval
    from fgvr.metrics.calibration import ReliabilityBin


@dataclass(frozen=True)
class MergedName:
    """A raw name that became part of a label."""

    raw: str
    why: str = ""
    """``same``, ``spelling``, ``scientific``, ``embedding``, ... as the merging step calls it."""
    score: float | None = None
    """Cosine where the merge was by meaning."""


@dataclass(frozen=True)
class LabelRow:
    """One label of the label space, or one that was removed from it."""

    name: str
    merged: tuple[MergedName, ...] = ()
    support: int = 0
    """Support images that carry it."""
    removed: str = ""
    """Why it is not in the classifier; empty when it is."""


@dataclass(frozen=True)
class CandidateExample:
    """One support image's candidate set."""

    item_id: str
    own_label: str | None
    candidates: tuple[tuple[str, float], ...]
    """(name, weight), the weights as they ended, summing to one over the set."""
    neighbours: tuple[str, ...] = ()
    """Item ids of the neighbours that lent their labels, nearest first."""


@dataclass(frozen=True)
class UnnamedGroup:
    """Images that lie together and that no name covers: offered for naming."""

    item_ids: tuple[str, ...]
    """The image that stands for the group first; at least one."""
    names: tuple[tuple[str, float], ...] = ()
    """(name, share in [0, 1]) that the members got for want of a better one, most first."""
    distance: float | None = None
    """1 - cosine of the first image to the nearest one that has a name, in [0, 2]."""
    cohesion: float | None = None
    """Mean cosine of the others to the first image, in [-1, 1]."""


@dataclass(frozen=True)
class Disagreement:
    """One image that the MLLM was asked about and that the classifier calls something else."""

    item_id: str
    teacher: str
    """The MLLM's name, among the classifier's names."""
    student: str
    probability: float
    """Of the classifier's name, in [0, 1]."""


@dataclass(frozen=True)
class NameCurve:
    """How many names so many labels bring."""

    stage: str
    names: int
    images: int
    """Images with a name."""
    unseen: float
    """Estimated number of names not met yet."""
    coverage: float
    """Estimated share of further images whose name has been met, in [0, 1]."""
    points: tuple[tuple[float, float], ...] = ()
    """(images with a name, distinct names to expect), ascending."""


@dataclass(frozen=True)
class TracePoint:
    """One epoch of training."""

    epoch: int
    loss: float
    entropy: float | None = None
    """Of the label weights, in nats."""
    agreement: float | None = None
    """Share of support images whose prediction agrees with their candidate set, in [0, 1]."""


@dataclass(frozen=True)
class EvaluationRow:
    """One figure with its interval."""

    metric: str
    value: Interval | float | str
    """A float or interval is a share in [0, 1] and shown in per cent; a string is shown as it is."""
    protocol: str = ""
    """Split, encoder, matching: whatever a reader of the figure must know."""


@dataclass(frozen=True)
class ComparisonRow:
    """One method of the comparison; ``None`` is shown as unknown."""

    method: str
    accuracy: Mapping[str, Interval | float]
    """Metric name to share in [0, 1]; the first metric of the first row is drawn as a chart."""
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    cost: float | None = None
    """In US dollars."""
    note: str = ""
    highlight: bool = False
    """The method that this report is about."""


@dataclass(frozen=True)
class StageUsage:
    """What one stage of the run cost."""

    stage: str
    usage: Usage
    wall_seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything the page can show. Sections without data are left out."""

    title: str
    created: str = ""
    """When the run was made, as text; the page adds no time of its own and so is the same for the same data."""
    method: str = ""
    summary: str = ""
    """One or two sentences under the title."""
    counts: Sequence[tuple[str, str]] = ()
    """Further key figures for the header: (label, value)."""
    settings: Sequence[tuple[str, str]] = ()
    provenance: Sequence[tuple[str, str]] = ()
    """Versions, seeds, hashes: what it takes to make this again."""
    images: Mapping[str, Path] = field(default_factory=dict)
    """Where the pictures of ``predictions`` are, by item id."""
    support_images: Mapping[str, Path] = field(default_factory=dict)
    """Where the pictures of ``answers``, ``candidates`` and ``unnamed`` are, by item id."""
    answers: Sequence[NamedImage] = ()
    label_space: Sequence[LabelRow] = ()
    candidates: Sequence[CandidateExample] = ()
    unnamed: Sequence[UnnamedGroup] = ()
    """The likeliest first. Pictures are looked for in ``images``, too."""
    unnamed_note: str = ""
    """How far these groups can be trusted."""
    learned: Sequence[tuple[str, str]] = ()
    """How a student came about, in words: (what, a sentence or two)."""
    curves: Sequence[NameCurve] = ()
    disagreements: Sequence[Disagreement] = ()
    """Those most worth a look first."""
    trace: Sequence[TracePoint] = ()
    predictions: Sequence[Prediction] = ()
    evaluation: Sequence[EvaluationRow] = ()
    comparison: Sequence[ComparisonRow] = ()
    comparison_protocol: str = ""
    risk_coverage: Sequence[tuple[float, float]] = ()
    """(coverage, risk) points, both in [0, 1], coverage ascending."""
    aurc: float | None = None
    """Area under the risk-coverage curve."""
    cascade: Sequence[tuple[float, float]] = ()
    """(share of images the MLLM is asked about, accuracy on left-out memory images), in [0, 1], shares ascending."""
    reliability: Sequence[ReliabilityBin] = ()
    calibration_error: float | None = None
    usage: Sequence[StageUsage] = ()
    set_aside: Sequence[SetAside] = ()
    failures: Sequence[SetAside] = ()
    """Items that could be read but were not answered, and why."""
    doubtful: Sequence[SetAside] = ()
    """Items whose reply deserves a second look: what is odd about it, and the reply."""
    warnings: Sequence[str] = ()
