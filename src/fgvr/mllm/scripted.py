"""A provider whose answers a test or an example writes down."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fgvr.mllm.base import Reply, Request
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage

Script = Callable[[Request], "str | Reply | Exception"]


class ScriptedMllm:
    """Answers with ``script(request)``: a string or ``Reply`` is returned, an exception raised.

    Draws nothing: where several samples are asked for, a string is a reply without samples; a script that has some
    returns a ``Reply``.

    ``latency`` (seconds per batch) stands in for a service's. Thread-safe if the script is.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        revision: str = "1",
        preprocessing: str = "none",
        batch_size: int = 1,
        local: bool = False,
        supports_options: bool = True,
        latency: float = 0.0,
    ) -> None:
        self.script = script
        self.name = name
        self.revision = revision
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.local = local
        self.supports_options = supports_options
        self.latency = latency

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Replies in order; the first exception of the script is raised."""
        started = time.perf_counter()
        if self.latency:
            time.sleep(self.latency)
        outcomes = [self.script(request) for request in requests]
        seconds = (time.perf_counter() - started) / max(1, len(outcomes))
        return [self._reply(request, outcome, seconds) for request, outcome in zip(requests, outcomes, strict=True)]

    def _reply(self, request: Request, outcome: str | Reply | Exception, seconds: float) -> Reply:
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Reply):
            return replace(outcome, item_id=request.item_id)
        tokens_in = likely_input_tokens(request, self.name)
        usage = Usage(calls=1, input_tokens=tokens_in, output_tokens=text_tokens(outcome), seconds=seconds)
        return Reply(request.item_id, outcome, self.name, usage, usage_estimated=True)
