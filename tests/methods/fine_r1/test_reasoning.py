"""Reasoning data built with scripted teachers: what is asked, sampled again, set aside, and paid for once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.errors import InputError, MllmError
from fgvr.fieldguide.guide import all_species
from fgvr.methods.fine_r1.prompts import SHORT as SHORT_PROMPT
from fgvr.methods.fine_r1.reasoning import ReasoningSettings, build_reasoning, sft_rows
from fgvr.methods.fine_r1.reasoning_prompts import caption_prompts, structured_prompt
from fgvr.mllm import Budget, Price, Reply, Request, ResponseCache, load_mllm, spent_in
from fgvr.runs import Ledger
from fgvr.types import ImageItem, Usage
from tests.methods.fine_r1.reasoners import NAMES, SHORT, Teacher, good, pictures, reply, told_label


@pytest.fixture
def items(tmp_path: Path) -> list[ImageItem]:
    return pictures(tmp_path / "pictures")


def build(items: list[ImageItem], teacher: Teacher, settings: ReasoningSettings = SHORT, **more: object):
    return build_reasoning(items, teacher.mllm, super_category="bird", settings=settings, **more)  # type: ignore[arg-type]


def test_captions_concepts_prompt_rationale(items: list[ImageItem]):
    teacher = Teacher(good)
    made = build(items, teacher)
    captions, written = teacher.of("caption"), teacher.of("reasoning")
    assert [one.prompt for one in captions[:6]] == list(caption_prompts("bird"))
    assert not any(name.lower() in one.prompt.lower() for one in captions for name in NAMES)
    assert len(captions) == 18
    assert made.concepts["0.png"] == ("tone0 crown", "feathers")
    first = made.rationales[0]
    assert written[0].prompt == structured_prompt(
        "Red Wren", ("tone0 crown", "feathers"), first.question, kind="bird", length="short"
    )
    assert written[0].images == (items[0].path,)
    assert first.candidates == ("Grey Crow", "Red Wren")  # as spelt in the data, not as shouted by the teacher
    assert first.think == (
        "The bird has a bright crown.\nCandidates: Grey Crow, Red Wren.\n"
        "The Grey Crow is dull, so this is the Red Wren."
    )
    assert (first.id, first.path, first.category, first.answer) == ("0.png", items[0].path, "Red Wren", "Red Wren")
    assert (made.set_aside, made.stopped, made.rejected) == ((), None, {})
    assert {stage: usage.calls for stage, usage in made.by_stage.items()} == {
        "fine-r1:caption": 18,
        "fine-r1:reasoning": 3,
    }
    row = sft_rows(made.rationales, style="short")[0]
    assert row.prompt == SHORT_PROMPT.replace("{question}", first.question)
    assert row.answer == f"<think>{first.think}</think>\n\n<answer>Red Wren</answer>"


def test_what_fails_is_sampled_again_with_another_seed_and_more_heat(items: list[ImageItem]):
    def script(request: Request) -> str:
        label = told_label(request)
        wrong = label == "Blue Finch" and "sample-3" not in request.item_id
        return reply(label, prediction="Grey Crow" if wrong else None)

    teacher = Teacher(script)
    made = build(items, teacher, replace(SHORT, captions=()))
    again = [one for one in teacher.asked if one.item_id.startswith("1.png")]
    assert [one.item_id for one in again] == ["1.png#sample-1", "1.png#sample-2", "1.png#sample-3"]
    assert [one.parameters.temperature for one in again] == [0.7, 0.8, 0.9]
    assert len({one.parameters.seed for one in again}) == 3
    assert len(teacher.asked) == 5
    assert [one.category for one in made.rationales] == list(NAMES)
    assert made.rejected == {"label not predicted": 2}


def test_samples_run_out(items: list[ImageItem]):
    replies = iter(
        ["no tags", reply("Blue Finch", prediction="Grey Crow"), reply("Blue Finch", options="Grey Crow, x")]
    )
    teacher = Teacher(lambda one: reply(told_label(one)) if "1.png" not in one.item_id else next(replies))
    made = build(items, teacher, replace(SHORT, captions=()))
    [aside] = made.set_aside
    assert (aside.id, aside.reason) == ("1.png", "label not among the candidates")
    assert aside.detail.startswith("3 samples: format: no analysis")
    assert [one.id for one in made.rationales] == ["0.png", "2.png"]


def test_a_reply_that_was_cut_off_is_not_used(items: list[ImageItem]):
    def script(request: Request) -> Reply:
        return Reply("", reply(told_label(request)), "m", Usage(calls=1), finish="length")

    with pytest.raises(InputError, match="no rationale passed") as caught:
        build(items, Teacher(script), replace(SHORT, captions=()))
    assert "format" in str(caught.value)


@pytest.mark.parametrize("keep", ["ledger", "cache"])
def test_a_second_run_pays_nothing(items: list[ImageItem], tmp_path: Path, keep: str):
    def script(request: Request) -> str:
        if request.stage == "fine-r1:reasoning" and request.item_id == "2.png#sample-1":
            return "unreadable"
        return good(request)

    def once(teacher: Teacher):
        kept = Ledger(tmp_path / "l.jsonl") if keep == "ledger" else ResponseCache(tmp_path / "c.sqlite")
        with kept:
            return build(items, teacher, **{keep: kept})

    first, second = once(Teacher(script)), Teacher(script)
    again = once(second)
    assert second.asked == []
    assert again.rationales == first.rationales
    assert again.rejected == first.rejected != {}
    assert (again.usage.calls, again.reused) == (0, 22)


def test_a_renamed_picture_is_not_paid_for_again(items: list[ImageItem], tmp_path: Path):
    settings = replace(SHORT, captions=())
    with ResponseCache(tmp_path / "c.sqlite") as cache:
        first = build(items[:1], Teacher(good), settings, cache=cache)
        question = first.rationales[0].question
        moved = items[0].path.rename(tmp_path / "other.png")
        teacher = Teacher(good)
        renamed = next(
            ImageItem(name, moved, items[0].label)
            for name in map(str, range(200))
            if build([ImageItem(name, moved, items[0].label)], Teacher(good), settings).rationales[0].question
            == question
        )
        build([renamed], teacher, settings, cache=cache)
    assert teacher.asked == []


@pytest.mark.parametrize("cap", [0.0, 0.002, 0.004, 0.008])
def test_a_stopped_budget_can_be_resumed(items: list[ImageItem], tmp_path: Path, cap: float):
    def attempt(limit: float, teacher: Teacher):
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            budget = Budget(limit, spent=spent_in(ledger))
            prices = {"scripted": Price(1.0, 1.0)}
            return build(items, teacher, ledger=ledger, budget=budget, prices=prices, concurrency=1)

    def script(request: Request) -> str:
        return "bad" if request.item_id == "0.png#sample-1" else good(request)

    first = Teacher(script, local=False, batch_size=1)
    stopped = attempt(cap, first)
    assert stopped.stopped == "budget"
    assert {one.reason for one in stopped.set_aside} == {"not asked"}
    assert len(stopped.rationales) + len(stopped.set_aside) == 3
    second = Teacher(script, local=False, batch_size=1)
    done = attempt(1.0, second)
    assert done.stopped is None
    assert [one.id for one in done.rationales] == ["0.png", "1.png", "2.png"]
    asked = [(one.stage, one.item_id) for one in (*first.asked, *second.asked)]
    assert len(set(asked)) == len(asked) == 22


def test_a_teacher_that_reads_only_words(items: list[ImageItem]):
    teacher, eyes = Teacher(good), Teacher(good, name="eyes")
    made = build(items, teacher, teacher_sees=False)
    assert all(one.images == () for one in teacher.asked)
    assert teacher.of("caption") == []
    assert "This is a picture of a Red Wren.\n" in teacher.asked[0].prompt
    assert "the teacher saw no picture" in made.notes[0]
    build(items, teacher, teacher_sees=False, captioner=eyes.mllm)
    assert len(eyes.of("caption")) == 18
    assert "tone0 crown" in teacher.asked[-3].prompt


def test_given_concepts_and_allowed_candidates(items: list[ImageItem]):
    teacher = Teacher(good)
    made = build(items, teacher, concepts={"Red Wren": ["red cap"], "1.png": ["blue cap"]}, among=["Grey Crow"])
    assert teacher.of("caption") == []
    assert "visual features: red cap." in teacher.asked[0].prompt
    assert teacher.asked[2].prompt.startswith("This is a picture of a Green Heron.\n")
    assert all(one.prompt.endswith("\nCandidates only from: Grey Crow") for one in teacher.asked)
    assert len(made.rationales) == 3
    with pytest.raises(InputError, match="candidate not allowed"):
        build(items, Teacher(good), concepts={}, among=["Snow Goose"])


def test_recorded_replies_are_read_by_item(items: list[ImageItem], tmp_path: Path):
    rows = [{"image": one.id, "model": "m", "reply": reply(str(one.label))} for one in items]
    file = tmp_path / "replies.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items[0].path.unlink()
    made = build_reasoning(items, load_mllm(f"replay:{file}"), super_category="bird", settings=SHORT)
    assert [one.category for one in made.rationales] == list(NAMES)


def test_bad_items_are_set_aside(items: list[ImageItem], tmp_path: Path):
    broken = [
        ImageItem("none.png", tmp_path / "none.png", "Red Wren"),
        ImageItem("x.png", items[0].path, "  "),
        ImageItem("0.png", items[0].path, "Red Wren"),
    ]

    def script(request: Request) -> str | Exception:
        return MllmError("refused") if "1.png#sample" in request.item_id else good(request)

    made = build([*items, *broken], Teacher(script), replace(SHORT, captions=()))
    assert {one.id: one.reason for one in made.set_aside} == {
        "none.png": "missing",
        "x.png": "no label",
        "0.png": "duplicate id",
        "1.png": "not answered",
    }
    assert [one.id for one in made.rationales] == ["0.png", "2.png"]


def test_bad_arguments(items: list[ImageItem]):
    for more, words in (
        ({"how": "dreamt"}, "no such way"),
        ({"how": "composed", "teacher_sees": False}, "needs a teacher that sees"),
        ({"settings": ReasoningSettings(attempts=0)}, "at least one attempt"),
    ):
        with pytest.raises(InputError, match=words):
            build_reasoning(items, Teacher(good).mllm, super_category="bird", **more)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no super-category"):
        build_reasoning(items, Teacher(good).mllm, super_category={"Red Wren": "bird"}, settings=SHORT)
    with pytest.raises(InputError, match="no picture to reason about"):
        build_reasoning([], Teacher(good).mllm)


def test_without_super_category_it_is_an_object(items: list[ImageItem]):
    teacher = Teacher(good)
    made = build_reasoning(items, teacher.mllm, settings=SHORT)
    assert "the object in this image" in teacher.of("caption")[0].prompt
    assert "object" in made.rationales[0].question


def test_the_field_guide_teaches_its_species(tmp_path: Path):
    birds = [one for one in all_species() if one.super_category == "bird"][:5]
    items = pictures(tmp_path, tuple(one.name for one in birds))
    names = [one.name for one in birds]
    for length in ("short", "full"):
        settings = ReasoningSettings(length=length, attempts=8)  # type: ignore[arg-type]
        made = build_reasoning(
            items,
            load_mllm("fieldguide-text"),
            super_category="bird",
            settings=settings,
            teacher_sees=False,
            among=names,
        )
        assert [one.category for one in made.rationales] == names
        assert {name for one in made.rationales for name in one.candidates} <= set(names)
