"""TAPO written a second time, as slow loops over Python floats, from the published formulas; and made-up terms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from fgvr.methods.fine_r1.tapo import Terms
from fgvr.methods.fine_r1.tapo_settings import TapoSettings

Rows = Sequence[Sequence[float]]


def within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def advantages(rewards: Sequence[float], groups: Sequence[int], eps: float = 1e-6) -> list[float]:
    """Of every reply in its group, with the unbiased deviation."""
    found = []
    for reward, group in zip(rewards, groups, strict=True):
        own = [other for other, place in zip(rewards, groups, strict=True) if place == group]
        if len(set(own)) == 1:
            found.append(0.0)
            continue
        mean = math.fsum(own) / len(own)
        variance = math.fsum((other - mean) ** 2 for other in own) / (len(own) - 1)
        found.append((reward - mean) / (math.sqrt(variance) + eps))
    return found


def policy(new: float, old: float, advantage: float, low: float, high: float, dual: float | None) -> float:
    ratio = math.exp(within(new - old, -20, 20))
    loss = max(-advantage * ratio, -advantage * within(ratio, 1 - low, 1 + high))
    return min(loss, -dual * advantage) if dual is not None and advantage < 0 else loss


def is_clipped(new: float, old: float, advantage: float, low: float, high: float, dual: float | None) -> bool:
    ratio = math.exp(within(new - old, -20, 20))
    if advantage > 0:
        return ratio > 1 + high
    return advantage < 0 and (ratio < 1 - low or (dual is not None and ratio > dual))


def k3(new: float, other: float, bound: float = 10.0) -> float:
    d = within(other - new, -20, 20)
    return within(math.exp(d) - d - 1, -bound, bound)


def printed(new: float, other: float, bound: float = 10.0) -> float:
    g = math.exp(within(new - other, -20, 20))
    return within(g - math.log(g) - 1, -bound, bound)


def hinge(new: float, other: float, margin: float) -> float:
    return margin - max(0.0, margin - within(new - other, -20, 20))


def js(new: float, other: float) -> float:
    chance = 1 / (1 + math.exp(-within(new - other, -20, 20)))
    return math.log(2) + sum(p * math.log(p) for p in (chance, 1 - chance) if p > 0)


def importance(old: Rows, behaviour: Rows, lengths: Sequence[int], cap: float, per: str) -> list[list[float]]:
    found = []
    for row, length in enumerate(lengths):
        ratios = [math.exp(old[row][at] - behaviour[row][at]) for at in range(length)]
        if per == "sequence":
            ratios = [math.prod(ratios)] * length
        found.append([min(ratio, cap) for ratio in ratios])
    return found


def loss(given: dict[str, Any], settings: TapoSettings, *, tokens: int, replies: int = 0) -> float:
    """The loss of one micro-batch; ``given``: the fields of ``Terms`` as nested lists."""
    lengths = [sum(row) for row in given["mask"]]
    weights = [[1.0] * length for length in lengths]
    if settings.conditioning == "anchor_is":
        cap, per = settings.importance_cap, settings.importance
        weights = importance(given["old"], given["behaviour"], lengths, cap, per)
    total = 0.0
    for row, length in enumerate(lengths):
        for at in range(length):
            share = 1 / tokens
            if settings.normalisation == "sequence":
                share = 1 / length / replies
            elif settings.normalisation == "micro_batch_mean":
                share = 1 / sum(lengths)
            total += share * weights[row][at] * _token(given, settings, row, at)
    return total


def _token(given: dict[str, Any], settings: TapoSettings, row: int, at: int) -> float:
    new, old = given["log_probs"][row][at], given["old"][row][at]
    total = policy(new, old, given["advantages"][row], settings.low, settings.high, settings.dual)
    if settings.kl_ref:
        total += settings.kl_ref * k3(new, given["reference"][row][at], settings.kl_bound)
    if "correct" in settings.applies_to and not given["correct"][row]:
        return total
    if "answer" in settings.applies_to and not given["answer"][row][at]:
        return total
    true = settings.variant == "corrected"
    if settings.eta1:
        total += settings.eta1 * (given["entropy"][row][at] if true else -new)
    if given.get("has_negative") is not None and not given["has_negative"][row]:
        return total
    other = given["negative"][row][at]
    if settings.eta2:
        total += settings.eta2 * (given["negative_entropy"][row][at] if true else -other)
    if settings.gamma:
        total -= settings.gamma * _divergence(new, other, settings)
    return total


def _divergence(new: float, other: float, settings: TapoSettings) -> float:
    if settings.bounded == "hinge":
        return hinge(new, other, settings.margin)
    if settings.bounded == "js":
        return js(new, other)
    return (printed if settings.variant == "paper" else k3)(new, other, settings.kl_bound)


# --- made-up terms ----------------------------------------------------------------------------------------------------


def made_up(seed: int = 0, *, replies: int = 6, length: int = 5) -> Terms:
    """Terms in float64 with every tensor, wide enough that clips, dual clip and bounds all act somewhere."""
    made = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=made, dtype=torch.float64)

    shape = (replies, length)
    log_probs = -normal(*shape).abs() - 0.01
    lengths = torch.randint(1, length + 1, (replies,), generator=made)
    lengths[0] = length
    return Terms(
        log_probs=log_probs,
        old=log_probs - normal(*shape, scale=0.8),
        advantages=normal(replies),
        mask=torch.arange(length)[None] < lengths[:, None],
        negative=log_probs + normal(*shape, scale=2.0),
        entropy=normal(*shape).abs(),
        negative_entropy=normal(*shape).abs(),
        reference=log_probs + normal(*shape),
        behaviour=log_probs + normal(*shape, scale=0.8),
        correct=torch.arange(replies) % 3 > 0,
        answer=torch.arange(length)[None].expand(shape) > 1,
    )


def as_lists(terms: Terms) -> dict[str, Any]:
    return {name: None if value is None else value.tolist() for name, value in vars(terms).items()}
