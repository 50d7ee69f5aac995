"""``fgvr fit``: the methods that learn a classifier or tune an MLLM, a file each."""

from __future__ import annotations

import typer

from fgvr.cli.fit_fine_r1 import fine_r1
from fgvr.cli.fit_finedefics import finedefics
from fgvr.cli.fit_near import near
from fgvr.cli.fit_ranker import ranker
from fgvr.cli.fit_rar import rar
from fgvr.cli.fit_student import student

app = typer.Typer(help="Learn a classifier.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _methods() -> None:
    """Learn a classifier from photographs and an MLLM's names."""


app.command("near")(near)
app.command("student")(student)
app.command("rar")(rar)
app.command("finedefics")(finedefics)
app.command("fine-r1")(fine_r1)
app.command("ranker")(ranker)
