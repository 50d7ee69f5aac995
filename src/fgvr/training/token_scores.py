"""Log-probabilities of sampled tokens and entropies over the whole vocabulary, in bounded memory.

1. *True entropy.* The released code calls the mean of -log π of the sampled tokens an entropy; its expected gradient is
   zero on policy. Here it is -Σ p log p over all V tokens, with its gradient.
2. *Memory.* Written plainly, the log-softmax, the probabilities and their product are each as large as the logits, and
   autograd keeps them. Here the logits are worked off in chunks and only they are kept; the backward pass forms
   d log p(o) / dz = 1[o] - p and dH / dz = -p (log p + H) again, chunk by chunk (``token_statistics``). From hidden
   states not even the logits are kept (``head_statistics``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fgvr.errors import InputError

CHUNK = 1024
"""Tokens worked off at a time: in float32, a vocabulary of 152,000 makes 0.6 GB of each temporary tensor."""


def token_statistics(
    logits: Tensor, tokens: Tensor, *, temperature: float = 1.0, entropy: bool = True, chunk: int = CHUNK
) -> tuple[Tensor, Tensor | None]:
    """(log π of the given tokens, entropy in nats or ``None``): each (N, T), float32 at least, with gradient.

    ``logits``: (N, T, V), any float type, -inf allowed for tokens that are ruled out; ``tokens``: (N, T) integers, at
    every position the token that these logits are to predict, padding included. ``temperature`` divides the logits,
    as in sampling. Raises ``InputError`` where shapes do not fit.
    """
    _check(logits, tokens, temperature=temperature, chunk=chunk)
    log_probs, entropies = _TokenStatistics.apply(logits, tokens, temperature, entropy, chunk)  # type: ignore[no-untyped-call]
    return log_probs, entropies if entropy else None


def token_log_probs(logits: Tensor, tokens: Tensor, *, temperature: float = 1.0, chunk: int = CHUNK) -> Tensor:
    """log π of the given tokens: (N, T); see ``token_statistics``."""
    return token_statistics(logits, tokens, temperature=temperature, entropy=False, chunk=chunk)[0]


def full_entropy(logits: Tensor, *, temperature: float = 1.0, chunk: int = CHUNK) -> Tensor:
    """Entropy of every position's distribution over the vocabulary: (N, T), nats; see ``token_statistics``."""
    tokens = torch.zeros(logits.shape[:2], dtype=torch.long, device=logits.device)
    found = token_statistics(logits, tokens, temperature=temperature, entropy=True, chunk=chunk)[1]
    assert found is not None
    return found


def head_statistics(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    tokens: Tensor,
    *,
    temperature: float = 1.0,
    entropy: bool = True,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor | None]:
    """``token_statistics`` from the hidden states before the output layer, whose logits are never all there at once.

    ``hidden``: (N, T, D); ``head``: (N, t, D) to logits (N, t, V), row by row, such as ``lm_head``. It runs a second
    time in the backward pass; gradients reach ``hidden`` and the head's own weights.
    """
    if hidden.ndim != 3 or hidden.shape[:2] != tokens.shape:
        raise _misfit(hidden, tokens)

    def part(piece: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor | None]:
        return token_statistics(head(piece), wanted, temperature=temperature, entropy=entropy, chunk=chunk)

    pieces = [
        checkpoint(part, hidden[:, here], tokens[:, here], use_reentrant=False)
        for here in _windows(*tokens.shape, chunk=chunk)
    ]
    if not pieces:
        pieces = [part(hidden, tokens)]
    log_probs = torch.cat([one for one, _ in pieces], dim=1)
    return log_probs, torch.cat([one for _, one in pieces], dim=1) if entropy else None


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, tokens: Tensor, temperature: float, entropy: bool, chunk: int
    ) -> tuple[Tensor, Tensor]:
        precision = torch.promote_types(logits.dtype, torch.float32)
        log_probs = torch.empty(tokens.shape, dtype=precision, device=logits.device)
        entropies = torch.zeros_like(log_probs)
        for here in _windows(*tokens.shape, chunk=chunk):
            logs = _log_softmax(logits[:, here], temperature, precision)
            log_probs[:, here] = logs.gather(2, tokens[:, here, None]).squeeze(2)
            if entropy:
                entropies[:, here] = _surprise(logs).mul_(logs.exp()).sum(dim=2)
        ctx.save_for_backward(logits, tokens, entropies)
        ctx.temperature, ctx.entropy, ctx.chunk = temperature, entropy, chunk
        if not entropy:
            ctx.mark_non_differentiable(entropies)
        return log_probs, entropies

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_log_probs: Tensor, by_entropy: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, tokens, entropies = ctx.saved_tensors
        grad = torch.empty_like(logits)
        for here in _windows(*tokens.shape, chunk=ctx.chunk):
            logs = _log_softmax(logits[:, here], ctx.temperature, by_log_probs.dtype)
            upper = by_log_probs[:, here, None]
            if ctx.entropy:  # p ((-log p - H) by_entropy - by_log_probs)
                slope = _surprise(logs).sub_(entropies[:, here, None])
                slope.mul_(by_entropy[:, here, None]).sub_(upper).mul_(logs.exp_())
            else:
                slope = logs.exp_().mul_(-upper)
            slope.scatter_add_(2, tokens[:, here, None], upper)
            grad[:, here] = slope if ctx.temperature == 1 else slope.div_(ctx.temperature)
        return grad, None, None, None, None


def _log_softmax(logits: Tensor, temperature: float, precision: torch.dtype) -> Tensor:
    scaled = logits.to(precision)
    return torch.log_softmax(scaled if temperature == 1 else scaled / temperature, dim=2)


def _surprise(logs: Tensor) -> Tensor:
    """-log p, cut off at 1e4 nats, where p is 0 in any precision: p times it is then 0, not NaN."""
    return logs.neg().clamp_(max=1e4)


def _windows(rows: int, length: int, *, chunk: int) -> Iterator[slice]:
    """Windows of positions that hold about ``chunk`` tokens of all rows together, one position at least."""
    step = max(1, chunk // max(1, rows))
    for at in range(0, length, step):
        yield slice(at, min(at + step, length))


def _check(logits: Tensor, tokens: Tensor, *, temperature: float, chunk: int) -> None:
    if logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        raise _misfit(logits, tokens)
    if not temperature > 0 or chunk < 1:
        remedy = "Give a positive temperature (that of sampling) and a chunk of at least one token."
        raise InputError("no distribution of this kind", remedy=remedy, temperature=temperature, chunk=chunk)


def _misfit(states: Tensor, tokens: Tensor) -> InputError:
    return InputError(
        "logits or hidden states and tokens do not fit",
        remedy="Give (N, T, ...) and (N, T), shifted so that position t predicts token t.",
        given=tuple(states.shape),
        tokens=tuple(tokens.shape),
    )
