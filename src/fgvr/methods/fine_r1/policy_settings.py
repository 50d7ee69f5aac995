"""How TAPO trains: sizes of a step, sampling, rewards, the objective (paper, section 4.1 and released scripts).

1. *Sizes* are the released ``tapo_3b.sh``: 384 prompts a rollout, 128 a mini rollout and an update, 5 replies to the
   anchor and 5 to the positive. The paper's 7B run is said to have these too; its script has 192 and 64.
2. *Reply length.* 2048 tokens: the scripts set 4096 and never pass it on.
3. *Steps.* Epochs times triplets over ``rollout_batch``, rounded up; what dynamic sampling throws away is replaced from
   further on in the order, so that more than the named epochs are seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from fgvr.errors import InputError
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.prompts import Style, check_style
from fgvr.methods.fine_r1.rewards import Rule
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.training.order import SCHEDULES, Schedule
from fgvr.training.rollout import Sampling
from fgvr.training.settings import PRECISIONS


@dataclass(frozen=True)
class PolicySettings:
    """Everything that decides the weights but data, base model and seed."""

    learning_rate: float = 1e-6
    epochs: int = 10
    rollout_batch: int = 384
    """Prompts whose replies a step learns from."""
    mini_rollout: int = 128
    """Prompts that are asked at once, until enough are kept."""
    update_batch: int = 128
    """Prompts of one update of the weights."""
    anchors: int = 5
    """Replies to the anchor (n1)."""
    positives: int = 5
    """Replies to the positive (n2); 0 for no intra-class augmentation."""
    micro_batch: int = 4
    """Replies in memory at once; the result is the same to rounding."""
    sampling: Sampling = field(default_factory=Sampling)
    objective: TapoSettings = field(default_factory=TapoSettings)
    rule: Rule = "strict"
    """Of the accuracy reward."""
    dynamic: DynamicSampling = field(default_factory=DynamicSampling)
    """Which prompts are kept; ``window=(-1, 2)`` keeps all."""
    style: Style = "paper"
    thinking: bool = True
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 1e-2
    clip: float = 1.0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 5
    """Steps."""

    def check(self) -> None:
        """Raises ``InputError`` for settings that make no sense."""
        sizes = (self.epochs, self.rollout_batch, self.mini_rollout, self.update_batch, self.micro_batch)
        few = min(self.anchors, self.positives) < 0 or self.anchors + self.positives < 2
        rates = 0 < self.learning_rate < float("inf") and min(self.weight_decay, self.clip, self.warmup_steps) >= 0
        if min(sizes) < 1 or few or not rates or self.checkpoint_every < 0:
            remedy = "Sizes and epochs are at least 1, the rate positive, two replies a prompt or more."
            raise InputError("these settings make no sense", remedy=remedy, settings=self)
        if self.schedule not in SCHEDULES or self.rule not in get_args(Rule):
            raise InputError("unknown schedule or reward", remedy="See PolicySettings.", settings=self)
        if self.precision not in PRECISIONS:
            raise InputError("unknown precision", remedy=f"Use one of {PRECISIONS}.", precision=self.precision)
        check_style(self.style)
        self.sampling.check()
        self.objective.check()

    @property
    def replies(self) -> tuple[int, int]:
        """To the anchor and to the positive; all to the anchor without intra-class augmentation."""
        both = self.anchors + self.positives
        return (self.anchors, self.positives) if self.objective.intra else (both, 0)

    def steps(self, triplets: int) -> int:
        """Steps in all for so many triplets."""
        return -(-triplets * self.epochs // self.rollout_batch)

    def meant(self) -> dict[str, Any]:
        """What decides the result, JSON-like: all but how often it is saved and how it is cut up."""
        found = asdict(self)
        for name in ("checkpoint_every", "micro_batch", "gradient_checkpointing"):
            del found[name]
        return found
