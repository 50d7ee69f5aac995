"""What a run keeps of its division and says of its teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgvr.methods.fine_r1.reasoning import Reasoned
from fgvr.methods.fine_r1.record import Parts, asked_as, briefly, lacking, read_parts, write_parts
from fgvr.methods.fine_r1.shots import Division
from fgvr.types import ImageItem, SetAside, Usage


def item(name: str, folder: str = "a") -> ImageItem:
    return ImageItem(name, Path(folder) / name, name[0])


def test_parts_come_back_from_their_file(tmp_path):
    own, test = [item(name) for name in ("x1", "x2", "y1", "y2")], [item("x1", "tests")]
    division = Division(
        ("x",), ("y",), (own[0],), (own[1],), (test[0],), (SetAside("b", "b.png", "not an image", "text"),), ("odd.",)
    )
    parts = Parts(division, {"x": "bird"})
    write_parts(tmp_path / "division.json", parts)
    assert read_parts(tmp_path / "division.json", own, test=test) == parts
    assert read_parts(tmp_path / "division.json", own, test=None).division.test == (own[0],)


@pytest.mark.parametrize(
    ("kinds", "style", "thinking", "expected"),
    [
        ({}, "paper", True, "reasoned"),
        ({"x": "bird", "y": "car"}, "short", True, "reasoned-short"),
        (
            {"x": "bird"},
            "short",
            True,
            "What kind of bird is this? Think in <think> tags, then answer in <answer> tags.",
        ),
        (
            {"x": "car", "y": "car"},
            "paper",
            True,
            "Given the question: What kind of car is this?. This is a fine-grained question. Output reasoning in "
            "<think></think> and the final answer in <answer></answer>.",
        ),
        ({}, "short", False, "What kind of object is this? Answer in <answer> tags."),
    ],
)
def test_how_a_tuned_model_is_asked(kinds, style, thinking, expected):
    assert asked_as(kinds, style=style, thinking=thinking) == expected


def reasoned(good: int, bad: int, *, stopped: str | None = None, **rejected: int) -> Reasoned:
    aside = tuple(SetAside(str(number), "", "no answer") for number in range(bad))
    return Reasoned((None,) * good, aside, Usage(), stopped, rejected=rejected)  # type: ignore[arg-type]


def test_few_rationales_are_explained():
    assert lacking(reasoned(2, 2, language=4)) == []
    assert lacking(reasoned(1, 2, stopped="budget")) == []
    [told] = lacking(reasoned(1, 2, language=4, length=6))
    assert told.startswith("Only 1 of 3 pictures have a rationale (length: 6, language: 4)")
    [told] = lacking(reasoned(0, 1))
    assert "(no answer: 1)" in told


def test_an_examination_in_a_line():
    figure = {"value": 0.75, "low": 0.5, "high": 1.0, "n": 12}
    parts = {"closed": {"figures": {"seen": {"strict": figure}}}, "open": {"figures": {"all": {"strict": figure}}}}
    assert briefly(parts) == (
        "closed world, seen: 75.0 % [50.0, 100.0] of 12; open world, all: 75.0 % [50.0, 100.0] of 12"
    )
