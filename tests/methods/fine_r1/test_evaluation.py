"""The examination as a whole: groups, coverage, protocol, what is saved, what is paid for twice."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from fgvr.data.benchmarks.questions import Question
from fgvr.errors import InputError, MllmError, NoImagesError
from fgvr.methods.fine_r1.evaluation import examine
from fgvr.methods.fine_r1.evaluation_record import comparison, figure_table, write_examined
from fgvr.methods.fine_r1.exam import Wording, exam_requests
from fgvr.methods.fine_r1.figures import divided, figures_of
from fgvr.methods.fine_r1.macro import macro
from fgvr.mllm import Budget, ScriptedMllm
from fgvr.runs import Ledger
from fgvr.types import ImageItem

from .examining import Texts, asked_about, items_of, knowing, options_of, tagged, truth_of, writing

SEEN = ("sedge warbler", "Reed_Warbler")


@pytest.fixture
def questions(tmp_path):
    return asked_about(tmp_path / "p")


def knowing_the_seen(request, options):
    """Right about the two warblers; of others it says the first option, or anything."""
    truth = truth_of(request)
    if truth in ("Sedge Warbler", "Reed Warbler"):
        return tagged(truth, thinking="short")
    return tagged(options[0] if options else "Red Fox", thinking="a much longer thought of no use at all")


def value(examined, *which):
    figure = examined.figure(*which)
    return None if figure is None else figure.value


def test_seen_unseen_and_their_mean(questions):
    found = examine(
        writing(knowing_the_seen), closed=questions, open_items=items_of(questions), seen=SEEN, super_category="bird"
    )
    assert {group: value(found, "closed", "strict", group) for group in ("seen", "unseen", "average", "all")} == {
        "seen": 1.0,
        "unseen": 0.25,
        "average": 0.625,
        "all": 0.625,
    }
    assert (value(found, "open", "accepted", "seen"), value(found, "open", "accepted", "unseen")) == (1.0, 0.0)
    assert value(found, "closed", "official", "unseen") == 1.0  # the truth stands first
    assert found.parts["closed"].items == {"seen": 4, "unseen": 4, "all": 8}
    assert found.parts["closed"].truth_in_distractor == 0
    assert found.figure("closed", "strict", "seen").coverage == found.replied == 1.0
    assert found.figure("open", "similarity") is None


def test_the_mean_of_groups_is_not_the_mean_of_pictures(questions):
    found = examine(writing(knowing_the_seen), closed=questions[:6], seen=["sedge warbler"])
    assert found.parts["closed"].items == {"seen": 2, "unseen": 4, "all": 6}
    seen, unseen = (value(found, "closed", "strict", group) for group in ("seen", "unseen"))
    assert value(found, "closed", "strict", "average") == pytest.approx((seen + unseen) / 2)
    assert value(found, "closed", "strict", "all") == pytest.approx((2 * seen + 4 * unseen) / 6)


def test_without_a_division_there_is_one_group_and_a_files_own_division_is_used(questions):
    plain = examine(writing(knowing), closed=questions)
    assert list(plain.parts["closed"].figures) == ["all"]
    marked = [replace(one, seen=one.truth != "Blue Tit") for one in questions]
    found = examine(writing(knowing), closed=marked, open_items=items_of(marked))
    for part in found.parts.values():
        assert part.items == {"seen": 6, "unseen": 2, "all": 8}


def test_an_unanswered_picture_is_never_wrong_and_the_coverage_says_so(questions):
    def silent(request, options):
        if truth_of(request) == "Boeing 747":
            raise MllmError("no reply")
        return knowing(request, options)

    found = examine(
        writing(silent), closed=questions, open_items=items_of(questions), seen=["Boeing 747", "Blue Tit"], attempts=1
    )
    for part, key in (("closed", "strict"), ("closed", "official"), ("open", "accepted"), ("open", "official")):
        figure = found.figure(part, key, "seen")
        assert (figure.value, figure.coverage, figure.n) == (1.0, 0.5, 2)
    assert found.replied == 0.75
    assert found.figure("closed", "strict", "average").coverage == 0.75
    assert "(50.0 covered)" in found.figure("closed", "strict", "seen").text()


def test_a_group_nobody_answered_in_has_no_figure(questions):
    def silent(request, options):
        if truth_of(request) == "Boeing 747":
            raise MllmError("no reply")
        return knowing(request, options)

    found = examine(writing(silent), closed=questions, seen=["Boeing 747"], attempts=1)
    assert found.figure("closed", "strict", "seen") is None
    assert found.figure("closed", "strict", "average") is None
    assert found.figure("closed", "strict", "unseen").value == 1.0
    headers, rows = figure_table(found.parts["closed"])
    assert headers == ["closed", "seen (2)", "unseen (6)", "average (8)", "all (8)"]
    assert rows[0][1:4] == ["-", "100.0 [100.0, 100.0]", "-"]


def test_replies_without_tags_are_wrong_and_shown_as_such(questions):
    found = examine(
        writing(lambda request, _: str(truth_of(request))), closed=questions, open_items=items_of(questions)
    )
    for part in ("closed", "open"):
        assert (value(found, part, "tagged"), value(found, part, "strict")) == (0.0, 0.0)
        assert found.figure(part, "strict").coverage == 1.0
    assert value(found, "open", "official") == 1.0  # the released rule takes the whole output
    assert found.parts["closed"].letters == ()
    assert any("replies without are wrong" in line for line in found.protocol)


def test_position_bias_is_measured_over_all_rotations(questions):
    found = examine(writing(lambda _, options: tagged(options[0])), closed=questions)
    assert found.parts["closed"].position_bias == 0.75
    assert examine(writing(knowing), closed=questions).parts["closed"].position_bias == 0


def test_longer_replies_are_worse_here_and_the_table_says_so(questions):
    found = examine(writing(knowing_the_seen), closed=questions, open_items=items_of(questions))
    for part in found.parts.values():
        assert part.words.bins[0].accuracy.value == 1.0
        assert part.words.bins[-1].accuracy.value < 0.5
        assert part.words.spearman < -0.6
        assert part.tokens.n == {"closed": 32, "open": 8}[part.name]


def test_similarity_is_against_the_items_own_super_category(questions):
    texts = Texts(**{"boeing 747": (1, 0), "aircraft": (0.6, 0.8), "blue tit": (0.8, 0.6), "bird": (0.0, 1.0)})
    items = [item for item in items_of(questions) if item.label == "Boeing 747"]
    model = writing(lambda *_: tagged("Blue Tit"))

    def similarity(kinds):
        return value(examine(model, open_items=items, super_category=kinds, sentences=texts), "open", "similarity")

    assert similarity("aircraft") == pytest.approx(0.5)
    assert similarity({items[0].id: "aircraft", items[1].id: "bird"}) == pytest.approx((0.5 + 0.8) / 2)


def test_nothing_is_asked_twice_with_a_ledger_a_part(questions, tmp_path):
    model = writing(knowing)
    given = {"closed": questions, "open_items": items_of(questions), "seen": SEEN}

    def again():
        return examine(model, **given, ledgers=lambda part: Ledger(tmp_path / f"{part}.jsonl"))

    first = again()
    calls = len(model.asked)
    second = again()
    assert len(model.asked) == calls
    assert second.as_dict() == first.as_dict()
    assert second.usage.calls == 0
    wording = Wording()
    planned = exam_requests(wording, closed=questions, open_items=items_of(questions))
    assert {part: len(each) for part, each in planned.items()} == {"closed": 40, "open": 8}
    asked = {one.prompt for one in model.asked}
    assert asked == {one.prompt for each in planned.values() for one in each}


def test_a_spent_budget_leaves_the_rest_unanswered_not_wrong(questions):
    from fgvr.mllm.prices import Price

    model = ScriptedMllm(lambda request: knowing(request, options_of(request)), name="paid")
    found = examine(
        model,
        closed=questions,
        rotations=False,
        official=False,
        max_tokens=10,
        budget=Budget(5.0),
        prices={"paid": Price(1000.0, 1000.0)},
        concurrency=1,
    )
    assert found.stopped == "budget"
    assert 0 < found.replied < 1
    figure = found.figure("closed", "strict")
    assert figure.value == 1.0
    assert figure.coverage == found.replied


def test_free_scores_names_and_reads_plain_sentences(questions):
    import math

    from fgvr.mllm import Reply
    from fgvr.types import Usage

    def script(request):
        truth = str(truth_of(request))
        if not request.options:
            return f"This looks like a {truth} to me."
        chances = tuple(math.log(0.7 if name == truth else 0.1) for name in request.options)
        return Reply("", truth, "m", Usage(1), option_logprobs=chances)

    model = ScriptedMllm(script, local=True)
    found = examine(model, closed=questions, open_items=items_of(questions), seen=SEEN, free=True)
    for part in ("closed", "open"):
        assert value(found, part, "strict", "average") == 1.0
    assert found.parts["closed"].tokens is None
    assert found.figure("closed", "official") is None
    assert "options not listed" in " ".join(found.protocol)
    planned = exam_requests(Wording(free=True), closed=questions, open_items=items_of(questions))
    assert {part: len(each) for part, each in planned.items()} == {"closed": 8, "open": 8}


def test_what_cannot_be_asked_is_set_aside_or_refused(questions, tmp_path):
    gone = ImageItem("gone", tmp_path / "gone.png", "Blue Tit")
    nameless = replace(items_of(questions)[0], id="x", label=None)
    items = [*items_of(questions), gone, nameless, items_of(questions)[0]]
    found = examine(writing(knowing), open_items=items)
    assert [one.reason for one in found.set_aside] == ["missing", "no label", "duplicate"]
    assert found.parts["open"].items == {"all": 8}
    with pytest.raises(InputError, match="nothing to examine"):
        examine(writing(knowing))
    with pytest.raises(NoImagesError):
        examine(writing(knowing), open_items=[gone])
    with pytest.raises(NoImagesError):
        examine(writing(knowing), closed=[Question("q", ("a", "b"), 0)])


def test_what_is_saved(questions, tmp_path):
    found = examine(writing(knowing_the_seen), closed=questions, open_items=items_of(questions), seen=SEEN)
    write_examined(tmp_path / "run", [found], more={"spent": 0.0})
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["parts"]["closed"]["figures"]["seen"]["strict"]["value"] == 1.0
    assert result["parts"]["closed"]["figures"]["unseen"]["strict"]["n"] == 4
    assert result["spent"] == 0.0
    rows = [json.loads(line) for line in (tmp_path / "run" / "replies.jsonl").read_text().splitlines()]
    assert len(rows) == 8 * 5 + 8
    assert {row["control"] for row in rows if row["part"] == "closed"} == {"picture", "official"}
    assert {row["seen"] for row in rows if row["truth"] == "Blue Tit"} == {False}
    with (tmp_path / "run" / "lengths.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 8 * 4 + 8
    assert {row["words"] for row in table if row["right"] == "1.0" and row["part"] == "open"} == {"1"}
    assert (tmp_path / "run" / "table.md").read_text().count("\n") == 3
    headers, lines = comparison([found])
    assert len(headers) == len(lines[0]) == 1 + 4 * 3 + 1


def test_names_are_compared_by_their_normal_form():
    names = ["Sedge Warbler", "Blue Tit"]
    assert divided(names, ["sedge_warbler"]) == [True, False]
    assert divided(names, {"Sedge Warbler": False, "blue tit": True}) == [False, True]
    assert divided(names, None) == [None, None]
    assert divided(names, None, [True, None]) == [True, None]


def test_intervals_over_classes_are_wider_where_pictures_of_a_class_go_together():
    classes = [name for name in "abcdefgh" for _ in range(20)]
    scores = {"strict": [float(name in "abcd") for name in classes]}
    by = {unit: figures_of(scores, [None] * 160, classes, unit=unit)["all"]["strict"] for unit in ("items", "classes")}
    widths = {unit: one.interval.high - one.interval.low for unit, one in by.items()}
    assert widths["classes"] > 2 * widths["items"]
    assert by["classes"].value == by["items"].value == 0.5


def test_figures_leave_out_what_does_not_count():
    nan = float("nan")
    found = figures_of({"a": [1.0, nan, 0.0, nan], "b": [nan] * 4}, [True, True, False, False], ["x"] * 4)
    assert (found["seen"]["a"].value, found["seen"]["a"].n, found["seen"]["a"].coverage) == (1.0, 1, 0.5)
    assert found["average"]["a"].value == 0.5
    assert all("b" not in group for group in found.values())
    assert np.isfinite(found["all"]["a"].interval.low)


def test_over_data_sets_each_weighs_the_same_and_avg_is_the_mean_of_seen_and_unseen(tmp_path):
    small, large = asked_about(tmp_path / "small", 4), asked_about(tmp_path / "large", 12)
    one = examine(writing(knowing_the_seen), open_items=items_of(small), seen=SEEN).parts["open"]
    other = examine(writing(knowing), open_items=items_of(large), seen=SEEN).parts["open"]
    for unit in ("items", "classes"):
        found = macro([one, other], unit=unit)
        assert {group: each["strict"].value for group, each in found.items()} == {
            "seen": 1.0,
            "unseen": 0.5,  # none of two and all of six: 0.75 of the pictures
            "average": 0.75,
            "all": 0.75,
        }
        assert found["unseen"]["strict"].n == 8
    undivided = examine(writing(knowing), open_items=items_of(large)).parts["open"]
    assert list(macro([one, undivided])) == ["all"]
    with pytest.raises(InputError, match="one kind"):
        macro([])
