"""What an HTTP status of a chat endpoint means for the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NoReturn

from fgvr.errors import AccessError, MllmError, RetryableError

_RETRYABLE = {408, 409, 425, 429}
_MAYBE_BILLED = {408, 502, 504, 524}
"""A gateway gave up waiting: the model behind it may have answered."""
_ACCESS = {
    401: "Set OPENAI_API_KEY to a valid key of this service.",
    402: "Add credit to the account.",
    403: "Ask the service's owner for access to this model, or choose another.",
    404: "Check the model's name and OPENAI_BASE_URL (it usually ends in /v1).",
}


class Refused(Exception):
    """A 4xx that concerns this one request: perhaps mended by writing it another way."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.text = text

    def raise_for_user(self, *, model: str, item: str) -> NoReturn:
        """The error to show when nothing could be mended."""
        raise MllmError(
            "the service refused the request",
            remedy="Read its reason: a picture or prompt it does not accept, or a parameter it does not know.",
            status=self.status,
            model=model,
            item=item,
            reason=self.text[:300],
        ) from None


def raise_for_status(status: int, headers: Mapping[str, str], text: str) -> NoReturn:
    """Turn a status of 400 or more into RetryableError, AccessError or Refused; ``text`` must be clean of secrets."""
    if status == 429 and "insufficient_quota" in text:
        raise AccessError("the account's credit is used up", remedy=_ACCESS[402], status=status) from None
    if status in _RETRYABLE or status >= 500:
        error = RetryableError(
            "the service asks to come back later" if status == 429 else "the service failed",
            retry_after=retry_after(headers.get("retry-after")),
            status=status,
            reason=text[:300],
        )
        if status in _MAYBE_BILLED:
            error.context["maybe_billed"] = True
        raise error from None
    if status in _ACCESS:
        raise AccessError(
            "the service refuses access", remedy=_ACCESS[status], status=status, reason=text[:300]
        ) from None
    raise Refused(status, text[:2000]) from None


def retry_after(header: str | None, *, now: float | None = None) -> float | None:
    """Seconds of a Retry-After header: a number, or an HTTP date; ``None`` if absent or unreadable."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - (time.time() if now is None else now)
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


def scrub(text: str, secret: str) -> str:
    """``text`` with every occurrence of ``secret`` blotted out."""
    return text.replace(secret, "[key]") if len(secret) >= 4 else text
