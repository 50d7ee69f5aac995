"""What a reinforcement run will take, before it begins: steps, replies, tokens, time and memory, by arithmetic.

1. *Steps* are ``PolicySettings.steps``. Dynamic sampling asks more prompts than a step learns from: with a share f
   filtered out, 1 / (1 - f) times as many, in whole mini rollouts, as far as the number of tries allows.
2. *Tokens* are replies times their mean length, from a probe or ``GUESSED_LENGTH``. Replies grow or shrink while a
   policy learns, which no probe foresees.
3. *Time* is that of a probe, a rollout and an update of a few prompts, by the token: sampled ones and learned ones.
   Evaluation, loading and checkpoints are not in it.
4. *Memory* is the larger of two moments, each beside the weights and moments: sampling (keys and values of
   ``Sampling.batch`` replies at full length, their logits) and the update of the longest micro-batch. See
   ``training/memory.py`` for how good such estimates are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError
from fgvr.methods.fine_r1.dynamic import UNLIMITED

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.policy_settings import PolicySettings

GUESSED_LENGTH = 200.0
"""Tokens of a reply where nothing was measured: a chain of thought of about 150 words."""


@dataclass(frozen=True)
class Probe:
    """A rollout and an update of a few prompts, timed. Tokens are those of replies."""

    replies: int
    sampled_tokens: int
    sampling_seconds: float
    learned_tokens: int
    learning_seconds: float
    """Of the whole update, passes over negative pictures and reference included."""
    filtered: float = 0.0
    """Share of the probe's prompts that dynamic sampling would leave out, in [0, 1]."""

    @property
    def length(self) -> float:
        """Mean tokens a reply."""
        return self.sampled_tokens / self.replies

    def check(self) -> None:
        """Raises ``InputError`` for a probe that timed nothing."""
        counts = (self.replies, self.sampled_tokens, self.learned_tokens)
        if min(counts) < 1 or min(self.sampling_seconds, self.learning_seconds) < 0 or not 0 <= self.filtered <= 1:
            raise InputError("the probe timed nothing", remedy="Use at least one prompt with a reply.", probe=self)


@dataclass(frozen=True)
class MemoryAhead:
    """Bytes of one process; see the module docstring."""

    weights: int
    moments: int
    """Gradients and moments of what is trained."""
    reference: int
    """A second copy of the weights, where the reference is not the model without its adapter."""
    cache: int
    """Keys and values of the replies that are written side by side."""
    sampling_logits: int
    activations: int
    """Of the largest micro-batch, with the copies that autocast makes of weights."""
    available: int | None
    """What can still be had beside the weights, which lie there already; ``None`` where it is not known."""

    @property
    def sampling(self) -> int:
        return self.cache + self.sampling_logits

    @property
    def needed(self) -> int:
        """Beside the weights, at the larger moment."""
        return self.moments + self.reference + max(self.sampling, self.activations)

    @property
    def bytes(self) -> int:
        return self.weights + self.needed

    @property
    def problems(self) -> tuple[str, ...]:
        """Reasons not to begin."""
        if self.available is None or self.needed <= self.available:
            return ()
        moment = "sampling" if self.sampling > self.activations else "the update"
        need, have = f"{self.needed / 2**30:.1f} GiB", f"{self.available / 2**30:.1f} GiB"
        return (f"an estimated {need} beside the weights ({moment} takes most), {have} free",)


@dataclass(frozen=True)
class Ahead:
    """What is about to be done; an estimate but for triplets and steps."""

    triplets: int
    steps: int
    prompts: int
    """That are asked, filtered ones included, in all steps."""
    learned_prompts: int
    """Whose replies are learned from."""
    rollouts: int
    """Replies in all."""
    length: float
    """Mean tokens a reply."""
    measured: bool
    """True where the length is a probe's or given, false where it is guessed."""
    filtered: float
    tokens: int
    """That are sampled."""
    learned_tokens: int
    sampling_seconds: float | None
    """``None`` where nothing was timed."""
    learning_seconds: float | None
    memory: MemoryAhead | None

    @property
    def seconds(self) -> float | None:
        """In all; ``None`` where nothing was timed."""
        if self.sampling_seconds is None or self.learning_seconds is None:
            return None
        return self.sampling_seconds + self.learning_seconds

    @property
    def seconds_a_step(self) -> float | None:
        return None if self.seconds is None else self.seconds / self.steps

    @property
    def epochs_seen(self) -> float:
        """How often a triplet is asked about, on average."""
        return self.prompts / self.triplets

    def as_dict(self) -> dict[str, Any]:
        """JSON-like; sizes in bytes, times in seconds."""
        memory = self.memory
        parts = None if memory is None else {name: getattr(memory, name) for name in _PARTS}
        return {
            **{name: getattr(self, name) for name in _FIGURES},
            "memory": parts,
            "problems": [] if memory is None else list(memory.problems),
        }

    def rows(self) -> list[tuple[str, str]]:
        """(what, how much) pairs for people."""
        guess = "" if self.measured else " (guessed)"
        found = [
            ("triplets", f"{self.triplets:,}"),
            ("steps", f"{self.steps:,}"),
            ("replies", f"{self.rollouts:,} to {self.prompts:,} prompts"),
            ("tokens", f"{_short(self.tokens)}, {self.length:.0f} a reply{guess}"),
        ]
        if self.seconds is not None and self.sampling_seconds is not None:
            share = self.sampling_seconds / self.seconds if self.seconds else 0.0
            found.append(("time", f"{_clock(self.seconds)}, {100 * share:.0f} % of it sampling"))
        if self.memory is not None:
            found.append(("memory", f"{self.memory.bytes / 2**30:.2f} GiB, roughly"))
        return found


_FIGURES = (
    "triplets", "steps", "prompts", "learned_prompts", "rollouts", "length", "measured", "filtered", "tokens",
    "learned_tokens", "sampling_seconds", "learning_seconds", "seconds", "seconds_a_step", "epochs_seen",
)  # fmt: skip
_PARTS = ("weights", "moments", "reference", "cache", "sampling_logits", "activations", "needed", "bytes", "available")


def ahead(
    triplets: int,
    settings: PolicySettings,
    *,
    length: float | None = None,
    filtered: float | None = None,
    probe: Probe | None = None,
    memory: MemoryAhead | None = None,
    processes: int = 1,
) -> Ahead:
    """What ``triplets`` (about shots times classes) take with ``settings``.

    Args:
        length: mean tokens a reply; default the probe's, else ``GUESSED_LENGTH``, at most ``max_tokens``.
        filtered: share of prompts left out by dynamic sampling, in [0, 1]; default the probe's, else 0.
        processes: that share the work of each step evenly; the probe is one process's.

    Raises ``InputError`` without triplets, or for values out of range.
    """
    if probe is not None:
        probe.check()
    if triplets < 1 or processes < 1:
        raise InputError("nothing to learn from", remedy="Mine triplets first.", triplets=triplets)
    share = filtered if filtered is not None else 0.0 if probe is None else probe.filtered
    tokens_each = length if length is not None else GUESSED_LENGTH if probe is None else probe.length
    if not 0 <= share <= 1 or not 0 < tokens_each < math.inf:
        raise InputError("length or filtered share out of range", remedy="Correct it.", length=length, filtered=share)
    tokens_each = min(tokens_each, settings.sampling.max_tokens)
    steps, asked, kept = settings.steps(triplets), *prompts_a_step(settings, filtered=share)
    replies = sum(settings.replies)
    tokens = round(steps * asked * replies * tokens_each)
    learned = round(steps * kept * replies * tokens_each)
    return Ahead(
        triplets=triplets,
        steps=steps,
        prompts=steps * asked,
        learned_prompts=steps * kept,
        rollouts=steps * asked * replies,
        length=tokens_each,
        measured=length is not None or probe is not None,
        filtered=share,
        tokens=tokens,
        learned_tokens=learned,
        sampling_seconds=None if probe is None else tokens * probe.sampling_seconds / probe.sampled_tokens / processes,
        learning_seconds=None if probe is None else learned * probe.learning_seconds / probe.learned_tokens / processes,
        memory=memory,
    )


def prompts_a_step(settings: PolicySettings, *, filtered: float) -> tuple[int, int]:
    """(asked, learned from) where a share ``filtered`` of the prompts in [0, 1] is left out."""
    mini, wanted, rule = settings.mini_rollout, settings.rollout_batch, settings.dynamic
    kept_each = mini * (1 - filtered)
    if kept_each <= 0 and rule.when_none == "keep_all":
        kept_each = float(mini)
    most = math.inf if rule.tries == UNLIMITED else rule.tries
    tries = int(min(most, math.ceil(wanted / kept_each - 1e-9) if kept_each > 0 else most))
    return tries * mini, min(wanted, round(tries * kept_each))


def memory_ahead(
    model: Any,
    settings: PolicySettings,
    *,
    prompt_tokens: int,
    vision_tokens: int = 0,
    reply_tokens: int | None = None,
) -> MemoryAhead:
    """Memory of one process for a model made trainable (``prepare_model``).

    Args:
        prompt_tokens: of the longest prompt, picture tokens included. vision_tokens: of a picture in the vision tower.
        reply_tokens: of the longest reply; default ``max_tokens``.
    """
    from fgvr.training import memory
    from fgvr.training.settings import TrainSettings

    how = TrainSettings(
        settings.learning_rate,
        micro_batch=settings.micro_batch,
        precision=settings.precision,
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    device = next(model.parameters()).device
    half = memory.half_precision(how, device)
    replied = settings.sampling.max_tokens if reply_tokens is None else reply_tokens
    graphs = 2 if settings.objective.negative_needs_gradient else 1  # the reply under its own and the negative picture
    passes = memory.Passes(
        tokens=graphs * settings.micro_batch * (prompt_tokens + replied),
        answer_tokens=graphs * settings.micro_batch * replied,
        vision_tokens=graphs * settings.micro_batch * vision_tokens,
    )
    text = model.config.get_text_config()
    each = 2 if half else next(model.parameters()).element_size()
    tokens = settings.sampling.batch * (prompt_tokens + replied)
    adapter = hasattr(model, "disable_adapter")
    weights = memory.weights_bytes(model)
    return MemoryAhead(
        weights=weights,
        moments=memory.optimiser_bytes(model),
        reference=weights if settings.objective.needs_reference and not adapter else 0,
        cache=tokens * cache_numbers(text) * each,
        sampling_logits=3 * 4 * settings.sampling.batch * int(text.vocab_size),  # scores, sorted, probabilities
        activations=memory.activation_bytes(model, passes, how, half=half) + memory.copies_bytes(model, half=half),
        available=memory.free_bytes(device),
    )


def cache_numbers(text: Any) -> int:
    """Numbers that a language model keeps of a token: a key and a value in every layer. ``text``: its config."""
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * int(text.num_hidden_layers) * int(heads) * int(width)


def _short(count: int) -> str:
    """1.2 M, 345 k."""
    units: Mapping[str, float] = {"G": 1e9, "M": 1e6, "k": 1e3}
    return next((f"{count / size:.3g} {unit}" for unit, size in units.items() if count >= size), str(count))


def _clock(seconds: float) -> str:
    from fgvr.training.progress import time_left

    return time_left(seconds)
