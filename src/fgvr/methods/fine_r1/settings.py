"""Everything a Fine-R1 run is asked, but data and models (paper, section 4.1 and released scripts).

1. *Rates.* The released ones are for all weights of the language model. For LoRA ten times as much is used
   (``RATES``), which is ours; the paper trains no LoRA.
2. *Vision.* The released SFT says "full" and trains the language model alone (its tool's defaults freeze vision tower
   and connector); the released reinforcement trains all weights, vision tower included. Here ``frozen`` says it for
   both: ``vision+connector`` by default, ``vision`` or ``nothing``.
3. *Warm-up* of the SFT is 6 of about 70 steps; here the same share of however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fgvr.methods.fine_r1.monitor import MonitorSettings
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.prompts import Style
from fgvr.methods.fine_r1.rationales import Thinking
from fgvr.methods.fine_r1.reasoning import How, ReasoningSettings
from fgvr.mllm.base import Mllm
from fgvr.training import VISION, VISION_AND_CONNECTOR, Lora, TrainSettings
from fgvr.training.targets import LANGUAGE_AND_CONNECTOR, LANGUAGE_LINEAR

Stages = Literal["both", "sft", "reinforce"]
Frozen = Literal["vision+connector", "vision", "nothing"]
Rollouts = Literal["transformers", "vllm"]
"""What writes replies."""
RATES: Mapping[str, Mapping[str, float]] = {
    "full": {"sft": 5e-6, "reinforce": 1e-6},
    "lora": {"sft": 5e-5, "reinforce": 1e-5},
}


def sft_settings(**changes: Any) -> TrainSettings:
    """The released recipe of the CoT SFT."""
    released = TrainSettings(
        learning_rate=RATES["full"]["sft"],
        epochs=10,
        batch_size=64,
        micro_batch=4,
        schedule="cosine",
        warmup=6 / 70,
        weight_decay=0.1,
        checkpoint_every=20,
    )
    return replace(released, **changes)


def trained_weights(*, full: bool, frozen: Frozen = "vision+connector", rank: int = 16, alpha: float = 32.0) -> Lora:
    """What is trained in both stages: LoRA on the language model (and connector), or the weights themselves."""
    if not full:
        targets = LANGUAGE_LINEAR if frozen == "vision+connector" else LANGUAGE_AND_CONNECTOR
        return Lora(rank, alpha, 0.0, targets)
    left = {"vision+connector": VISION_AND_CONNECTOR, "vision": VISION, "nothing": None}[frozen]
    return Lora(full=True, frozen=left)


@dataclass(frozen=True)
class FineR1Settings:
    """How a run trains. ``policy``'s own ``style`` and ``thinking`` are those given here."""

    stages: Stages = "both"
    style: Style = "paper"
    thinking: Thinking = "full"
    """Reasoning of the SFT: ``full``, ``short`` (the comparison alone), or ``none`` (answers alone, everywhere)."""
    weights: Lora = field(default_factory=lambda: trained_weights(full=False))
    reasoning: ReasoningSettings = field(default_factory=ReasoningSettings)
    sft: TrainSettings = field(default_factory=lambda: sft_settings(learning_rate=RATES["lora"]["sft"]))
    policy: PolicySettings = field(default_factory=lambda: PolicySettings(learning_rate=RATES["lora"]["reinforce"]))
    monitor: MonitorSettings = field(default_factory=MonitorSettings)

    @property
    def thinks(self) -> bool:
        """Whether replies reason before they answer."""
        return self.thinking != "none"

    def reinforced(self) -> PolicySettings:
        """``policy`` with the prompts of this run."""
        return replace(self.policy, style=self.style, thinking=self.thinks)


@dataclass(frozen=True)
class Teaching:
    """Where rationales come from: a file, or a teacher that is asked."""

    file: Path | None = None
    """ShareGPT JSON of these very pictures."""
    teacher: Mllm | None = None
    how: How = "written"
    sees: bool = True
    options: Mapping[str, Any] | None = None
    """More of ``build_reasoning``: cache, budget, concurrency, attributes, ..."""

    def as_dict(self) -> dict[str, Any]:
        """For the run's settings and the model card: JSON-like."""
        named = None if self.teacher is None else f"{self.teacher.name} {self.teacher.revision}"
        return {"file": None if self.file is None else self.file.name, "teacher": named, "how": self.how}


@dataclass(frozen=True)
class Dividing:
    """Of ``shots.divide``."""

    shots: int = 4
    unseen_share: float = 0.4
    unseen: tuple[str, ...] | None = None
    sft_per_class: int = 1
    tests_per_class: int | None = 5
