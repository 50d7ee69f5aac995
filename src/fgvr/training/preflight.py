"""What a training will take, before the hour is spent: every row checked, steps, memory, time.

Memory is an estimate to a factor of about 1.5: weights as they lie, four bytes for each trained weight's gradient and
eight for its moments (AdamW in float32), and activations from one batch: about ``ACTIVATIONS`` numbers per token,
layer and hidden unit (two per layer boundary with gradient checkpointing), plus the logits of the answers. Time comes
from a few forward and backward passes whose gradients are thrown away: no weight changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fgvr.training.collate import Batch
from fgvr.training.loop import Collate, TrainSettings, answer_nll
from fgvr.training.lora import trainable
from fgvr.training.order import epoch_batches, shares
from fgvr.training.rows import TrainingRow, readable_rows
from fgvr.types import SetAside

ACTIVATIONS = 34
"""Numbers kept for the backward pass per token, layer and hidden unit of a transformer (Korthikanti et al. 2022,
without the attention matrix)."""


@dataclass(frozen=True)
class Preflight:
    """What was found; sizes in bytes, times in seconds."""

    rows: tuple[TrainingRow, ...]
    """The rows whose pictures can be read."""
    set_aside: tuple[SetAside, ...]
    steps: int
    trainable: int
    """Numbers that are trained."""
    parameters: int
    weights_bytes: int
    optimiser_bytes: int
    """Gradients and moments of what is trained."""
    activation_bytes: int
    tokens: int
    """Of the longest micro-batch that was looked at, padding included."""
    seconds_per_step: float | None
    """``None`` where nothing was timed."""

    @property
    def bytes(self) -> int:
        return self.weights_bytes + self.optimiser_bytes + self.activation_bytes

    @property
    def seconds(self) -> float | None:
        return None if self.seconds_per_step is None else self.steps * self.seconds_per_step


def preflight(
    model: Any,
    rows: Sequence[TrainingRow],
    collate: Collate,
    *,
    settings: TrainSettings,
    seed: int = 0,
    timed_steps: int = 2,
    nll: Callable[[Any, Batch], Any] = answer_nll,
) -> Preflight:
    """Open every picture, put a few batches together, time ``timed_steps`` forward and backward passes (0: none).

    Raises ``InputError`` when no row is usable, in pictures or in length.
    """
    from fgvr.training.rows import require_rows

    checked = readable_rows(rows)
    good = checked.rows
    batches = epoch_batches(good, batch_size=settings.batch_size, seed=seed, epoch=0, by_length=settings.by_length)
    longest = sorted(batches, key=lambda batch: -max(len(good[i].prompt) + len(good[i].answer) for i in batch))
    probes = [[good[index] for index in batch] for batch in longest[: max(1, timed_steps + 1)]]
    first = [collate(part) for part in shares(probes[0], micro=settings.micro_batch, processes=1)[0]]
    if len(batches) == 1:
        require_rows([row for batch in first for row in batch.rows], [a for batch in first for a in batch.set_aside])
    biggest = max(first, key=lambda batch: batch.labels.numel())
    weights = trainable(model)
    count = sum(weight.numel() for weight in weights.values())
    seconds = _seconds_per_step(model, probes, collate, settings, nll) if timed_steps else None
    return Preflight(
        rows=good,
        set_aside=checked.set_aside,
        steps=settings.epochs * len(batches),
        trainable=count,
        parameters=sum(weight.numel() for weight in model.parameters()),
        weights_bytes=sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        optimiser_bytes=12 * count,
        activation_bytes=_activation_bytes(model, biggest, settings),
        tokens=biggest.labels.numel(),
        seconds_per_step=seconds,
    )


def _seconds_per_step(
    model: Any,
    probes: Sequence[Sequence[TrainingRow]],
    collate: Collate,
    settings: TrainSettings,
    nll: Callable[[Any, Batch], Any],
) -> float:
    """Median over the probes, the first one (which warms caches) left out where there are more."""
    was_training = model.training
    model.train()
    times = []
    for probe in probes:
        began = time.perf_counter()
        for part in shares(probe, micro=settings.micro_batch, processes=1)[0]:
            nll(model, collate(part)).sum().backward()
        model.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - began)
    model.train(was_training)
    counted = sorted(times[1:] or times)
    return counted[len(counted) // 2]


def _activation_bytes(model: Any, batch: Batch, settings: TrainSettings) -> int:
    text = model.config.get_text_config()
    half = settings.precision == "bf16" or (settings.precision == "auto" and batch.labels.is_cuda)
    each = 2 if half else 4
    tokens, layers, width = batch.labels.numel(), text.num_hidden_layers, text.hidden_size
    kept = 2 if settings.gradient_checkpointing else ACTIVATIONS
    logits = 3 * 4 * batch.answer_tokens * text.vocab_size  # logits, their float32 copy, their gradient
    return int(tokens * layers * width * kept * each + logits)
