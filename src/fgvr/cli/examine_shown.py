"""How ``fgvr examine`` shows what it found: the table on standard output, the account on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fgvr.cli.console import note, out, printable
from fgvr.cli.tables import count, money, pairs, table

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.evaluation import Examined


def show(rows: Sequence[Examined], summary: Mapping[str, Any]) -> None:
    """Figures by group, lengths, baselines; then protocol, account and where the files are."""
    from fgvr.methods.fine_r1.evaluation_record import comparison, figure_table

    first = rows[0]
    for part in first.parts.values():
        out(_table(*figure_table(part)))
        out(pairs([(printable(label), printable(value)) for label, value in part.beside()]))
        out("")
    if len(rows) > 1:
        headers, lines = comparison(rows)
        out(_table(headers, lines))
    note(pairs([(printable(label), printable(value)) for label, value in _account(first, summary)]))


def _account(first: Examined, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    usage = first.usage
    known = [("model", first.model)]
    known += [(label, rest) if rest else ("note", label) for label, _, rest in _split(first.protocol)]
    known.append(("calls now", f"{count(usage.calls)} (and {count(summary['reused'])} known), {money(usage.cost)}"))
    failures = [why for one in first.answers.values() for why in one.failures.values()]
    if failures:
        known.append(("failed", f"{len(failures)}: {failures[0]}. --retry-failed asks again."))
    if summary["not_asked"]:
        known.append(("not asked", f"{summary['not_asked']}: {first.stopped}"))
    return [*known, ("result", str(summary["result"]))]


def _split(lines: Sequence[str]) -> list[tuple[str, str, str]]:
    return [line.partition(": ") for line in lines]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table([printable(cell) for cell in headers], [[printable(cell) for cell in row] for row in rows])
