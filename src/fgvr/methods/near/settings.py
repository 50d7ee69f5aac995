"""What can be turned in NeaR, as plain frozen values. The papers' defaults stand here and in signatures only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from fgvr.errors import RunError


@dataclass(frozen=True)
class RefineSettings:
    """The NeaR-style stage (reconstruction, see ``refine.py``). Every part has its own switch."""

    warmup_epochs: int = 5
    """Plain PRODEN epochs before the first split."""
    split: bool = True
    """Split clean from noisy by a two-component mixture on the loss; off: all images are clean."""
    min_separation: float = 2.0
    """Pooled standard deviations between the two means below which there is no split."""
    entropy_weight: float = 0.0
    """How much prediction entropy is added to the loss before the split."""
    relabel: bool = True
    """Refine the targets; off: PRODEN's weights stay the targets."""
    anchor: Literal["votes", "proden"] = "votes"
    """What clean images hold on to: the initial vote weights, or PRODEN's current ones."""
    sharpen: float = 2.0
    """Exponent of the sharpening, p^T / sum p^T (Dassl's convention)."""
    escape: int = 3
    """Most probable labels a noisy image may take from outside its candidate set; 0 keeps it inside."""
    noisy_weight: float = 0.5
    """lambda_u, the weight of noisy images in the loss."""
    prior_weight: float = 0.0
    """lambda_r, the weight of KL(empirical prior || mean prediction)."""
    mixup: float = 0.5
    """beta of Beta(beta, beta) for mixing image features and targets; 0 is off."""

    @classmethod
    def off(cls) -> RefineSettings:
        """Every part switched off: exactly the workshop method."""
        return cls(split=False, relabel=False, noisy_weight=1.0, prior_weight=0.0, mixup=0.0)


@dataclass(frozen=True)
class TuneSettings:
    """Prompt tuning with PRODEN. Defaults: CoOp's released ``vit_b16_ep50`` and PRODEN as published."""

    head: Literal["prompt", "lite"] = "prompt"
    """``prompt``: CoOp's context; ``lite``: a residual on the text features, without a text tower."""
    context_length: int = 16
    context_words: str | None = None
    """Start from these words ("a photo of a") instead of noise."""
    epochs: int = 50
    batch_size: int | None = 32
    """Images per step; None is one full-batch step per epoch."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 1
    warmup_rate: float = 1e-5
    weight_temperature: float = 1.0
    """Softens PRODEN's weight update; 1 is the paper's."""
    weight_momentum: float = 0.0
    weight_warmup_epochs: int = 0
    """Epochs during which PRODEN's weights keep their initial values."""
    refine: RefineSettings | None = None
    """The NeaR-style stage; None is the workshop method."""
    chunk: int | None = None
    """Classes per piece of the two-pass gradient; None runs all at once."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ValueError("epochs and batch_size are at least 1")
        if self.head not in ("prompt", "lite") or self.optimiser not in ("sgd", "adamw"):
            raise ValueError("head is prompt or lite, optimiser is sgd or adamw")
        if self.weight_temperature <= 0 or not 0 <= self.weight_momentum < 1:
            raise ValueError("weight_temperature is positive and weight_momentum in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TuneSettings:
        """The inverse of ``to_dict``. Raises ``RunError`` for fields this version does not know."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise RunError(f"unknown tuning settings {sorted(unknown)}", remedy="Use the version that wrote them.")
        refine = values.get("refine")
        return cls(**{**values, "refine": None if refine is None else RefineSettings(**refine)})


FAST = TuneSettings(
    context_words="a photo of a", epochs=60, batch_size=None, optimiser="adamw", learning_rate=0.01, weight_decay=0.0
)
"""One full-batch AdamW step an epoch: the text tower runs 60 times instead of CoOp's 50 x N / 32. Not the paper's."""

LITE = TuneSettings(head="lite", epochs=100, batch_size=None, optimiser="adamw", learning_rate=0.002, weight_decay=0.0)
"""``near-lite``: milliseconds per step on any CPU."""


@dataclass(frozen=True)
class SetSettings:
    """How candidate sets are made; see ``candidates.py``."""

    kind: Literal["neighbours", "random", "none"] = "neighbours"
    """``random`` and ``none`` are ablations."""
    k: int = 3
    policy: Literal["set", "vote", "own"] = "vote"
    own_weight: float = 2.0
    mutual: bool = False
    floor: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("neighbours", "random", "none"):
            raise ValueError("kind is neighbours, random or none")
