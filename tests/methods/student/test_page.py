"""docs/student.md says what the code does: its options and their defaults, its files, its links, its example."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import typer

import fgvr.methods.student as package
from fgvr.cli.fit_student import student

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "student.md"
TEXT = PAGE.read_text(encoding="utf-8")
PARTS = sorted(path.stem for path in Path(package.__file__).parent.glob("*.py") if path.stem != "__init__")


def test_every_option_stands_in_the_table_with_its_default_and_no_other() -> None:
    table = TEXT.partition("## Every option")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(--[a-z-]+)` \| ([^|]+?) \|", table, re.MULTILINE)
    assert dict(rows) == options()
    assert len(rows) == len(options())


def options() -> dict[str, str]:
    """Each option's default as the page writes it."""
    app = typer.Typer(add_completion=False)
    app.command()(student)
    params = [one for one in typer.main.get_command(app).params if one.opts[0].startswith("--")]
    return {one.opts[0]: written(one) for one in params if one.name != "help"}


def written(param: Any) -> str:
    if param.required:
        return "required"
    if isinstance(param.default, bool):
        return "on" if param.default else "off"
    if param.default is None:
        return "-"
    return str(param.default.value if isinstance(param.default, Enum) else param.default).removesuffix(".0")


def test_the_default_heads_are_those_told() -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith("| `--heads`"))
    assert row.rstrip(" |").endswith(", ".join(package.HeadSettings().heads))


@pytest.mark.parametrize("text", [TEXT, package.__doc__ or ""], ids=["page", "docstring"])
def test_every_file_of_the_method_is_on_the_map(text: str) -> None:
    assert [part for part in PARTS if not re.search(rf"`{part}(\.py)?`", text)] == []


def test_every_file_told_of_exists() -> None:
    figure = TEXT.partition("## From a pool")[2].partition("\n## ")[0]
    for name in re.findall(r"`([a-z_/]+\.py)`", figure):
        assert name.removesuffix(".py") in PARTS or (ROOT / "src" / name).exists(), name


def test_every_relative_link_leads_somewhere() -> None:
    written_by_a_script = {"results_student.md"}
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert link in written_by_a_script or (PAGE.parent / link).exists(), link


def test_the_example_runs_and_prints_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
    (said,) = re.findall(r"^prints `([^`]+)`", TEXT, re.MULTILINE)
    assert capsys.readouterr().out.strip() == said
