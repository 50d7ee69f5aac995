"""How likely replies are under a picture: log-probability, and entropy, of every token of given replies.

One forward pass over prompt and reply; only the positions where a reply has tokens go through the output layer. The
result is a function of each row alone: padding and company change it by rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fgvr.training.token_scores import token_statistics

if TYPE_CHECKING:
    from fgvr.training.sights import Sight, Sights


@dataclass(frozen=True)
class Scores:
    """Of N replies, padded to T tokens."""

    log_probs: torch.Tensor
    """(N, T) float32, natural log; 0 outside ``mask``."""
    mask: torch.Tensor
    """(N, T) bool: where a reply has a token."""
    entropy: torch.Tensor | None = None
    """(N, T) float32, nats, of the whole vocabulary; 0 outside ``mask``."""


def reply_scores(
    model: Any,
    sights: Sights,
    asked: Sequence[Sight],
    replies: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> Scores:
    """Scores of one reply (token ids) to each sight, with gradients where they are on.

    Args:
        model: as ``sights`` encodes for, possibly wrapped by peft or accelerate.
        temperature: divides the logits (the temperature the replies were sampled at).

    Raises ``ImageError`` for a picture that cannot be read.
    """
    inputs, starts = sights.inputs(asked, replies)
    ids = inputs["input_ids"]
    lengths = torch.tensor([len(one) for one in replies], device=ids.device)
    steps = torch.arange(int(lengths.max()), device=ids.device)
    mask = steps[None] < lengths[:, None]
    # The token at place p is foretold at place p - 1.
    places = torch.tensor(starts, device=ids.device)[:, None] - 1 + torch.minimum(steps[None], lengths[:, None] - 1)
    at, columns = torch.unique(places, return_inverse=True)
    logits = model(**inputs, logits_to_keep=at, use_cache=False).logits
    log_probs, entropies = token_statistics(logits, ids[:, at + 1], temperature=temperature, entropy=entropy)
    chosen = log_probs.gather(1, columns) * mask
    return Scores(chosen, mask, None if entropies is None else entropies.gather(1, columns) * mask)
