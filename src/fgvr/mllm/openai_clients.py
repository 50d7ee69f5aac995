"""HTTP connections to an OpenAI-compatible address, one to a call in flight.

Address, headers and trust are those of the ``openai`` package, and so is the HTTP client; only the exchange itself is
done here, because a profile of 64 calls in flight asked for two things:

1. A shared client's connection pool looks at every idle connection whenever a call begins or ends. Here each call
   borrows a client with a connection of its own, the last one used first.
2. ``chat.completions.create`` walks the whole body again to validate what was just built, which takes longer than
   sending it. The body goes out as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from fgvr.errors import AccessError, MissingExtraError

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class Clients:
    """HTTP clients for the chat endpoint under ``address``, made when first needed. Thread-safe.

    ``lent`` raises MissingExtraError without the ``openai`` package, and AccessError when OpenAI's own address is to be
    called without a key.
    """

    def __init__(self, address: str, *, timeout: float) -> None:
        self.url = urlsplit(address)._replace(path=urlsplit(address).path.rstrip("/") + "/chat/completions").geturl()
        self._address = address
        self._timeout = timeout
        self._free: list[Any] = []
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """A client that nobody else uses meanwhile."""
        with self._lock:
            client = self._free.pop() if self._free else self._new()
        try:
            yield client
        finally:
            self._free.append(client)

    def __del__(self) -> None:
        for client in self._free:
            client.close()

    def _new(self) -> Any:
        headers = self._headers
        import openai

        return openai.DefaultHttpxClient(headers=headers, verify=self._certificates, timeout=self._timeout)

    @cached_property
    def _headers(self) -> dict[str, str]:
        """What the ``openai`` package would send: key, organisation and project from the environment."""
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("openai", extra="remote") from error
        key = os.environ.get("OPENAI_API_KEY", "")
        if not key and self._address == DEFAULT_BASE_URL:
            raise AccessError(
                "no API key", remedy="Set OPENAI_API_KEY, and OPENAI_BASE_URL for a service other than OpenAI's."
            )
        # Servers of one's own usually want no key, but the client insists on one.
        unused = openai.DefaultHttpxClient(verify=False)
        with openai.OpenAI(base_url=self._address, api_key=key or "none", http_client=unused) as client:
            headers = {**client.default_headers, **client.auth_headers}
        # Without the package's telemetry: it tells the service about this machine, and each header costs time.
        sent = {name: value for name, value in headers.items() if isinstance(value, str)}
        return {name: value for name, value in sent.items() if not name.lower().startswith("x-stainless")}

    @cached_property
    def _certificates(self) -> Any:
        """What the ``openai`` package would trust, read once: it takes 40 ms."""
        import openai

        if not self._address.startswith("https:"):
            return False
        # httpx or httpx2, whichever this version of openai stands on.
        package = openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]
        return import_module(package).create_ssl_context()
