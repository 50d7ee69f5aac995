"""Tables as text: cells, Markdown, CSV; names that would break out of them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.compare.differences import Difference
from fgvr.compare.summary import lines
from fgvr.compare.table import HEADERS, cells, csv_of, difference_cells, figure, grid, markdown, write_tables
from fgvr.metrics.bootstrap import Interval
from fgvr.types import Usage
from tests.compare.rows import failed, row
from tests.report.examples import HOSTILE

ATTACKS = (
    *HOSTILE,
    "a|b",
    "a\\|b",
    "a\\",
    "`x`",
    "[x](http://evil.example)",
    "![x](http://evil.example)",
    "a\nb\r\n# c",
)


def test_figures_show_what_their_interval_is() -> None:
    assert figure(Interval(0.635, 0.612, 0.657, 0.95, 1000)) == "63.5 [61.2, 65.7]"
    assert figure(Interval(0.635, 0.623, 0.647, 0.95, 0)) == "63.5 ± 1.2"
    assert figure(Interval(0.635, 0.635, 0.635, 0.95, 0)) == "63.5"
    assert figure(None) == ""


def test_a_line_by_hand() -> None:
    (line,) = lines([row(figures={"cacc": 0.5}, usage=Usage(1234, 56789, 42, 1.0, 0.126), seconds=61.6, names=7,
                         truth_covered=0.25)])  # fmt: skip
    assert dict(zip(HEADERS, cells(line), strict=True)) == {
        "method": "Direct", "cACC": "50.0 [45.0, 55.0]", "sACC": "", "accuracy": "", "sIOU": "", "answered": "100.0 %",
        "names": "7", "truth in names": "25 %", "calls": "1,234", "tokens in / out": "56,789 / 42", "money": "$0.13",
        "s": "62",
    }  # fmt: skip


def test_partial_and_failed_lines() -> None:
    (line,) = lines([row(answered=9, usage=Usage(cost=None))])
    assert cells(line)[0] == "Direct *"
    assert "unknown" in cells(line)
    (line,) = lines([failed(error="no\nway  out")])
    assert cells(line)[:2] == ["Direct", "failed"]
    assert len(cells(line)) == len(HEADERS)


def test_differences_carry_their_sign_and_a_star() -> None:
    one = Difference("birds", "knn", "direct", {
        "cacc": Interval(0.05, 0.01, 0.09, 0.95, 0), "synonym": Interval(-0.05, -0.1, 0.02, 0.95, 1000),
    }, "draws")  # fmt: skip
    assert difference_cells(one) == ["knn", "+5.0 ± 4.0 *", "", "-5.0 [-10.0, +2.0]"]


def parsed(table: list[str]) -> list[list[str]]:
    """As GitHub's Markdown splits rows: at pipes that no backslash escapes, pairs of backslashes being letters."""
    return [re.findall(r"((?:\\.|[^|\\])*)\|", line[1:]) for line in table]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_breaks_a_markdown_table(attack: str) -> None:
    rows = [row(title=attack, method="m"), failed("n", error=attack, title=attack)]
    found = lines(rows)
    table = grid(HEADERS, [cells(line) for line in found])
    assert [len(one) for one in parsed(table)] == [len(HEADERS)] * 4
    compared = [Difference("birds", attack, attack, {"cacc": Interval(0, 0, 0, 0.95, 0)}, "draws")]
    page = markdown(lines([*rows, row(notes=(attack,), collection=attack)]), compared, [attack])
    assert not re.search(r"<(script|img|svg|style|/)", page)
    assert "](" not in page
    assert not re.search(r"^# c", page, re.MULTILINE)
    for hidden in ("\u202e", "\u2066", "\x00", "\ud800"):
        assert hidden not in page
    for line in page.splitlines():
        assert line == "" or line.startswith(("#", "- ", "| ", "\\*", "Paired")), line


@given(st.text(max_size=20))
def test_any_text_stays_in_its_cell(text: str) -> None:
    table = grid(("a", "b"), [[text, "x"]])
    assert [len(one) for one in parsed(table)] == [2, 2, 2]
    assert parsed(table)[2][1].strip() == "x"


def test_markdown_names_what_failed_and_what_is_partial() -> None:
    page = markdown(lines([row(seed=0), failed(seed=1, error="the lens cap")]), [], ["one", "two"])
    assert "- one\n- two\n" in page
    assert "compare with care" in page
    assert "the lens cap" in page
    assert "compare with care" not in markdown(lines([row()]), [], [])


def test_a_star_is_explained_where_it_stands_and_only_there() -> None:
    """A method that failed on every draw has no figures, hence no star: the one of the differences means another."""
    better = Difference("birds", "knn", "direct", {"cacc": Interval(0.05, 0.01, 0.09, 0.95, 0)}, "draws")
    page = markdown(lines([row(), failed("near")]), [better], [])
    assert "compare with care" not in page
    assert "a star where the interval leaves zero out" in page


def test_csv_holds_every_line_and_no_formula() -> None:
    rows = [row(title=attack, method=f"m{i}", notes=(attack,), error=attack) for i, attack in enumerate(ATTACKS)]
    for data in (csv_of(rows), csv_of(lines(rows))):
        found = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
        assert len(found) == len(rows)
        for one in found:
            assert float(one["cacc"]) == 0.5
            assert (float(one["cacc_low"]), float(one["cacc_high"])) == pytest.approx((0.45, 0.55))
            assert (one["sacc"], float(one["coverage"]), float(one["usage_calls"])) == ("", 1.0, 10.0)
            assert not [cell for cell in one.values() if cell.startswith(("=", "+", "@", "\t", "\r"))]


def test_files_are_whole(tmp_path: Path) -> None:
    rows = [row(), failed("knn"), row("\ud800\u2028")]
    write_tables(tmp_path, rows, lines(rows), [], ["protocol"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["comparison.json", "rows.csv", "table.csv", "table.md"]
    stored = json.loads((tmp_path / "comparison.json").read_bytes())
    assert [one["status"] for one in stored["rows"]] == ["done", "failed", "done"]
    assert stored["protocol"] == ["protocol"]
