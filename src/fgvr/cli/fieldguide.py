"""``fgvr fieldguide make``: the drawn world as ordinary image folders and a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgvr.cli import options as o
from fgvr.cli.console import note, out, printable
from fgvr.errors import InputError

app = typer.Typer(help="The drawn world.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _verbs() -> None:
    """The drawn world for demonstration and tests."""


@app.command("make")
def make(
    folder: Annotated[Path, typer.Argument(help="Where to write it.", show_default=False)],
    seed: o.Seed = 0,
    size: Annotated[int, typer.Option(min=32, help="Side of a picture in pixels.")] = 192,
    support_per_species: Annotated[int, typer.Option(min=0)] = 3,
    train_per_species: Annotated[int, typer.Option(min=0)] = 0,
    test_per_species: Annotated[int, typer.Option(min=0)] = 10,
    scenes: Annotated[int, typer.Option(min=0, help="Pictures of several organisms with boxes.")] = 24,
) -> None:
    """Draw it: image folders by split and species, and a manifest."""
    from fgvr.fieldguide import dataset

    note(f"drawing into {printable(folder)}")
    try:
        made = dataset.make(
            folder,
            seed=seed,
            size=size,
            support_per_species=support_per_species,
            train_per_species=train_per_species,
            test_per_species=test_per_species,
            scenes=scenes,
        )
    except FileExistsError as error:
        raise InputError("the folder is not empty", remedy="Choose a new folder.", folder=folder) from error
    out(str(manifest_of(made)))


def manifest_of(world: Path) -> Path:
    """The manifest of a drawn world."""
    return world / "manifest.jsonl" if world.is_dir() else world
