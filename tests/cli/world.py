"""What the command line is tried on: drawn pictures, a recording of an MLLM's replies, a tiny random encoder."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from fgvr.cli.main import app
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render

SPECIES = all_species()[:4]
PER_SPECIES = 6
WRONG = {1: "I think this is a **Red Fox**.", 7: "I'm sorry, I can't identify this."}


def draw(folder: Path) -> Path:
    """One folder per species with six small pictures each, as a user's labelled photographs."""
    for number, species in enumerate(SPECIES):
        place = folder / species.name.replace(" ", "_")
        place.mkdir(parents=True)
        for index in range(PER_SPECIES):
            picture = render(species, 100 * number + index, size=48).image
            picture.save(place / f"{index}.png")
    return folder


def record(folder: Path, file: Path) -> Path:
    """Replies for all pictures below ``folder``: mostly right, one wrong, one refusal."""
    pictures = sorted(folder.rglob("*.png"))
    rows = []
    for index, picture in enumerate(pictures):
        name = picture.parent.name.replace("_", " ")
        reply = WRONG.get(index, f"This is a {name}.")
        rows.append({"image": picture.relative_to(folder).as_posix(), "model": "recorder", "reply": reply})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def fgvr(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: object) -> Result:
    """Run the command and insist on success."""
    result = fgvr(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result
