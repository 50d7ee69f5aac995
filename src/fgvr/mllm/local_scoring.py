"""Log-probabilities out of a causal image-text model: of generated tokens, and of given options.

Options are scored with one pass over the prompts of a batch ("prefill") and short passes over the options on its
key-value cache. Prompts of different length are padded on the left, which is exact where positions are rotary: a
shift of all positions of a prompt changes no attention score, and multimodal rotary positions are counted from the mask
(`PADDABLE`). Other models get batches of one prompt length.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor

_OPTION_ROWS = 64
"""Rows of options per pass after the prefill, while the batch is smaller than that."""

_MULTIMODAL_ROPE = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl"})
_ROTARY_TEXT = frozenset({"llama", "mistral", "qwen2"})
PADDABLE = _MULTIMODAL_ROPE | {"llava", "idefics2", "idefics3", "smolvlm"}
"""Model types whose left-padded scores are tested to be those of single prompts, with rotary text models."""


class TokenLogprobs(LogitsProcessor):  # type: ignore[misc]
    """Notes the log-probability of every token ``generate`` takes, one step late, holding one step of logits.

    They are those at temperature 1: ``generate`` asks the processors it is given before it applies a temperature or
    cuts unlikely tokens off, but after the penalties of the model's settings.

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


def paddable(model: Any) -> bool:
    """Whether prompts of different length may share a batch, see the module docstring."""
    kind = model.config.model_type
    return kind in _MULTIMODAL_ROPE or (kind in PADDABLE and model.config.get_text_config().model_type in _ROTARY_TEXT)


def next_token_logprobs(
    model: Any, inputs: Mapping[str, torch.Tensor], tokens: Sequence[Sequence[int]]
) -> list[torch.Tensor]:
    """For each prompt, (N_b,) float32: log p(token | prompt, picture) of its ``tokens``. One pass, nothing is kept."""
    logits = model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return [row[list(each)] for row, each in zip(logprobs, tokens, strict=True)]


def option_logprobs(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    options: Sequence[Sequence[Sequence[int]]],
    *,
    ends: Sequence[int],
) -> list[torch.Tensor]:
    """For each prompt, (N_b,) float32: sum of log p(token | prompt, picture, tokens before) over an option and its end.

    The end is any token of ``ends`` (their probabilities add up), so that a name which begins another one does not
    profit from being short. ``inputs``: B prompts from the processor, padded on the left if `paddable`; ``options[b]``:
    token ids of prompt b's options. The prompts and their pictures are computed once; options follow on their
    key-value cache, one of each prompt at a time once the batch is large. Memory: twice that cache, or twice
    ``_OPTION_ROWS`` prompts' where the batch is smaller.
    """
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    first = torch.log_softmax(prompt.logits[:, -1].float(), dim=-1)  # (B, V)
    most = max(map(len, options))
    side_by_side = min(most, max(1, _OPTION_ROWS // len(options)))
    cache = prompt.past_key_values
    if side_by_side > 1:
        cache.batch_repeat_interleave(side_by_side)
    mask = inputs["attention_mask"].repeat_interleave(side_by_side, dim=0)
    parts = []
    for start in range(0, most, side_by_side):
        # A prompt with fewer options than another repeats its first one; what that gives is dropped below.
        taken = [row[at] if at < len(row) else row[0] for row in options for at in range(start, start + side_by_side)]
        last = start + side_by_side >= most
        scores = _continue(model, cache if last else _branch(cache), first, mask, taken, ends=ends)
        parts.append(scores.reshape(len(options), side_by_side))
    table = torch.cat(parts, dim=1)
    return [table[row, : len(each)] for row, each in enumerate(options)]


def _branch(cache: Any) -> Any:
    """A cache that can be written on while ``cache`` stays as it is; the keys and values so far are shared."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    # These two replace their tensors when they grow; layers of other kinds write into them.
    growing = (DynamicLayer, DynamicSlidingWindowLayer)
    branch = copy.copy(cache)
    branch.layers = [copy.copy(each) if type(each) in growing else copy.deepcopy(each) for each in cache.layers]
    return branch


def _continue(
    model: Any,
    cache: Any,
    first: torch.Tensor,
    mask: torch.Tensor,
    options: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
) -> torch.Tensor:
    """(R,) scores of one option a cache row; ``first``: (B, V), of the next token after each prompt; R = B times n."""
    ids, lengths = _option_rows(options, pad=int(ends[0]))
    ids, lengths = ids.to(first.device), lengths.to(first.device)
    logits = model(
        input_ids=ids, past_key_values=cache, use_cache=True, **_after_padding(model, mask, ids.shape[1])
    ).logits
    logits = logits.float()  # (R, L, V): position t predicts token t + 1
    total = logits.logsumexp(dim=-1)
    inner = logits[:, :-1].gather(2, ids[:, 1:, None])[:, :, 0] - total[:, :-1]
    inside = torch.arange(1, ids.shape[1], device=ids.device)[None] < lengths[:, None]
    start = first.repeat_interleave(len(ids) // len(first), dim=0).gather(1, ids[:, :1])[:, 0]
    rows = torch.arange(len(ids), device=ids.device)
    end = logits[rows, lengths - 1][:, list(ends)].logsumexp(dim=-1) - total[rows, lengths - 1]
    scores: torch.Tensor = start + (inner * inside).sum(dim=1) + end
    return scores


def _after_padding(model: Any, mask: torch.Tensor, length: int) -> dict[str, torch.Tensor]:
    """What a pass over ``length`` tokens after the prompts needs to know of their padding; nothing without any.

    Tokens padded on the right need no mask: they come after all that is read.
    """
    if bool(mask.all()):
        return {}
    whole = torch.cat([mask, mask.new_ones(len(mask), length)], dim=1)
    if model.config.model_type not in _MULTIMODAL_ROPE:
        return {"attention_mask": whole}
    # With a mask, Qwen-VL models would compute positions for the whole length here, not for the new tokens.
    positions = (whole.long().cumsum(dim=1) - 1)[:, -length:]
    offsets = model.model.rope_deltas.to(mask.device)
    positions = positions + offsets.repeat_interleave(len(mask) // len(offsets), dim=0)
    return {"attention_mask": whole, "position_ids": positions[None].expand(3, -1, -1)}


def _option_rows(options: Sequence[Sequence[int]], *, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Options' token ids to ids (N, L) right-padded, and lengths (N,)."""
    lengths = torch.tensor([len(option) for option in options])
    ids = torch.full((len(options), int(lengths.max())), pad)
    for row, option in enumerate(options):
        ids[row, : len(option)] = torch.tensor(option)
    return ids, lengths


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
