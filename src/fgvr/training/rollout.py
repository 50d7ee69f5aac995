"""Rollouts: several sampled replies to each prompt, by the model that is being trained.

1. *A prompt once.* A prompt and its picture are computed once; its n replies go on from copies of the key-value cache.
   ``transformers``' ``generate`` would compute both n times. The forward passes, caches and the filter of
   probabilities are transformers'; greedy replies equal those of ``generate``.
2. *Finished replies leave the batch* as soon as a quarter of it has finished, so that the longest reply alone does not
   cost what all do.
3. *Placeholders are never sampled*: a reply with a picture's token in it could not be read again.
4. *Another engine* (``rollout_vllm``) has the same signature, ``Engine``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fgvr.errors import InputError, MllmError, RunError
from fgvr.mllm.local_scoring import paddable
from fgvr.mllm.representations import MULTIMODAL_ROPE, image_token_id, without_output_layer
from fgvr.training.sights import Sight, Sights

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

log = logging.getLogger(__name__)
LEAVING = 0.25
"""Share of finished replies at which they leave the batch."""


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn (paper: temperature 1, top-p 0.99, at most 2048 tokens)."""

    temperature: float = 1.0
    """0: the most likely token."""
    top_p: float = 0.99
    max_tokens: int = 2048
    batch: int = 64
    """Replies written side by side (at least one prompt's); memory, not the result's distribution, depends on it."""

    def check(self) -> None:
        """Raises ``InputError`` for values that make no sense."""
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1 or self.batch < 1:
            remedy = "temperature >= 0, 0 < top_p <= 1, max_tokens and batch at least 1."
            raise InputError("this sampling makes no sense", remedy=remedy, sampling=self)


@dataclass(frozen=True)
class Sampled:
    """One reply."""

    tokens: tuple[int, ...]
    """With the token that ended it, where one did."""
    text: str
    """Without special tokens."""
    ended: bool
    """False where ``max_tokens`` cut it off."""


Engine = Callable[[Sequence[Sight], Sequence[int], Sampling, int], list[list[Sampled]]]
"""(sights, how many replies to each, how, seed) to the replies of each sight, in order."""


class TransformersEngine:
    """An ``Engine`` on the weights of a ``LocalMllm``, as they are when it is called."""

    def __init__(self, mllm: LocalMllm, sights: Sights) -> None:
        self.mllm, self.sights = mllm, sights

    def __call__(self, asked: Sequence[Sight], counts: Sequence[int], how: Sampling, seed: int) -> list[list[Sampled]]:
        """The replies; the same for the same weights, prompts, counts, ``how`` and ``seed`` on one machine."""
        how.check()
        found: dict[int, list[Sampled]] = {index: [] for index in range(len(asked))}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for group in self._groups(asked, counts, how.batch):
                replies = self._halving([asked[i] for i in group], [counts[i] for i in group], how)
                found |= dict(zip(group, replies, strict=True))
        return [found[i] for i in range(len(asked))]

    def _groups(self, asked: Sequence[Sight], counts: Sequence[int], most: int) -> Iterator[list[int]]:
        """Which prompts go together: neighbours, of one length where the model does not allow padding."""
        wanted = [index for index, count in enumerate(counts) if count > 0]
        by_length: dict[int, list[int]] = {0: wanted}
        if not paddable(self.mllm.model):
            by_length = {}
            for index in wanted:
                by_length.setdefault(self.sights.inputs([asked[index]])[1][0], []).append(index)
        for rows in by_length.values():
            group: list[int] = []
            for index in rows:
                if group and sum(counts[i] for i in group) + counts[index] > most:
                    yield group
                    group = []
                group.append(index)
            if group:
                yield group

    def _halving(self, asked: Sequence[Sight], counts: Sequence[int], how: Sampling) -> list[list[Sampled]]:
        """The replies of one batch; when memory runs out, of its two halves: of the prompts, then of the replies."""
        try:
            lines = iter(written(self.mllm, self.sights, asked, counts, how))
        except torch.OutOfMemoryError as error:
            if sum(counts) == 1:
                remedy = "Use fewer max_tokens, or a smaller model."
                raise MllmError("out of memory while sampling", remedy=remedy, model=self.mllm.name) from error
            log.warning("out of memory at %d prompts, %d replies; halving", len(asked), sum(counts))
        else:
            return [[self._sampled(next(lines)) for _ in range(count)] for count in counts]
        if len(asked) == 1:
            parts = (counts[0] // 2, counts[0] - counts[0] // 2)
            return [[reply for part in parts for reply in self._halving(asked, [part], how)[0]]]
        half = len(asked) // 2
        return self._halving(asked[:half], counts[:half], how) + self._halving(asked[half:], counts[half:], how)

    def _sampled(self, tokens: Sequence[int]) -> Sampled:
        ended = bool(tokens) and tokens[-1] in self.mllm._ends
        kept = tokens[:-1] if ended else tokens
        text = str(self.mllm.processor.tokenizer.decode(kept, skip_special_tokens=True))
        return Sampled(tuple(tokens), text.strip(), ended)


def written(
    mllm: LocalMllm, sights: Sights, asked: Sequence[Sight], counts: Sequence[int], how: Sampling
) -> list[list[int]]:
    """Token ids of ``counts[i]`` (at least 1) replies to sight i, one prompt's next to one another, with their ends.

    Draws from torch's own generator. The model should be in inference mode.
    """
    model = mllm.model
    inputs, _ = sights.inputs(asked, padding_side="left")
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    cache = prompt.past_key_values
    device = prompt.logits.device
    whose = torch.arange(len(asked), device=device).repeat_interleave(torch.tensor(counts, device=device))
    cache.batch_select_indices(whose)
    logits, mask = prompt.logits[whose, -1], inputs["attention_mask"][whose]
    offsets = _offsets(model, len(asked))
    offsets = None if offsets is None else offsets[whose]
    choose, ends = _Choice(mllm, how), torch.tensor(mllm._ends, device=device)
    lines: list[list[int]] = [[] for _ in range(len(whose))]
    rows = torch.arange(len(lines), device=device)  # whose reply a row of the batch is
    going = torch.ones(len(lines), dtype=torch.bool, device=device)
    for step in range(how.max_tokens):
        tokens = choose(logits)
        for row, token, alive in zip(rows.tolist(), tokens.tolist(), going.tolist(), strict=True):
            if alive:
                lines[row].append(token)
        going = going & ~torch.isin(tokens, ends)
        left = int(going.sum())
        if left == 0 or step + 1 == how.max_tokens:
            break
        if left <= (1 - LEAVING) * len(rows):
            keep = going.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, mask, tokens, going = rows[keep], mask[keep], tokens[keep], going[keep]
            offsets = None if offsets is None else offsets[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        more = _next(mask, offsets)
        logits = model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True, **more).logits[:, -1]
    return lines


class _Choice:
    """The next token of every row: the most likely one, or drawn at a temperature from the likeliest of mass top-p."""

    def __init__(self, mllm: LocalMllm, how: Sampling) -> None:
        from transformers import TopPLogitsWarper

        self.how = how
        self.never = placeholders(mllm)
        self.top_p = TopPLogitsWarper(how.top_p) if how.top_p < 1 else None

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        scores = logits.float()
        scores[:, self.never] = float("-inf")
        if not bool(scores.amax(dim=-1).isfinite().all()):
            remedy = "Use a smaller learning rate, and go on from an earlier checkpoint."
            raise RunError("the model's scores of the next token are not finite any more", remedy=remedy)
        if self.how.temperature == 0:
            return scores.argmax(dim=-1)
        scores = scores / self.how.temperature
        if self.top_p is not None:
            scores = self.top_p(None, scores)
        return torch.multinomial(scores.softmax(dim=-1), 1)[:, 0]


def placeholders(mllm: LocalMllm) -> list[int]:
    """Token ids that stand for pictures or frame them: no reply may hold one."""
    tokenizer = mllm.processor.tokenizer
    named = {str(one): int(token) for one, token in tokenizer.get_added_vocab().items()}
    framing = {token for name, token in named.items() if any(word in name for word in ("image", "vision", "video"))}
    size = int(mllm.model.get_output_embeddings().weight.shape[0])
    return sorted(token for token in {image_token_id(mllm), *framing} if token < size)


def _offsets(model: Any, count: int) -> torch.Tensor | None:
    """(B, 1) by how much positions run ahead of the tokens after a picture; ``None`` for other kinds of positions."""
    if model.config.model_type not in MULTIMODAL_ROPE:
        return None
    found: torch.Tensor = without_output_layer(model).rope_deltas
    return found.reshape(-1, 1).expand(count, 1)


def _next(mask: torch.Tensor, offsets: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """What a pass over one further token needs to know of the padding before it; ``mask`` includes that token."""
    if offsets is None:
        return {} if bool(mask.all()) else {"attention_mask": mask}
    positions = (mask.long().cumsum(dim=1) - 1)[:, -1:] + offsets
    return {"attention_mask": mask, "position_ids": positions[None].expand(3, -1, -1)}
