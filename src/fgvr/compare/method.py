"""Finding a method by its name, and reading its settings: ``finer``, ``direct:prompt=structured``, ``./mine.py``.

A method is a module with ``name_images(task, settings) -> Naming``, a frozen dataclass ``Settings`` and a ``TITLE``
(``fgvr.methods.baselines.task``). Its name is its file's: under ``methods/baselines`` or ``compare/contestants``, any
importable ``package.module``, or the path of a Python file, which is run as you would run a script.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import math
import pkgutil
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from fgvr.errors import FgvrError, InputError
from fgvr.methods.baselines.task import Naming, Task

HOMES = ("fgvr.methods.baselines", "fgvr.compare.contestants")


@dataclass(frozen=True)
class Method:
    """One row of the table: a method with its settings."""

    spec: str
    """As it was asked for; the row's name."""
    title: str
    module: ModuleType
    settings: Any
    """Of the module's ``Settings``."""
    source: str | None = None
    """SHA-256 of a user's own file as it was when it was read; ``None`` for the package's methods."""

    def name_images(self, task: Task) -> Naming:
        """Run it."""
        found: Naming = self.module.name_images(task, self.settings)
        return found

    def digest(self) -> dict[str, Any]:
        """What makes two runs of it the same (JSON-like); of a user's own file its content, too."""
        name = self.module.__name__.rpartition(".")[2]
        return {"module": name, "settings": asdict(self.settings), "source": self.source}

    def calls(self, support: int, test: int) -> int | None:
        """Questions it would ask at most, where it says so (``calls(support, test, settings)``)."""
        count: Callable[[int, int, Any], int] | None = getattr(self.module, "calls", None)
        return None if count is None else count(support, test, self.settings)


def find(spec: str) -> Method:
    """The method of ``NAME[:FIELD=VALUE[+FIELD=VALUE...]]``. Raises ``InputError`` for an unknown name or field."""
    name, _, given = spec.partition(":")
    module = _module(name)
    settings, title = getattr(module, "Settings", None), getattr(module, "TITLE", name)
    if not callable(getattr(module, "name_images", None)) or settings is None or not is_dataclass(settings):
        raise InputError(
            "this is not a method", remedy="It needs name_images(task, settings) and a dataclass Settings.", method=name
        )
    assert isinstance(settings, type)
    shown = f"{title} ({given.replace('+', ', ')})" if given else str(title)
    return Method(spec, shown, module, _made(settings, given, name), _source(module))


def _made(settings: type, given: str, name: str) -> Any:
    try:
        return settings(**_values(settings, given, name))
    except FgvrError:
        raise
    except Exception as error:
        remedy = "Correct the values; every field of Settings needs a type and a default."
        raise InputError(f"the method's settings fail: {error!r}", remedy=remedy, method=name) from error


def _source(module: ModuleType) -> str | None:
    if module.__name__.rpartition(".")[0] in HOMES:
        return None
    return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()


def known() -> dict[str, str]:
    """Every method of the package: name to title, in the order of their names."""
    found = {}
    for home in HOMES:
        package = importlib.import_module(home)
        for one in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{home}.{one.name}")
            if hasattr(module, "name_images"):
                found[one.name] = str(module.TITLE)
    return dict(sorted(found.items()))


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        return _from_file(Path(name).expanduser())
    places = [f"{home}.{name}" for home in HOMES] if name.isidentifier() else [name]
    for place in places:
        try:
            return importlib.import_module(place)
        except (Exception, SystemExit) as error:
            if not _is_missing(place, error):
                remedy = "Correct it, or install what it needs."
                raise InputError(f"the method cannot be imported: {error!r}", remedy=remedy, method=name) from error
    raise InputError("no such method", remedy=_remedy(), method=name)


def _is_missing(place: str, error: BaseException) -> bool:
    """Whether there is no such module; not whether one that is there lacks something."""
    if isinstance(error, ModuleNotFoundError):
        return f"{place}.".startswith(f"{error.name}.")
    return not all(part.isidentifier() for part in place.split("."))


def _remedy() -> str:
    return f"The methods are: {', '.join(known())}; or give a Python file or module of your own."


class _Afresh(SourceFileLoader):
    """Reads the file as it is: bytecode kept beside it is told apart by size and whole seconds only."""

    def path_stats(self, path: Any) -> Any:
        """None: so nothing is taken from the cache, nor written there."""
        raise OSError


def _from_file(path: Path) -> ModuleType:
    name = f"method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Afresh(name, str(path)))
    if not _is_file(path) or spec is None or spec.loader is None:
        raise InputError("there is no such file", remedy="Check the path of the method.", file=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise InputError(f"the method's file fails: {error!r}", remedy="Correct it.", file=path) from error
    return module


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except ValueError:  # a name that no file can have
        return False


def _values(settings: type, given: str, name: str) -> dict[str, Any]:
    types_of = typing.get_type_hints(settings)
    names = {field.name for field in fields(settings)}
    found = {}
    for pair in filter(None, given.split("+")):
        key, equals, text = pair.partition("=")
        if key not in names or not equals:
            remedy = f"Write FIELD=VALUE; its fields are: {', '.join(sorted(names))}."
            raise InputError("no such setting of this method", remedy=remedy, method=name, setting=pair)
        found[key] = _value(types_of[key], text, f"{name}:{pair}")
    return found


def _value(kind: Any, text: str, where: str) -> Any:
    """``text`` as a str, int, float, bool or None, whichever ``kind`` allows first that fits."""
    several = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    options = typing.get_args(kind) if several else (kind,)
    if type(None) in options and text.lower() == "none":
        return None
    for option in options:
        if typing.get_origin(option) is typing.Literal:
            known = {str(value): value for value in typing.get_args(option)}
            if text in known:
                return known[text]
        elif option is bool:
            if text.lower() in ("true", "false", "yes", "no", "1", "0"):
                return text.lower() in ("true", "yes", "1")
        elif option in (int, float):
            with contextlib.suppress(ValueError):
                number = option(text)
                if math.isfinite(number):
                    return number
        elif option is str:
            return text
    raise InputError("this value does not fit the setting", remedy="Correct it.", setting=where, wanted=kind)
