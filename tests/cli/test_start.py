"""The command before any work: speed, light imports, version, reference, exit codes of a wrong call."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from fgvr import __version__
from fgvr.cli.verbs import VERBS, load

from .world import fgvr

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "numpy", "scipy", "PIL", "pyarrow", "openai", "jinja2"}


def test_help_is_quick():
    """Against the interpreter with the command-line package alone, pair by pair: other work slows both of a pair."""
    commands = {"bare": ["-c", "import typer"], "help": ["-m", "fgvr", "--help"]}
    taken: dict[str, list[float]] = {"bare": [], "help": []}
    for _ in range(7):  # the first compiles
        for name, arguments in commands.items():
            began = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
            taken[name].append(time.perf_counter() - began)
    assert "fit" in done.stdout
    assert median(h / b for h, b in zip(taken["help"], taken["bare"], strict=True)) < 5, taken


def test_help_loads_no_verb():
    script = """
import sys
from fgvr.cli.main import main
sys.argv = ["fgvr", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(sorted(name for name in sys.modules if name.startswith("fgvr.")), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr))
    assert "fgvr.cli.verbs" in loaded
    assert not {name for name in loaded if name.removeprefix("fgvr.cli.").replace("_", "-") in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_a_whole_line_for_every_verb(verb: str):
    line = next(line for line in fgvr("--help").stdout.splitlines() if line.split()[:1] == [verb])
    assert line.endswith(f" {VERBS[verb]}")
    assert load(verb).name == verb


def test_a_misspelt_verb_is_told_the_right_one():
    assert "Did you mean 'predict'?" in fgvr("predct").output


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "near", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    script = f"""
import sys
from fgvr.cli.main import main
sys.argv = ["fgvr", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(sorted({HEAVY} & {{*sys.modules}}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version():
    assert fgvr("--version").stdout.strip() == f"fgvr {__version__}"


def test_every_verb_explains_itself():
    for verb in ("label", "fit near", "predict", "evaluate", "report", "demo", "doctor", "fieldguide make"):
        result = fgvr(*verb.split(), "--help")
        assert result.exit_code == 0
        assert "--help" in result.stdout


@pytest.mark.parametrize("arguments", [["predict"], ["fit", "near", "x"], ["nonsense"], ["label", "--limit", "0"]])
def test_a_wrong_call_exits_with_2(arguments):
    assert fgvr(*arguments).exit_code == 2


def test_the_reference_is_current():
    command = [sys.executable, ROOT / "scripts" / "write_cli_reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_interrupt_exits_with_130_and_says_how_to_go_on(monkeypatch, tmp_path):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("fgvr.data.load_items", interrupted)
    result = fgvr("label", tmp_path, "--out", tmp_path / "run", "--mllm", "fieldguide")
    assert result.exit_code == 130
    assert "same command" in result.stderr
