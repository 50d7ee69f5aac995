"""``fgvr memory show|add|remove|rename|index``: what a run retrieves from, changed without training or an MLLM.

RUN is a run folder of ``fgvr fit rar`` or a memory folder itself.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable, show_set_aside, tally
from fgvr.cli.tables import count, pairs, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgvr.encoders import FeatureTable
    from fgvr.encoders.base import DualEncoder
    from fgvr.memory import Memory
    from fgvr.types import ImageItem, SetAside

app = typer.Typer(help="The memory a run retrieves from.", no_args_is_help=True, rich_markup_mode=None)

TEMPLATE = "a photo of a {}."
Run = Annotated[Path, typer.Argument(help="Run folder of fgvr fit rar, or a memory folder.", show_default=False)]
ClassName = Annotated[str, typer.Argument(help="Class, letter by letter.", show_default=False)]
Encoder = Annotated[
    str | None,
    typer.Option("--encoder", help="Where the encoder lies, if it was moved or the memory is new."),
]
Template = Annotated[str, typer.Option("--template", help="How a class's name is put before the encoder.")]


@app.callback()
def _verbs() -> None:
    """Show and change the memory a run retrieves from. Nothing is trained and no MLLM is asked."""


@app.command("show")
def show(run: Run, json_wanted: o.Json = False) -> None:
    """What the memory holds: encoder, classes, rows of each."""
    from fgvr.memory import Memory

    summary = _summary(Memory.load(_folder(run)))
    if json_wanted:
        out_json(summary)
        return
    out(_facts({key: value for key, value in summary.items() if key != "names"}))
    rows = [(printable(name), count(held["images"]), count(held["texts"])) for name, held in summary["names"].items()]
    if rows:
        out("\n" + table(("class", "images", "texts"), rows))


@app.command("add")
def add(
    run: Run,
    images: o.Images,
    name: Annotated[str | None, typer.Option("--name", help="All images are of this class.")] = None,
    texts: Annotated[
        bool | None,
        typer.Option("--texts/--no-texts", help="Embed new names too; by default where the memory has such rows."),
    ] = None,
    template: Template = TEMPLATE,
    encoder: Encoder = None,
    split: o.Split = None,
    limit: o.Limit = None,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    json_wanted: o.Json = False,
) -> None:
    """Add labelled images: folders named after classes, or a manifest with labels. New names become new classes.

    The same image twice in a class counts once. Images without a label are set aside.
    """
    from fgvr.cli.inputs import first_items
    from fgvr.data import load_items

    found = first_items(load_items(images, split=split, labels="folders"), limit)
    labelled, unlabelled = _labelled(found.items, name)
    memory, loaded = _open(_folder(run), encoder, device=device, dtype=dtype)
    features = _features(labelled, loaded, run=run, cache=cache)
    given = [str(item.label) for item in features.items]
    before = set(memory.names)
    new = memory.add(
        "image", given, features.features, sources=[str(i.path) for i in features.items], hashes=features.hashes
    )
    wanted = texts if texts is not None else bool(len(memory.texts)) or not before
    written = _add_texts(memory, loaded, template) if wanted else 0
    memory.save(_folder(run))
    aside = (*found.set_aside, *unlabelled, *features.set_aside)
    show_set_aside(aside)
    summary = {
        "added": new,
        "already_there": len(given) - new,
        "new_classes": len(memory.names) - len(before),
        "texts_added": written,
        "set_aside": tally(aside),
        **_totals(memory),
    }
    _tell(summary, json_wanted)


@app.command("remove")
def remove(
    run: Run,
    names: Annotated[list[str], typer.Argument(help="Classes, letter by letter.", show_default=False)],
    json_wanted: o.Json = False,
) -> None:
    """Forget classes: their images and their texts. All or none."""
    from fgvr.memory import Memory

    memory = Memory.load(_folder(run))
    before = len(memory.images), len(memory.texts)
    for name in dict.fromkeys(names):
        memory.remove(name)
    memory.save(_folder(run))
    gone = {"images_removed": before[0] - len(memory.images), "texts_removed": before[1] - len(memory.texts)}
    _tell({**gone, **_totals(memory)}, json_wanted)


@app.command("rename")
def rename(
    run: Run,
    name: ClassName,
    new: Annotated[str, typer.Argument(help="What it is to be called.", show_default=False)],
    template: Template = TEMPLATE,
    encoder: Encoder = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    json_wanted: o.Json = False,
) -> None:
    """Call a class something else. Where its name was embedded, the new one is embedded instead."""
    from fgvr.memory import Memory

    memory = Memory.load(_folder(run))
    memory.rename(name, new)
    spoken = int(memory.counts("text")[memory.names.index(new)])
    if spoken and new != name:
        loaded = _encoder_of(memory, encoder, device=device, dtype=dtype)
        memory.update("text", new, _embedded(loaded, [new], template), sources=[new])
    memory.save(_folder(run))
    _tell({"renamed": new, "texts_embedded": int(spoken > 0 and new != name), **_totals(memory)}, json_wanted)


@app.command("index")
def index(
    run: Run,
    degree: Annotated[int, typer.Option("--degree", min=2, help="Links of a node: M of HNSW.")] = 32,
    ef_construction: Annotated[int, typer.Option("--ef-construction", min=1, help="Search width at build.")] = 40,
    ef_search: Annotated[int, typer.Option("--ef-search", min=1, help="Width of later searches.")] = 64,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours that recall is measured for.")] = 5,
    json_wanted: o.Json = False,
) -> None:
    """Build an HNSW index of the images, and measure its recall against exact search.

    Exact search needs none of this and is fast up to some hundred thousand images.
    """
    import time

    from fgvr.errors import InputError
    from fgvr.memory import Memory
    from fgvr.memory.hnsw import Hnsw, index_path

    folder = _folder(run)
    rows = Memory.load(folder).images
    if not len(rows):
        raise InputError("the memory holds no images", remedy="Add some first: fgvr memory add.", folder=folder)
    started = time.perf_counter()
    made, measured = Hnsw.of_rows(rows, k=k, degree=degree, ef_construction=ef_construction, ef_search=ef_search)
    seconds = time.perf_counter() - started
    path = index_path(folder)
    made.save(path)
    note(str(measured))
    summary = {"rows": len(made), "recall": measured.value, "k": k, "queries": measured.queries, "index": str(path)}
    _tell({**summary, "seconds": round(seconds, 2), "bytes": path.stat().st_size}, json_wanted)


# --- parts ------------------------------------------------------------------------------------------------------------


def _folder(run: Path) -> Path:
    """The memory folder of RUN: itself where a memory lies in it, else ``RUN/memory``."""
    from fgvr.memory.storage import is_memory

    return run if is_memory(run) else run / "memory"


def _open(folder: Path, encoder: str | None, *, device: str, dtype: str) -> tuple[Memory, DualEncoder]:
    """The memory, or a new one, and the encoder that fits it."""
    from fgvr.cli.inputs import load_dual_encoder
    from fgvr.errors import InputError
    from fgvr.memory import Memory
    from fgvr.memory.storage import is_memory

    if is_memory(folder):
        memory = Memory.load(folder)
        return memory, _encoder_of(memory, encoder, device=device, dtype=dtype)
    if encoder is None:
        remedy = "Name the folder of a memory, or give --encoder to start a new one."
        raise InputError("there is no memory here yet", remedy=remedy, folder=folder)
    loaded = load_dual_encoder(encoder, device=device, dtype=dtype)
    return Memory.create(loaded.name, loaded.fingerprint, loaded.dim, loaded.logit_scale), loaded


def _encoder_of(memory: Memory, encoder: str | None, *, device: str, dtype: str) -> DualEncoder:
    from fgvr.cli.inputs import load_dual_encoder

    loaded = load_dual_encoder(encoder or memory.encoder, device=device, dtype=dtype)
    memory.check_encoder(loaded)
    return loaded


def _labelled(items: Sequence[ImageItem], name: str | None) -> tuple[list[ImageItem], list[SetAside]]:
    """Items with a label, and those without."""
    from fgvr.images import require_some
    from fgvr.types import SetAside

    if name is not None:
        items = [replace(item, label=name) for item in items]
    hint = "put it into a folder named after its class, or give --name"
    aside = [SetAside(item.id, str(item.path), "no label", hint) for item in items if not (item.label or "").strip()]
    kept = [item for item in items if (item.label or "").strip()]
    require_some(kept, set_aside=aside)
    return kept, aside


def _features(items: Sequence[ImageItem], encoder: DualEncoder, *, run: Path, cache: Path | None) -> FeatureTable:
    """Features, kept in the cache or in the run where there is either."""
    from fgvr.encoders import FeatureStore

    kept = cache / "features" if cache else run / "features" if (run / "manifest.json").exists() else None
    with tempfile.TemporaryDirectory(prefix="fgvr-") if kept is None else nullcontext() as scratch, Progress() as bar:
        store = FeatureStore(kept or Path(str(scratch)))
        return store.features(items, encoder, progress=lambda done, total: bar("features", done, total))


def _embedded(encoder: DualEncoder, names: Sequence[str], template: str) -> Any:
    from fgvr.encoders import text_classifier
    from fgvr.errors import InputError

    if template.count("{}") != 1:
        raise InputError("a template holds one {}", remedy=f"Write for instance '{TEMPLATE}'.", template=template)
    return text_classifier(encoder, names, templates=(template,))


def _add_texts(memory: Memory, encoder: DualEncoder, template: str) -> int:
    """Embed the names that have no text row yet; returns how many."""
    mute = [name for name, texts in zip(memory.names, memory.counts("text"), strict=True) if not texts]
    return memory.add("text", mute, _embedded(encoder, mute, template), sources=mute) if mute else 0


def _totals(memory: Memory) -> dict[str, int]:
    return {
        "classes": len(memory.names),
        "images": len(memory.images),
        "texts": len(memory.texts),
        "version": memory.version,
    }


def _summary(memory: Memory) -> dict[str, Any]:
    space = {"encoder": memory.encoder, "fingerprint": memory.fingerprint, "dimensions": memory.dim}
    rows = zip(memory.names, memory.counts("image").tolist(), memory.counts("text").tolist(), strict=True)
    return {**space, **_totals(memory), "names": {name: {"images": i, "texts": t} for name, i, t in rows}}


def _tell(summary: dict[str, Any], json_wanted: bool) -> None:
    if json_wanted:
        out_json(summary)
    else:
        out(_facts(summary))


def _facts(summary: dict[str, Any]) -> str:
    """One line a fact; empty tallies are left out."""
    return pairs([(key.replace("_", " "), printable(value)) for key, value in summary.items() if value != {}])
