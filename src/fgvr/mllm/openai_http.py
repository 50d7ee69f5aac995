"""Any OpenAI-compatible endpoint, through the ``openai`` package.

The body is read piece by piece against a deadline of its own and a size limit (a read time-out alone never ends a
server that drips one byte a second), and parsed here, so that a reply is believed only if it is complete JSON of the
right type with a choice in it. The package's own retries are off: the scheduler does that.

The key comes from ``OPENAI_API_KEY`` only. It is handed to the client and kept nowhere else; error texts and replies
are scrubbed of it, in case a server echoes what it was sent.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from fgvr.errors import AccessError, MissingExtraError, MllmError, RetryableError
from fgvr.mllm import http_errors
from fgvr.mllm.base import DEFAULT_MAX_SIDE, Reply, Request
from fgvr.mllm.options import LETTERS, letter_logprobs, letter_of, lettered_prompt
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage

logger = logging.getLogger(__name__)

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_MAX_BODY = 16 * 2**20
_LETTER_TOKENS = 8
"""Room for "Answer: B" where an API gives no log-probabilities."""


@dataclass
class _Dialect:
    """What this endpoint turned out to accept; learnt from its first refusals."""

    logprobs: bool = True
    limit_field: str = "max_tokens"


class OpenAIMllm:
    """A model behind an OpenAI-compatible chat endpoint. Thread-safe; pictures travel as JPEG data URLs.

    Args:
        model: the service's name for the model.
        base_url: default ``OPENAI_BASE_URL``, else OpenAI's own.
        timeout: seconds for a whole call (connecting, waiting and reading).
        max_side, quality: pictures are shrunk to ``max_side`` pixels and sent as JPEG of this quality.
        logprobs: ask for token log-probabilities, from which ``Reply.confidence`` is computed.

    Raises:
        MissingExtraError: the ``openai`` package is not installed.
        AccessError: no key in the environment for OpenAI's own address.
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
        self._client = _client(address, timeout)

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

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        text = lettered_prompt(request.prompt, request.options) if request.options else request.prompt
        pictures = [{"type": "image_url", "image_url": {"url": self._data_url(path)}} for path in request.images]
        system = [{"role": "system", "content": request.system}] if request.system else []
        return [*system, {"role": "user", "content": [*pictures, {"type": "text", "text": text}]}]

    def _data_url(self, path: Any) -> str:
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
        import openai

        ends = time.monotonic() + self.timeout
        try:
            create = self._client.chat.completions.with_streaming_response.create
            with create(model=self.name, messages=messages, extra_body=dict(fields)) as response:
                body = self._read(response, ends)
                kind = str(response.headers.get("content-type", ""))
        except openai.APIStatusError as error:
            http_errors.raise_for_status(error, self._scrub)
        except openai.APITimeoutError:
            self._later("the call timed out", maybe_billed=True)
        except openai.APIConnectionError as error:
            # Nothing may have been sent, or the connection broke while the answer was on its way.
            refused = isinstance(error.__cause__, Exception) and "connect" in type(error.__cause__).__name__.lower()
            self._later("the connection failed", reason=self._scrub(str(error.__cause__)), maybe_billed=not refused)
        except (MllmError, MissingExtraError, http_errors.Refused):
            raise
        except Exception as error:
            # Reading a broken body raises errors of the HTTP library below, whichever that is.
            self._later(
                "the reply broke off", reason=f"{type(error).__name__}: {self._scrub(str(error))}", maybe_billed=True
            )
        return self._parse(body, kind)

    def _read(self, response: Any, ends: float) -> bytes:
        parts, size = [], 0
        # Without a chunk size: a given one would hold bytes back until it is full, and the clock would not be seen.
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > _MAX_BODY:
                self._later("the reply is too large", bytes=size, maybe_billed=True)
            if time.monotonic() > ends:
                self._later("the reply came too slowly", maybe_billed=True)
        return b"".join(parts)

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
            self._later("the reply holds an error", reason=self._scrub(str(data["error"]))[:300])
        return data

    def _reply(self, request: Request, data: dict[str, Any], seconds: float) -> Reply:
        try:
            choice = data["choices"][0]
            message = choice["message"]
            text = self._scrub(_text(message.get("content")))
            finish = str(choice.get("finish_reason") or "stop")
            refusal = message.get("refusal")
        except (KeyError, IndexError, TypeError, AttributeError):
            self._later("the reply holds no choice", maybe_billed=True)
        if refusal and not text:
            text, finish = self._scrub(str(refusal)), "refusal"
        if not text.strip() and finish == "length":
            raise MllmError(
                "the model used up all tokens before it wrote a word",
                remedy="Raise the token limit: reasoning counts against it.",
                item=request.item_id,
                model=self.name,
            )
        if not text.strip() and finish != "content_filter":
            self._later("the reply is empty", maybe_billed=True)
        usage, estimated = self._usage(request, data, text, seconds)
        logprobs = _token_logprobs(choice)
        confidence = math.exp(sum(logprobs) / len(logprobs)) if logprobs else None
        scores: tuple[float, ...] = ()
        if request.options:
            scores = letter_logprobs(_top_logprobs(choice), len(request.options))
            text, confidence = _chosen(request.options, scores, text), None
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

    def _usage(self, request: Request, data: dict[str, Any], text: str, seconds: float) -> tuple[Usage, bool]:
        """Reported tokens, or a rule of thumb (and True) where the service reports none."""
        counts = data.get("usage")
        counts = counts if isinstance(counts, dict) else {}
        tokens_in, tokens_out = counts.get("prompt_tokens"), counts.get("completion_tokens")
        if isinstance(tokens_in, int) and isinstance(tokens_out, int) and min(tokens_in, tokens_out) >= 0:
            return Usage(1, tokens_in, tokens_out, seconds, None), False
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


def _client(address: str, timeout: float) -> Any:
    try:
        import openai
    except ImportError as error:
        raise MissingExtraError("openai", extra="remote") from error
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key and address == DEFAULT_BASE_URL:
        raise AccessError(
            "no API key", remedy="Set OPENAI_API_KEY, and OPENAI_BASE_URL for a service other than OpenAI's."
        )
    # Servers of one's own usually want no key, but the client insists on one.
    return openai.OpenAI(base_url=address, api_key=key or "none", max_retries=0, timeout=timeout)


def _public(address: str) -> str:
    """The address without user name, password and query."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _token_logprobs(choice: dict[str, Any]) -> list[float]:
    tokens = _logprob_content(choice)
    values = [token.get("logprob") for token in tokens]
    return [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _top_logprobs(choice: dict[str, Any]) -> list[tuple[str, float]]:
    tokens = _logprob_content(choice)
    top = tokens[0].get("top_logprobs") if tokens else None
    rows = [row for row in top or [] if isinstance(row, dict)] if isinstance(top, list) else []
    return [(str(row["token"]), float(row["logprob"])) for row in rows if "token" in row and "logprob" in row]


def _logprob_content(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Token entries of a choice, or nothing where the API gives none or something odd."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [token for token in content if isinstance(token, dict)] if isinstance(content, list) else []


def _chosen(options: Sequence[str], scores: Sequence[float], text: str) -> str:
    """The best option by score, else by the letter the model wrote, else the text as it is."""
    if scores:
        return options[max(range(len(options)), key=scores.__getitem__)]
    letter = letter_of(text, len(options))
    return text if letter is None else options[letter]
