"""PRODEN: progressive identification of the true label in a candidate set (Lv et al., ICML 2020), in log space.

``L = -(1/B) sum_i sum_{j in S_i} w_ij log p_ij`` with w constant in the gradient, then
``w_ij <- p_ij [j in S_i] / sum_{z in S_i} p_iz``, from the probabilities of the same forward pass.

Deviations from the released code:

1. It takes ``log(softmax(z))``, which underflows at CLIP's logit scale of 100; here ``log_softmax`` and a softmax over
   the candidates only, which is the same number.
2. ``temperature`` and ``momentum`` soften the update. At scale 100 the first faithful update already makes the weights
   nearly one-hot on what zero-shot CLIP prefers, so PRODEN turns into self-training inside the set. Both are off by
   default; ``weight_entropy`` makes the collapse visible.

Letters: B images, C labels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def proden_loss(logits: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross-entropy, a scalar: logits (B, C) and weights (B, C), which get no gradient.

    A row of zero weights (an empty candidate set) adds nothing but counts in B.
    """
    return per_image_loss(logits, weights).mean()


def per_image_loss(logits: Tensor, weights: Tensor) -> Tensor:
    """``-sum_j w_ij log p_ij`` per image, (B,), in nats."""
    return -(weights.detach() * logits.log_softmax(dim=-1)).sum(dim=-1)


def update_weights(
    logits: Tensor, mask: Tensor, weights: Tensor, *, temperature: float = 1.0, momentum: float = 0.0
) -> Tensor:
    """New weights (B, C): rows sum to one on the candidates and are zero off them; detached.

    Args:
        logits: (B, C), those of the loss.
        mask: (B, C) bool, True on the candidates. A row without any stays zero.
        weights: (B, C), the old ones; used when ``momentum`` > 0.
        temperature: logits are divided by it; 1 is the paper's.
        momentum: share of the old weights kept, in [0, 1); 0 is the paper's.
    """
    within = (logits.detach() / temperature).masked_fill(~mask, float("-inf")).softmax(dim=-1)
    fresh = torch.where(mask, within, torch.zeros_like(within))
    return momentum * weights + (1.0 - momentum) * fresh if momentum else fresh


def weight_entropy(weights: Tensor) -> Tensor:
    """Entropy of each row, (B,), in nats: 0 when decided, log |S_i| when open."""
    entropy: Tensor = -torch.special.xlogy(weights, weights).sum(dim=-1)
    return entropy
