"""Everything fgvr raises on purpose.

::

    FgvrError
    ├── InputError            what the user gave cannot be used as it is
    │   ├── ImageError        one image cannot be read (the batch goes on without it)
    │   ├── ManifestError     a manifest or folder cannot be read
    │   └── NoImagesError     nothing usable was left
    ├── MllmError             one request could not be answered
    │   ├── RetryableError    worth another attempt (rate limit, time-out, server fault)
    │   ├── AccessError       every request would fail this way (key refused, no such model): the run stops
    │   ├── BudgetError       the next call would pass the spending cap
    │   └── UnpricedError     a cap was set but the model has no known price
    ├── EncoderError          an encoder cannot be loaded or does not fit the stored features
    ├── RunError              a run folder is locked, incomplete or made with other settings
    ├── EvaluationError       the evaluation would not be honest (leak, missing answers)
    └── MissingExtraError     an optional dependency is not installed

Every error carries ``context`` (file, item, model, attempt, ...) and one sentence of remedy; ``str()`` shows all three.
"""

from __future__ import annotations


class FgvrError(Exception):
    """Base of all errors: ``message``, ``remedy`` (one sentence) and ``context`` (key-value pairs)."""

    def __init__(self, message: str, *, remedy: str = "", **context: object) -> None:
        self.message = message
        self.remedy = remedy
        self.context = context
        super().__init__(message)

    def __str__(self) -> str:
        where = ", ".join(f"{key}={value}" for key, value in self.context.items())
        parts = [self.message, f"({where})" if where else "", self.remedy]
        return " ".join(part for part in parts if part)


class InputError(FgvrError):
    """What the user gave cannot be used as it is."""


class ImageError(InputError):
    """One image cannot be read; ``reason`` is a short stable code for tallies (``truncated``, ``too large``, ...)."""

    def __init__(self, message: str, *, reason: str, remedy: str = "", **context: object) -> None:
        super().__init__(message, remedy=remedy, **context)
        self.reason = reason


class ManifestError(InputError):
    """A manifest, folder or pattern cannot be read."""


class NoImagesError(InputError):
    """No usable image was left; an empty result is never a success."""


class MllmError(FgvrError):
    """One request could not be answered."""


class RetryableError(MllmError):
    """Worth another attempt; ``retry_after`` in seconds when the server named one."""

    def __init__(self, message: str, *, retry_after: float | None = None, remedy: str = "", **context: object) -> None:
        super().__init__(message, remedy=remedy, **context)
        self.retry_after = retry_after


class AccessError(MllmError):
    """The service refuses every request alike: key missing or wrong, credit used up, no such model."""


class BudgetError(MllmError):
    """The next call would pass the spending cap; finished items are kept."""


class UnpricedError(MllmError):
    """A spending cap was set but the model's price is unknown."""


class EncoderError(FgvrError):
    """An encoder cannot be loaded, or does not fit the stored features."""


class RunError(FgvrError):
    """A run folder is locked, incomplete, or was made with other settings."""


class EvaluationError(FgvrError):
    """The evaluation would not be honest: leaked images, unanswered items, nothing to score."""


class MissingExtraError(FgvrError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"this needs the package {package!r}", remedy=f"Install it with: pip install 'fgvr[{extra}]'.", extra=extra
        )
