"""The example of a method in one file, as the page prints it."""

from __future__ import annotations

import re
from pathlib import Path

from fgvr.compare.method import known
from tests.compare.world import collection, run, witness

PAGE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text("utf-8")


def test_the_pages_method_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    birds = collection(tmp_path)
    (row,) = run([birds], [str(tmp_path / "mine.py")], witness(birds).mllm, tmp_path / "out")
    assert (row.status, row.title, row.images) == ("done", "nearest mean", 8)
    assert (row.names, row.truth_covered, row.usage.calls) == (4, 1.0, row.support)


def test_the_page_names_every_method() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(known())
