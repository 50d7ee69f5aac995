"""Run inside a mount namespace of its own: commands on a real file system that is really full.

``python full_disk.py PLACE STEP COMMAND... [--then COMMAND...]`` mounts a small tmpfs on PLACE. For every amount of
space that is left (0, STEP, 2 STEP, ... pages) it prepares the folder, fills the disk, runs the command, frees the
space, runs the same command again, and prints one line of JSON; it ends when the command succeeds at the first go.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from fgvr.cli.main import app

PAGE = 4096
SIZE = 8 * 2**20


def run(arguments: list[str]) -> dict[str, object]:
    """One command in this process: exit code, what it said, the exception if one got through."""
    result = CliRunner().invoke(app, arguments)
    through = "" if result.exception is None or isinstance(result.exception, SystemExit) else repr(result.exception)
    return {"code": result.exit_code, "err": result.stderr, "through": through}


def fill(place: Path, spare: int) -> Path:
    """Leave ``spare`` pages."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * PAGE)
        except OSError:
            pass
        file.truncate(max(0, file.tell() // PAGE - spare) * PAGE)
    return ballast


def main() -> None:
    """See the module docstring."""
    place, step, prepared = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    command = [argument.replace("PLACE", str(place)) for argument in sys.argv[4:]]
    place.mkdir(exist_ok=True)
    for spare in range(0, SIZE // PAGE, step):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=True)
        if prepared:
            shutil.copytree(prepared, place / "run")
        ballast = fill(place, spare)
        first = run(command)
        left = sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file() and p != ballast)
        ballast.unlink()
        second = run(command) if first["code"] != 0 else first
        out = place.with_name(f"{place.name}-{spare}")
        shutil.copytree(place, out)
        subprocess.run(["umount", place], check=True)
        print(json.dumps({"spare": spare, "first": first, "second": second, "left": left, "out": str(out)}), flush=True)
        if first["code"] == 0:
            return


if __name__ == "__main__":
    main()
