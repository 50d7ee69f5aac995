"""``fgvr report``: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgvr.cli.console import out
from fgvr.errors import InputError

if TYPE_CHECKING:
    from fgvr.data import Items


ROLLOUTS = "rollouts.jsonl"


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a fit.", show_default=False)],
    predictions: Annotated[Path | None, typer.Option(help="Also show these predictions.")] = None,
    images: Annotated[str | None, typer.Option(help="Where the predicted images lie, for their pictures.")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="Instead of RUN/report.html.")] = None,
) -> None:
    """Write one HTML page about a run.

    It needs no network: what was found, how sure it is, what was left out and why. Of a Fine-R1 run: its rollouts.
    """
    out(str(write_page(run, predictions=predictions, images=images, page=out_file)))


def write_page(
    run: Path, *, predictions: Path | None = None, images: str | Path | Items | None = None, page: Path | None = None
) -> Path:
    """Gather a run and write its page; returns where it lies."""
    from fgvr.cli.report_data import gather
    from fgvr.report import write_report

    target = page or run / "report.html"
    if (folder := rollouts_folder(run)) is not None:
        if predictions is not None or images is not None:
            raise InputError("a page of rollouts shows no predictions", remedy="Leave them out.", run=str(run))
        from fgvr.methods.fine_r1.rollouts_page import write_rollouts_page

        return write_rollouts_page(folder, target)
    write_report(gather(run, predictions=predictions, images=images), target)
    return target


def rollouts_folder(run: Path) -> Path | None:
    """The folder of a run's ``rollouts.jsonl``: the run's own or one right below; ``None`` where there is none.

    Raises ``InputError`` where several folders below have one.
    """
    if (run / ROLLOUTS).is_file():
        return run
    found = [path.parent for path in sorted(run.glob(f"*/{ROLLOUTS}"))]
    if len(found) > 1:
        raise InputError("several folders of rollouts", remedy=f"Name one, such as {found[0]}.", run=str(run))
    return found[0] if found else None
