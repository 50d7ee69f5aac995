"""Rationales as training rows and as ShareGPT files, the released form among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError, ManifestError
from fgvr.methods.fine_r1.prompts import PLAIN, SHORT, TRAIN
from fgvr.methods.fine_r1.rationales import (
    Rationale,
    answer_text,
    candidates_of,
    comparison_of,
    question_in,
    read_sharegpt,
    sft_rows,
    split_answer,
    think_of,
    write_sharegpt,
)
from fgvr.training.rows import read_rows

COMPARED = "Reef Wrasse is blue. So this is the Kelp Wrasse."
WRASSE = Rationale(
    id="shots/1.jpg",
    path=Path("shots/1.jpg"),
    category="Kelp Wrasse",
    question="What kind of fish is this?",
    think=think_of("A red\ncrown.", ["Reef Wrasse", "Kelp Wrasse"], COMPARED),
    answer="Kelp Wrasse",
    candidates=("Reef Wrasse", "Kelp Wrasse"),
    comparison=COMPARED,
    super_category="fish",
)
RELEASED_FORM = """ Analysis of Visual Features:
The picture shows a fish:

1. Crown: red.
2. Tail: forked.

 Step 2: Candidate Subcategories:
Here are three candidates:

1. Reef Wrasse
   - Blue all over.
2. Kelp Wrasse (northern)
   - Red crown.
3. Tide Goby

The analysis of candidate subcategories:
1. Reef Wrasse
2. Kelp Wrasse

 Comparison Process:
 1. Reef Wrasse:
   - Crown: blue, not red.

 Final Prediction:
The prediction is: Kelp Wrasse
"""


def released_row(**changed: object) -> dict[str, object]:
    return {
        "messages": [
            {"role": "system", "content": "A conversation."},
            {"content": "<image>What is the exact name of this fish?", "role": "user"},
            {"role": "assistant", "content": f"<think>{RELEASED_FORM}</think>\n\n<answer>Kelp Wrasse</answer>"},
        ],
        "images": ["fish/1.jpg"],
        **changed,
    }


def answered(text: str) -> dict[str, object]:
    row = released_row()
    return {**row, "messages": [*row["messages"][:2], {"role": "assistant", "content": text}]}  # type: ignore[index]


def test_three_amounts_of_thinking():
    assert answer_text(WRASSE) == (
        "<think>A red crown.\nCandidates: Reef Wrasse, Kelp Wrasse.\nReef Wrasse is blue. So this is the Kelp "
        "Wrasse.</think>\n\n<answer>Kelp Wrasse</answer>"
    )
    assert answer_text(WRASSE, thinking="short") == f"<think>{COMPARED}</think>\n\n<answer>Kelp Wrasse</answer>"
    assert answer_text(WRASSE, thinking="none") == "<answer>Kelp Wrasse</answer>"
    with pytest.raises(InputError, match="amount of thinking"):
        answer_text(WRASSE, thinking="much")  # type: ignore[arg-type]


def test_training_rows():
    full, short = sft_rows([WRASSE])[0], sft_rows([WRASSE], style="short", thinking="short")[0]
    none = sft_rows([WRASSE], thinking="none")[0]
    assert full.prompt == TRAIN.replace("{question}", WRASSE.question)
    assert short.prompt == SHORT.replace("{question}", WRASSE.question)
    assert none.prompt == PLAIN.replace("{question}", WRASSE.question)
    assert (full.id, full.images, full.system) == (WRASSE.id, (WRASSE.path,), None)
    assert none.answer == "<answer>Kelp Wrasse</answer>"


@pytest.mark.parametrize("form", ["messages", "conversations"])
@pytest.mark.parametrize("style", ["paper", "short", None])
def test_sharegpt_out_and_in(tmp_path: Path, form: str, style: str | None):
    inside = Rationale(**{**vars(WRASSE), "path": tmp_path / "shots" / "1.jpg"})
    far = Rationale(**{**vars(WRASSE), "id": "2", "path": tmp_path.parent / "elsewhere.jpg"})
    file = tmp_path / "data.json"
    write_sharegpt(file, [inside, far], form=form, style=style, system="Think.")  # type: ignore[arg-type]
    written = json.loads(file.read_text())
    assert [row["images"] for row in written] == [["shots/1.jpg"], [str(far.path)]]
    assert read_sharegpt(file).rationales == (inside, far)
    assert read_rows(file).rows[0].system == "Think."
    turn = written[0][form][1]
    assert (turn.get("content") or turn.get("value")).startswith("<image>What kind of fish is this?")


@pytest.mark.parametrize("thinking", ["short", "none"])
def test_less_thinking_survives_a_file(tmp_path: Path, thinking: str):
    write_sharegpt(tmp_path / "x.json", [WRASSE], thinking=thinking)  # type: ignore[arg-type]
    [read] = read_sharegpt(tmp_path / "x.json").rationales
    assert answer_text(read, thinking=thinking) == answer_text(WRASSE, thinking=thinking)  # type: ignore[arg-type]
    assert read.question == WRASSE.question


def test_the_released_form(tmp_path: Path):
    file = tmp_path / "stage1.json"
    file.write_text(json.dumps([released_row()]))
    [read] = read_sharegpt(file, root="/pictures").rationales
    assert read.path == Path("/pictures/fish/1.jpg")
    assert (read.category, read.answer, read.id) == ("Kelp Wrasse", "Kelp Wrasse", "row-1")
    assert read.question == "What is the exact name of this fish?"
    assert read.think.startswith("Analysis of Visual Features:\nThe picture")
    assert read.candidates == ("Reef Wrasse", "Kelp Wrasse (northern)", "Tide Goby")
    assert read.comparison == "1. Reef Wrasse:\n   - Crown: blue, not red."
    assert sft_rows([read])[0].prompt == TRAIN.replace("{question}", read.question)


def test_bad_rows_are_set_aside(tmp_path: Path):
    rows = [
        released_row(id="good"),
        {**answered("Kelp Wrasse"), "id": "no tags"},
        {**answered("<think>a</think><answer>b</answer><answer>c</answer>"), "id": "two answers"},
        {**answered("<think>a<think>b</think></think><answer>c</answer>"), "id": "nested"},
        {**answered("<think>a</think><answer> </answer>"), "id": "empty"},
        released_row(id="no picture", images=[]),
        released_row(id="several", messages=[*released_row()["messages"], {"role": "user", "content": "?"}]),  # type: ignore[misc]
        released_row(id="odd", messages="text"),
    ]
    rows[5]["messages"][1]["content"] = "What is it?"  # type: ignore[index]
    file = tmp_path / "stage1.json"
    file.write_text(json.dumps(rows))
    read = read_sharegpt(file)
    assert [one.id for one in read.rationales] == ["good"]
    assert {one.id: one.reason for one in read.set_aside} == {
        "no tags": "format",
        "two answers": "format",
        "nested": "format",
        "empty": "format",
        "no picture": "not one picture",
        "row 7": "several turns",
        "row 8": "bad row",
    }


def test_a_file_with_nothing_in_it(tmp_path: Path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([answered("Kelp Wrasse")]))
    with pytest.raises(InputError, match="no usable training row"):
        read_sharegpt(file)
    with pytest.raises(ManifestError):
        read_sharegpt(tmp_path / "none.json")
    with pytest.raises(InputError, match="no rationale to write"):
        write_sharegpt(file, [])
    with pytest.raises(InputError, match="form"):
        write_sharegpt(file, [WRASSE], form="xml")  # type: ignore[arg-type]


def test_parts_of_thinking():
    assert candidates_of(WRASSE.think) == WRASSE.candidates
    assert comparison_of(WRASSE.think) == COMPARED
    assert comparison_of("One.\n\nTwo.\n\n") == "Two."
    assert (comparison_of(""), candidates_of("Some thoughts.")) == ("", ())
    bulleted = " Candidate Subcategories\n- **Reef Wrasse**: blue\n  - small\n- Tide Goby\n Comparison\nx"
    assert candidates_of(bulleted) == ("Reef Wrasse", "Tide Goby")


def test_a_prompt_in_other_words_is_all_question():
    assert question_in("What is it? Think hard.") == "What is it? Think hard."


@given(st.text(max_size=40), st.text(min_size=1, max_size=20))
def test_answers_are_split_as_they_were_joined(think: str, answer: str):
    text = f"<think>{think}</think>\n\n<answer>{answer}</answer>"
    tags = ("<think>", "</think>", "<answer>", "</answer>")
    if not any(tag in part for tag in tags for part in (think, answer)):
        assert split_answer(text) == (think.strip(), answer.strip())
