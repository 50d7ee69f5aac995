"""From what was typed to the collections of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgvr.cli.console import note, show_set_aside
from fgvr.cli.fewshot_study import held_out_items
from fgvr.cli.tables import percent
from fgvr.errors import FgvrError, InputError

if TYPE_CHECKING:
    from fgvr.compare import Collection
    from fgvr.data import Items
    from fgvr.data.benchmarks import Benchmark
    from fgvr.types import ImageItem, SetAside


def collection_of(
    source: str,
    *,
    support: Sequence[str],
    test: str,
    held_out: float | None,
    seed: int,
    limit: int | None = None,
    original_names: bool = False,
    coop: bool = False,
    scratch: Path | None = None,
) -> Collection:
    """``[NAME=]PLACE``: a benchmark's folder, a manifest or folder with splits, or labelled images to be divided.

    Args:
        support: splits that support images are drawn from: the first of these the input has.
        held_out: of each class, where the input has no splits.
        limit: test images, drawn by ``seed``.
        original_names: a benchmark's class names as listed, typing errors included.
        coop: CoOp's splits of a benchmark instead of its own.
        scratch: where pictures inside Parquet files are unpacked.

    Raises ``InputError`` and ``ManifestError``.
    """
    from fgvr.compare import Collection
    from fgvr.compare.cell import folder_name
    from fgvr.data import draw_support

    name, place = _named(source)
    if not place:
        raise InputError("a place is missing", remedy="Write NAME=PLACE, or a folder or manifest.", given=repr(source))
    notes: list[str] = []
    aside: tuple[SetAside, ...] = ()
    benchmark = _benchmark(place, coop=coop, original_names=original_names)
    if benchmark is not None:
        notes += [f"{benchmark.title}, {benchmark.split} split", *benchmark.notes]
        notes += [f"{problem.kind}: {problem.detail}" for problem in benchmark.problems if problem.serious]
        aside = benchmark.set_aside
        pool, judged = _sides(benchmark.items, support, test, place)
    else:
        found = _items(place, None if scratch is None else scratch / folder_name(name))
        aside = found.set_aside
        if held_out is None:
            pool, judged = _sides(found.items, support, test, place)
        else:
            pool, judged = held_out_items(found.items, held_out, seed)
            notes.append(f"no official split: {percent(held_out)} of each class held out for test by seed {seed}")
    show_set_aside(aside)
    labelled = [item for item in judged if item.label]
    if len(labelled) < len(judged):
        note(f"{name}: {len(judged) - len(labelled)} test images without a label are left out")
    if limit is not None and len(labelled) > limit:
        labelled = list(draw_support(labelled, n=limit, seed=seed)[0])
        notes.append(f"{limit} test images drawn by seed {seed}")
    return Collection(name, tuple(pool), tuple(labelled), tuple(notes), tuple(aside))


def _named(source: str) -> tuple[str, str]:
    name, equals, place = source.partition("=")
    if equals and name.isidentifier():
        return name, place
    path = Path(source)
    return (path.parent.name if path.stem == "manifest" else path.stem) or "collection", source


def _benchmark(place: str, *, coop: bool, original_names: bool) -> Benchmark | None:
    from fgvr.data.benchmarks import read_benchmark, recognise

    folder = Path(place).expanduser()
    known = folder.is_dir() and recognise(folder) is not None
    if not known and coop:
        raise InputError("CoOp's splits are those of a benchmark", remedy="Leave --coop away.", place=place)
    split = "coop" if coop else "official"
    return read_benchmark(folder, split=split, original_names=original_names) if known else None


def _items(place: str, scratch: Path | None) -> Items:
    """Everything, with its splits: a manifest's own, or a folder's sub-folders of that name."""
    from fgvr.data import load_items
    from fgvr.data.hugging_face import load_hugging_face, looks_like

    if looks_like(place):
        return load_hugging_face(place, out=scratch)
    return load_items(place)


def _sides(
    items: Sequence[ImageItem], support: Sequence[str], test: str, place: str
) -> tuple[list[ImageItem], list[ImageItem]]:
    splits = {item.split for item in items if item.split}
    if not splits:
        splits, items = _folders_as_splits(place)
    pool = next((name for name in support if name in splits), None)
    if pool is None or test not in splits:
        raise InputError(
            "the support or test split is missing",
            remedy="Name them (--support-split, --test-split), or divide the images (--held-out 0.5).",
            wanted=f"one of {', '.join(support)}; and {test}",
            found=", ".join(sorted(splits)) or "no splits",
        )
    return [item for item in items if item.split == pool], [item for item in items if item.split == test]


def _folders_as_splits(place: str) -> tuple[set[str], list[ImageItem]]:
    """A folder of split folders of class folders."""
    from fgvr.data import load_items

    folder, splits = Path(place).expanduser(), set[str]()
    found: list[ImageItem] = []
    for child in sorted(folder.iterdir()) if folder.is_dir() else ():
        if child.is_dir() and not child.name.startswith("."):
            try:
                part = load_items(folder, split=child.name).items
            except FgvrError:
                continue  # a folder without images is no split
            found += part
            splits.add(child.name)
    return splits, found
