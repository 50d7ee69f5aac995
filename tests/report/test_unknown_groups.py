"""Groups that nobody has named, on the page: shown, hostile, many, none."""

from __future__ import annotations

import csv
import html
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from fgvr.report import ReportData, UnnamedGroup, render_report
from fgvr.report.unnamed import GROUPS_SHOWN, PICTURES_SHOWN, names_table
from tests.report.examples import HOSTILE, SCRIPT
from tests.report.test_render import Page


def pictures(folder: Path, count: int) -> dict[str, Path]:
    paths = {}
    for number in range(count):
        paths[f"bird {number}.jpg"] = folder / f"{number}.png"
        Image.new("RGB", (60, 40), (20 * number % 255, 90, 120)).save(folder / f"{number}.png")
    return paths


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ReportData:
    paths = pictures(tmp_path_factory.mktemp("groups"), 12)
    items = tuple(paths)
    groups = [
        UnnamedGroup(items[:9], (("Sedge Warbler", 0.41), ("Reed Wren", 0.2)), distance=0.312, cohesion=0.876),
        UnnamedGroup(items[9:], ()),
    ]
    return ReportData("Birds", images=paths, unnamed=groups)


def table_of(page: str) -> list[dict[str, str]]:
    text = html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[1])
    return list(csv.DictReader(io.StringIO(text.lstrip("\n"))))


def test_the_section_says_what_the_groups_are(data):
    html_text = render_report(data)
    page = Page(html_text)
    assert "unnamed" in page.values("id")
    assert "#unnamed" in page.values("href")
    words = page.text()
    for expected in ("Groups nobody has named", "9 images", "3 images", "0.31", "0.88", "Sedge Warbler", "41 %"):
        assert expected in words, expected
    assert "and 1 more" in words  # nine images, eight pictures
    assert "its images got no name" in words
    assert page.tags["img"] == PICTURES_SHOWN + 3


def test_the_table_has_a_line_an_image_and_no_names(data):
    rows = table_of(render_report(data))
    assert [row["group"] for row in rows] == ["1"] * 9 + ["2"] * 3
    assert [row["item"] for row in rows] == [item for one in data.unnamed for item in one.item_ids]
    assert {row["name"] for row in rows} == {""}


def test_hostile_ids_and_names_stay_text():
    groups = [UnnamedGroup((text, *HOSTILE), ((text, 0.5), ("x", float("nan")))) for text in HOSTILE]
    attacked = render_report(ReportData("x", unnamed=groups))
    page = Page(attacked)
    assert page.tags["script"] == page.tags["textarea"] == 1
    assert SCRIPT not in attacked
    assert SCRIPT in page.text()
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", attacked)
    assert all(re.fullmatch("[a-z0-9-]+", element_id) for element_id in page.values("id"))
    assert len(set(page.values("id"))) == len(page.values("id"))


def test_no_cell_is_a_formula():
    lines = names_table([UnnamedGroup(('=HYPERLINK("x")', "</textarea>"))])["lines"]
    cells = [row["item"] for row in csv.DictReader(lines)]
    assert cells == ['\'=HYPERLINK("x")', "</textarea>"]
    page = Page(render_report(ReportData("x", unnamed=[UnnamedGroup(("</textarea><b>x",))])))
    assert page.tags["b"] == 0


def test_more_groups_than_the_page_holds_are_counted():
    groups = [UnnamedGroup((f"{number}",)) for number in range(GROUPS_SHOWN + 7)]
    page = render_report(ReportData("x", unnamed=groups))
    assert "7 more groups not shown here" in page
    assert {row["group"] for row in table_of(page)} == {str(n) for n in range(1, GROUPS_SHOWN + 1)}
    assert f"the first {GROUPS_SHOWN} of {GROUPS_SHOWN + 7} groups" in page


def test_a_table_holds_whole_groups_only():
    groups = [UnnamedGroup(tuple(f"{g} {i}" + "x" * 90 for i in range(250))) for g in range(3)]
    made = names_table(groups)
    assert made["groups"] == 1
    assert len(made["lines"]) == 251


@pytest.mark.parametrize("groups", [(), (UnnamedGroup(()),)], ids=["none", "empty"])
def test_without_groups_there_is_no_section(groups):
    page = Page(render_report(ReportData("x", unnamed=groups)))
    assert "unnamed" not in page.values("id")
    assert page.tags["textarea"] == page.tags["section"] == 0
