"""The page's table of data sets says what the readers expect."""

from __future__ import annotations

import re
from pathlib import Path

from fgvr.data.benchmarks.recognise import readers

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text("utf-8")
ROWS = {name: row for row in PAGE.splitlines() if row.startswith("| ") for name in re.findall(r"`(\w+)`", row)}


def test_every_reader_has_a_row_with_its_counts() -> None:
    found = readers()
    modules = list(found.values()) if isinstance(found, dict) else list(found)
    assert len(modules) == 14
    for module in modules:
        row = ROWS[module.NAME]
        assert f"{module.CLASSES:,}" in row, module.NAME
        if "no official split" not in row and "as their lists say" not in row:
            assert all(f"{count:,}" in row for count in module.COUNTS.values()), module.NAME
