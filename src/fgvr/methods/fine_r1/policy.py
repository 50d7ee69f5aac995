"""Reinforcement learning of an MLLM's weights on triplets: sample, reward, filter, score, update (paper, section 3.3).

1. *Bit-exact resume.* A step is a function of (weights, moments, step, position in the order, seed, data): the random
   generators are seeded anew before it, and the position and the monitor's state lie in the checkpoint.
2. *Several processes* (``accelerate launch``) sample their shares of the prompts, exchange the replies, and update on
   their shares of the micro-batches: all have the same groups and the same plan. Every process holds all weights;
   weights spread by FSDP are refused, because processes whose replies differ in length would wait for each other.
3. *A step without a prompt worth keeping* changes no weight; the monitor stops a run where that goes on.

::

    FOLDER/log.jsonl        one line a step (``monitor.py`` names the figures)
    FOLDER/rollouts.jsonl   one line a reply
    FOLDER/checkpoints/
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fgvr.errors import InputError
from fgvr.methods.fine_r1.monitor import Alarm, Monitor, MonitorSettings
from fgvr.methods.fine_r1.policy_log import cut, means, records, run_key, told
from fgvr.methods.fine_r1.policy_parts import drops_out, gathered, require_finite, require_whole, without_adapter
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.rollouts import collect
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.methods.fine_r1.update import Learned, Update, learned, share_of, updates
from fgvr.runs import Ledger
from fgvr.training.checkpoint import load_checkpoint, save_checkpoint
from fgvr.training.distributed import make_accelerator, prepare, restored
from fgvr.training.loop import checkpoint_activations
from fgvr.training.lora import trainable
from fgvr.training.order import rate_factor, step_seed
from fgvr.training.progress import Live, live_noted
from fgvr.training.rollout import Engine, TransformersEngine
from fgvr.training.sights import Sights
from fgvr.types import SetAside

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

log = logging.getLogger(__name__)
LOG, ROLLOUTS = "log.jsonl", "rollouts.jsonl"
Progress = Callable[[str, int, int], None]
MEANS = ("policy", "kl", "entropy", "negative_entropy", "reference_kl", "clipped")
"""Sums over tokens that are logged as means."""


@dataclass(frozen=True)
class PolicyTrained:
    """What a training did."""

    steps: int
    """Steps done in all, earlier sessions included."""
    seconds: float
    """Of this session."""
    tokens: int
    """Generated in all."""
    finished: bool
    last: Mapping[str, float]
    """Means over the last tenth of the steps, by the names of the log."""
    alarm: Alarm | None = None
    """Why it was stopped before its end, where the monitor did."""
    resumed_at: int = 0
    set_aside: tuple[SetAside, ...] = field(default=())


def train_policy(
    mllm: LocalMllm,
    model: Any,
    triplets: Sequence[Triplet],
    *,
    settings: PolicySettings,
    folder: str | Path,
    seed: int = 0,
    key: str = "",
    monitor: MonitorSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    live: Live | None = None,
    stop_at: int | None = None,
) -> PolicyTrained:
    """Train the weights of ``model`` that require gradients; go on from the newest checkpoint in ``folder``.

    Args:
        mllm: whose model ``model`` is, as ``prepare_model`` left it.
        key: what else must be the same to go on (digest of the base weights).
        engine: samples replies; default: the weights themselves.
        stop_at: stop after so many steps in all, with a checkpoint.
        live: called after every step of the first process with the line of the log and what ``progress.Live`` adds.

    Raises ``InputError`` without triplets or with settings that make no sense, ``RunError`` when the folder's
    checkpoint is of another training or the loss is not finite any more.
    """
    settings.check()
    if not triplets:
        raise InputError("there are no triplets to learn from", remedy="Mine triplets first; see mine_triplets.")
    return _Loop(mllm, model, triplets, settings, Path(folder), seed, key, monitor or MonitorSettings(), engine).run(
        progress, live, stop_at
    )


class _Loop:
    """One training: what does not change while it runs, and what a step changes."""

    def __init__(
        self,
        mllm: LocalMllm,
        model: Any,
        triplets: Sequence[Triplet],
        settings: PolicySettings,
        folder: Path,
        seed: int,
        key: str,
        watched: MonitorSettings,
        engine: Engine | None,
    ) -> None:
        self.model, self.triplets, self.settings, self.seed = model, triplets, settings, seed
        self.folder = folder
        self.accelerator = make_accelerator(precision=settings.precision)
        require_whole(self.accelerator)
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimiser = torch.optim.AdamW(list(trainable(model).values()), lr=rate, weight_decay=decay)
        if settings.gradient_checkpointing:
            checkpoint_activations(model)
        self.prepared, self.wrapped = prepare(self.accelerator, model, self.optimiser)
        self.weights = trainable(self.accelerator.unwrap_model(self.prepared))
        self.sights = Sights(mllm)
        self.engine = engine or TransformersEngine(mllm, self.sights)
        self.update = Update(
            self.prepared,
            self.sights,
            self.accelerator,
            settings,
            without_adapter=without_adapter(model, settings),
            decode=lambda token: str(mllm.processor.tokenizer.decode([token])),
        )
        self.key = run_key(triplets, settings, seed=seed, key=f"{key} {asdict(watched)}")
        found = load_checkpoint(folder / "checkpoints", self.weights, self.optimiser, key=self.key)
        extra: dict[str, Any] = {"position": 0, "tokens": 0, "monitor": None}
        self.done = 0
        if found:
            self.done, extra = found
        self.position, self.tokens, state = int(extra["position"]), int(extra["tokens"]), extra["monitor"]
        self.monitor = Monitor(watched) if state is None else Monitor.restored(watched, state)
        self.accelerator.wait_for_everyone()  # nobody writes while another still reads

    def run(self, progress: Progress | None, live: Live | None, stop_at: int | None) -> PolicyTrained:
        """The steps from where the checkpoint left."""
        total, resumed, began = self.settings.steps(len(self.triplets)), self.done, time.monotonic()
        last = total if stop_at is None else min(stop_at, total)
        leads = self.accelerator.is_main_process
        history = cut(self.folder / LOG, self.done) if leads else []
        if leads:
            cut(self.folder / ROLLOUTS, self.done)
        lines, replies = (Ledger(self.folder / name, sync=False) for name in (LOG, ROLLOUTS))
        durations: list[float] = []
        alarm: Alarm | None = None
        with torch.random.fork_rng():
            for step in range(self.done, last):
                started = time.monotonic()
                noted, records = self.step(step, progress)
                alarm = self.monitor.see(step + 1, noted)
                durations.append(time.monotonic() - started)
                self.done = step + 1
                if leads:
                    for record in records:
                        replies.append(record)
                    lines.append({"step": step + 1, **noted, "alarm": None if alarm is None else asdict(alarm)})
                    history.append(noted)
                    if alarm is not None:
                        log.warning("step %d: %s %s", step + 1, alarm.message, alarm.remedy)
                    if progress is not None:
                        progress("reinforce", step + 1, total)
                    if live is not None:
                        told = live_noted(noted, rate=noted["rate"], tokens=int(noted["tokens"]), durations=durations)
                        live(told, step + 1, total)
                stopping = alarm is not None and alarm.stop
                every = self.settings.checkpoint_every
                if stopping or step + 1 == last or (every and (step + 1) % every == 0):
                    self._save()
                if stopping:
                    break
        lines.close()
        replies.close()
        restored(self.accelerator, self.prepared).eval()
        if self.settings.gradient_checkpointing:
            self.model.gradient_checkpointing_disable()
        return PolicyTrained(
            steps=self.done,
            seconds=time.monotonic() - began,
            tokens=self.tokens,
            finished=self.done >= total,
            last=means(history[-max(1, len(history) // 10) :]),
            alarm=alarm if alarm is not None and alarm.stop else None,
            resumed_at=resumed,
            set_aside=tuple(self.sights.set_aside.values()),
        )

    def step(self, step: int, progress: Progress | None) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """One step; returns its line of the log and its replies' records."""
        settings, rank = self.settings, self.accelerator.process_index
        torch.manual_seed(step_seed(self.seed, step, rank))
        rate = settings.learning_rate * rate_factor(
            step, total=settings.steps(len(self.triplets)), warmup=settings.warmup_steps, schedule=settings.schedule
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        began = time.monotonic()
        self.prepared.eval()
        collected = collect(
            self.triplets,
            self.engine,
            settings,
            seed=self.seed,
            step=step,
            position=self.position,
            readable=self.sights.readable,
            rank=rank,
            size=self.accelerator.num_processes,
            gather=lambda mine: gathered(mine, self.accelerator),
            report=self._told(step, progress),
        )
        self.position = collected.position
        generated = sum(len(one.sampled.tokens) for one in collected.replies)
        self.tokens += generated
        sampled = time.monotonic()
        groups = learned([group for _, group in collected.kept])
        sums = self.learn(groups)
        ended = time.monotonic()
        noted = {
            **told(collected),
            **sums,
            "rate": rate,
            "tokens": float(generated),
            "generate_seconds": round(sampled - began, 3),
            "update_seconds": round(ended - sampled, 3),
            "seconds": round(ended - began, 3),
        }
        return noted, records(collected, groups, step=step + 1)

    def learn(self, groups: Sequence[Sequence[Learned]]) -> dict[str, float]:
        """The step's updates; returns means over tokens, the loss, and the gradient's norm."""
        accelerator, settings = self.accelerator, self.settings
        rank, size = accelerator.process_index, accelerator.num_processes
        parts = updates(groups, settings.update_batch)
        shares = [share_of(part, micro=settings.micro_batch, rank=rank, size=size) for part in parts]
        several = len(shares) > 1 or drops_out(self.model)
        fixed = [[self.update.fixed(micro, several=several) for micro in share.micros] for share in shares]
        self.prepared.train()
        sums: dict[str, float] = defaultdict(float)
        gradients = []
        for share, known in zip(shares, fixed, strict=True):
            for name, value in self.update(share, known).items():
                sums[name] += value
            gradients.append(self._stepped())
        self.prepared.eval()
        if not shares:
            return {"loss": 0.0, "gradient": 0.0}
        found = dict(sums)
        if size > 1:  # in one order everywhere
            values = torch.tensor([found[name] for name in sorted(found)], device=accelerator.device)
            found = dict(zip(sorted(found), accelerator.reduce(values, reduction="sum").tolist(), strict=True))
        counts = {name: found.get("negative_tokens", found["tokens"]) for name in ("kl", "negative_entropy")}
        noted = {name: found[name] / max(1.0, counts.get(name, found["tokens"])) for name in MEANS if name in found}
        noted |= {"loss": found["loss"] / len(shares), "gradient": sum(gradients) / len(gradients)}
        require_finite(noted, self.done)
        return noted

    def _stepped(self) -> float:
        """Clip, update, clear; returns the gradient's norm from before."""
        limit = self.settings.clip or float("inf")
        norm = float(self.accelerator.clip_grad_norm_(list(self.weights.values()), limit))
        if norm == norm and norm != float("inf"):
            self.wrapped.step()
        self.wrapped.zero_grad()
        return norm

    def _told(self, step: int, progress: Progress | None) -> Callable[[int, int], None] | None:
        """How far the sampling of a step is: with large models a step takes minutes."""
        if progress is None or not self.accelerator.is_main_process:
            return None
        return lambda kept, wanted: progress(f"sample for step {step + 1}", kept, wanted)

    def _save(self) -> None:
        extra = {"position": self.position, "tokens": self.tokens, "monitor": self.monitor.state()}
        folder = self.folder / "checkpoints"
        save_checkpoint(folder, self.weights, self.optimiser, step=self.done, key=self.key, extra=extra)
        self.accelerator.wait_for_everyone()
