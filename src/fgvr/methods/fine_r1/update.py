"""The update: replies and their advantages in, a better policy out (paper, equation 4; ``tapo.py`` has the terms).

1. *Old log-probabilities* are the weights' of before the step's first update. Where a step has a single update they are
   the current ones, and no pass is spent on them.
2. *The mean over tokens* is that of the whole update: all micro-batches, all processes. The released code averages the
   means of micro-batches of four (``normalisation="micro_batch_mean"``).
3. *Micro-batches* are made of replies of like length; where they are cut changes rounding only.
4. *A triplet without a negative* has no inter-class term, and no entropy term of the negative.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.rollouts import Group, Reply
from fgvr.methods.fine_r1.tapo import Terms, group_advantages, tapo_loss
from fgvr.training.log_probs import Scores, reply_scores
from fgvr.training.sights import Sight, Sights

if TYPE_CHECKING:
    from accelerate import Accelerator

ANSWER, ANSWER_END = "<answer>", "</answer>"


@dataclass(frozen=True)
class Learned:
    """One reply and what it is worth."""

    reply: Reply
    advantage: float


@dataclass(frozen=True)
class Micro:
    """The replies of one forward pass; ``real`` is false where it stands in for a process without a share."""

    rows: tuple[Learned, ...]
    real: bool = True


@dataclass(frozen=True)
class Share:
    """One update as one process sees it."""

    micros: tuple[Micro, ...]
    """Of this process; equally many in every one."""
    tokens: int
    """Of the whole update, over all processes."""
    replies: int
    """Likewise."""
    passes: int
    """Micro-batches, likewise."""


@dataclass(frozen=True)
class Fixed:
    """What does not change while a step's replies are learned from; (N, T) each, without gradients."""

    old: torch.Tensor | None
    negative: torch.Tensor | None
    negative_entropy: torch.Tensor | None
    reference: torch.Tensor | None
    behaviour: torch.Tensor | None


class Update:
    """The objective of one update, for a model as accelerate has prepared it."""

    def __init__(
        self,
        model: Any,
        sights: Sights,
        accelerator: Accelerator,
        settings: PolicySettings,
        *,
        without_adapter: Callable[[], AbstractContextManager[Any]] | None = None,
        decode: Callable[[int], str] = str,
    ) -> None:
        """``without_adapter``: inside it ``model`` is the reference; ``decode``: a token's text."""
        self.model, self.sights, self.accelerator, self.settings = model, sights, accelerator, settings
        self.without_adapter = without_adapter
        self.decode = decode

    # --- scores -------------------------------------------------------------------------------------------------------

    def policy_picture(self, reply: Reply) -> Path:
        """The picture under which a reply is learned from (``conditioning``)."""
        return reply.picture if self.settings.objective.conditioning == "own" else reply.triplet.anchor

    def negative_picture(self, reply: Reply) -> Path:
        """The negative; where there is none, or it cannot be read, the picture the reply is learned under."""
        negative = reply.triplet.negative
        return negative if negative is not None and self.sights.readable(negative) else self.policy_picture(reply)

    def scores(self, micro: Micro, picture: Callable[[Reply], Path], *, entropy: bool = False) -> Scores:
        """Scores of a micro-batch under one picture each."""
        replies = [one.reply for one in micro.rows]
        style, thinking = self.settings.style, self.settings.thinking
        asked = [
            Sight(train_prompt(one.triplet.question, style=style, thinking=thinking), picture(one)) for one in replies
        ]
        return reply_scores(
            self.model,
            self.sights,
            asked,
            [one.sampled.tokens for one in replies],
            temperature=self.settings.sampling.temperature or 1.0,
            entropy=entropy,
        )

    @torch.no_grad()
    def fixed(self, micro: Micro, *, several: bool) -> Fixed:
        """Scores of a micro-batch by the old weights; ``several``: the step has more than one update."""
        objective = self.settings.objective
        old = self.scores(micro, self.policy_picture) if several else None
        negative = None
        if objective.needs_negative and not objective.negative_needs_gradient:
            negative = self.scores(micro, self.negative_picture, entropy=objective.needs_negative_entropy)
        reference = None
        if objective.needs_reference and self.without_adapter is not None:
            with self.without_adapter():
                reference = self.scores(micro, self.policy_picture).log_probs
        behaviour = self.scores(micro, lambda one: one.picture) if objective.needs_behaviour else None
        return Fixed(
            old=None if old is None else old.log_probs,
            negative=None if negative is None else negative.log_probs,
            negative_entropy=None if negative is None else negative.entropy,
            reference=reference,
            behaviour=None if behaviour is None else behaviour.log_probs,
        )

    # --- the update ---------------------------------------------------------------------------------------------------

    def __call__(self, share: Share, fixed: Sequence[Fixed]) -> dict[str, float]:
        """Gradients of one update; returns the sums that ``tapo_loss`` gives, of this process.

        ``fixed``: of the share's micro-batches.
        """
        sums: dict[str, float] = defaultdict(float)
        for index, (micro, known) in enumerate(zip(share.micros, fixed, strict=True)):
            waiting = index < len(share.micros) - 1  # gradients are exchanged between processes once an update
            with self.accelerator.no_sync(self.model) if waiting else nullcontext():
                loss, parts = self.loss(micro, known, share)
                # Processes' gradients are averaged, but the sum over all is wanted.
                self.accelerator.backward(loss * self.accelerator.num_processes * micro.real)
            for name, value in parts.items():  # the same names in every process
                sums[name] += float(value) * micro.real
        return dict(sums)

    def loss(self, micro: Micro, known: Fixed, share: Share) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The share of one micro-batch in the update's loss, and its sums."""
        objective = self.settings.objective
        current = self.scores(micro, self.policy_picture, entropy=objective.needs_entropy)
        negative, negative_entropy = known.negative, known.negative_entropy
        if objective.negative_needs_gradient:
            beside = self.scores(micro, self.negative_picture, entropy=objective.needs_negative_entropy)
            negative, negative_entropy = beside.log_probs, beside.entropy
        device = current.log_probs.device
        terms = Terms(
            log_probs=current.log_probs,
            old=current.log_probs.detach() if known.old is None else known.old,
            advantages=torch.tensor([one.advantage for one in micro.rows], device=device),
            mask=current.mask,
            negative=negative,
            entropy=current.entropy,
            negative_entropy=negative_entropy,
            reference=known.reference,
            behaviour=known.behaviour,
            correct=torch.tensor([one.reply.reward.accuracy > 0.5 for one in micro.rows], device=device),
            answer=self._answers(micro, current.mask) if objective.needs_answer else None,
            has_negative=self._opposed(micro, device) if objective.needs_negative else None,
        )
        return tapo_loss(terms, objective, tokens=share.tokens, replies=share.replies, micro_batches=share.passes)

    def _opposed(self, micro: Micro, device: torch.device) -> torch.Tensor:
        """(N,) bool: replies with a negative."""
        found = [self.negative_picture(one.reply) == one.reply.triplet.negative for one in micro.rows]
        return torch.tensor(found, device=device)

    def _answers(self, micro: Micro, mask: torch.Tensor) -> torch.Tensor:
        """(N, T) bool: tokens of the answer's text."""
        found = torch.zeros_like(mask)
        for row, one in enumerate(micro.rows):
            for place in answer_places([self.decode(token) for token in one.reply.sampled.tokens]):
                found[row, place] = True
        return found


def answer_places(pieces: Sequence[str]) -> range:
    """Which of a reply's tokens, given as texts, lie between the first ``<answer>`` and the ``</answer>`` behind it;
    none where there is no pair."""
    text = "".join(pieces)
    start = text.find(ANSWER)
    end = text.find(ANSWER_END, start)
    if start < 0 or end < 0:
        return range(0)
    inside, at = [], 0
    for place, piece in enumerate(pieces):
        if at < end and at + len(piece) > start + len(ANSWER):
            inside.append(place)
        at += len(piece)
    return range(inside[0], inside[-1] + 1) if inside else range(0)


# --- batches ----------------------------------------------------------------------------------------------------------


def learned(groups: Sequence[Group]) -> list[list[Learned]]:
    """The groups with their replies' advantages (equation 3)."""
    flat = [one for group in groups for one in group]
    if not flat:
        return []
    rewards = torch.tensor([one.reward.total for one in flat], dtype=torch.float64)
    whose = torch.tensor([index for index, group in enumerate(groups) for _ in group])
    advantages = iter(group_advantages(rewards, whose).tolist())
    return [[Learned(one, next(advantages)) for one in group] for group in groups]


def updates(groups: Sequence[Sequence[Learned]], size: int) -> list[list[Learned]]:
    """The step's updates, ``size`` groups each, in the order of the groups."""
    parts = [groups[at : at + size] for at in range(0, len(groups), size)]
    return [[one for group in part for one in group] for part in parts]


def share_of(rows: Sequence[Learned], *, micro: int, rank: int = 0, size: int = 1) -> Share:
    """This process's part of one update's replies, in micro-batches of like length."""
    ordered = sorted(rows, key=lambda one: len(one.reply.sampled.tokens))
    parts = [Micro(tuple(ordered[at : at + micro])) for at in range(0, len(ordered), micro)]
    passes = len(parts)
    parts += [Micro(parts[0].rows[:1], real=False)] * (-passes % size)
    tokens = sum(len(one.reply.sampled.tokens) for one in rows)
    return Share(tuple(parts[rank::size]), tokens, len(rows), passes)
