"""Any OpenAI-compatible endpoint, through the ``openai`` package (see ``openai_clients`` for how much of it).

The body is read piece by piece against a deadline of its own and a size limit (a read time-out alone never ends a
server that drips one byte a second), and parsed here, so that a reply is believed only if it is complete JSON of the
right type with a choice in it. Nothing is retried here: the scheduler does that.

The key comes from ``OPENAI_API_KEY`` only. It is handed to the client and kept nowhere else; error texts and replies
are scrubbed of it, in case a server echoes what it was sent.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fgvr.errors import MllmError, RetryableError
from fgvr.mllm import http_errors
from fgvr.mllm.base import DEFAULT_MAX_SIDE, Reply, Request
from fgvr.mllm.openai_clients import DEFAULT_BASE_URL, Clients
from fgvr.mllm.openai_replies import chosen_option, first_choice, token_counts
from fgvr.mllm.options import LETTERS, letter_logprobs, lettered_prompt
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage

logger = logging.getLogger(__name__)

_MAX_BODY = 16 * 2**20
_LETTER_TOKENS = 8
"""Room for "Answer: B" where an API gives no log-probabilities."""


@dataclass
class _Dialect:
    """What this endpoint turned out to accept; learnt from its first refusals."""

    logprobs: bool = True
    limit_field: str = "max_tokens"


@dataclass(frozen=True)
class _Encoded(Request):
    """A request whose pictures are data URLs already."""

    urls: tuple[str, ...] = ()


class OpenAIMllm:
    """A model behind an OpenAI-compatible chat endpoint. Thread-safe; pictures travel as JPEG data URLs.

    Args:
        model: the service's name for the model.
        base_url: default ``OPENAI_BASE_URL``, else OpenAI's own.
        timeout: seconds for a whole call (connecting, waiting and reading).
        max_side, quality: pictures are shrunk to ``max_side`` pixels and sent as JPEG of this quality.
        logprobs: ask for token log-probabilities, from which ``Reply.confidence`` is computed.

    The first call raises MissingExtraError without the ``openai`` package, and AccessError without a key in the
    environment for OpenAI's own address: what asks nothing, such as a dry run, needs neither.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        timeout: float = 120.0,
        max_side: int = DEFAULT_MAX_SIDE,
        quality: int = 90,
        logprobs: bool = True,
    ) -> None:
        address = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        self.name = model
        self.revision = _public(address)
        self.preprocessing = f"jpeg side<={max_side} quality={quality}"
        self.batch_size = 1
        self.local = False
        self.supports_options = True
        self.max_side = max_side
        self.timeout = timeout
        self._quality = quality
        self._dialect = _Dialect(logprobs=logprobs)
        self._lock = threading.Lock()
        self._clients = Clients(address, timeout=timeout)

    def __repr__(self) -> str:
        return f"OpenAIMllm({self.name!r}, base_url={self.revision!r})"

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """One call per request. Raises RetryableError, AccessError, or MllmError for what no retry can mend."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply:
        if len(request.options) > len(LETTERS):
            raise MllmError(
                f"at most {len(LETTERS)} options can be lettered", remedy="Ask in parts.", item=request.item_id
            )
        started = time.perf_counter()
        messages = self._messages(request)
        while True:
            fields = self._fields(request)
            try:
                data = self._call(fields, messages)
                break
            except http_errors.Refused as refusal:
                if not self._learn(refusal.text, fields):
                    refusal.raise_for_user(model=self.name, item=request.item_id)
        return self._reply(request, data, time.perf_counter() - started)

    def prepare(self, request: Request) -> Request:
        """``request`` with its pictures read and encoded, so that no call in flight waits for it."""
        return _Encoded(
            **{field.name: getattr(request, field.name) for field in dataclasses.fields(Request)},
            urls=tuple(self._data_url(path) for path in request.images),
        )

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        urls = request.urls if isinstance(request, _Encoded) else map(self._data_url, request.images)
        text = lettered_prompt(request.prompt, request.options) if request.options else request.prompt
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        system = [{"role": "system", "content": request.system}] if request.system else []
        return [*system, {"role": "user", "content": [*pictures, {"type": "text", "text": text}]}]

    def _data_url(self, path: Path) -> str:
        from fgvr import images

        picture = images.decode(path, limits=images.Limits(), side=self.max_side).image
        jpeg = images.encode_jpeg(picture, max_side=self.max_side, quality=self._quality)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")

    def _fields(self, request: Request) -> dict[str, Any]:
        parameters = request.parameters
        limit = min(_LETTER_TOKENS, parameters.max_tokens) if request.options else parameters.max_tokens
        fields: dict[str, Any] = {"temperature": parameters.temperature, self._dialect.limit_field: limit}
        if parameters.seed is not None:
            fields["seed"] = parameters.seed
        if self._dialect.logprobs:
            fields["logprobs"] = True
            if request.options:
                fields["top_logprobs"] = 20
        return fields

    def _learn(self, refusal: str, fields: Mapping[str, Any]) -> bool:
        """True when a 400 named a field that can be written another way; remembered for the calls to come."""
        text = refusal.lower()
        with self._lock:
            if "max_completion_tokens" in text and "max_tokens" in fields:
                self._dialect.limit_field = "max_completion_tokens"
                return True
            if "logprobs" in text and "logprobs" in fields:
                logger.warning("%s gives no log-probabilities; going on without", self.name)
                self._dialect.logprobs = False
                return True
        return False

    def _call(self, fields: Mapping[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The parsed body of one HTTP exchange."""
        content = json.dumps({"model": self.name, "messages": messages, **fields}).encode("ascii")
        with self._clients.lent() as client:
            ends = time.monotonic() + self.timeout
            try:
                with client.stream("POST", self._clients.url, content=content) as response:
                    status, headers = int(response.status_code), response.headers
                    body = self._read(response, ends)
            except MllmError:
                raise
            except Exception as error:
                # Whatever the HTTP library raises; which one it is depends on the version of the openai package.
                self._broken(error)
        if status >= 400:
            http_errors.raise_for_status(status, headers, self._scrub(body.decode("utf-8", "replace")))
        return self._parse(body, str(headers.get("content-type", "")))

    def _read(self, response: Any, ends: float) -> bytes:
        parts, size = [], 0
        try:
            # Without a chunk size: a given one would hold bytes back until it is full, and the clock would not be seen.
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _MAX_BODY:
                    self._later("the reply is too large", bytes=size, maybe_billed=True)
                if time.monotonic() > ends:
                    self._later("the reply came too slowly", maybe_billed=True)
        except Exception:
            if response.status_code < 400:
                raise  # else the status says enough, however broken its explanation is
        return b"".join(parts)

    def _broken(self, error: Exception) -> NoReturn:
        """Sort what the HTTP library raised by whether the service may have seen the question."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        reason = f"{type(error).__name__}: {self._scrub(str(error))}"
        if kinds & {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"}:
            self._later("the connection failed", reason=reason)
        if "TimeoutException" in kinds:
            self._later("the call timed out", maybe_billed=True)
        self._later("the reply broke off", reason=reason, maybe_billed=True)

    def _parse(self, body: bytes, kind: str) -> dict[str, Any]:
        if "json" not in kind.lower():
            self._later("the reply is not JSON by its content type", content_type=kind[:80], maybe_billed=True)
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            self._later("the reply is not valid JSON", bytes=len(body), maybe_billed=True)
        if not isinstance(data, dict):
            self._later("the reply is not a JSON object", maybe_billed=True)
        if data.get("error"):
            self._later("the reply holds an error", reason=self._scrub(str(data["error"]))[:300], maybe_billed=True)
        return data

    def _reply(self, request: Request, data: dict[str, Any], seconds: float) -> Reply:
        choice = first_choice(data)
        if choice is None:
            self._later("the reply holds no choice", maybe_billed=True)
        text, finish = self._scrub(choice.text), choice.finish
        if choice.refusal and not text:
            text, finish = self._scrub(choice.refusal), "refusal"
        self._require_words(request, text, finish)
        usage, estimated = self._usage(request, data, text, seconds)
        confidence = math.exp(sum(choice.logprobs) / len(choice.logprobs)) if choice.logprobs else None
        scores: tuple[float, ...] = ()
        if request.options:
            scores = letter_logprobs(choice.top, len(request.options))
            text, confidence = chosen_option(request.options, scores, text), None
        return Reply(
            item_id=request.item_id,
            text=text,
            model=self.name,
            usage=usage,
            option_logprobs=scores,
            confidence=confidence,
            finish=finish,
            usage_estimated=estimated,
        )

    def _require_words(self, request: Request, text: str, finish: str) -> None:
        if text.strip() or finish == "content_filter":
            return
        if finish == "length":
            raise MllmError(
                "the model used up all tokens before it wrote a word",
                remedy="Raise the token limit: reasoning counts against it.",
                item=request.item_id,
                model=self.name,
                maybe_billed=True,
            )
        self._later("the reply is empty", maybe_billed=True)

    def _usage(self, request: Request, data: dict[str, Any], text: str, seconds: float) -> tuple[Usage, bool]:
        """Reported tokens, or a rule of thumb (and True) where the service reports none."""
        counts = token_counts(data)
        if counts is not None:
            return Usage(1, *counts, seconds, None), False
        side = (self.max_side, self.max_side * 3 // 4)
        return Usage(1, likely_input_tokens(request, self.name, side=side), text_tokens(text), seconds, None), True

    def _later(self, message: str, *, maybe_billed: bool = False, **context: object) -> NoReturn:
        error = RetryableError(message, model=self.name)
        error.context.update(context)
        if maybe_billed:
            error.context["maybe_billed"] = True
        raise error from None

    def _scrub(self, text: str) -> str:
        return http_errors.scrub(text, os.environ.get("OPENAI_API_KEY", ""))


def _public(address: str) -> str:
    """The address without user name, password and query."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
