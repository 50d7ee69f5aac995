"""One epoch of tuning and everything the next one depends on: PRODEN on candidate sets, then NeaR-style.

Deviations from the released code of CoOp and PRODEN:

1. Image features are cached (one or more views per image), since the image tower is frozen; each epoch samples a view.
2. The last, smaller batch is kept. CoOp drops it; PRODEN's weights must be refreshed for every image.
3. Everything random is drawn from one NumPy generator whose state is in the checkpoint, so that stopping after any
   epoch and going on gives bit for bit the uninterrupted result.

An image with an empty candidate set takes no part. Weights (N, C) are held densely in float32: supports are small.
Letters: N images, V views, D feature size, C labels, B batch.
"""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgvr.errors import RunError
from fgvr.methods.near.checkpoint import Checkpoint
from fgvr.methods.near.proden import per_image_loss, update_weights, weight_entropy
from fgvr.methods.near.refine import mixing_plan, refined_targets, split_by_loss
from fgvr.methods.near.settings import RefineSettings, TuneSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """What one epoch looked like; means over the images trained on."""

    epoch: int
    learning_rate: float
    loss: float
    weight_entropy: float
    """Of PRODEN's weights after the epoch, in nats; near 0 the sets are decided."""
    agreement: float
    """Share of images whose prediction over all labels lies in their own candidate set."""
    clean_share: float | None = None
    """Mean posterior of being clean; ``None`` before the NeaR-style stage."""
    degenerate: str = ""
    """Why the split found no two components, where it did not."""


@dataclass(frozen=True)
class Tuned:
    """The result of tuning."""

    text_features: np.ndarray
    """(C, D) float32, unit norm: the classifier."""
    parameters: dict[str, np.ndarray]
    """``context`` (M, E) or ``residual`` (C, D), float32."""
    weights: np.ndarray
    """(N, C) float32: PRODEN's weights at the end."""
    targets: np.ndarray
    """(N, C) float32: the targets of the last epoch; equal to ``weights`` without the NeaR-style stage."""
    clean: np.ndarray
    """(N,) float32: posterior of being clean; all one without the NeaR-style stage."""
    trace: tuple[Epoch, ...] = field(default=())


def learning_rate(epoch: int, settings: TuneSettings) -> float:
    """CoOp's schedule (Dassl's constant warm-up, then a cosine over all epochs), for epoch 0, 1, ..."""
    if epoch < settings.warmup_epochs:
        return settings.warmup_rate
    phase = (epoch - settings.warmup_epochs) / settings.epochs
    return settings.learning_rate * (1.0 + math.cos(math.pi * phase)) / 2.0


def _optimiser(head: torch.nn.Module, settings: TuneSettings) -> torch.optim.Optimizer:
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        head.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


class Loop:
    """The state of one tuning run; ``run_epoch`` moves it on, ``save`` and ``load`` keep it.

    Args:
        head: text features (C, D) when called; its parameters are what is learned.
        features: (N, D) or (N, V, D), unit norm.
        initial: (N, C) float32, the initial weights; zero off the candidate sets.
    """

    def __init__(
        self,
        head: torch.nn.Module,
        features: np.ndarray,
        initial: np.ndarray,
        settings: TuneSettings,
        *,
        logit_scale: float,
        seed: int,
    ) -> None:
        views = features[:, None] if features.ndim == 2 else features
        if views.ndim != 3 or len(views) != len(initial):
            raise ValueError(f"features {features.shape} do not fit {len(initial)} candidate sets")
        self.used = np.flatnonzero(initial.sum(axis=1) > 0)
        if not len(self.used):
            raise ValueError("no image has a candidate label")
        self.head, self.settings, self.scale = head, settings, logit_scale
        self.device = next(head.parameters()).device
        self.views = torch.as_tensor(np.ascontiguousarray(views, dtype=np.float32), device=self.device)
        self.initial = torch.as_tensor(initial, device=self.device)
        self.mask = self.initial > 0
        self.weights = self.initial.clone()
        self.targets: Tensor | None = None  # refined targets, once the NeaR-style stage has begun
        self.clean = torch.ones(len(views), device=self.device)
        self.optimiser = _optimiser(head, settings)
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.epoch = 0
        self.trace: list[Epoch] = []

    @property
    def refine(self) -> RefineSettings | None:
        """The NeaR-style settings once its warm-up is over."""
        refine = self.settings.refine
        return refine if refine is not None and self.epoch >= refine.warmup_epochs else None

    def run_epoch(self) -> None:
        """One pass over the images that have candidates; its figures go to ``trace``."""
        rate = learning_rate(self.epoch, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        degenerate = self._refine_targets()
        order = self.used[self.rng.permutation(len(self.used))]
        view_of = self.rng.integers(self.views.shape[1], size=len(self.views))
        size = self.settings.batch_size or len(order)
        loss = inside = 0.0
        for start in range(0, len(order), size):
            step_loss, step_inside = self._step(order[start : start + size], view_of)
            loss, inside = loss + step_loss, inside + step_inside
        self.trace.append(
            Epoch(
                epoch=self.epoch,
                learning_rate=rate,
                loss=loss / len(order),
                weight_entropy=float(weight_entropy(self.weights[self.used]).mean()),
                agreement=inside / len(order),
                clean_share=None if self.refine is None else float(self.clean[self.used].mean()),
                degenerate=degenerate,
            )
        )
        self.epoch += 1

    def _step(self, rows: np.ndarray, view_of: np.ndarray) -> tuple[float, float]:
        """One gradient step on images ``rows``; returns summed loss and how many predictions lie in their set."""
        index = torch.as_tensor(rows, device=self.device)
        images = self.views[index, torch.as_tensor(view_of[rows], device=self.device)]
        text = self.head()
        logits = self.scale * images @ text.T
        loss = self._loss(index, images, text, logits)
        if not torch.isfinite(loss):
            raise RunError("the loss is not finite", remedy="Lower the learning rate.", epoch=self.epoch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.epoch >= self.settings.weight_warmup_epochs:
            # PRODEN: from the probabilities of the same forward pass, before the step's effect.
            self.weights[index] = update_weights(
                logits,
                self.mask[index],
                self.weights[index],
                temperature=self.settings.weight_temperature,
                momentum=self.settings.weight_momentum,
            )
        inside = self.mask[index].gather(1, logits.detach().argmax(dim=1, keepdim=True)).sum()
        return float(loss.detach()) * len(rows), float(inside)

    def _loss(self, index: Tensor, images: Tensor, text: Tensor, logits: Tensor) -> Tensor:
        """PRODEN's loss, or the NeaR-style combination of clean, noisy, prior and mixup."""
        refine = self.refine
        targets = self.weights[index] if self.targets is None else self.targets[index]
        if refine is None:
            return per_image_loss(logits, targets).mean()
        prior = targets.mean(dim=0)
        importance = torch.where(self.clean[index] > 0.5, 1.0, refine.noisy_weight)
        if refine.mixup > 0:
            share, partner = mixing_plan(len(index), beta=refine.mixup, rng=self.rng)
            other = torch.as_tensor(partner, device=self.device)
            mixed = torch.nn.functional.normalize(share * images + (1 - share) * images[other], dim=-1)
            logits = self.scale * mixed @ text.T
            targets = share * targets + (1 - share) * targets[other]
            importance = share * importance + (1 - share) * importance[other]
        loss = (importance * per_image_loss(logits, targets)).mean()
        if refine.prior_weight > 0:
            mean = logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(index))
            loss = loss + refine.prior_weight * (torch.special.xlogy(prior, prior) - prior * mean).sum()
        return loss

    @torch.no_grad()
    def _refine_targets(self) -> str:
        """Split and relabel at the start of an epoch; returns why the split was degenerate, if it was."""
        refine = self.refine
        if refine is None or not (refine.split or refine.relabel):
            return ""
        text = self.head()
        log_p = torch.stack([(self.scale * view @ text.T).log_softmax(-1) for view in self.views.unbind(1)])
        reason = ""
        if refine.split:
            reason = self._split(log_p, refine)
        if reason:
            # All clean with posterior one would freeze the targets at the votes: PRODEN's weights stand in.
            self.targets = None
        elif refine.relabel:
            mean = log_p.exp().mean(dim=0).cpu().numpy()
            targets = refined_targets(
                mean,
                (self.initial if refine.anchor == "votes" else self.weights).cpu().numpy(),
                self.clean.cpu().numpy().astype(np.float64),
                sharpen=refine.sharpen,
                escape=refine.escape,
            )
            self.targets = torch.as_tensor(targets.astype(np.float32), device=self.device)
        return reason

    def _split(self, log_p: Tensor, refine: RefineSettings) -> str:
        plain = log_p.double()
        losses = -(self.weights.double() * plain).sum(dim=-1).mean(dim=0)
        if refine.entropy_weight:
            losses = losses - refine.entropy_weight * (plain.exp() * plain).sum(dim=-1).mean(dim=0)
        split = split_by_loss(losses[self.used].cpu().numpy(), min_separation=refine.min_separation)
        if split.degenerate:
            logger.info(
                "epoch %d: no split into clean and noisy (%s); all images count as clean", self.epoch, split.reason
            )
        self.clean[self.used] = torch.as_tensor(split.clean.astype(np.float32), device=self.device)
        return split.reason

    @torch.no_grad()
    def result(self) -> Tuned:
        targets = self.weights if self.targets is None else self.targets
        return Tuned(
            text_features=self.head().float().cpu().numpy(),
            parameters={name: value.detach().float().cpu().numpy() for name, value in self.head.named_parameters()},
            weights=self.weights.cpu().numpy(),
            targets=targets.cpu().numpy(),
            clean=self.clean.cpu().numpy(),
            trace=tuple(self.trace),
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with; written into it."""
        return {
            "settings": self.settings.to_dict(),
            "seed": self.seed,
            "scale": self.scale,
            "views": _digest(self.views),
            "initial": _digest(self.initial),
        }

    def save(self, path: Path) -> None:
        """Write everything the next epoch depends on, atomically."""
        tensors: dict[str, Tensor] = {f"head.{name}": value for name, value in self.head.named_parameters()}
        tensors |= {"weights": self.weights, "clean": self.clean}
        if self.targets is not None:
            tensors["targets"] = self.targets
        progress = {
            "epoch": self.epoch,
            "rng": self.rng.bit_generator.state,
            "trace": [asdict(epoch) for epoch in self.trace],
        }
        Checkpoint(self._identity(), tensors, self.optimiser.state_dict()["state"], progress).save(path)

    def load(self, path: Path) -> None:
        """Go on where ``save`` stood. Raises ``RunError`` for a damaged checkpoint or another run's."""
        stored = Checkpoint.load(path, identity=self._identity(), device=self.device)
        with torch.no_grad():
            for name, value in self.head.named_parameters():
                value.copy_(stored.tensors[f"head.{name}"])
        self.weights, self.clean = stored.tensors["weights"], stored.tensors["clean"]
        self.targets = stored.tensors.get("targets")
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": dict(stored.optimiser), "param_groups": groups})
        self.epoch = stored.progress["epoch"]
        self.rng.bit_generator.state = stored.progress["rng"]
        self.trace = [Epoch(**epoch) for epoch in stored.progress["trace"]]


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().numpy().tobytes()).hexdigest()
