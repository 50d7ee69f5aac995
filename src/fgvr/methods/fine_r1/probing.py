"""A run's own model, timed before the time is spent: steps of the SFT, and a rollout with its update.

No weight changes, and gradients are thrown away. What is measured is the model before its SFT:

1. *Time by the token* is the same before and after.
2. *Length.* Where an SFT comes first, replies will be as long as its rationales; else as the model's own are now, where
   all of them ended within ``PROBED_TOKENS``; else ``GUESSED_LENGTH``.
3. *Too little memory* by the estimate: nothing is timed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from fgvr.methods.fine_r1.ahead import MemoryAhead, Probe, memory_ahead
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.policy_parts import without_adapter
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.rollouts import Collected, collect
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.methods.fine_r1.update import Update, learned, share_of
from fgvr.training.distributed import make_accelerator
from fgvr.training.memory import half_precision
from fgvr.training.rollout import TransformersEngine
from fgvr.training.settings import TrainSettings
from fgvr.training.sights import Sight, Sights

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

PROBED_TOKENS = 64
"""Of a reply, at most."""


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    memory: MemoryAhead
    probe: Probe | None
    """``None`` where the memory will not do."""
    ended: bool = False
    """Whether all replies ended within ``PROBED_TOKENS``."""
    format: float = 0.0
    """Share of the replies with the tags, in [0, 1]."""


def probed(
    mllm: LocalMllm, model: Any, triplets: Sequence[Triplet], settings: PolicySettings, *, seed: int = 0
) -> Probed:
    """Ask about as many triplets as are written side by side, and learn from one micro-batch of the replies.

    Args:
        mllm, model: as ``prepare_model`` left them.

    Raises ``NoImagesError`` when no anchor can be read.
    """
    sights = Sights(mllm)
    readable = [one for one in triplets if sights.readable(one.anchor)] or triplets
    memory = _memory(sights, model, readable, settings)
    if memory.problems:
        return Probed(memory, None)
    mode = model.training
    try:
        with torch.random.fork_rng(), _precision(model, settings):
            return _timed(sights, model, readable, settings, memory, seed)
    finally:
        model.zero_grad(set_to_none=True)
        model.train(mode)


def _timed(
    sights: Sights, model: Any, triplets: Sequence[Triplet], settings: PolicySettings, memory: MemoryAhead, seed: int
) -> Probed:
    def asked(few: PolicySettings) -> Collected:
        found = collect(triplets, engine, few, seed=seed, step=0, position=0, readable=sights.readable)
        _wait(model)
        return found

    engine = TransformersEngine(sights.mllm, sights)
    model.eval()
    asked(_small(settings, prompts=1, tokens=2))  # warms caches, and knows the first picture
    prompts = min(len(triplets), max(1, settings.sampling.batch // sum(settings.replies)))
    began = time.perf_counter()
    collected = asked(_small(settings, prompts=prompts, tokens=PROBED_TOKENS))
    sampled = time.perf_counter()
    tokens = _learned(sights, model, collected, settings)
    _wait(model)
    replies = collected.replies
    probe = Probe(
        replies=len(replies),
        sampled_tokens=sum(len(one.sampled.tokens) for one in replies),
        sampling_seconds=sampled - began,
        learned_tokens=tokens,
        learning_seconds=time.perf_counter() - sampled,
    )
    shaped = sum(one.reward.format for one in replies) / len(replies)
    return Probed(memory, probe, all(one.sampled.ended for one in replies), shaped)


def _learned(sights: Sights, model: Any, collected: Collected, settings: PolicySettings) -> int:
    """Passes over one micro-batch of the longest replies, without a step; returns the replies' tokens."""
    update = Update(
        model,
        sights,
        make_accelerator(precision=settings.precision),
        settings,
        without_adapter=without_adapter(model, settings),
        decode=lambda token: str(sights.mllm.processor.tokenizer.decode([token])),
    )
    rows = [one for group in learned([group for _, group in collected.kept]) for one in group]
    longest = sorted(rows, key=lambda one: -len(one.reply.sampled.tokens))[: settings.micro_batch]
    share = share_of(longest, micro=settings.micro_batch)
    several = settings.rollout_batch > settings.update_batch
    fixed = [update.fixed(micro, several=several) for micro in share.micros]
    model.train()
    update(share, fixed)
    return share.tokens


def _small(settings: PolicySettings, *, prompts: int, tokens: int) -> PolicySettings:
    """One try of so many prompts, all kept."""
    sampling = replace(settings.sampling, max_tokens=min(tokens, settings.sampling.max_tokens))
    rule = DynamicSampling(window=(-1.0, 2.0), tries=1)
    return replace(settings, rollout_batch=prompts, mini_rollout=prompts, sampling=sampling, dynamic=rule)


def _memory(sights: Sights, model: Any, triplets: Sequence[Triplet], settings: PolicySettings) -> MemoryAhead:
    """The estimate, with the first triplet's prompt and picture standing for all."""
    one = triplets[0]
    sight = Sight(train_prompt(one.question, style=settings.style, thinking=settings.thinking), one.anchor)
    _, starts = sights.inputs([sight])
    return memory_ahead(model, settings, prompt_tokens=starts[0])


def _precision(model: Any, settings: PolicySettings) -> Any:
    """The precision of the loop."""
    device = next(model.parameters()).device
    how = TrainSettings(settings.learning_rate, precision=settings.precision)
    half = half_precision(how, device)
    return torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext()


def _wait(model: Any) -> None:
    """Until the accelerator has done what it was told: it runs behind."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
