"""Training rows: what is read, what is set aside and why, what comes back from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError, ManifestError
from fgvr.training import TrainingRow, read_rows, readable_rows, write_rows

from .world import pictures, training_rows

HUMAN = {"from": "human", "value": "<image>\nWhat is it?"}
MODEL = {"from": "gpt", "value": "a tern"}


def read(tmp_path: Path, records: object, name: str = "rows.json"):
    (tmp_path / name).write_text(json.dumps(records))
    return read_rows(tmp_path / name)


def test_a_released_conversation_is_read(tmp_path):
    system = {"from": "system", "value": "Be brief."}
    found = read(tmp_path, [{"id": 7, "image": "birds/a.jpg", "conversations": [system, HUMAN, MODEL]}])
    assert found.rows == (TrainingRow("7", (tmp_path / "birds/a.jpg",), "What is it?", "a tern", "Be brief."),)
    assert found.set_aside == ()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "bad row"),
        ([1], "bad row"),
        ({"image": "a.jpg", "conversations": "hello"}, "bad row"),
        ({"image": "a.jpg", "conversations": [HUMAN]}, "bad row"),
        ({"image": "a.jpg", "conversations": [MODEL, HUMAN]}, "bad row"),
        ({"image": "a.jpg", "conversations": [HUMAN, {"from": "gpt"}]}, "bad row"),
        ({"image": "a.jpg", "conversations": [HUMAN, MODEL, HUMAN, MODEL]}, "several turns"),
        ({"image": "a.jpg", "conversations": [HUMAN, {"from": "gpt", "value": "  "}]}, "empty answer"),
        ({"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\n"}, MODEL]}, "empty prompt"),
        ({"images": ["a.jpg", "b.jpg"], "conversations": [HUMAN, MODEL]}, "image marks"),
        ({"conversations": [HUMAN, MODEL]}, "image marks"),
        ({"image": 3, "prompt": "What?", "answer": "a tern"}, "bad row"),
        ({"image": "a.jpg", "prompt": "What?"}, "bad row"),
        ({"id": "good", "image": "a.jpg", "prompt": "What?", "answer": "a tern"}, "duplicate id"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(tmp_path, record, reason):
    good = {"id": "good", "image": "a.jpg", "prompt": "What?", "answer": "a tern"}
    found = read(tmp_path, [good, record])
    assert [row.id for row in found.rows] == ["good"]
    assert [(one.id, one.reason) for one in found.set_aside] == [("row 2", reason)]
    if reason != "duplicate id":
        with pytest.raises(InputError, match=reason):
            read(tmp_path, [record])


def test_a_broken_line_does_not_stop_the_rest(tmp_path):
    good = '{"image": "a.jpg", "prompt": "What?", "answer": "a tern"}'
    (tmp_path / "rows.jsonl").write_text(f"{good}\n{{half\n\n{good}\n")
    found = read_rows(tmp_path / "rows.jsonl")
    assert [row.id for row in found.rows] == ["row-1", "row-3"]
    assert [one.id for one in found.set_aside] == ["row 2"]


@pytest.mark.parametrize("text", ["", "{}", "[", "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_list_is_a_clear_error(tmp_path, text):
    (tmp_path / "rows.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ManifestError, match="ShareGPT"):
        read_rows(tmp_path / "rows.json")
    with pytest.raises(ManifestError):
        read_rows(tmp_path / "missing.jsonl")


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(words, words, st.integers(0, 3), st.none() | words), min_size=1, max_size=4), st.booleans())
def test_rows_come_back_as_they_were(tmp_path_factory, said, plain):
    folder = tmp_path_factory.mktemp("rows")
    rows = [
        TrainingRow(
            f"id {i}",
            tuple(folder / f"{n}.jpg" for n in range(count)),
            prompt.strip(),
            answer.strip(),
            system,
            {"a": [1, "x"]} if plain else {},
        )
        for i, (prompt, answer, count, system) in enumerate(said)
    ]
    file = folder / ("rows.jsonl" if plain else "rows.json")
    write_rows(file, rows)
    assert list(read_rows(file).rows) == rows


def test_pictures_that_cannot_be_read_are_set_aside(tmp_path):
    rows = training_rows(tmp_path, 4)
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    broken = [
        TrainingRow("bad", (rows[0].images[0], tmp_path / "bad.jpg"), "What?", "a tern"),
        TrainingRow("gone", (tmp_path / "gone.jpg",), "What?", "a tern"),
    ]
    found = readable_rows([*rows[:2], *broken, *rows[2:]])
    assert list(found.rows) == rows
    assert [(one.id, one.reason) for one in found.set_aside] == [("bad", "not an image"), ("gone", "missing")]
    with pytest.raises(InputError, match="no usable training row"):
        readable_rows(broken)
    assert len(pictures(tmp_path)) == 3
