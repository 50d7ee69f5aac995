"""``fgvr report``: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgvr.cli.console import out

if TYPE_CHECKING:
    from fgvr.data import Items


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a fit.", show_default=False)],
    predictions: Annotated[Path | None, typer.Option(help="Also show these predictions.")] = None,
    images: Annotated[str | None, typer.Option(help="Where the predicted images lie, for their pictures.")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="Instead of RUN/report.html.")] = None,
) -> None:
    """Write one HTML page about a run.

    It needs no network: what was found, how sure it is, what was left out and why.
    """
    out(str(write_page(run, predictions=predictions, images=images, page=out_file)))


def write_page(
    run: Path, *, predictions: Path | None = None, images: str | Path | Items | None = None, page: Path | None = None
) -> Path:
    """Gather a run and write its page; returns where it lies."""
    from fgvr.cli.report_data import gather
    from fgvr.report import write_report

    target = page or run / "report.html"
    write_report(gather(run, predictions=predictions, images=images), target)
    return target
