"""The section on agreement: tables of signs, of two MLLMs, and of second opinions."""

from __future__ import annotations

from fgvr.metrics import Interval
from fgvr.reproduce.recorded import expected
from fgvr.reproduce.recorded.agreement import COVERAGES, SHARES
from fgvr.reproduce.recorded.findings import Findings
from fgvr.reproduce.recorded.tables import points, table, under


def agreement(found: Findings) -> list[str]:
    """All blocks of the section."""
    encoders = under(found.encoder)
    blocks = ["Right: an accepted name, where nothing else is said.", _signs(found), encoders]
    if found.pairs:
        blocks += ["### Two MLLMs on the same images", _pairs(found), encoders]
        blocks += ["### Second opinions, bought top-down", _bought(found), encoders]
    return blocks


def _signs(found: Findings) -> str:
    rows = [
        [one.title, one.name, _maybe(one.share), _maybe(one.right_with), _maybe(one.right_without),
         points(one.accuracy), *(points(value) for value in one.at), f"{one.aurc:.3f} ({1 - one.accuracy:.3f})"]
        for one in found.signs
    ]  # fmt: skip
    surest = (f"of the surest {100 * share:.0f} %" for share in COVERAGES)
    head = ("recording", "sign", "images with it", "right with it", "right without", "right, all", *surest,
            "area under risk-coverage (no sign)")  # fmt: skip
    return table(head, rows)


def _pairs(found: Findings) -> str:
    rows = []
    for one in found.pairs:
        known = expected.AGREEMENT.get(one.titles, (None,) * 3)
        apart = " / ".join(_interval(interval) for interval in one.right_disagreed)
        rows.append(
            [" and ".join(one.titles), str(one.images), points(one.agreed, known[0]), _interval(one.right_agreed),
             apart, points(one.listed_agreed, known[1]), points(one.listed_either, known[2]), points(one.either)]
        )  # fmt: skip
    head = ("recordings", "images", "say the same", "right then", "right otherwise, each", "listed name then",
            "listed name of either", "right of either")  # fmt: skip
    return table(head, rows)


def _bought(found: Findings) -> str:
    rows = []
    for titles, rule in dict.fromkeys((one.titles, one.rule) for one in found.bought):
        curve = [one for one in found.bought if (one.titles, one.rule) == (titles, rule)]
        cells = [f"{points(one.accuracy)} ({100 * one.gain.low:+.1f}, {100 * one.gain.high:+.1f})" for one in curve]
        rows.append([f"{titles[0]}, then {titles[1]}", rule, *cells])
    head = ("first and second opinion", "rule", *(f"{100 * share:.0f} % shown to the second" for share in SHARES))
    return table(head, rows)


def _maybe(share: float | None) -> str:
    return "" if share is None else points(share)


def _interval(interval: Interval) -> str:
    return interval.percent() if interval.resamples else "-"
