"""Prediction files: the same content in every format, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data import format_predictions, read_predictions, write_predictions
from fgvr.errors import InputError, MissingExtraError
from fgvr.types import Prediction

SUFFIXES = [".jsonl", ".csv", ".parquet"]
_text = st.one_of(
    st.text(max_size=10), st.sampled_from(["=1+1", "'=1", "''@x", "-", "\t=x", "\r", "\n", "a\rb", "＝x", "'", ""])
)
_clean = _text.filter(lambda t: t.isascii() or not any("\ud800" <= c <= "\udfff" for c in t))
_share = st.floats(0, 1)
_predictions = st.lists(
    st.builds(
        Prediction,
        item_id=_clean,
        name=_clean,
        probability=_share,
        top=st.lists(st.tuples(_clean, _share), max_size=3).map(tuple),
        unknown=st.booleans(),
    ),
    max_size=4,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=50)
@given(predictions=_predictions)
def test_predictions_come_back_exactly(tmp_path_factory, suffix, predictions):
    path = tmp_path_factory.mktemp("out") / f"p{suffix}"
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions


@settings(deadline=None, max_examples=50)
@given(predictions=_predictions)
def test_no_csv_cell_starts_like_a_formula(predictions):
    rows = list(csv.reader(format_predictions(predictions, suffix=".csv").decode().splitlines(keepends=True)))
    assert rows[0] == ["image", "name", "probability", "unknown", "top"]
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]


def test_hostile_names_survive_every_format(tmp_path):
    names = [
        "../../x",
        "<script>alert(1)</script>",
        '=HYPERLINK("http://x")',
        "\u202egpj.exe",
        "a\0b",
        "x" * 10_000,
        '"',
    ]
    predictions = [Prediction(name, name, 0.5, ((name, 0.5),)) for name in names]
    for suffix in SUFFIXES:
        write_predictions(tmp_path / f"p{suffix}", predictions)
        assert read_predictions(tmp_path / f"p{suffix}") == predictions
    line = json.loads((tmp_path / "p.jsonl").read_text().split("\n")[0])
    assert line == {
        "image": "../../x",
        "name": "../../x",
        "probability": 0.5,
        "unknown": False,
        "top": [["../../x", 0.5]],
    }


def test_lone_surrogates_are_written_as_escapes(tmp_path):
    for suffix in (".jsonl", ".csv"):
        write_predictions(tmp_path / f"p{suffix}", [Prediction("\ud800", "\ud800", 0.5)])
        assert len(read_predictions(tmp_path / f"p{suffix}")) == 1


def test_what_cannot_be_written_or_read_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="stored"):
        write_predictions(tmp_path / "p.xlsx", [])
    for suffix, data in (
        (".jsonl", b'{"image": 1}\n'),
        (".jsonl", b"[1]\n"),
        (".csv", b"a,b\n1,2\n"),
        (".parquet", b"x"),
    ):
        (tmp_path / f"bad{suffix}").write_bytes(data)
        with pytest.raises(InputError, match="cannot read"):
            read_predictions(tmp_path / f"bad{suffix}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"fgvr\[parquet\]"):
        write_predictions(tmp_path / "p.parquet", [])
    assert not (tmp_path / "p.parquet").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_thousands_of_names_in_one_row_come_back(tmp_path, suffix):
    """Beyond the csv module's own limit of 131,072 characters a cell."""
    many = tuple((f"Warbler number {n} of a very long list", 1 / (n + 1)) for n in range(5000))
    predictions = [Prediction("a.jpg", "Warbler", 0.5, many)]
    write_predictions(tmp_path / f"p{suffix}", predictions)
    before = csv.field_size_limit()
    assert read_predictions(tmp_path / f"p{suffix}") == predictions
    assert csv.field_size_limit() == before
