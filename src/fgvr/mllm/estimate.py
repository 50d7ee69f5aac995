"""What a run would take, before anything is asked: ``--dry-run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fgvr.mllm.base import DEFAULT_MAX_SIDE, Mllm, Request, Resizing
from fgvr.mllm.prices import Price, price_of
from fgvr.mllm.tokens import likely_input_tokens, most_tokens, replies_of


@dataclass(frozen=True)
class Estimate:
    """Calls, tokens, dollars and seconds of requests not yet answered. Rules of thumb, see ``tokens.py``."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    """Likely US dollars; ``None`` when the price is unknown."""
    cost_at_most: float | None
    """With every reply at its token limit and one attempt each (two calls where several samples are asked for, see
    ``tokens.most_tokens``); what the spending cap reserves."""
    seconds: float
    """Wall time at the given concurrency."""


def estimate(
    requests: Sequence[Request],
    mllm: Mllm,
    *,
    prices: Mapping[str, Price] | None = None,
    reply_tokens: int | None = None,
    seconds_per_call: float = 2.0,
    concurrency: int = 8,
) -> Estimate:
    """Estimate for ``requests``: give it ``[request for request, _ in plan(...).leaders]`` to leave out what is known.

    ``reply_tokens``: likely length of a reply (of each sample), default half the limit. Pictures are taken as 4:3 at
    the provider's largest side.
    """
    side = mllm.max_side if isinstance(mllm, Resizing) else DEFAULT_MAX_SIDE
    name, price = mllm.name, price_of(mllm.name, prices=prices, local=mllm.local)
    tokens_in = sum(likely_input_tokens(each, name, side=(side, side * 3 // 4)) for each in requests)
    most = [most_tokens(each, name, max_side=side) for each in requests]
    most_in, most_out = sum(tokens for tokens, _ in most), sum(tokens for _, tokens in most)
    limits = sum(each.parameters.max_tokens * replies_of(each) for each in requests)
    tokens_out = limits // 2 if reply_tokens is None else reply_tokens * sum(map(replies_of, requests))
    calls_at_once = 1 if mllm.local else max(1, concurrency)
    return Estimate(
        calls=len(requests),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=None if price is None else price.cost(input_tokens=tokens_in, output_tokens=tokens_out),
        cost_at_most=None if price is None else price.cost(input_tokens=most_in, output_tokens=most_out),
        seconds=len(requests) * seconds_per_call / min(calls_at_once, max(1, len(requests))),
    )
