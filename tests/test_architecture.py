"""The shape of the house: imports run one way, importing is light, nothing from a file is executed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgvr.cli.verbs import VERBS

SOURCE = Path(__file__).parents[1] / "src" / "fgvr"
FILES = sorted(SOURCE.rglob("*.py"))
BUILT_ON = {"student": "near"}
"""A method that is another one carried further may import it, one way."""
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of every import in a file, inside functions too; relative ones made absolute."""
    package = ("fgvr", *file.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            yield from (f"{base}{node.module or ''}.{alias.name}".replace("..", ".") for alias in node.names)


def forbidden(file: Path) -> tuple[str, ...]:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    if parts[0] in ("types", "errors"):
        return ("fgvr.",)
    if parts[0] == "methods" and len(parts) > 2:
        others = {p.name for p in (SOURCE / "methods").iterdir() if p.is_dir()} - {parts[1], BUILT_ON.get(parts[1])}
        above = ("fgvr.cli.", "fgvr.reproduce.", "fgvr.compare.")
        return (*above, *(f"fgvr.methods.{other}." for other in sorted(others)))
    above = ("fgvr.cli.", "fgvr.reproduce.", "fgvr.compare.", "fgvr.methods.")
    return {"cli": (), "__init__": above[:3], "reproduce": above[:1], "compare": above[:2], "methods": above[:3]}.get(
        parts[0], above
    )


def test_there_is_something_to_check():
    assert len(FILES) > 20
    assert "fgvr.types.ImageItem" in set(imported(SOURCE / "images.py"))
    assert "fgvr.methods." in forbidden(SOURCE / "images.py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_run_one_way(file: Path):
    if file.name == "__main__.py":
        return
    wrong = [name for name in imported(file) if (name + ".").startswith(forbidden(file) or ("-",))]
    assert not wrong, f"{file.relative_to(SOURCE)} must not import {wrong}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_nothing_from_a_file_is_executed(file: Path):
    assert not {name.split(".")[0] for name in imported(file)} & PICKLES
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "compile", "__import__", "os.system"), ast.unparse(node)
            assert called not in ("yaml.load", "yaml.unsafe_load"), ast.unparse(node)
            flags = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert flags.get("allow_pickle", "False") == "False", ast.unparse(node)
            assert flags.get("trust_remote_code", "False") == "False", ast.unparse(node)
            assert flags.get("shell", "False") == "False", ast.unparse(node)


@pytest.mark.parametrize(
    "module",
    [
        "fgvr",
        "fgvr.images",
        "fgvr.data",
        "fgvr.runs",
        *(f"fgvr.cli.{verb.replace('-', '_')}" for verb in VERBS),
        "fgvr.methods.near",
        "fgvr.methods.student",
        "fgvr.methods.baselines",
        "fgvr.compare",
        "fgvr.reproduce",
        "fgvr.report",
        "fgvr.analyses",
        "fgvr.multiple_choice.scores",
        "fgvr.multiple_choice.general",
        "fgvr.errors",
        "fgvr.types",
    ],
)
def test_importing_is_light(module: str):
    heavy = {"torch", "transformers", "scipy", "pyarrow", "openai"}
    script = f"import sys, {module}; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_promise_stands_on_its_page():
    root = SOURCE.parents[1]
    page = (root / "docs" / "reliability.md").read_text("utf-8")
    linked = set(re.findall(r"tests/promises/(test_\w+\.py)", page))
    assert linked == {file.name for file in (root / "tests" / "promises").glob("test_*.py")}
