"""Plain tables and figures as a person reads them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right; a rule under the headers."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(headers))]
    rule = ["-" * size for size in widths]
    return "\n".join(_aligned(line, widths) for line in (lines[0], rule, *lines[1:]))


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """``label  value`` lines."""
    size = max((width(label) for label, _ in rows), default=0)
    return "\n".join(f"{_padded(label, size)}  {value}".rstrip() for label, value in rows)


def width(text: str) -> int:
    """Columns of a terminal that ``text`` takes."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def money(dollars: float | None) -> str:
    """``$0.0042``, ``$12.30`` or ``unknown``."""
    if dollars is None:
        return "unknown"
    return f"${dollars:.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def count(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


def percent(share: float) -> str:
    """``12.5 %``."""
    return f"{100 * share:.1f} %"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = _padded(cells[0], widths[0])
    rest = (" " * (size - width(cell)) + cell for cell, size in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([first, *rest]).rstrip()


def _padded(text: str, size: int) -> str:
    return text + " " * (size - width(text))
