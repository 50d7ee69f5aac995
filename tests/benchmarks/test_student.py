"""The student's benchmark times what it says it times."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from benchmarks.common import PAGE
from benchmarks.demo_profile import REST, Clock

from benchmarks import student, student_replies


@pytest.mark.parametrize(("every", "several"), [(False, False), (True, False), (False, True)])
def test_every_stage_of_a_small_student_is_timed(every: bool, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clocked_until_the_end(monkeypatch)
    features, classes = student.pool(120)
    settings = student.every_part() if every else type(student.every_part())()
    seconds, names = student.student(features, classes, 0.5, settings, clock, several=several)
    expected = {*student.STAGES, REST} - (set() if every else {"second opinions"})
    assert {part for part, spent in seconds.items() if spent > 0} == expected
    assert names > (30 if several else int(classes.max()) // 2)


def clocked_until_the_end(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """As ``student.clocked``, undone after the test."""
    from importlib import import_module

    for places in student.STAGES.values():
        for module, function in (place.split(":") for place in places):
            owner = import_module(module)
            monkeypatch.setattr(owner, function, getattr(owner, function))
    return student.clocked()


def test_the_drawn_teacher_errs_as_often_as_the_page_says() -> None:
    classes = np.arange(4000) % 100
    said = student.replies(classes, np.arange(4000), seed=0)
    names = student.class_names(100)
    right = np.array([one.name == names[classes[row]] for row, one in enumerate(said)])
    assert right.mean() == pytest.approx(0.7, abs=0.03)
    assert sum(one.name is None for one in said) / 4000 == pytest.approx(0.02, abs=0.01)
    kinds = {one.name.split()[-1].lower() for one in said if one.name}
    assert kinds == {kind.lower() for kind in student.KINDS}


def test_several_replies_are_chances_over_true_and_made_up_names() -> None:
    classes = np.arange(400) % 20
    said = student.replies(classes, np.arange(400), seed=0, several=True)
    named = [one for one in said if one.name is not None]
    assert [one.name for one in said] == [one.name for one in student.replies(classes, np.arange(400), seed=0)]
    assert all(len(one.chances) == 1 + len(one.alternatives) <= student.DRAWN for one in named)
    assert all(sorted(one.chances, reverse=True) == list(one.chances) and sum(one.chances) <= 1.001 for one in named)
    known = set(student.class_names(20))
    made_up = [sum(name not in known for name in one.alternatives) for one in named]
    assert np.median(made_up) == student.MADE_UP


def test_class_names_are_distinct_as_many_as_the_benchmark_needs() -> None:
    assert len(set(student.class_names(student.MOST_CLASSES))) == student.MOST_CLASSES


def test_exponents_are_slopes_of_logarithms_and_a_dash_where_there_is_nothing() -> None:
    each = [{"graph": 1.0, "all": 2.0}, {"graph": 100.0, "all": 20.0}]
    found = dict(zip(student.COLUMNS, student.exponents([1_000, 10_000], each), strict=True))
    assert (found["graph"], found["all"], found["evidence"]) == ("**2.00**", "**1.00**", "-")


def test_quick_runs_to_the_end_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PAGE.read_bytes()

    def pretend(
        images: int, share: float, *, every: bool, several: bool, repeats: int
    ) -> tuple[dict[str, float], int, float]:
        assert repeats == 1
        assert several == (sys.argv[0] == "student_replies")
        return {"graph": 0.5, "all": 1.0 + every}, round(images * share), 10.0

    monkeypatch.setattr(student, "measured", pretend)
    for benchmark in (student, student_replies):
        monkeypatch.setattr("sys.argv", [benchmark.__name__.split(".")[-1], "--quick"])
        benchmark.main()
        printed = capsys.readouterr().out
        assert "Default, seconds:" in printed
        assert "Every part, seconds:" in printed
        assert "| 400 | 80 | 80 | - | 0.50 |" in printed
    assert PAGE.read_bytes() == page
