"""Write docs/cli.md from the command itself: ``python scripts/write_cli_reference.py [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from typer.main import get_command

from fgvr.cli.main import app

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """\
# The command line

Written by `scripts/write_cli_reference.py` from the command itself; do not edit by hand.

Data goes to standard output, progress and remarks to standard error. `--json` prints a summary for machines. Every run
is resumed by repeating its command. Exit codes: 0 done, 1 failed, 2 wrong input or command, 3 stopped by the spending
cap (what finished is kept), 130 interrupted.
"""


def reference() -> str:
    """The whole page."""
    sections = [HEAD, *(section(path, command) for path, command in leaves("fgvr", get_command(app)))]
    return "\n".join(sections)


def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """(full name, command) of every verb, groups taken apart, sorted by name."""
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name in sorted(children):
        yield from leaves(f"{path} {name}", children[name])


def section(path: str, command: Any) -> str:
    """Heading, call, description and options of one verb."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    call = " ".join([path, *(_argument(p) for p in arguments), "[OPTIONS]"])
    lines = [f"## {path}", "", f"`{call}`", "", " ".join((command.help or "").split()), ""]
    if arguments or options:
        lines += ["| | | default |", "|---|---|---|", *(_row(p) for p in (*arguments, *options)), ""]
    return "\n".join(lines)


def _argument(parameter: Any) -> str:
    name = parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    text = " ".join((parameter.help or "").split())
    default = parameter.default
    if isinstance(default, Enum):
        text += " One of " + ", ".join(f"`{choice.value}`" for choice in type(default)) + "."
    shown = "" if default in (None, False, "") or callable(default) else str(getattr(default, "value", default))
    if parameter.required:
        shown = "required"
    return f"| {names} | {text.strip()} | {shown} |".replace("  ", " ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    wanted = reference()
    if parser.parse_args().check:
        sys.exit(0 if TARGET.exists() and TARGET.read_text("utf-8") == wanted else f"{TARGET.name} is not current")
    TARGET.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
