"""Several replies of a local model to one prompt, drawn token by token.

1. *The prompt once.* Prompt and pictures are computed once; the replies go on from copies of its key-value cache.
   ``transformers``' ``generate`` with ``num_return_sequences`` would compute both for every reply.
2. *From the model itself.* Nothing is cut off (no top-k, no top-p), and penalties of the model folder's generation
   settings are left out: at temperature 1 a text is drawn with its own probability, which is noted with it.
3. *Repeatable.* Every reply has its own random numbers, one a token, from the CPU; the token is looked up on the CPU in
   double precision. So neither the device nor a batch cut in halves changes which random number decides what.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from fgvr.errors import MllmError
from fgvr.mllm.base import Parameters, Reply, Request
from fgvr.mllm.representations import MULTIMODAL_ROPE, without_output_layer
from fgvr.mllm.samples import likeliest, mean_probability
from fgvr.types import Usage

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

logger = logging.getLogger(__name__)


@dataclass
class Drawn:
    """One reply."""

    tokens: list[int] = field(default_factory=list)
    """With the token that ended it, where one did."""
    logprobs: list[float] = field(default_factory=list)
    """Natural log-probability of each token at temperature 1."""


def sampled(mllm: LocalMllm, request: Request) -> Reply:
    """Several replies to one request; its seed alone decides them, whatever else is asked.

    Raises ``torch.OutOfMemoryError`` where memory does not last for a single one.
    """
    started = time.perf_counter()
    parameters, inputs = request.parameters, mllm._inputs([request])
    with torch.inference_mode():
        drawn = draw_halving(
            mllm.model, inputs, chances(parameters), temperature=parameters.temperature, ends=mllm._ends
        )
    samples = tuple(mllm._sample(each.tokens, each.logprobs) for each in drawn)
    best = likeliest(samples)
    written, seconds = sum(len(each.tokens) for each in drawn), time.perf_counter() - started
    return Reply(
        item_id=request.item_id,
        text=samples[best].text,
        model=mllm.name,
        usage=Usage(1, inputs["input_ids"].shape[1], written, seconds),
        confidence=mean_probability(drawn[best].logprobs),
        finish=samples[best].finish,
        samples=samples,
    )


def chances(parameters: Parameters) -> torch.Tensor:
    """(samples, max_tokens) float64 in [0, 1): what decides each token of each reply. Without a seed, torch's own."""
    seed = parameters.seed
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.rand(parameters.samples, parameters.max_tokens, generator=generator, dtype=torch.float64)


def draw_halving(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    chances: torch.Tensor,
    *,
    temperature: float,
    ends: Sequence[int],
) -> list[Drawn]:
    """:func:`draw`; when memory runs out, in two halves of the replies. Raises what a single reply raises."""
    try:
        return draw(model, inputs, chances, temperature=temperature, ends=ends)
    except torch.OutOfMemoryError:
        if len(chances) == 1:
            raise
        logger.warning("out of memory at %d samples; halving", len(chances))
    first, second = chances.tensor_split(2)
    drawn = draw_halving(model, inputs, first, temperature=temperature, ends=ends)
    return drawn + draw_halving(model, inputs, second, temperature=temperature, ends=ends)


def draw(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    chances: torch.Tensor,
    *,
    temperature: float,
    ends: Sequence[int],
) -> list[Drawn]:
    """S replies to the one prompt of ``inputs`` (from the processor, batch 1), each of T tokens at most.

    ``chances``: (S, T), see :func:`chances`; ``ends``: tokens that end a reply. Raises MllmError where the model's
    scores are not numbers.
    """
    prompt = model(**inputs, use_cache=True, logits_to_keep=1)
    cache, device = prompt.past_key_values, prompt.logits.device
    cache.batch_repeat_interleave(len(chances))
    ahead = _positions_ahead(model, inputs)
    logits = prompt.logits[:, -1]
    drawn, rows = [Drawn() for _ in chances], torch.arange(len(chances))
    for step in range(chances.shape[1]):
        logprobs = torch.log_softmax(logits.float(), dim=-1).cpu().expand(len(rows), -1)
        tokens = choose(logprobs, chances[rows, step], temperature=temperature)
        taken = logprobs.gather(1, tokens[:, None])[:, 0]
        for row, token, logprob in zip(rows.tolist(), tokens.tolist(), taken.tolist(), strict=True):
            drawn[row].tokens.append(token)
            drawn[row].logprobs.append(logprob)
        going = (~torch.isin(tokens, torch.tensor(ends))).nonzero()[:, 0]
        if len(going) == 0 or step + 1 == chances.shape[1]:
            break
        if len(going) < len(rows):
            cache.batch_select_indices(going.to(device))
            rows, tokens = rows[going], tokens[going]
        more = _next(inputs["input_ids"].shape[1] + step, ahead, len(rows))
        going_on = model(input_ids=tokens[:, None].to(device), past_key_values=cache, use_cache=True, **more)
        logits = going_on.logits[:, -1]
    return drawn


def choose(logprobs: torch.Tensor, chances: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """(R,) tokens: the first whose share of the cumulated distribution (R, V) reaches past ``chances`` (R,)."""
    if bool(logprobs.isnan().any()):
        raise MllmError("the model's scores are not numbers", remedy="Load it with another dtype, such as bfloat16.")
    cumulated = torch.softmax(logprobs.double() / temperature, dim=-1).cumsum(dim=-1)
    # Times the last sum, which rounding may leave beside 1.
    tokens = torch.searchsorted(cumulated, (chances * cumulated[:, -1])[:, None], right=True)[:, 0]
    return tokens.clamp(max=logprobs.shape[1] - 1)


def _positions_ahead(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """(1, 1) by how much positions run ahead of the tokens after a picture; ``None`` for other kinds of positions."""
    if model.config.model_type not in MULTIMODAL_ROPE:
        return None
    if "pixel_values" not in inputs:  # such a model would go on with the offset of the last picture it saw
        return torch.zeros(1, 1, dtype=torch.long, device=inputs["input_ids"].device)
    found: torch.Tensor = without_output_layer(model).rope_deltas
    return found.reshape(1, 1)


def _next(position: int, ahead: torch.Tensor | None, count: int) -> dict[str, torch.Tensor]:
    """What a pass over one further token of ``count`` replies needs to know of its place."""
    return {} if ahead is None else {"position_ids": (ahead + position).expand(3, count, 1)}
