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


@pytest.mark.parametrize("given", ["labels=0", "views=-1", "samples=0"])
def test_settings_that_make_no_sense(tmp_path: Path, given: str) -> None:
    birds = collection(tmp_path)
    (row,) = run([birds], [f"student:{given}"], witness(birds).mllm, tmp_path / "out")
    assert row.status == "failed"
    assert "student needs a label" in row.error


def test_it_may_draw_several_replies_a_call(tmp_path: Path) -> None:
    """With one it learns from the replies that all contestants share; with several it asks its own questions."""
    birds = collection(tmp_path)
    seen = witness(birds)
    specs = ["student:views=0+samples=3", "student:views=0+labels=5+samples=3", "student:views=0"]
    rows = run([birds], specs, seen.mllm, tmp_path / "out")
    assert [row.status for row in rows] == ["done"] * 3, [row.error for row in rows]
    assert [row.usage.calls for row in rows] == [
        find(spec).calls(row.support, row.images) for row, spec in zip(rows, specs)
    ]
    assert {request.parameters.samples for request in seen.asked} == {1, 3}
    assert sum(request.parameters.samples == 1 for request in seen.asked) == rows[2].support
