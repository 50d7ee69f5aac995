"""A recipe: one published row as data. What was measured how, what was printed, and what is known to be wrong with it.

Recipes are TOML files of the package (``fgvr/recipes``), one a row. Reading is strict: a key that is not known, a
number out of range or a value of the wrong type is an error, so that a slip of the pen cannot pass for a published
figure. Nothing in a recipe is computed by hand: means are computed here and compared with the printed ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from fgvr.errors import InputError

T = TypeVar("T")

DATASETS = ("cub200", "cars196", "dogs120", "flowers102", "pets37")
"""The data sets these tables share, in their order."""
METRICS = ("sacc", "cacc", "siou")
MEAN = "mean"
READ = {
    "paper": "read in the paper's own text",
    "quoted": "read in another paper that quotes it",
    "note": "read in a third party's note on the paper",
    "none": "no figure could be read",
}
"""Where the numbers were read."""
ROUNDING = 0.1
"""Largest honest distance, in points, between a printed mean and the mean of printed figures: both are rounded to
0.1, so the figures' mean may be off by 0.05 and the printed one by as much again."""
_SLACK = 1e-9


@dataclass(frozen=True)
class Source:
    """Where the row stands."""

    paper: str
    table: str
    row: str
    read: str
    """One of `READ`."""
    where: str = ""
    """For ``quoted`` and ``note``: in what."""


@dataclass(frozen=True)
class Protocol:
    """How the row was measured. ``None`` and empty: not stated, or the method has no such thing."""

    datasets: tuple[str, ...]
    split: str
    """``official`` or ``coop``."""
    shots: tuple[int, ...] = ()
    """Support images a class; several for a curve; none for methods without a support set."""
    k: int | None = None
    encoder: str | None = None
    voter: str | None = None
    """A second encoder that votes for names, of FineR and its successors."""
    mllm: str | None = None
    llm: str | None = None
    sentence_encoder: str | None = None
    """Of sACC."""


@dataclass(frozen=True)
class Disagreement:
    """A printed mean that is not the mean of the printed figures, beyond rounding; in per cent."""

    metric: str
    printed: float
    computed: float


@dataclass(frozen=True)
class Recipe:
    """One published row."""

    name: str
    """The file's stem."""
    title: str
    source: Source
    protocol: Protocol
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Metric to data set (or ``mean``, as printed) to per cent. Empty where no number is printed."""
    method: str = ""
    """As ``fgvr compare --methods`` takes it; empty where there is no such method here, see ``not_run``."""
    not_run: str = ""
    """Why nothing can be run for it."""
    faults: tuple[str, ...] = ()
    """What is known to be wrong with the published numbers."""
    notes: tuple[str, ...] = ()
    """What is not stated in the source, or is done differently here."""

    def mean(self, metric: str, datasets: tuple[str, ...] | None = None) -> float | None:
        """Mean of the published figures over ``datasets`` (all of the recipe by default), in per cent.

        The printed mean where the row prints nothing else and all data sets are asked for; ``None`` where a figure is
        missing.
        """
        values = self.published.get(metric, {})
        wanted = self.protocol.datasets if datasets is None else datasets
        if wanted and all(name in values for name in wanted):
            return sum(values[name] for name in wanted) / len(wanted)
        if set(wanted) == set(self.protocol.datasets) and not set(values) - {MEAN}:
            return values.get(MEAN)
        return None

    def disagreements(self) -> tuple[Disagreement, ...]:
        """Printed means that the row's own figures do not give."""
        found = []
        for metric, values in self.published.items():
            computed = self.mean(metric)
            if MEAN in values and computed is not None and abs(values[MEAN] - computed) > ROUNDING + _SLACK:
                found.append(Disagreement(metric, values[MEAN], computed))
        return tuple(found)


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes of the package, sorted."""
    files = resources.files("fgvr.recipes").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def load_recipe(name: str) -> Recipe:
    """A recipe of the package by name, or any by the path of its file. Raises ``InputError``."""
    if name.endswith(".toml"):
        try:
            return parse_recipe(Path(name).read_text("utf-8"), name=Path(name).stem)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the recipe cannot be read: {error}", remedy="Check the path.", path=name) from error
    if name not in recipe_names():
        raise InputError(f"there is no recipe {name!r}", remedy=_nearest(name))
    return parse_recipe((resources.files("fgvr.recipes") / f"{name}.toml").read_text("utf-8"), name=name)


def all_recipes() -> tuple[Recipe, ...]:
    """Every recipe of the package, in the order of their names."""
    return tuple(load_recipe(name) for name in recipe_names())


def parse_recipe(text: str, *, name: str) -> Recipe:
    """A recipe from TOML. Raises ``InputError`` that names what is wrong with it."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the recipe is no TOML: {error}", remedy="Mend the file.", recipe=name) from error
    source = _made(Source, found.pop("source", None), recipe=name, table="source")
    protocol = _made(Protocol, found.pop("protocol", None), recipe=name, table="protocol")
    found |= {"name": name, "source": source, "protocol": protocol}
    recipe = _made(Recipe, found, recipe=name, table="")
    _check(recipe)
    return recipe


def _made(kind: type[T], values: Any, *, recipe: str, table: str) -> T:
    """``kind`` from a TOML table whose keys and types must be its fields'."""
    where = {"recipe": recipe, **({"table": table} if table else {})}
    if not isinstance(values, dict):
        raise InputError(f"the recipe has no table [{table}]", remedy="Add it.", **where)
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise InputError(f"unknown key {unknown[0]!r}", remedy=f"Known are: {', '.join(known)}.", **where)
    made = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key, value in made.items():
        if not _fits(value, str(known[key].type)):
            raise InputError(f"{key!r} should be {known[key].type}", remedy="Mend the file.", **where)
    try:
        return kind(**made)
    except TypeError as error:
        raise InputError(f"the recipe is incomplete: {error}", remedy="Add what is missing.", **where) from error


def _fits(value: object, declared: str) -> bool:
    """Whether a TOML value is of a declared field type."""
    if declared == "tuple[str, ...]":
        return isinstance(value, tuple) and all(isinstance(one, str) and one for one in value)
    if declared == "tuple[int, ...]":
        return isinstance(value, tuple) and all(_is_int(one) for one in value)
    if declared == "int | None":
        return _is_int(value)
    if declared in ("str", "str | None"):
        return isinstance(value, str) and bool(value)
    if declared.startswith("Mapping"):
        return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())
    return isinstance(value, (Source, Protocol))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check(recipe: Recipe) -> None:
    """Values that types cannot say."""
    protocol, source = recipe.protocol, recipe.source
    wrong = ""
    if not protocol.datasets or len(set(protocol.datasets)) != len(protocol.datasets):
        wrong = "the data sets are none, or one is named twice"
    elif protocol.split not in ("official", "coop"):
        wrong = f"the split {protocol.split!r} is neither official nor coop"
    elif source.read not in READ:
        wrong = f"'read' must be one of {', '.join(READ)}"
    elif (source.read in ("quoted", "note")) != bool(source.where):
        wrong = "'where' is for figures that were not read in the paper itself, and then needed"
    elif bool(recipe.method) == bool(recipe.not_run):
        wrong = "either 'method' or 'not_run' must be given, and not both"
    elif (source.read == "none") != (not recipe.published):
        wrong = "published figures and 'read' do not fit"
    elif "sacc" in recipe.published and protocol.sentence_encoder is None:
        wrong = "sACC without its sentence encoder says nothing"
    if wrong:
        raise InputError(wrong, remedy="Mend the file.", recipe=recipe.name)
    for metric, values in recipe.published.items():
        _check_figures(recipe, metric, values)


def _check_figures(recipe: Recipe, metric: str, values: Mapping[str, float]) -> None:
    if metric not in METRICS or not values:
        raise InputError(f"unknown or empty metric {metric!r}", remedy=f"Known are: {', '.join(METRICS)}.")
    for place, value in values.items():
        if place != MEAN and place not in recipe.protocol.datasets:
            raise InputError(f"{metric} of {place!r}, which is no data set of the recipe", remedy="Mend the file.")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and 0 <= value <= 100):
            raise InputError(f"{metric} of {place} must be per cent, not {value!r}", remedy="Mend the file.")


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, recipe_names(), n=3)
    return f"Did you mean {' or '.join(close)}?" if close else "fgvr reproduce --list shows them."
