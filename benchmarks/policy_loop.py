"""Steps of this package's reinforcement learning, timed in parts, with anything switched off that brings speed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

Clock = Callable[[], float]
RANK = 16


@dataclass(frozen=True)
class Sizes:
    """Of one step."""

    prompts: int = 4
    replies: int = 10
    """To a prompt."""
    tokens: int = 64
    """Of a reply, where it does not end before."""
    micro: int = 5
    """Replies of a forward and backward pass."""

    @property
    def generated(self) -> int:
        """Tokens of a step."""
        return self.prompts * self.replies * self.tokens


@dataclass(frozen=True)
class Took:
    """One step."""

    seconds: float
    generate: float
    """Replies, with the reading of pictures, and rewards."""
    score: float
    """Passes without gradients before the update."""
    tokens: int

    @property
    def update(self) -> float:
        """Passes with gradients, and the optimiser."""
        return self.seconds - self.generate - self.score


def drawn_rewards() -> Callable[..., Any]:
    """In place of ``reward``: every other reply is right."""
    from fgvr.methods.fine_r1.rewards import Reward

    turns = itertools.cycle((1.0, 0.0))

    def reward(*_: Any, **__: Any) -> Any:
        value = next(turns)
        return Reward(total=0.9 * value, accuracy=value, format=0.0)

    return reward


def ours(
    source: Path,
    triplets: Sequence[Any],
    sizes: Sizes,
    place: Path,
    *,
    objective: Any,
    full: bool = False,
    share: bool | None = None,
    prompts_once: bool = True,
    ends: int = 0,
    leaving: bool = True,
    device: str = "cpu",
    clock: Clock = time.process_time,
) -> Callable[[], Took]:
    """Steps of ``policy.py``; ``ends``: how many tokens of the vocabulary end a reply."""
    from fgvr.methods.fine_r1 import policy
    from fgvr.methods.fine_r1.monitor import MonitorSettings
    from fgvr.mllm.local import LocalMllm
    from fgvr.training import prepare_model

    mllm = LocalMllm(str(source), device=device)
    size = len(mllm.processor.tokenizer)
    mllm._generation.eos_token_id = list(range(size - ends, size))
    model = prepare_model(mllm, weights_of(full), seed=0)
    settings = settings_of(sizes, objective, precision="no" if device == "cpu" else "auto")
    loop = policy._Loop(mllm, model, triplets, settings, place, 0, "", MonitorSettings(), None)
    if share is not None:
        loop.sights.share = share
    if not prompts_once:
        loop.engine = each_alone(loop.engine)
    generating, scoring = Stopwatch(policy.collect, clock), Stopwatch(loop.update.fixed, clock)
    loop.update.fixed = scoring  # type: ignore[method-assign]
    counter = itertools.count()

    def step() -> Took:
        generating.seconds = scoring.seconds = 0.0
        forget(loop.sights)
        began = clock()
        with (
            patch.object(policy, "collect", generating),
            patch("fgvr.methods.fine_r1.rollouts.reward", drawn_rewards()),
            patch("fgvr.training.rollout.LEAVING", 0.25 if leaving else 2.0),
        ):
            noted, _ = loop.step(next(counter), None)
        taken = clock() - began
        return Took(taken, generating.seconds, scoring.seconds, int(noted["tokens"]))

    return step


def forget(sights: Any) -> None:
    """Every step is as in a first epoch: its pictures are new."""
    for known in (sights._features, sights._kept, sights._pictures):
        known.clear()


def weights_of(full: bool) -> Any:
    """What is trained: all weights, or LoRA on the language model's linear layers."""
    from fgvr.training import Lora

    return Lora(full=True) if full else Lora(rank=RANK, alpha=2.0 * RANK)


def settings_of(sizes: Sizes, objective: Any, *, precision: str = "no") -> Any:
    """A step as ``Sizes`` say, that filters nothing out."""
    from fgvr.methods.fine_r1.dynamic import DynamicSampling
    from fgvr.methods.fine_r1.policy_settings import PolicySettings
    from fgvr.training.rollout import Sampling

    return PolicySettings(
        epochs=1_000,
        rollout_batch=sizes.prompts,
        mini_rollout=sizes.prompts,
        update_batch=sizes.prompts,
        anchors=sizes.replies - sizes.replies // 2,
        positives=sizes.replies // 2,
        micro_batch=sizes.micro,
        sampling=Sampling(max_tokens=sizes.tokens),
        objective=objective,
        dynamic=DynamicSampling(window=(-1.0, 2.0)),
        style="short",
        precision=precision,
        checkpoint_every=0,
    )


class Stopwatch:
    """A function that adds up its seconds, and keeps its last result."""

    def __init__(self, function: Callable[..., Any], clock: Clock = time.process_time) -> None:
        self.function, self.clock, self.seconds, self.result = function, clock, 0.0, None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """The function's result."""
        began = self.clock()
        self.result = self.function(*arguments, **named)
        self.seconds += self.clock() - began
        return self.result


def each_alone(engine: Any) -> Any:
    """An engine that computes the prompt anew for every reply."""

    def replies(asked: Sequence[Any], counts: Sequence[int], how: Any, seed: int) -> list[list[Any]]:
        many = [sight for sight, count in zip(asked, counts, strict=True) for _ in range(count)]
        found = iter(engine(many, [1] * len(many), how, seed))
        return [[next(found)[0] for _ in range(count)] for count in counts]

    return replies
