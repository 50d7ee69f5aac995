"""Names of a person: the table as it is filled in by hand, and a student that goes by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import InputError
from fgvr.methods.student.given_names import (
    given_opinions,
    keep_names,
    named_by_group,
    names_in,
    offer_groups,
    read_names,
)
from fgvr.types import ImageItem


def table(tmp_path, text, encoding="utf-8"):
    file = tmp_path / "filled.csv"
    file.write_bytes(text.encode(encoding))
    return file


def item(name):
    return ImageItem(name, Path(name))


def test_one_name_holds_for_its_group():
    rows = [("1", "Blue Tit", "a"), ("1", "", "b"), ("2", "", "c"), ("1", "-", "d")]
    assert named_by_group(rows) == {"a": "Blue Tit", "b": "Blue Tit"}


def test_several_names_in_a_group_hold_for_their_lines_only():
    rows = [("1", "Blue Tit", "a"), ("1", "Great Tit", "b"), ("1", "", "c")]
    assert named_by_group(rows) == {"a": "Blue Tit", "b": "Great Tit"}


def test_without_groups_every_line_is_its_own(tmp_path):
    assert read_names(table(tmp_path, "item,name\na.jpg,Blue Tit\nb.jpg,\n")) == {"a.jpg": "Blue Tit"}
    assert read_names(table(tmp_path, "group,name,item\n,Blue Tit,a.jpg\n,,b.jpg\n")) == {"a.jpg": "Blue Tit"}


def test_what_spreadsheets_do_to_a_table(tmp_path):
    text = 'group;name;item\r\n"1";" Blue Tit ";"x, y.jpg"\r\n"1";;"\'=a.jpg"\r\n'
    assert read_names(table(tmp_path, text, "utf-8-sig")) == {"x, y.jpg": "Blue Tit", "=a.jpg": "Blue Tit"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "other columns"),
        ('group,name,item\n1,"x\n', "cannot be read"),
        ("name,item\n%s,a\n" % ("x" * 201), "no name"),
    ],
)
def test_tables_that_are_none(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        read_names(table(tmp_path, text))
    with pytest.raises(InputError, match="cannot be read"):
        read_names(tmp_path / "missing.csv")


def test_names_are_kept_and_read_back(tmp_path):
    assert names_in(tmp_path) == {}
    names = {"=1.jpg": "Blue Tit", "b, c.jpg": "Tit, Great"}
    keep_names(tmp_path, names)
    assert names_in(tmp_path) == names


def test_a_table_that_was_begun_is_not_overwritten(tmp_path):
    offer_groups(tmp_path, [["a", "b"], ["c"]])
    empty = (tmp_path / "groups_to_name.csv").read_text()
    assert empty.splitlines() == ['"group","name","item"', '"1","","a"', '"1","","b"', '"2","","c"']
    (tmp_path / "groups_to_name.csv").write_text(empty.replace('"2","",', '"2","Wren",'))
    offer_groups(tmp_path, [["a", "b"]])
    assert read_names(tmp_path / "groups_to_name.csv") == {}
    assert read_names(tmp_path / "groups_to_name.filled.csv") == {"c": "Wren"}


def test_rows_of_the_pool():
    pool = [item("a"), item("b\u200b"), item("c")]
    rows, named = given_opinions({"c": "Wren", "b": "Tit", "gone": "Owl"}, pool)
    assert rows.tolist() == [1, 2]
    assert rows.dtype == np.int64
    assert [(one.item_id, one.name) for one in named] == [("b\u200b", "Tit"), ("c", "Wren")]
    with pytest.raises(InputError, match="none of the 1 named images"):
        given_opinions({"gone": "Owl"}, pool)
