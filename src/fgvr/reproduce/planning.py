"""What of a recipe can be run with what the user has, what is missing, and what will differ from the published run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fgvr.compare import Collection
from fgvr.data import draw_support
from fgvr.data.benchmarks import Benchmark
from fgvr.errors import InputError
from fgvr.reproduce.recipe import Recipe
from fgvr.types import ImageItem

TITLES = {
    "cub200": "CUB-200-2011",
    "cars196": "Stanford Cars",
    "dogs120": "Stanford Dogs",
    "flowers102": "Oxford Flowers-102",
    "pets37": "Oxford-IIIT Pets",
}
SHORT = {"birds": "cub200", "cars": "cars196", "dogs": "dogs120", "flowers": "flowers102", "pets": "pets37"}
"""What one may write on the command line."""


@dataclass(frozen=True)
class Have:
    """What the user has, by name; ``None`` where nothing was given."""

    data: Mapping[str, Benchmark]
    """By the data set's own name."""
    encoder: str | None = None
    mllm: str | None = None
    llm: str | None = None
    sentence_encoder: str | None = None
    captions: Path | None = None
    wordnet: Path | None = None
    """Folder of the WordNet database files, found or given."""
    voter: str | None = None


@dataclass(frozen=True)
class Missing:
    """Something the recipe needs, and one sentence of remedy."""

    what: str
    remedy: str
    stops: bool
    """Nothing can be run without it; else the rest is run."""


@dataclass(frozen=True)
class Plan:
    """What will be run, and how it differs from what was published."""

    recipe: Recipe
    datasets: tuple[str, ...]
    missing: tuple[Missing, ...]
    differs: tuple[str, ...]
    incomparable: Mapping[str, str] = field(default_factory=dict)
    """Data sets whose figures are of other images than the published ones, and why."""

    @property
    def runnable(self) -> bool:
        """Whether anything can be run."""
        return bool(self.datasets) and not any(one.stops for one in self.missing)


def plan(recipe: Recipe, have: Have, *, calls: bool = True, limit: int | None = None) -> Plan:
    """Match a recipe with what is there. ``calls``: the method asks an MLLM. Touches no file and loads no model."""
    datasets, missing = [], list(_things(recipe, have, calls))
    for name in recipe.protocol.datasets:
        benchmark = have.data.get(name)
        if benchmark is None:
            missing.append(_no_data(name))
        elif benchmark.split != recipe.protocol.split:
            missing.append(
                Missing(
                    f"{TITLES.get(name, name)} in its {recipe.protocol.split} split",
                    f"The folder was read in the {benchmark.split} split; the two must not be mixed.",
                    stops=False,
                )
            )
        else:
            datasets.append(name)
    others = {name: why for name in datasets if (why := _other_images(have.data[name], limit))}
    return Plan(recipe, tuple(datasets), tuple(missing), _differences(recipe, have, datasets, calls, others), others)


def _other_images(benchmark: Benchmark, limit: int | None) -> str:
    """Why figures on it are not figures on the data set; nothing where they are."""
    serious = [problem for problem in benchmark.problems if problem.serious]
    if serious:
        return f"the folder is not as distributed ({serious[0].kind}: {serious[0].detail})"
    test = sum(item.split == "test" for item in benchmark.items)
    return f"{limit} of {test} test images" if limit is not None and limit < test else ""


def _things(recipe: Recipe, have: Have, calls: bool) -> Sequence[Missing]:
    found = []
    if recipe.not_run:
        found.append(Missing("a method that does this", recipe.not_run, stops=True))
    if have.encoder is None:
        wanted = recipe.protocol.encoder or "a CLIP-like model"
        found.append(Missing("an image-text encoder", f"Name one with --encoder; published: {wanted}.", stops=True))
    if calls and have.mllm is None:
        wanted = recipe.protocol.mllm or "not stated"
        found.append(Missing("an MLLM", f"Name one with --mllm; published: {wanted}.", stops=True))
    if recipe.method.partition(":")[0] == "cased" and have.captions is None and have.encoder != "fieldguide":
        found.append(Missing("captions", "Name a file, one caption a line, with --captions.", stops=True))
    if recipe.method.partition(":")[0] == "wordnet" and have.wordnet is None:
        remedy = "Install them (apt install wordnet-base) or name their folder with --wordnet."
        found.append(Missing("the database files of WordNet 3.0", remedy, stops=True))
    published = recipe.protocol.sentence_encoder
    if "sacc" in recipe.published and published and not same_model(have.sentence_encoder, published):
        got = (
            "None is loaded" if have.sentence_encoder is None else f"{have.sentence_encoder} is not comparable with it"
        )
        remedy = f"{got}: name the model's folder or Hub id with --sentence-encoder; sACC is not set side by side."
        found.append(Missing(f"the sentence encoder of the published sACC, {published}", remedy, stops=False))
    return found


def _no_data(name: str) -> Missing:
    short = next((short for short, long in SHORT.items() if long == name), name)
    remedy = f"Give its folder as distributed with --data {short}=DIR (fgvr data check DIR says what is in it)."
    return Missing(TITLES.get(name, name), remedy, stops=False)


def _differences(
    recipe: Recipe, have: Have, datasets: Sequence[str], calls: bool, others: Mapping[str, str]
) -> tuple[str, ...]:
    """What a reader must know before comparing our figures with theirs."""
    protocol, found = recipe.protocol, []
    pairs = [("encoder", have.encoder, protocol.encoder)]
    if protocol.voter:
        pairs.append(("encoder that votes for names", have.voter or have.encoder, protocol.voter))
    if calls:
        pairs += [("MLLM", have.mllm, protocol.mllm), ("language model", have.llm, protocol.llm)]
    for what, ours, theirs in pairs:
        if ours is not None and not same_model(ours, theirs):
            found.append(f"{what}: {ours}, published with {theirs or 'one that is not stated'}")
    found += [f"{TITLES.get(name, name)}: {why}" for name, why in others.items()]
    if protocol.shots:
        found.append("support images: our own draw by seed, published one draw that cannot be had")
    if protocol.shots and "cub200" in datasets:
        found.append("birds: support images are drawn from the training list, not from the test list")
    return tuple(found)


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names mean one model: last part of path or Hub id, letters and digits only, case ignored."""
    if not one or not other:
        return False
    return _key(one) == _key(other)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.split(r"[/:\\]", name.rstrip("/\\"))[-1].casefold())


def dataset_name(text: str) -> str:
    """``birds`` or ``cub200`` to ``cub200``."""
    return SHORT.get(text, text)


def collection(benchmark: Benchmark, *, limit: int | None = None, seed: int = 0) -> Collection:
    """The protocol's two sides: support is drawn from train and val, the test list is named.

    Raises ``InputError`` where a side is empty.
    """
    pool = [item for item in benchmark.items if item.split in ("train", "val", "trainval")]
    test: Sequence[ImageItem] = [item for item in benchmark.items if item.split == "test"]
    if not pool or not test:
        raise InputError(
            f"{benchmark.title} has no training or no test images here",
            remedy="fgvr data check DIR says what is missing.",
            folder=str(benchmark.root),
        )
    notes = list(benchmark.notes)
    notes += [f"{problem.kind}: {problem.detail}" for problem in benchmark.problems if problem.serious]
    if limit is not None and limit < len(test):
        notes.append(f"{limit} of {len(test)} test images, drawn by seed {seed}")
        test = draw_support(test, n=limit, seed=seed)[0]
    return Collection(benchmark.name, tuple(pool), tuple(test), tuple(notes), benchmark.set_aside)
