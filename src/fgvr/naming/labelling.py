"""One question per image, ``l_i = L(x_i, p)``: step 1 of NeaR, and of every other method that begins with names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from fgvr.errors import InputError
from fgvr.mllm.base import BY_ITEM, Mllm, Parameters, Request
from fgvr.mllm.outcomes import Answers
from fgvr.mllm.scheduler import ask_all
from fgvr.naming.prompts import (
    META_PROMPT,
    PAPER_PROMPT,
    category_of,
    meta_images,
    reasoned_prompt,
    structured_prompt,
)
from fgvr.naming.sampled import parse_samples
from fgvr.types import ImageItem, NamedImage, Usage

logger = logging.getLogger(__name__)

PromptKind = Literal["paper", "structured", "reasoned", "reasoned-short"]
PROMPTS: tuple[str, ...] = get_args(PromptKind)

MAX_TOKENS: dict[str, int] = {"paper": 64, "structured": 200, "reasoned": 2048, "reasoned-short": 256}
"""Room for a reply. Fine-R1's evaluation gives 2048; a reply cut off in its thinking has no answer at all."""
SAMPLING_TEMPERATURE = 1.0
"""The model's own distribution."""


@dataclass(frozen=True)
class Labelled:
    """The MLLM's answers about the support set."""

    named: tuple[NamedImage, ...]
    """One per item, in order. An item without a reply has ``name=None`` and status ``unanswered``."""
    answers: Answers
    category: str | None = None
    """The super-category, where it was asked for and understood."""
    usage: Usage = field(default_factory=Usage)
    """Of all questions of this call, the meta question included."""


def label_images(
    items: Sequence[ImageItem],
    mllm: Mllm,
    *,
    prompt: PromptKind = "paper",
    text: str | None = None,
    hashes: Sequence[str] = (),
    samples: int = 1,
    **asking: Any,
) -> Labelled:
    """Ask about every image once.

    Args:
        prompt: ``paper`` (verbatim), ``structured`` (one meta question, then JSON answers), ``reasoned`` or
            ``reasoned-short`` (thinking in tags, then the name in tags: for a model tuned to reason).
        text: a prompt of your own instead; ``prompt`` then says only how long a reply may be (``MAX_TOKENS``).
        hashes: SHA-256 of the items' bytes where known.
        samples: replies drawn in each call; more than one gives a distribution over names (``naming/sampled.py``) where
            the provider can draw several.
        asking: what ``ask_all`` takes: ledger, cache, concurrency, budget, progress, ...

    Items that failed or were not reached come back unanswered, never with an invented name.
    """
    category, spent = None, Usage()
    if text is None and prompt == "structured" and mllm.preprocessing != BY_ITEM:
        category, spent = _super_category(items, mllm, asking)
    requests = naming_requests(items, prompt=prompt, text=text, category=category, hashes=hashes, samples=samples)
    answers = ask_all(requests, mllm, **asking)
    if answers.failures or answers.not_asked:
        logger.warning("%d of %d images have no reply", len(answers.failures) + len(answers.not_asked), len(items))
    named = tuple(
        parse_samples(answers.replies[item.id], item.id)
        if item.id in answers.replies
        else NamedImage(item.id, None, status="unanswered")
        for item in items
    )
    doubtful = [one for one in named if one.note]
    if doubtful:
        first = f"{doubtful[0].item_id}: {doubtful[0].note}"
        logger.warning("%d of %d replies deserve a second look; first: %s", len(doubtful), len(items), first)
    return Labelled(named, answers, category, spent + answers.usage)


def naming_requests(
    items: Sequence[ImageItem],
    *,
    prompt: PromptKind = "paper",
    text: str | None = None,
    category: str | None = None,
    hashes: Sequence[str] = (),
    samples: int = 1,
) -> list[Request]:
    """The questions, one per item; what ``--dry-run`` counts."""
    if prompt not in PROMPTS:
        raise InputError(f"unknown prompt {prompt!r}", remedy=f"Use one of {', '.join(PROMPTS)}.")
    question = text or _question(prompt, category)
    known = hashes or [""] * len(items)
    decoding = Parameters(max_tokens=MAX_TOKENS[prompt])
    if samples != 1:  # the seed makes a sampled answer one that can be kept
        decoding = replace(decoding, temperature=SAMPLING_TEMPERATURE, samples=samples, seed=0)
    return [
        Request(
            item_id=item.id,
            prompt=question,
            images=(item.path,),
            image_hashes=(digest,) if digest else (),
            parameters=decoding,
        )
        for item, digest in zip(items, known, strict=True)
    ]


def _question(prompt: PromptKind, category: str | None) -> str:
    if prompt == "paper":
        return PAPER_PROMPT
    if prompt == "structured":
        return structured_prompt(category)
    return reasoned_prompt(short=prompt == "reasoned-short")


def _super_category(items: Sequence[ImageItem], mllm: Mllm, asking: dict[str, Any]) -> tuple[str | None, Usage]:
    """One question about the first, middle and last image. Without a usable answer the prompt stays general."""
    shown = tuple(items[index].path for index in meta_images(len(items)))
    request = Request("(collection)", META_PROMPT, shown, parameters=Parameters(max_tokens=16), stage="meta")
    quiet = {key: value for key, value in asking.items() if key != "progress"}
    answers = ask_all([request], mllm, **quiet)
    reply = answers.replies.get("(collection)")
    category = category_of(reply.text) if reply else None
    if reply is not None and category is None:
        logger.warning("no plain category in the reply about the collection (%.60r); asking of 'things'", reply.text)
    else:
        logger.info("super-category: %s", category)
    return category, answers.usage
