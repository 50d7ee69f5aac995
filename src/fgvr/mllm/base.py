"""One request/reply protocol for every multimodal LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from fgvr.errors import InputError
from fgvr.types import Usage

BY_ITEM = "by item"
"""``preprocessing`` of a provider that answers by item id, not by picture content (recorded replies)."""


DEFAULT_MAX_SIDE = 1024
"""Longer side in pixels of a picture sent to a service."""


@dataclass(frozen=True)
class Parameters:
    """Decoding parameters; part of the cache key. Raises ``InputError`` for several samples at temperature zero."""

    max_tokens: int = 64
    temperature: float = 0.0
    seed: int | None = None
    samples: int = 1
    """Replies drawn to the one question in the one call (``n`` of a chat completion). More than one needs a temperature
    above zero; the question and its pictures are paid for once, the replies each. Nothing is drawn where options are
    scored."""

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.samples > 1 and not self.temperature > 0):
            raise InputError(
                "one sample at least, and several only at a temperature above zero",
                remedy="Set a temperature (1 draws from the model itself), or ask for one sample.",
                samples=self.samples,
                temperature=self.temperature,
            )


@dataclass(frozen=True)
class Sample:
    """One of several replies to the same question."""

    text: str
    logprob: float | None = None
    """Natural log-probability of the whole text under the model, where the provider can tell. A local model's is that
    at temperature 1, the end of the text included; a service's is the sum of what it lists, usually without the end."""
    finish: str = "stop"
    """As ``Reply.finish``."""


@dataclass(frozen=True)
class Request:
    """One question about zero or more images."""

    item_id: str
    """Whose ledger line this is."""
    prompt: str
    images: tuple[Path, ...] = ()
    image_hashes: tuple[str, ...] = ()
    """SHA-256 of each image's bytes, filled by the scheduler; the file name is never part of the cache key."""
    system: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    options: tuple[str, ...] = ()
    """For option scoring: the answers to be compared; empty for free generation."""
    stage: str = "label"
    """Which step of a method asks (ledger and cost are grouped by it)."""


@dataclass(frozen=True)
class Reply:
    """The answer to one request."""

    item_id: str
    text: str
    model: str
    usage: Usage
    option_logprobs: tuple[float, ...] = ()
    """Natural-log probability of each option, normalised over the options; empty for free generation."""
    confidence: float | None = None
    """exp(mean token log-probability) of the generated text where the provider can tell."""
    cached: bool = False
    attempts: int = 1
    finish: str = "stop"
    """``stop``, ``length`` (cut off at ``max_tokens``), ``content_filter`` or ``refusal``."""
    usage_estimated: bool = False
    """True when the provider did not count tokens and ``usage`` is a rule of thumb."""
    samples: tuple[Sample, ...] = ()
    """All replies that were drawn, ``text`` (the likeliest one) among them, where more than one was asked for and the
    provider can draw several; else empty, and then ``text`` is the greedy reply."""


class Mllm(Protocol):
    """A provider. ``answer`` takes one batch (``batch_size`` at most) and returns replies in order, or raises.

    A provider does not retry, cache or count money: the scheduler does.
    """

    name: str
    """For ledgers and price tables, e.g. ``gpt-4o`` or ``fieldguide``."""
    revision: str
    """What else identifies the weights or service: digest, Hub revision, base URL."""
    preprocessing: str
    """How pictures reach the model (size limits, encoding); part of the cache key."""
    batch_size: int
    """1 for services; more where batching pays (local models)."""
    local: bool
    """True when answering costs no money."""
    supports_options: bool

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all requests; scores options where ``request.options`` is set. Raises ``MllmError``."""
        ...


@runtime_checkable
class Resizing(Protocol):
    """A provider that states how large the pictures it sends can be (bounds their cost)."""

    max_side: int
    """Longer side in pixels."""


@runtime_checkable
class Preparing(Protocol):
    """A provider that can do part of the work (reading pictures) before a request's turn comes."""

    def prepare(self, request: Request) -> Request:
        """``request`` as ``answer`` takes it fastest. Raises what ``answer`` would raise."""
        ...
