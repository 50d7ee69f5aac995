"""Promised: one broken method, data set or picture does not lose the others' results; neither does a full disk.

Whole commands; the methods break in every way that a program can, and the disk is a real one that is really full.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.cli.world import fgvr
from tests.compare.world import PREFACE
from tests.promises.commands import starting
from tests.promises.test_disk_full import assert_clear, needs_namespaces, on_full_disks

BREAKS = {
    "raises": "raise ValueError('the lens cap is on')",
    "exits": "import sys\n    sys.exit(0)",
    "recursive": "return name_images(task, settings)",
    "memory": "raise MemoryError",
    "silent": "return None",
    "short": "return Naming(('x',))",
    "numbers": "return Naming((1,) * n)",
    "refuses": "return Naming((None,) * n)",
    "nan": "return Naming(('x',) * n, figures={'a': float('nan')})",
    "vandal": "import shutil\n    shutil.rmtree(task.folder.parent.parent, ignore_errors=True)\n    return None",
}
FINE = "return Naming(('Red Fox',) * n)"


def method(folder: Path, name: str, body: str) -> Path:
    (folder / f"{name}.py").write_text(f"{PREFACE}    {body}\n")
    return folder / f"{name}.py"


def command(world, out: object, *methods: object, data: tuple[object, ...] = ()) -> tuple[object, ...]:
    """Half of each species is the test set; replies are recorded ones."""
    names = ("--encoder", world.encoder, "--mllm", f"replay:{world.recording}", "--sentence-encoder", "none")
    return ("compare", *(data or (world.photographs,)), "--out", out, *names, "--held-out", 0.5,
            "--methods", ",".join(map(str, methods)))  # fmt: skip


def states(out: Path) -> dict[str, str]:
    rows = json.loads((out / "comparison.json").read_bytes())["rows"]
    return {Path(row["method"]).stem: row["status"] for row in rows}


def test_one_broken_method_loses_no_other(world, tmp_path: Path) -> None:
    broken = [method(tmp_path, name, body) for name, body in BREAKS.items()]
    out = tmp_path / "out"
    ran = fgvr(*command(world, out, "zero_shot", *broken, "knn", method(tmp_path, "fine", FINE)))
    assert ran.exit_code == 1
    assert not isinstance(ran.exception, Exception) or isinstance(ran.exception, SystemExit)
    assert states(out) == {**dict.fromkeys(BREAKS, "failed"), "zero_shot": "done", "knn": "done", "fine": "done"}
    for file in ("table.md", "page.html"):
        assert "the lens cap is on" in (out / file).read_text()
    assert "the lens cap is on" in ran.stderr
    method(tmp_path, "raises", FINE)
    assert fgvr(*command(world, out, tmp_path / "raises.py", "knn")).exit_code == 0


def test_one_broken_data_set_loses_no_other(world, tmp_path: Path) -> None:
    empty, junk = tmp_path / "empty", tmp_path / "junk"
    empty.mkdir()
    for number in range(4):
        place = junk / f"class_{number % 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"no picture")
    data = (tmp_path / "nowhere", empty, f"junk={junk}", f"good={world.photographs}")
    ran = fgvr(*command(world, tmp_path / "out", "knn", data=data))
    assert ran.exit_code == 1
    assert not isinstance(ran.exception, Exception) or isinstance(ran.exception, SystemExit)
    rows = json.loads((tmp_path / "out" / "comparison.json").read_bytes())["rows"]
    assert [(row["collection"], row["status"]) for row in rows] == [("junk", "failed"), ("good", "done")]
    assert ran.stderr.count("left out") == 2


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_stopping_it_keeps_what_is_finished(world, tmp_path: Path, stop: signal.Signals) -> None:
    """The tables of the finished methods lie there while the next one works."""
    flag = tmp_path / "flag"
    slow = method(tmp_path, "slow", f"import time\n    open({str(flag)!r}, 'w').close()\n    time.sleep(60)")
    out = tmp_path / "out"
    process = starting(*command(world, out, "knn", slow))
    try:
        ends = time.monotonic() + 120
        while not flag.exists() and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)
        assert flag.exists(), process.stderr.read()
        process.send_signal(stop)
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert process.returncode != 0
    assert states(out) == {"knn": "done"}
    method(tmp_path, "slow", FINE)
    assert fgvr(*command(world, out, "knn", slow)).exit_code == 0


@needs_namespaces
def test_a_full_disk_stops_it_and_keeps_what_is_finished(world, tmp_path: Path) -> None:
    seen = on_full_disks(tmp_path / "disk", 100, *command(world, "PLACE/run", "knn", "zero_shot"))
    assert_clear(seen)
    for one in seen:
        assert states(Path(one["out"]) / "run") == {"knn": "done", "zero_shot": "done"}
