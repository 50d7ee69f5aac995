"""docs/fine_r1.md says what the code does: its table of exploits, its table of options, its links, its examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fgvr.cli.fit_fine_r1 import fine_r1
from tests.methods.fine_r1.exploits import EXPLOITS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fine_r1.md"
TEXT = PAGE.read_text(encoding="utf-8")
POSITIONAL = {"images"}


def test_the_table_of_exploits_is_what_the_tests_state() -> None:
    known = {one.name: one for one in EXPLOITS}
    table = TEXT.partition("<!-- begin exploits -->")[2].partition("<!-- end exploits -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    assert len(rows) > 20
    for name, official, strict, reason in rows:
        one = known[name]
        assert official == ", ".join(map(str, one.official)), name
        assert strict == ", ".join(map(str, one.strict)), name
        assert reason == (one.reason or one.format_reason), name


def test_every_option_stands_in_the_table_and_no_other() -> None:
    table = TEXT.partition("## Every switch")[2].partition("\n## ")[0]
    told = set(
        re.findall(r"`(--[a-z0-9-]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert told == _options()


def _options() -> set[str]:
    import typer

    app = typer.Typer()
    app.command()(fine_r1)
    command = typer.main.get_command(app)
    named = [option.opts for option in command.params if option.name not in POSITIONAL and option.opts[0][:2] == "--"]
    return {opts[0] for opts in named} - {"--help", "--install-completion", "--show-completion"}


def test_every_relative_link_leads_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in _headings()}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    for link in links:
        file, _, place = link.partition("#")
        assert not file or (PAGE.parent / file).exists(), link
        assert not place or place in headings, link


def _headings() -> list[str]:
    return [line for line in TEXT.splitlines() if line.startswith("#")]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.jpg").write_bytes(b"not looked at")
    examples = [one for one in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "load_mllm" not in one]
    said = []
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})
        said.append(capsys.readouterr().out)
    rationales, rewarded, objective = said
    assert "RationaleCheck" in rationales
    assert rewarded.splitlines() == ["several names", "1.0"]
    assert objective.count("-0.1667") == 3
