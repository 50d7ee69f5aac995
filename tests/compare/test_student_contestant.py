"""The student among the contestants: all support images are its pool, a part or all of them are asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvr.compare.method import find
from tests.compare.world import collection, run, witness


def test_it_asks_about_as_many_support_images_as_it_says(tmp_path: Path) -> None:
    birds = collection(tmp_path)
    specs = ["student:views=0", "student:views=0+labels=5"]
    rows = run([birds], specs, witness(birds).mllm, tmp_path / "out")
    for row, spec in zip(rows, specs, strict=True):
        assert row.status == "done", row.error
        assert row.usage.calls == find(spec).calls(row.support, row.images)
    assert rows[1].usage.calls == 5 < rows[0].usage.calls


@pytest.mark.parametrize("given", ["labels=0", "views=-1"])
def test_settings_that_make_no_sense(tmp_path: Path, given: str) -> None:
    birds = collection(tmp_path)
    (row,) = run([birds], [f"student:{given}"], witness(birds).mllm, tmp_path / "out")
    assert row.status == "failed"
    assert "student needs a label" in row.error
