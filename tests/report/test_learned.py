"""The page's account of a student: words, names against labels, and where it disagrees with its teacher."""

from __future__ import annotations

from fgvr.cli.report_student import _disagreements, _groups_note, _heads_told, _rounds_told
from fgvr.report import ReportData, render_report
from fgvr.report.data import Disagreement, NameCurve, UnnamedGroup

CURVE = NameCurve("as given", 4, 10, 2.0, 0.75, ((1.0, 1.0), (5.0, 3.0), (10.0, 4.0)))


def test_sections_without_data_are_left_out():
    page = render_report(ReportData(title="x"))
    assert "How the student learned" not in page
    assert "Where student and MLLM disagree" not in page


def test_the_account_and_hostile_names():
    page = render_report(
        ReportData(
            title="x",
            learned=[("Asked", "12 of 24 <b>images</b>")],
            curves=[CURVE],
            disagreements=[Disagreement("a.jpg", "<i>Owl</i>", "Wren", 0.731)] * 61,
            unnamed=[UnnamedGroup(("b.jpg",))],
            unnamed_note="With so few labels mistrust them.",
        )
    )
    assert "12 of 24 &lt;b&gt;images" in page
    assert "&lt;i&gt;Owl&lt;/i&gt;" in page
    assert "<i>Owl</i>" not in page
    assert "73 %" in page
    assert "1 more images not shown here" in page
    assert "75.0 %" in page
    assert "With so few labels mistrust them." in page


def row(item, label, top, chance, given=None):
    return {"item": item, "top": [[top, chance]], "given": given, "asked": True}, {"item": item, "label": label}


def test_disagreements_are_between_teacher_and_student_the_surest_first():
    pairs = [
        row("a", "Owl", "Owl", 0.9),
        row("b", "Owl", "Wren", 0.4),
        row("c", "Owl", "Wren", 0.8),
        row("d", None, "Wren", 0.8),
        row("e", "Jay", "Wren", 0.9, given="Jay"),
    ]
    found = _disagreements([support for _, support in pairs], [pool for pool, _ in pairs])
    assert [(one.item_id, one.teacher, one.student) for one in found] == [("c", "Owl", "Wren"), ("b", "Owl", "Wren")]


def test_words():
    assert "em 60.0 % (the mean image of each name, where" in _heads_told({"prototypes, text 0.3": 0.4, "em": 0.6})
    assert _rounds_told({"rounds": [{}], "stopped": None}).startswith("Off")
    assert "learned twice" in _rounds_told({"rounds": [{}, {}, {}], "stopped": None})
    assert "then it stopped: too few names" in _rounds_told({"rounds": [{}, {}], "stopped": "too few names"})


def test_groups_are_mistrusted_where_labels_are_few():
    support = [{"status": "named"}] * 10
    assert "only 10 named images for 5 names" in _groups_note([{}], support, {"names": list("abcde")})
    assert _groups_note([{}], support, {"names": list("abc")}) == ""
    assert _groups_note([], support, {"names": list("abcde")}) == ""
