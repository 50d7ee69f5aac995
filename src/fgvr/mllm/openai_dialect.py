"""What one endpoint accepts, learnt from its first refusals: how a request's fields are written for it. Thread-safe.

Where an endpoint draws one reply only (it refuses ``n``, or passes over it), it is asked greedily from then on: one
reply drawn at a temperature says less than the likeliest one.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

from fgvr.mllm.base import Request

logger = logging.getLogger(__name__)

_LETTER_TOKENS = 8
"""Room for "Answer: B" where an API gives no log-probabilities."""
_NAMES_N = re.compile(r"(?<![\w\\])n(?![\w/])|multiple (choices|candidates)|only one (completion )?choice")
"""The field ``n`` in the words of a refusal (lower case), and not the ``n`` of an escaped line break."""


class Dialect:
    """How to write a request for the endpoint of ``model``."""

    def __init__(self, model: str, *, logprobs: bool) -> None:
        self._model = model
        self._logprobs = logprobs
        self._limit_field = "max_tokens"
        self._several = True
        self._fewer_told = False
        self._lock = threading.Lock()

    def fields(self, request: Request) -> dict[str, Any]:
        """Decoding fields of the body."""
        parameters = request.parameters
        limit = min(_LETTER_TOKENS, parameters.max_tokens) if request.options else parameters.max_tokens
        fields: dict[str, Any] = {"temperature": parameters.temperature, self._limit_field: limit}
        if parameters.samples > 1 and not request.options:
            fields |= {"n": parameters.samples} if self._several else {"temperature": 0.0}
        if parameters.seed is not None:
            fields["seed"] = parameters.seed
        if self._logprobs:
            fields["logprobs"] = True
            if request.options:
                fields["top_logprobs"] = 20
        return fields

    def learn(self, refusal: str, fields: Mapping[str, Any]) -> bool:
        """True when a 400 named a field that can be written another way; remembered for the calls to come."""
        text = refusal.lower()
        with self._lock:
            if "max_completion_tokens" in text and "max_tokens" in fields:
                self._limit_field = "max_completion_tokens"
                return True
            if "logprobs" in text and "logprobs" in fields:
                logger.warning("%s gives no log-probabilities; going on without", self._model)
                self._logprobs = False
                return True
        if "n" in fields and _NAMES_N.search(text):
            self.one_reply_only()
            return True
        return False

    def one_reply_only(self) -> None:
        """The endpoint does not draw several replies; said once, however many calls are in flight."""
        with self._lock:
            if self._several:
                logger.warning(
                    "%s draws one reply a call; going on with the greedy reply, without samples", self._model
                )
            self._several = False

    def fewer_replies(self, drawn: int, asked: int) -> None:
        """The endpoint drew fewer replies than it was asked for; said once."""
        with self._lock:
            if not self._fewer_told:
                logger.warning("%s drew %d replies where %d were asked for", self._model, drawn, asked)
            self._fewer_told = True
