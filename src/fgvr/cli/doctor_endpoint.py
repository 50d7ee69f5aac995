"""``fgvr doctor``: is the chat service there, does it know the key and the model? Asks no question, costs nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fgvr.cli.doctor_check import Check

TIMEOUT = 10.0
"""Seconds for connecting, and for the list of models."""
MOST_BYTES = 8 * 2**20
REMEDIES = {
    401: "Set OPENAI_API_KEY to a valid key of this service.",
    403: "This key may not use the service: ask its owner, or use another key.",
    404: "Check OPENAI_BASE_URL: it usually ends in /v1. A service without a list of models may still work.",
    429: "The service is busy or the quota is used up: look at the account, or try later.",
}


def endpoint(mllm: str | None) -> Iterator[Check]:
    """Can a connection be made, and, for ``openai:MODEL``, is the model listed?"""
    from fgvr.mllm.openai_clients import DEFAULT_BASE_URL

    base, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY", "")
    model = mllm.removeprefix("openai:") if mllm is not None and mllm.startswith("openai:") else None
    said = f"OPENAI_API_KEY {'set' if key else 'not set'}"
    if base is None and model is None:
        yield Check("endpoint", "ok", f"OPENAI_BASE_URL not set, {said} (needed for openai: only)")
        return
    reached = _reached(base or DEFAULT_BASE_URL, said)
    yield reached
    if reached.status == "ok" and model is not None and (key or base):
        yield _listed(base or DEFAULT_BASE_URL, model, key)


def _reached(address: str, said: str) -> Check:
    """Can a connection be made? No key is sent."""
    import socket

    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=TIMEOUT).close()
    except (OSError, ValueError) as error:  # ValueError: the port is no number
        remedy = "Start the server, check the network, or correct OPENAI_BASE_URL."
        reason = getattr(error, "strerror", None) or error
        return Check("endpoint", "fail", f"{_public(address)} cannot be reached: {reason}", remedy)
    return Check("endpoint", "ok", f"{_public(address)} reachable, {said}")


def _listed(address: str, model: str, key: str) -> Check:
    """``GET /models``: which models this key may use."""
    import difflib
    import http.client
    import urllib.error

    where = f"{_public(address)}/models"
    try:
        body = _get(f"{address.rstrip('/')}/models", key)
        entries = json.loads(body)["data"]
        names = sorted({str(entry["id"]) for entry in entries})
    except urllib.error.HTTPError as error:
        error.close()
        return _refused(where, error.code)
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        slow = isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)
        found = f"no answer within {TIMEOUT:.0f} s" if slow else _scrubbed(f"{type(error).__name__}: {error}", key)
        remedy = "The service hangs or a proxy stands between: check it, or try later."
        return Check("model", "fail", f"{where}: {found}", remedy)
    except (ValueError, KeyError, TypeError):
        return Check("model", "warn", f"{where}: not a list of models", REMEDIES[404])
    if model in names:
        return Check("model", "ok", f"{model} is listed ({len(names)} models)")
    near = ", ".join(difflib.get_close_matches(model, names, n=3, cutoff=0.4) or names[:3])
    remedy = f"Check the name after openai:; listed are for example {_scrubbed(near, key)}." if near else REMEDIES[403]
    return Check("model", "fail", f"{model} is not among the {len(names)} models this service lists", remedy)


def _refused(where: str, status: int) -> Check:
    remedy = REMEDIES.get(status, "The service itself fails: try later." if status >= 500 else REMEDIES[404])
    return Check("model", "warn" if status in (404, 405, 429) else "fail", f"{where}: status {status}", remedy)


def _get(address: str, key: str) -> bytes:
    """The body. A redirect is not followed: the key would go to wherever it points."""
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.build_opener(Stay).open(request, timeout=TIMEOUT) as response:
        body: bytes = response.read(MOST_BYTES)
    return body


def _public(address: str) -> str:
    """The address without user name, password and query."""
    parts = urlsplit(address)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ":?"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}"


def _scrubbed(text: str, key: str) -> str:
    from fgvr.mllm.http_errors import scrub

    return scrub(text, key)
