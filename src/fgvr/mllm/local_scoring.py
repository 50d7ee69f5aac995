"""Log-probabilities out of a causal image-text model: of generated tokens, and of given options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor

_OPTION_ROWS = 64
"""Option rows per forward pass after the shared prefill; bounds the copies of the key-value cache."""


class TokenLogprobs(LogitsProcessor):  # type: ignore[misc]
    """Notes the log-probability of every token ``generate`` takes, one step late, holding one step of logits.

    ``output_scores`` would keep (B, V) per step: 300 MB for 64 tokens of a 150,000-word vocabulary at batch 8.
    """

    def __init__(self) -> None:
        self._steps: list[torch.Tensor] = []
        self._pending: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._settle(input_ids[:, -1])
        self._pending = torch.log_softmax(scores.float(), dim=-1)
        return scores

    def _settle(self, taken: torch.Tensor) -> None:
        if self._pending is not None:
            self._steps.append(self._pending.gather(1, taken[:, None])[:, 0])

    def finish(self, sequences: torch.Tensor) -> torch.Tensor:
        """(B, T) float32 log-probabilities of the generated part; ``sequences``: what ``generate`` returned."""
        self._settle(sequences[:, -1])
        return torch.stack(self._steps, dim=1)


def option_rows(options: Sequence[Sequence[int]], *, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Options' token ids to ids (N, L) right-padded, and lengths (N,)."""
    lengths = torch.tensor([len(option) for option in options])
    ids = torch.full((len(options), int(lengths.max())), pad)
    for row, option in enumerate(options):
        ids[row, : len(option)] = torch.tensor(option)
    return ids, lengths


def option_logprobs(
    model: Any, inputs: Mapping[str, torch.Tensor], options: Sequence[Sequence[int]], *, ends: Sequence[int]
) -> torch.Tensor:
    """(B, N) float32: sum of log p(token | prompt, picture, tokens before) over each option and the end after it.

    The end is any token of ``ends`` (their probabilities add up), so that a name which begins another one does not
    profit from being short. ``inputs``: B prompts of equal length without padding, from the processor. The prompt and
    its pictures are computed once; options follow on copies of its key-value cache.
    """
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    first = torch.log_softmax(prompt.logits[:, -1].float(), dim=-1)  # (B, V)
    per_pass = max(1, _OPTION_ROWS // first.shape[0])
    parts = [
        _continue(
            model, prompt, first, options[start : start + per_pass], ends=ends, last=start + per_pass >= len(options)
        )
        for start in range(0, len(options), per_pass)
    ]
    return torch.cat(parts, dim=1)


def _continue(
    model: Any, prompt: Any, first: torch.Tensor, options: Sequence[Sequence[int]], *, ends: Sequence[int], last: bool
) -> torch.Tensor:
    import copy

    batch, count = first.shape[0], len(options)
    ids, lengths = option_rows(options, pad=int(ends[0]))
    ids, lengths = ids.to(first.device).repeat(batch, 1), lengths.to(first.device).repeat(batch)
    cache = prompt.past_key_values if last else copy.deepcopy(prompt.past_key_values)
    cache.batch_repeat_interleave(count)
    # No attention mask: nothing is padded on the left, and what is padded on the right comes after all that is read.
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
    logprobs = torch.log_softmax(logits.float(), dim=-1)  # (B N, L, V): position t predicts token t + 1
    inner = logprobs[:, :-1].gather(2, ids[:, 1:, None])[:, :, 0]
    inside = torch.arange(1, ids.shape[1], device=ids.device)[None] < lengths[:, None]
    start = first.repeat_interleave(count, dim=0).gather(1, ids[:, :1])[:, 0]
    rows = torch.arange(len(ids), device=ids.device)
    end = logprobs[rows, lengths - 1][:, list(ends)].logsumexp(dim=-1)
    return (start + (inner * inside).sum(dim=1) + end).reshape(batch, count)


def option_logprobs_full(
    model: Any, inputs: Mapping[str, torch.Tensor], option: Sequence[int], *, ends: Sequence[int]
) -> torch.Tensor:
    """(1,) float32: the same for one prompt without pictures and one option, by one forward pass without a cache.

    For text-only prompts: Qwen-VL models keep the picture offsets of their last call and would apply them here.
    """
    tail = torch.tensor([list(option)], device=inputs["input_ids"].device)
    ids = torch.cat([inputs["input_ids"], tail], dim=1)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    logprobs = torch.log_softmax(logits[:, -len(option) - 1 :].float(), dim=-1)
    inside = logprobs[:, :-1].gather(2, tail[:, :, None])[:, :, 0].sum(dim=1)
    return inside + logprobs[:, -1, list(ends)].logsumexp(dim=-1)
