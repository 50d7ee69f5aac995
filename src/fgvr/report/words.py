"""Numbers and names as a person reads them. Hidden characters never survive; escaping is the template's business."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from fgvr.labels.normalise import display_name, without_hidden

if TYPE_CHECKING:
    from fgvr.metrics.bootstrap import Interval

NONE = "–"
MAX_TEXT = 300


def shown(text: str, limit: int = MAX_TEXT) -> str:
    """Free text in one line: hidden characters dropped, spaces collapsed, at most ``limit`` characters."""
    clean = " ".join(without_hidden(text[: 8 * limit]).split())
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def name_shown(name: str) -> str:
    """A label, never empty."""
    return display_name(name) or "(no name)"


def slug(text: str, number: int) -> str:
    """A safe element id: letters, digits and hyphens of ``text``, made unique by ``number``."""
    return f"g{number}-" + (re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "name")


def finite(value: float | None) -> bool:
    """Whether there is a number at all."""
    return value is not None and math.isfinite(value)


def integer(value: int | None) -> str:
    """12,345."""
    return NONE if value is None else f"{value:,}"


def probability(value: float) -> str:
    """A probability in per cent that is never rounded to certainty."""
    if not finite(value):
        return NONE
    if value < 0.01:
        return "<1 %"
    return ">99 %" if value > 0.99 else f"{100 * value:.0f} %"


def share(value: float | None) -> str:
    """A share in per cent with one digit."""
    return NONE if value is None or not finite(value) else f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """0.42 s, 38 s, 5 min 12 s, 2 h 03 min."""
    if value is None or not finite(value):
        return NONE
    if value < 10:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def money(value: float | None) -> str:
    """US dollars; small sums keep two significant digits."""
    if value is None or not finite(value):
        return "unknown"
    if value == 0:
        return "$0"
    if value < 0.0001:
        return "<$0.0001"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}".rstrip("0").ljust(5, "0")


def parts_of(value: Interval | float) -> tuple[float, float, float]:
    """(value, low, high); a bare float is its own interval."""
    if isinstance(value, (int, float)):
        return float(value), float(value), float(value)
    return value.value, value.low, value.high


def figure(value: Interval | float | str | None) -> str:
    """As in tables: ``63.5 % [61.2, 65.7]``."""
    if value is None:
        return NONE
    if isinstance(value, str):
        return shown(value)
    middle, low, high = parts_of(value)
    if not finite(middle):
        return NONE
    return share(middle) if isinstance(value, (int, float)) else f"{share(middle)} [{100 * low:.1f}, {100 * high:.1f}]"


def plural(count: int, one: str, many: str | None = None) -> str:
    """1 image, 2 images."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
