"""What can be turned in the student, as plain frozen values: every part has its own switch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

HeadName = Literal["zero-shot", "prototypes", "em", "gaussian", "residual", "cache", "prompt"]
HEADS: tuple[HeadName, ...] = ("zero-shot", "prototypes", "em", "gaussian", "residual", "cache", "prompt")
Rule = Literal["mix", "best", "equal"]


@dataclass(frozen=True)
class LabelSpaceSettings:
    """See ``label_space.py``."""

    merge: bool = True
    """Spellings and synonyms, by string (``fgvr.labels.merge_synonyms``)."""
    merge_by_images: bool = True
    """Names that a text encoder or their words call alike, and whose images lie together, become one."""
    drop: bool = True
    """Names that no image supports after the evidence is weighed are left out; rare true classes stay."""


@dataclass(frozen=True)
class EvidenceSettings:
    """See ``evidence.py``. With everything off a label is taken at its word."""

    neighbours: bool = True
    """Labelled neighbours vote, weighted by similarity."""
    k: int = 5
    mutual: bool = True
    """A neighbour of whom the image is no neighbour counts half."""
    agreement: bool = True
    """An agreeing neighbour marks a right label: how far a label is trusted is learned from agreement."""
    names: bool = True
    """A wrong label is more likely one of a similar name."""
    confidence: bool = True
    """The teacher's own confidence, where it gives one."""
    alternatives: bool = True
    """The teacher's further names, where it gives some."""

    @classmethod
    def off(cls) -> EvidenceSettings:
        """Own labels only."""
        return cls(neighbours=False, mutual=False, agreement=False, names=False, confidence=False, alternatives=False)


@dataclass(frozen=True)
class PropagationSettings:
    """See ``graph.py`` and ``propagation.py``."""

    on: bool = True
    k: int = 5
    sharpness: float = 10.0
    """beta of the affinity exp(beta (cosine - 1))."""
    mutual: bool = False
    """Keep edges that run both ways only; off: either way."""
    alpha: float = 0.5
    """Share of a label that comes from the neighbours (Zhou et al. 2004)."""
    keep: int = 20
    """Most probable names kept an image."""


@dataclass(frozen=True)
class SelfTrainingSettings:
    """See ``self_training.py``."""

    rounds: int = 2
    """0 is off."""
    share: float = 0.5
    """Of a pool image's soft label that comes from the student."""
    sharpen: float = 4.0
    """Exponent of the student's probabilities: fitted on soft labels, they are far too flat."""
    align: bool = True
    """The student's names keep the masses that the propagated labels give them."""
    least_names: float = 0.9
    """Guard: share of the names that won images at first which must still win some."""
    least_entropy: float = 0.1
    """Guard: how many nats of the entropy of the mean prediction may be lost."""
    least_agreement: float = 0.1
    """Guard: how much of the agreement with the teacher's labels may be lost."""


@dataclass(frozen=True)
class HeadSettings:
    """See ``mixing.py``, and the file of each head."""

    heads: tuple[HeadName, ...] = ("zero-shot", "prototypes", "em", "gaussian")
    text_shares: tuple[float, ...] = (0.0, 0.3, 1.0)
    """Weights of the text feature beside an image prototype, tried one by one."""
    rule: Rule = "mix"
    """``mix`` takes ``em`` unless held-out labels clearly ask for another head or for a mixture, ``best`` takes the
    likeliest, ``equal`` averages all."""
    folds: int = 5
    epochs: int = 60
    """Of the residual and the prompt head."""


@dataclass(frozen=True)
class SecondOpinionSettings:
    """See ``second_opinion.py``."""

    share: float = 0.0
    """Of the budget, kept back for asking again where student and first reply disagree; 0 is off."""


@dataclass(frozen=True)
class UnknownSettings:
    """See ``unknown.py``."""

    on: bool = True
    least: int = 3
    """Images a group needs at least."""


@dataclass(frozen=True)
class StudentSettings:
    """Everything between the teacher's replies and the student."""

    sampled: bool = True
    """Where a call drew several replies, all their names count, each by its probability; off: the likeliest alone."""
    label_space: LabelSpaceSettings = field(default_factory=LabelSpaceSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings.off)
    """Off: ``em.py`` weighs a reply against the images itself, and on the development pools nothing was gained."""
    propagation: PropagationSettings = field(default_factory=PropagationSettings)
    self_training: SelfTrainingSettings = field(default_factory=SelfTrainingSettings)
    heads: HeadSettings = field(default_factory=HeadSettings)
    second_opinion: SecondOpinionSettings = field(default_factory=SecondOpinionSettings)
    unknown: UnknownSettings = field(default_factory=UnknownSettings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)
