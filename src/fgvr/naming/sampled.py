"""Several replies to one question become a distribution over names: what the MLLM said, and how likely it was to.

A greedy reply is the MLLM's likeliest name; the next likely one, which is often right where the first is wrong, costs
no further call when a few replies are drawn at once. Where the provider tells the probability of each text, a text that
was drawn counts once, with its probability: eight draws then say as much as hundreds of counted ones. Otherwise texts
are counted (Wang et al. 2023, self-consistency, count as well). Texts with the same name add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fgvr.labels import normalise, parse_reply
from fgvr.mllm.base import Reply, Sample
from fgvr.types import NamedImage


def parse_samples(reply: Reply, item_id: str) -> NamedImage:
    """The likeliest name, the others as ``alternatives``, best first, and ``chances`` for all of them.

    ``chances`` are shares of all that was drawn, so that they sum to less than one where some replies name nothing.
    Where naming nothing is likelier than any name, the reply has no name. A reply without samples is parsed alone.
    """
    if not reply.samples:
        return parse_reply(reply.text, item_id)
    weights = text_weights(reply.samples)
    parsed = {text: parse_reply(text, item_id) for text in weights}
    found: dict[str, float] = {}
    best: dict[str, str] = {}
    for text, weight in sorted(weights.items(), key=lambda pair: -pair[1]):
        key = normalise(parsed[text].name or "")
        found[key] = found.get(key, 0.0) + weight
        best.setdefault(key, text)
    nothing = found.pop("", 0.0)
    order = sorted(found, key=lambda key: (-found[key], key))
    if not order or nothing > found[order[0]]:
        return replace(parsed[best[""]], reply=reply.text)
    first = parsed[best[order[0]]]
    others = [parsed[best[key]].name for key in order[1:]]
    return replace(
        first,
        alternatives=tuple(name for name in others if name is not None),
        confidence=found[order[0]],
        chances=tuple(found[key] for key in order),
        reply=reply.text,
    )


def text_weights(samples: Sequence[Sample]) -> dict[str, float]:
    """Distinct texts and their shares, which sum to one: by their probability, by their counts where one has none.

    A text that was cut off is as likely as all that might follow, and counts only where all were. A text whose
    probability is nought beside the likeliest one (services write -9999 for "unlikely") is left out.
    """
    texts: dict[str, float] = {}
    whole = [sample for sample in samples if sample.finish != "length"] or samples
    known = all(sample.logprob is not None and math.isfinite(sample.logprob) for sample in whole)
    for sample in whole:
        if known:
            texts[sample.text] = max(texts.get(sample.text, -math.inf), sample.logprob or 0.0)
        else:
            texts[sample.text] = texts.get(sample.text, 0.0) + 1.0
    if known:  # the greatest first, so that nothing underflows
        top = max(texts.values())
        texts = {text: math.exp(value - top) for text, value in texts.items()}
    total = sum(texts.values())
    return {text: value / total for text, value in texts.items() if value > 0}
