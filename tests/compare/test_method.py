"""Finding methods and reading their settings; what a user may type or write wrongly."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from fgvr.compare.cell import folder_name
from fgvr.compare.method import find, known
from fgvr.errors import InputError
from tests.compare.world import PREFACE

TYPED = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal, Optional

TITLE = "typed"

@dataclass(frozen=True)
class Settings:
    text: str = "x"
    whole: int = 1
    real: float = 0.5
    flag: bool = False
    maybe: int | None = 3
    old: Optional[float] = None
    kind: Literal["a", "b"] = "a"
    rank: Literal[1, 5] | None = 1
    either: float | Literal["auto"] = "auto"
    words: str | None = None

def name_images(task, settings):
    return None
"""


@pytest.fixture
def typed(tmp_path: Path) -> str:
    (tmp_path / "typed.py").write_text(TYPED)
    return str(tmp_path / "typed.py")


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ("text=a b=c", "text", "a b=c"),
        ("text=", "text", ""),
        ("text=None", "text", "None"),
        ("whole=-7", "whole", -7),
        ("real=1e-3", "real", 0.001),
        ("real=2", "real", 2.0),
        *((f"flag={text}", "flag", True) for text in ("true", "YES", "1", "True")),
        *((f"flag={text}", "flag", False) for text in ("false", "no", "0")),
        ("maybe=none", "maybe", None),
        ("maybe=None", "maybe", None),
        ("maybe=4", "maybe", 4),
        ("old=4", "old", 4.0),
        ("old=none", "old", None),
        ("kind=b", "kind", "b"),
        ("rank=5", "rank", 5),
        ("rank=none", "rank", None),
        ("either=auto", "either", "auto"),
        ("either=0.25", "either", 0.25),
        ("words=none", "words", None),
        ("words=nothing", "words", "nothing"),
    ],
)
def test_values_take_their_fields_type(typed: str, given: str, field: str, value: object) -> None:
    found = getattr(find(f"{typed}:{given}").settings, field)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "given",
    [
        "whole=1.5", "whole=", "whole=none", "real=nan", "real=inf", "real=-inf", "real=x", "flag=2", "flag=",
        "flag=none", "kind=c", "kind=", "kind=A", "rank=2", "rank=", "either=Auto", "maybe=x", "colour=red", "text",
        "=1", "whole=1+whole", "__class__=1", "whole =1", f"whole={'9' * 5000}",
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(typed: str, given: str) -> None:
    with pytest.raises(InputError, match=r"setting"):
        find(f"{typed}:{given}")


def test_several_settings_and_the_title(typed: str) -> None:
    one = find(f"{typed}:whole=2+flag=yes++")
    assert (one.settings.whole, one.settings.flag, one.settings.real) == (2, True, 0.5)
    assert one.title.startswith("typed (whole=2, flag=yes")
    assert find(typed).title == "typed"
    assert find(f"{typed}:whole=1+whole=2").settings.whole == 2


def test_every_method_of_the_package_is_found_with_plain_settings() -> None:
    names = known()
    assert {"direct", "zero_shot", "knn", "near", "rar"} <= names.keys()
    assert not {"task", "voting", "coupling"} & names.keys()
    for name, title in names.items():
        one = find(name)
        assert one.title == title
        assert one.digest()["source"] is None
        for field in fields(one.settings):
            assert isinstance(getattr(one.settings, field.name), str | int | float | bool | None)


@pytest.mark.parametrize(
    "spec",
    [
        "", " ", ":", ":a=1", "nothing", "Direct", "DIRECT", "task", "__init__", ".", "..", ".direct", "direct.",
        "a..b", "../direct", "os", "os.path", "fgvr", "fgvr.no.such", "fgvr.errors", "a b.c", "café", "/etc/passwd",
        "x.py", "/no/such.py", "\0.py", "nul\0", "direct\n", "-", "fgvr.methods.baselines", "123", "a/b",
    ],
)  # fmt: skip
def test_what_is_no_method_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"method|file"):
        find(spec)


@pytest.mark.parametrize(
    "text",
    [
        "raise RuntimeError('no')",
        "import no_such_package_xyz",
        "def (",
        "import sys\nsys.exit(0)",
        "1 / 0",
        "\0",
        "",
        "def name_images(task, settings): ...",
        "class Settings: ...\ndef name_images(task, settings): ...",
        PREFACE.replace("a: int = 1", "a: int") + "    ...",
        PREFACE.replace("a: int = 1", "a: 'Unknown' = 1") + "    ...",
        PREFACE.replace("def name_images", "def name_image") + "    ...",
    ],
)
def test_a_file_that_is_no_method_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError):
        find(str(tmp_path / "mine.py"))


def test_settings_that_refuse_themselves(tmp_path: Path) -> None:
    more = "\n    def __post_init__(self):\n        if self.a < 0:\n            raise ValueError('a is negative')\n\n"
    text = PREFACE.replace("    a: int = 1\n", "    a: int = 1\n" + more) + "    ..."
    (tmp_path / "mine.py").write_text(text)
    assert find(f"{tmp_path / 'mine.py'}:a=0").settings.a == 0
    with pytest.raises(InputError, match="a is negative"):
        find(f"{tmp_path / 'mine.py'}:a=-1")


def test_a_users_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shelf_of_mine").mkdir()
    (tmp_path / "shelf_of_mine" / "__init__.py").write_text("")
    (tmp_path / "shelf_of_mine" / "good.py").write_text(PREFACE + "    ...")
    (tmp_path / "shelf_of_mine" / "bad.py").write_text("import shelf")  # lacks a package with a like name
    monkeypatch.syspath_prepend(tmp_path)
    assert find("shelf_of_mine.good:a=5").settings.a == 5
    assert find("shelf_of_mine.good").digest()["source"]
    with pytest.raises(InputError, match=r"cannot be imported.*No module named 'shelf'"):
        find("shelf_of_mine.bad")
    with pytest.raises(InputError, match="no such method"):
        find("shelf_of_mine.ugly")


def constant(folder: Path, value: int) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(PREFACE.rsplit("    n =", 1)[0] + f"    return {value}\n")
    return str(folder / "mine.py")


def test_a_file_is_known_by_what_it_was_when_it_was_read(tmp_path: Path) -> None:
    path = constant(tmp_path, 1)
    first = find(path)
    constant(tmp_path, 2)  # same size, same second: bytecode would be taken for fresh
    second = find(path)
    assert (first.name_images(None), second.name_images(None)) == (1, 2)  # type: ignore[arg-type]
    assert first.digest() != second.digest()
    assert second.digest() == find(path).digest()
    assert not (tmp_path / "__pycache__").exists()


def test_two_files_of_one_name(tmp_path: Path) -> None:
    one = find(constant(tmp_path / "one", 1))
    two = find(constant(tmp_path / "two", 2))
    assert (one.name_images(None), two.name_images(None)) == (1, 2)  # type: ignore[arg-type]
    assert one.digest()["source"] != two.digest()["source"]


def test_a_broken_file_leaves_no_module_behind(tmp_path: Path) -> None:
    (tmp_path / "half_done.py").write_text("1 / 0")
    with pytest.raises(InputError):
        find(str(tmp_path / "half_done.py"))
    assert "method_half_done" not in sys.modules


def test_folder_names_are_safe_and_differ() -> None:
    assert [folder_name(one) for one in ("direct", "zero_shot", "finer-alpha=0.5", "a.b+c")] == [
        "direct", "zero_shot", "finer-alpha=0.5", "a.b+c",
    ]  # fmt: skip
    odd = [
        "", ".", "..", "../x", "a/b", "a b", "a:b", "a\\b", "a\0b", "A", "a", "é", "ü", "x" * 300, "x" * 301, "a\nb",
        "-a", "a-", "CUB", "cub", "./mine.py:a=1", "./mine.py:a=2", "\ud800",
    ]  # fmt: skip
    names = [folder_name(one) for one in odd]
    assert len({name.lower() for name in names}) == len(odd)
    for name in names:
        assert len(name) <= 90
        assert name.strip(".-") == name != ""
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=+-")
