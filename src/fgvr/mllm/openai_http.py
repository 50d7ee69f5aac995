"""Any OpenAI-compatible endpoint, through the ``openai`` package (see ``openai_clients`` for how much of it).

The body is read piece by piece against a deadline of its own and a size limit (a read time-out alone never ends a
server that drips one byte a second), and parsed here, so that a reply is believed only if it is complete JSON of the
right type with a choice in it. Nothing is retried here: the scheduler does that.

Several samples are asked for with ``n``. A service that passes over it and draws one reply is asked once more,
greedily, and what both calls cost is the reply's usage.

The key comes from ``OPENAI_API_KEY`` only. It is handed to the client and kept nowhere else; error texts and replies
are scrubbed of it, in case a server echoes what it was sent.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fgvr.errors import FgvrError, MllmError, RetryableError
from fgvr.mllm import http_errors
from fgvr.mllm.base import DEFAULT_MAX_SIDE, Reply, Request, Sample
from fgvr.mllm.openai_clients import DEFAULT_BASE_URL, Clients
from fgvr.mllm.openai_dialect import Dialect
from fgvr.mllm.openai_replies import Choice, chosen_option, number_of_choices, readable_choices, token_counts
from fgvr.mllm.options import LETTERS, letter_logprobs, lettered_prompt
from fgvr.mllm.samples import likeliest, mean_probability
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage

_MAX_BODY = 16 * 2**20


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
        self._dialect = Dialect(model, logprobs=logprobs)
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
        messages = self._messages(request)
        data, asked, seconds = self._exchange(request, messages)
        if asked == 1 or number_of_choices(data) != 1:
            return self._reply(request, data, seconds, asked=asked)
        self._dialect.one_reply_only()
        texts = [choice.text or choice.refusal for choice in readable_choices(data)]
        wasted, estimated = self._usage(request, data, texts, seconds)
        try:
            data, asked, seconds = self._exchange(request, messages)
            reply = self._reply(request, data, seconds, asked=asked)
        except FgvrError as error:
            error.context["maybe_billed"] = True  # the first call was, whatever became of this one
            raise
        both = reply.usage_estimated or estimated
        return dataclasses.replace(reply, usage=wasted + reply.usage, usage_estimated=both)

    def _exchange(self, request: Request, messages: list[dict[str, Any]]) -> tuple[dict[str, Any], int, float]:
        """The body of a reply, how many choices it should hold, and the seconds it took, refusals learnt from."""
        started = time.perf_counter()
        while True:
            fields = self._dialect.fields(request)
            try:
                data = self._call(fields, messages)
                return data, int(fields.get("n", 1)), time.perf_counter() - started
            except http_errors.Refused as refusal:
                if not self._dialect.learn(refusal.text, fields):
                    refusal.raise_for_user(model=self.name, item=request.item_id)

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

    def _reply(self, request: Request, data: dict[str, Any], seconds: float, *, asked: int) -> Reply:
        choices = readable_choices(data)[:asked]
        if not choices:
            self._later("the reply holds no choice", maybe_billed=True)
        if len(choices) < asked:
            self._dialect.fewer_replies(len(choices), asked)
        samples = [self._sample(choice) for choice in choices]
        best = likeliest(samples)
        choice, text, finish = choices[best], samples[best].text, samples[best].finish
        self._require_words(request, text, finish)
        usage, estimated = self._usage(request, data, [sample.text for sample in samples], seconds)
        confidence, scores = mean_probability(choice.logprobs), tuple[float, ...]()
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
            samples=tuple(samples) if asked > 1 else (),
        )

    def _sample(self, choice: Choice) -> Sample:
        if choice.refusal and not choice.text:
            return Sample(self._scrub(choice.refusal), None, "refusal")
        return Sample(self._scrub(choice.text), choice.logprob, choice.finish)

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

    def _usage(
        self, request: Request, data: dict[str, Any], texts: Sequence[str], seconds: float
    ) -> tuple[Usage, bool]:
        """Reported tokens, or a rule of thumb (and True) where the service reports none."""
        counts = token_counts(data)
        if counts is not None:
            return Usage(1, *counts, seconds, None), False
        side, written = (self.max_side, self.max_side * 3 // 4), sum(map(text_tokens, texts))
        return Usage(1, likely_input_tokens(request, self.name, side=side), written, seconds, None), True

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
