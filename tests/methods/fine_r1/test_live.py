"""The live table: golden rows, widths that never change, what a terminal and a log file get."""

from __future__ import annotations

import io
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.cli import console
from fgvr.methods.fine_r1.live import COLUMNS, WIDE, header, live_line, live_row

NOTED = {
    "reward": 0.6123, "format": 0.98, "accuracy": 0.571, "length": 143.25, "kl": 0.01234, "entropy": 0.7311,
    "filtered": 0.25, "tokens_per_second": 1234.4, "seconds_a_step": 61.26, "loss": 0.1,
}  # fmt: skip


def test_a_row_under_its_header():
    wide = [header(), live_row(NOTED, 3, 40)]
    assert wide == [
        "     step  reward  format  accuracy  length       KL  entropy  filtered    tok/s   s/step         left",
        "     3/40   0.612    98 %      57 %   143.2   0.0123    0.731      25 %     1234     61.3       38 min",
    ]
    assert len(wide[0]) == WIDE
    assert [header(wide=False), live_row(NOTED, 3, 40, wide=False)] == [
        "     step  reward  format  accuracy  length       KL         left",
        "     3/40   0.612    98 %      57 %   143.2   0.0123       38 min",
    ]


def test_missing_and_odd_values():
    row = live_row({"reward": math.nan, "kl": 1234567.0, "length": -math.inf, "filtered": 0.0}, 3, 40)
    assert row.split() == ["3/40", "nan", "-", "-", "-inf", "1.2e+06", "-", "0", "%", "-", "-", "-"]
    assert len(row) == WIDE
    assert live_row({"length": -1e200}, 1, 2).split()[4] == "######"
    assert live_row({"seconds_a_step": 86400.0}, 0, 900).endswith("900 d")


@given(
    noted=st.dictionaries(st.sampled_from([column.key for column in COLUMNS]), st.floats()),
    step=st.integers(0, 10**6),
    wide=st.booleans(),
)
def test_widths_never_change(noted, step, wide):
    noted |= {"seconds_a_step": abs(noted["seconds_a_step"]) % 1e6} if "seconds_a_step" in noted else {}
    row = live_row(noted, step, 10**6, wide=wide)
    assert len(row) == len(header(wide=wide))
    assert "\n" not in row


def test_a_line_for_a_log():
    assert live_line(NOTED, 3, 40) == (
        "step 3/40  reward 0.612  format 98 %  accuracy 57 %  length 143.2  KL 0.0123  entropy 0.731  filtered 25 %"
        "  tok/s 1234  s/step 61.3  38 min left"
    )
    assert live_line({"reward": 0.5}, 1, 2) == "step 1/2  reward 0.500"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_a_table_and_a_log_gets_lines(monkeypatch, terminal):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = console.Progress()
    for step in range(1, 24):
        row, plain = live_row({"reward": 0.5}, step, 23), live_line({"reward": 0.5}, step, 23)
        progress.row(row, header=header(), plain=plain, last=step == 23)
    lines = stream.getvalue().splitlines()
    assert (progress.columns > 0) is terminal
    if terminal:
        assert lines.count(header()) == 2
        assert len(lines) == 23 + 2
        assert lines.index(header(), 1) == 21
    else:
        assert lines == ["step 1/23  reward 0.500", "step 23/23  reward 0.500"]
