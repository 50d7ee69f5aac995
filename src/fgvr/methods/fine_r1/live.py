"""The live table of reinforcement learning: one row a step under a header, or a labelled line where no table fits.

Widths never change: a missing value is ``-``, a value that is too wide is written shorter (``1.2e+08``), or
as ``####`` where that is too wide, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fgvr.training.progress import time_left

GAP = "  "
MISSING = "-"


@dataclass(frozen=True)
class Column:
    """A figure of ``noted`` with its title; ``narrow``: shown in the narrow form, too."""

    key: str
    title: str
    width: int
    text: Callable[[float], str]
    narrow: bool = False


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


COLUMNS = (
    Column("reward", "reward", 6, _decimals(3), narrow=True),
    Column("format", "format", 6, _percent, narrow=True),
    Column("accuracy", "accuracy", 8, _percent, narrow=True),
    Column("length", "length", 6, _decimals(1), narrow=True),
    Column("kl", "KL", 7, _decimals(4), narrow=True),
    Column("entropy", "entropy", 7, _decimals(3)),
    Column("filtered", "filtered", 8, _percent),
    Column("tokens_per_second", "tok/s", 7, _decimals(0)),
    Column("seconds_a_step", "s/step", 7, _decimals(1)),
)
"""``accuracy``, ``format`` and ``filtered`` are shares in [0, 1]; ``length`` is mean tokens a reply; ``kl`` the
inter-class term."""
_STEP_WIDTH, _LEFT_WIDTH = 9, 11
WIDE = _STEP_WIDTH + _LEFT_WIDTH + len(GAP) * (len(COLUMNS) + 1) + sum(column.width for column in COLUMNS)
"""Characters of the wide form; where a terminal has fewer columns, the narrow one is shown."""


def header(*, wide: bool = True) -> str:
    """The titles, above the columns of ``live_row``."""
    titles = [column.title.rjust(column.width) for column in _columns(wide=wide)]
    return GAP.join(["step".rjust(_STEP_WIDTH), *titles, "left".rjust(_LEFT_WIDTH)])


def live_row(noted: Mapping[str, float], step: int, total: int, *, wide: bool = True) -> str:
    """One step: ``step`` of ``total`` are done, ``noted`` is what the loop tells (see ``COLUMNS``)."""
    cells = [_cell(noted.get(column.key), column) for column in _columns(wide=wide)]
    at = f"{step}/{total}"
    at = at if len(at) <= _STEP_WIDTH else f"{step}"
    return GAP.join([at.rjust(_STEP_WIDTH), *cells, _left(noted, step, total).rjust(_LEFT_WIDTH)])


def live_line(noted: Mapping[str, float], step: int, total: int) -> str:
    """The same with its labels, for a log file: what is not noted is left out."""
    words = [f"step {step}/{total}"]
    words += [f"{c.title} {_cell(noted[c.key], c).strip()}" for c in COLUMNS if c.key in noted]
    left = _left(noted, step, total)
    return GAP.join([*words, *([f"{left} left"] if left != MISSING else [])])


def _columns(*, wide: bool) -> list[Column]:
    return [column for column in COLUMNS if wide or column.narrow]


def _cell(value: float | None, column: Column) -> str:
    if value is None:
        return MISSING.rjust(column.width)
    if not math.isfinite(value):
        return f"{value}".rjust(column.width)
    written = (column.text(value), f"{value:.3g}", f"{value:.1e}", f"{value:.0e}")
    return next((text for text in written if len(text) <= column.width), "#" * column.width).rjust(column.width)


def _left(noted: Mapping[str, float], step: int, total: int) -> str:
    each = noted.get("seconds_a_step")
    if each is None or not math.isfinite(each):
        return MISSING
    seconds = each * max(0, total - step)
    written = time_left(seconds)
    return written if len(written) <= _LEFT_WIDTH else f"{seconds / 86400:.3g} d"
