"""Rows made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgvr.compare import Row
from fgvr.metrics.bootstrap import Interval
from fgvr.types import Usage


def row(
    method: str = "direct", seed: int = 0, *, collection: str = "birds", figures: Mapping[str, float] | None = None,
    **more: Any,
) -> Row:  # fmt: skip
    """A finished row; figures are given by their values, with intervals of ± 0.05 over 100 resamples."""
    values = {"cacc": 0.5, "synonym": 0.4} if figures is None else figures
    made = {key: Interval(value, value - 0.05, value + 0.05, 0.95, 100) for key, value in values.items()}
    plain = {"status": "done", "images": 10, "answered": 10, "support": 4, "names": 3, "title": method.capitalize()}
    usage = Usage(10, 100, 50, 1.0, 0.01)
    return Row(collection, method, seed=seed, figures=made, **{"usage": usage, **plain, **more})


def failed(method: str = "direct", seed: int = 0, *, error: str = "broken", **more: Any) -> Row:
    """A row without figures."""
    return row(method, seed, figures={}, status="failed", error=error, answered=0, usage=Usage(), **more)
