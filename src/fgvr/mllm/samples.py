"""Texts and their probabilities: which of several replies to one question stands for all. Pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fgvr.mllm.base import Sample


def likeliest(samples: Sequence[Sample]) -> int:
    """Index of the likeliest text; ``samples`` must hold one at least.

    Equal texts are one, with the probability of the likeliest way to write it (a text drawn twice is not twice as
    likely). Where a log-probability is missing, the text drawn most often. Ties go to the first drawn.

    Finished texts come first, whatever their probability; then those cut off (each is the beginning of many texts and
    as likely as all of them together); then refusals and filtered replies; then empty ones.
    """
    worded = [at for at, sample in enumerate(samples) if sample.text.strip()]
    finished, cut = ([at for at in worded if samples[at].finish == how] for how in ("stop", "length"))
    candidates = finished or cut or worded or range(len(samples))
    logprobs = {at: logprob for at in candidates if (logprob := samples[at].logprob) is not None}
    if len(logprobs) == len(candidates):
        return max(candidates, key=logprobs.__getitem__)
    drawn = Counter(samples[at].text.strip() for at in candidates)
    return max(candidates, key=lambda at: drawn[samples[at].text.strip()])


def mean_probability(logprobs: Sequence[float]) -> float | None:
    """``Reply.confidence``: exp of the mean log-probability of a text's tokens; ``None`` where there are none."""
    return min(1.0, math.exp(sum(logprobs) / len(logprobs))) if logprobs else None
