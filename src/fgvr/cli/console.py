"""Printing: data to standard output, everything else to standard error; progress; errors as one clean block.

Names come from a model and file names from anywhere, so whatever reaches a terminal goes through ``printable``.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fgvr.errors import BudgetError, FgvrError, InputError
from fgvr.types import SetAside

QUIET_INTERVAL = 10.0
"""Seconds between progress lines where there is no terminal."""
HEADER_EVERY = 20
"""Rows of a live table after which its header comes again."""
SHOWN = 5
"""Inputs set aside that are listed by name."""


def out(text: str) -> None:
    """One line of data."""
    sys.stdout.write(_encodable(text, sys.stdout.encoding) + "\n")


def out_json(value: Mapping[str, Any]) -> None:
    """A summary for machines."""
    out(json.dumps(value, indent=2, allow_nan=False, default=str))


def out_bytes(data: bytes) -> None:
    """Data as it is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """One line for the person at the terminal."""
    sys.stderr.write(_encodable(text, sys.stderr.encoding) + "\n")
    sys.stderr.flush()


def printable(text: object) -> str:
    """Text without control, format (bidi) and surrogate characters, which could rewrite a terminal's lines."""
    return "".join(
        "\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in str(text)
    )


def show_error(error: FgvrError) -> None:
    """Message, context, remedy."""
    note(f"error: {printable(error.message)}")
    for key, value in error.context.items():
        note(f"  {printable(key.replace('_', ' '))}: {printable(value)}")
    if error.remedy:
        note(f"  -> {printable(error.remedy)}")


def exit_code(error: FgvrError) -> int:
    """2 for what the user gave, 3 for the spending cap, 1 for the rest."""
    if isinstance(error, BudgetError):
        return 3
    return 2 if isinstance(error, InputError) else 1


def tally(set_aside: Iterable[SetAside]) -> dict[str, int]:
    """Inputs left out by reason, the commonest first."""
    return dict(Counter(aside.reason for aside in set_aside).most_common())


def show_set_aside(set_aside: Iterable[SetAside]) -> None:
    """How many inputs were left out and why, with the first few by name."""
    listed = list(set_aside)
    if not listed:
        return
    reasons = ", ".join(f"{printable(reason)}: {count}" for reason, count in tally(listed).items())
    note(f"set aside {len(listed)} ({reasons})")
    for aside in listed[:SHOWN]:
        note(f"  {printable(aside.id)}: {printable(aside.reason)} {printable(aside.detail)}".rstrip())
    if len(listed) > SHOWN:
        note(f"  ... and {len(listed) - SHOWN} more")


def set_up_logging(*, verbose: bool = False) -> None:
    """The library's log to standard error; other libraries' only when something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("fgvr: %(message)s"))
    logger = logging.getLogger("fgvr")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def quiet_transformers() -> None:
    """No bars or advice from ``transformers`` while it loads weights. Imports it: call before loading a model."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Progress:
    """Progress by stage: a bar with rate and time left on a terminal, else a line now and then. A context manager."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None
        self._began = self._told = 0.0
        self._first = 0
        self._noted = ""
        self._rows = 0
        self._row_told = -math.inf
        self._terminal = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` are finished in ``stage``."""
        if stage != self._stage:
            self.close()
            self._stage, self._first, self._began, self._noted = stage, done, time.monotonic(), ""
            self._rows, self._row_told = 0, -math.inf
            self._told = self._began
        if self._terminal:
            self._show(done, total)
        elif time.monotonic() - self._told >= QUIET_INTERVAL:
            self._told = time.monotonic()
            line = progress_line(stage, done, total, first=self._first, seconds=self._told - self._began)
            note(f"{line}  {self._noted}".rstrip())

    def live(self, noted: Mapping[str, float], done: int, total: int) -> None:
        """What a training tells of itself: shown with the next line, or beside the bar."""
        from fgvr.training.progress import live_line

        self._noted = "  ".join(live_line(noted, done, total).split("  ")[1:3])  # loss and its parts, rate
        if self._bar is not None:
            self._bar.set_postfix_str(self._noted)

    @property
    def columns(self) -> int:
        """Width of the terminal, 0 where there is none."""
        return shutil.get_terminal_size().columns if self._terminal else 0

    def row(self, row: str, *, header: str, plain: str, last: bool = False) -> None:
        """The next row of a live table: above the bar on a terminal, its header first and every ``HEADER_EVERY`` rows.

        Without a terminal ``plain`` (the row with its labels) is printed now and then, and for the ``last`` row.
        """
        if self._terminal:
            from tqdm import tqdm

            shown = [header, row] if self._rows % HEADER_EVERY == 0 else [row]
            tqdm.write("\n".join(_encodable(text, sys.stderr.encoding) for text in shown), file=sys.stderr)
            self._rows += 1
        elif last or time.monotonic() - self._row_told >= QUIET_INTERVAL:
            self._row_told = time.monotonic()
            note(plain)

    def close(self) -> None:
        """End the bar of the present stage."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, desc=self._stage, file=sys.stderr, dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)


def progress_line(stage: str, done: int, total: int, *, first: int, seconds: float) -> str:
    """``label: 40 of 600 (2.0/s, 4:40 left)``; ``first`` were finished before the clock began to run."""
    rate = (done - first) / seconds if seconds > 0 else 0.0
    left = f", {clock((total - done) / rate)} left" if rate > 0 else ""
    return f"{stage}: {done} of {total} ({rate:.1f}/s{left})"


def clock(seconds: float) -> str:
    """``4:40`` or ``1:04:40``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _encodable(text: str, encoding: str | None) -> str:
    """What the stream can write; the rest as escapes."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
