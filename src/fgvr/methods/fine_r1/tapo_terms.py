"""The terms of TAPO, one function each, token by token; ``tapo.py`` adds them up and numbers the deviations."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fgvr.errors import InputError

MAX_LOG_RATIO = 20.0
"""Differences of log-probabilities are clamped to +- this before they are exponentiated (released code)."""


class PolicyTerms(NamedTuple):
    """The clipped objective, token by token."""

    loss: Tensor
    """(N, T)."""
    clipped: Tensor
    """(N, T) bool: tokens without gradient, by the clip or by the dual clip."""


def group_advantages(rewards: Tensor, groups: Tensor, *, eps: float = 1e-6, correction: int = 1) -> Tensor:
    """(r - mean) / (std + eps) within each group: (N,), in the dtype of ``rewards``.

    ``rewards``: (N,); ``groups``: (N,) integers, one value a group, any order. A group of one reply, or whose rewards
    are all equal, gives 0. ``correction=1`` is the unbiased deviation. Raises ``InputError`` for rewards that are not
    finite and for shapes that do not fit. Paper, equation 2.
    """
    if rewards.ndim != 1 or rewards.shape != groups.shape:
        raise InputError(
            "rewards and groups do not fit",
            remedy="Give one reward and one group to a reply.",
            rewards=tuple(rewards.shape),
            groups=tuple(groups.shape),
        )
    if not bool(torch.isfinite(rewards).all()):
        raise InputError("a reward is not a finite number", remedy="Score every reply before computing advantages.")
    kept = rewards.dtype if rewards.is_floating_point() else torch.get_default_dtype()
    wide = rewards.double()
    _, place = torch.unique(groups, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    sizes = torch.zeros(count, dtype=wide.dtype, device=wide.device).index_add(0, place, torch.ones_like(wide))
    sums = torch.zeros_like(sizes).index_add(0, place, wide)
    centred = wide - (sums / sizes)[place]
    squares = torch.zeros_like(sizes).index_add(0, place, centred * centred)
    std = (squares / (sizes - correction).clamp(min=1)).sqrt()
    highest = torch.full_like(sizes, -math.inf).scatter_reduce(0, place, wide, "amax")
    lowest = torch.full_like(sizes, math.inf).scatter_reduce(0, place, wide, "amin")
    varied = (highest > lowest)[place]
    return torch.where(varied, centred / (std[place] + eps), torch.zeros_like(wide)).to(kept)


def policy_terms(
    log_probs: Tensor,
    old: Tensor,
    advantages: Tensor,
    *,
    low: float = 0.2,
    high: float = 0.28,
    dual: float | None = 3.0,
) -> PolicyTerms:
    """max(-A ρ, -A clip(ρ, 1 - low, 1 + high)), for A < 0 at most -dual * A; with ρ = π_θ / π_old (equation 2).

    ``log_probs``, ``old``: (N, T); ``advantages``: (N,), the same for all tokens of a reply. No mask is applied.
    """
    ratio = log_ratio(log_probs, old.detach()).exp()
    advantage = advantages.detach().to(ratio.dtype)[:, None]
    clipped = ratio.clamp(1 - low, 1 + high)
    loss = torch.maximum(-advantage * ratio, -advantage * clipped)
    past = ((advantage > 0) & (ratio > 1 + high)) | ((advantage < 0) & (ratio < 1 - low))
    if dual is not None:
        negative = advantage < 0
        past = past | (negative & (ratio > dual))
        loss = torch.where(negative, torch.minimum(loss, -dual * advantage), loss)
    return PolicyTerms(loss, past)


def inter_class_kl(
    log_probs: Tensor, negative: Tensor, *, form: Literal["k3", "paper"] = "k3", bound: float = 10.0
) -> Tensor:
    """Estimate, token by token, of how far π_θ(.|x_*) is from π(.|x_neg): (N, T), in [0, bound] nats (equation 4).

    With d = log π_neg - log π_θ: ``k3`` is e^d - d - 1 (released), ``paper`` is e^-d + d - 1 (printed). The gradient of
    k3 by log π_θ is 1 - e^d and by log π_neg its opposite; where a clamp acts it is 0.
    """
    d = log_ratio(negative, log_probs)
    exponent = d if form == "k3" else -d
    return (exponent.exp() - exponent - 1).clamp(-bound, bound)


def bounded_divergence(
    log_probs: Tensor, negative: Tensor, *, bounded: Literal["hinge", "js"], margin: float = 1.0
) -> Tensor:
    """Stand-ins for ``inter_class_kl`` whose value and slope are bounded: (N, T). With r = log π_θ - log π_neg:

    ``hinge``: min(r, margin), in [-20, margin], slope 1 below the margin and 0 beyond. Where a token is more likely
    under the negative image, k3 pushes it further down; the hinge pushes it up under its own image and down under the
    other, and stops at the margin. Made for correct replies: over all replies on policy its expected gradient by π_θ
    is zero as long as no token reaches the margin.

    ``js``: log 2 - h(σ(r)), h the entropy of a coin in nats: how much a token tells about which of the two images was
    seen. In [0, log 2], symmetric in r, slope r σ(r) σ(-r), which is within 0.224 and vanishes at both ends. Derived
    from the Jensen-Shannon divergence, with p = π_θ, q = π_neg and m = (p + q) / 2: it is the mean over tokens drawn
    from m of ½ p/m log p/m + ½ q/m log q/m, and p/2m = σ(r). Over tokens drawn from p alone each would weigh
    m/p = (1 + e^-r) / 2; that weight is what is unbounded, and is left out. The mean over replies is then not the
    divergence, but in the same range and zero exactly where it is.
    """
    r = log_ratio(log_probs, negative)
    if bounded == "hinge":
        return r.clamp(max=margin)
    # -log σ(r) is softplus(-r): finite however far r is from 0, as its gradient is.
    chance = torch.sigmoid(r)
    coin = chance * torch.nn.functional.softplus(-r) + (1 - chance) * torch.nn.functional.softplus(r)
    return math.log(2) - coin


def importance_weights(
    old: Tensor, behaviour: Tensor, mask: Tensor, *, cap: float = 2.0, per: Literal["token", "sequence"] = "token"
) -> Tensor:
    """min(π_old(o|anchor) / π_behaviour(o|own image), cap): (N, T), without gradient; 1 for replies to the anchor.

    ``token``: each token's own ratio. ``sequence``: the product over the reply, for all its tokens; unbiased for any
    length while nothing is cut off, with a variance that grows with the length. (Truncation: Ionides 2008.)
    """
    ratio = log_ratio(old.detach(), behaviour.detach()).masked_fill(~mask, 0.0)
    if per == "sequence":
        ratio = ratio.sum(dim=1, keepdim=True).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).expand_as(ratio)
    return ratio.exp().clamp(max=cap)


def log_ratio(upper: Tensor, lower: Tensor) -> Tensor:
    """log(upper / lower) of two log-probabilities, clamped, in at least float32."""
    return (wide(upper) - wide(lower)).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
