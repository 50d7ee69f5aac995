"""``fgvr reproduce``: published rows beside what one gets oneself; the recorded benchmark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable
from fgvr.cli.inputs import load_sentences
from fgvr.cli.reproduce_models import Models
from fgvr.cli.tables import table
from fgvr.errors import FgvrError, InputError

if TYPE_CHECKING:
    from fgvr.compare import Row, Terms
    from fgvr.data.benchmarks import Benchmark
    from fgvr.reproduce import Plan

RECORDED = "recorded"


def reproduce(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe of --list, the path of one (.toml), or recorded.", show_default=False),
    ] = None,
    list_wanted: Annotated[bool, typer.Option("--list", help="List the recipes with their published means.")] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", help="A data set as distributed: DIR, or birds=DIR, cars=DIR, dogs=, flowers=, pets=. Repeatable."
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="fieldguide, or a CLIP-like folder or Hub id.")
    ] = None,
    mllm: o.MllmMaybe = None,
    llm: Annotated[str | None, typer.Option("--llm", help="For steps of pure text; else the MLLM.")] = None,
    voter: Annotated[
        str | None, typer.Option("--voter", help="A second encoder for FineR's vote (the paper: ViT-L/14).")
    ] = None,
    captions: Annotated[Path | None, typer.Option(help="CaSED's captions: one a line, or Parquet.")] = None,
    wordnet: Annotated[Path | None, typer.Option(help="Folder of the WordNet 3.0 database files.")] = None,
    sentence_encoder: o.SentenceEncoderName = None,
    out_place: Annotated[
        Path | None, typer.Option("--out", help="Run folder; of recorded the page to be written.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the support set.")] = 1,
    seed: o.Seed = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Test images of a data set at most, drawn by --seed.")
    ] = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and what is missing.")] = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Score test images that are support images, too.")
    ] = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    shared: Annotated[
        Path | None, typer.Option("--shared", help="recorded: the folder of the material (or FGVR_SHARED).")
    ] = None,
    classifier: Annotated[
        bool, typer.Option("--classifier/--no-classifier", help="recorded: with the classifier, most of the time.")
    ] = True,
    allow_shift: Annotated[
        bool, typer.Option("--allow-shift", help="recorded: go on although names fit another class better.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap behind the intervals.")] = 1000,
    json_wanted: o.Json = False,
) -> None:
    """Set published rows beside what you get yourself: what can be run is run, what is missing is named.

    recorded: real MLLM labels on real CLIP features, from a folder of recordings; needs no picture and no model.
    """
    if list_wanted:
        return _list(json_wanted)
    if recipe is None:
        raise InputError("no recipe is named", remedy="Name one, or see them with fgvr reproduce --list.")
    if recipe == RECORDED:
        options = {"classifier": classifier, "allow_shift": allow_shift, "seed": seed, "resamples": resamples}
        return _recorded(shared, out_place, sentence_encoder, json_wanted, options)
    if shared is not None:
        raise InputError("--shared belongs to fgvr reproduce recorded", remedy="Leave it out, or name recorded.")
    from fgvr.mllm import ResponseCache, load_prices

    models = Models(encoder, mllm, llm, voter, sentence_encoder, captions, wordnet, device, dtype)
    plan, benchmarks = _planned(recipe, data or [], limit, models)
    if dry_run or not plan.runnable:
        return _told(plan, json_wanted, wanted=dry_run)
    if out_place is None:
        raise InputError("there is no place for the run", remedy="Name a folder with --out.")
    _tell(plan)
    asking = {
        "concurrency": concurrency,
        "prices": load_prices(prices) if prices else None,
        "retry_failed": retry_failed,
        "allow_unpriced": allow_unpriced,
    }
    with ResponseCache(cache / "replies.sqlite") if cache else nullcontext() as replies:
        terms = models.terms(
            budget=budget,
            asking=asking if replies is None else {**asking, "cache": replies},
            store=None if cache is None else cache / "features",
            allow_leaks=allow_leaks,
            resamples=resamples,
        )
        return _run(plan, benchmarks, terms, out_place, range(seed, seed + seeds), limit, json_wanted)


def _list(json_wanted: bool) -> None:
    from dataclasses import asdict

    from fgvr.reproduce import all_recipes
    from fgvr.reproduce.recipe import READ
    from fgvr.reproduce.tables import LIST_HEADERS, list_rows

    recipes = all_recipes()
    if json_wanted:
        out_json({"recipes": [asdict(recipe) for recipe in recipes]})
        return
    out(table(LIST_HEADERS, _to_the_left(list_rows(recipes), columns=(4, 5, 6))))
    note("means of the row's figures (the printed one where there are no others), per cent; sACC: all-mpnet-base-v2")
    note("figures: " + "; ".join(f"{key} = {words}" for key, words in READ.items()))


def _to_the_left(rows: list[list[str]], *, columns: Sequence[int]) -> list[list[str]]:
    """Columns of words, which are not to be read from the right."""
    size = {column: max(len(row[column]) for row in rows) for column in columns}
    return [[cell.ljust(size.get(column, 0)) for column, cell in enumerate(row)] for row in rows]


def _planned(name: str, data: Sequence[str], limit: int | None, models: Models) -> tuple[Plan, dict[str, Benchmark]]:
    """The plan, and the data sets that could be read; one that cannot is said and left out."""
    from fgvr.compare.method import find
    from fgvr.reproduce import load_recipe
    from fgvr.reproduce import plan as planned

    recipe = load_recipe(name)
    benchmarks = dict(filter(None, (_benchmark(source, recipe.protocol.split) for source in data)))
    for unused in sorted(set(benchmarks) - set(recipe.protocol.datasets)):
        note(f"{unused} is no data set of this recipe and is left out")
    asks = bool(recipe.method) and find(recipe.method).calls(1, 1) != 0
    return planned(recipe, models.have(benchmarks), calls=asks, limit=limit), benchmarks


def _benchmark(source: str, split: str) -> tuple[str, Benchmark] | None:
    from fgvr.cli.console import show_error, show_set_aside
    from fgvr.data.benchmarks import read_benchmark
    from fgvr.reproduce.planning import collection, dataset_name

    name, equals, place = source.partition("=")
    try:
        wanted = dataset_name(name) if equals and name.isidentifier() else None
        found = read_benchmark(place if wanted else source, name=wanted, split=split)
        collection(found)  # has training and test images
    except FgvrError as error:
        note(f"{printable(source)}: left out")
        show_error(error)
        return None
    show_set_aside(found.set_aside)
    return found.name, found


def _tell(plan: Plan) -> None:
    from fgvr.reproduce.tables import about

    for line in about(plan):
        note(f"- {printable(line)}")


def _told(plan: Plan, json_wanted: bool, *, wanted: bool) -> None:
    """A plan that is not run: because that was ``wanted``, or because nothing can be."""
    from dataclasses import asdict

    if json_wanted:
        ahead = {"recipe": plan.recipe.name, "runnable": plan.runnable, "datasets": list(plan.datasets)}
        out_json({**ahead, "missing": [asdict(one) for one in plan.missing], "differs": list(plan.differs)})
    else:
        _tell(plan)
        ready = f"would run {plan.recipe.method} on {', '.join(plan.datasets)}"
        note(ready if plan.runnable else "nothing can be run with what is there")
    if not wanted:
        raise typer.Exit(2)


def _run(
    plan: Plan,
    benchmarks: dict[str, Benchmark],
    terms: Terms,
    folder: Path,
    seeds: Sequence[int],
    limit: int | None,
    json_wanted: bool,
) -> None:
    from fgvr.reproduce import collection
    from fgvr.reproduce import reproduce as run
    from fgvr.reproduce.tables import HEADERS, line_rows, markdown
    from fgvr.runs import write_json, write_text

    collections = {name: collection(benchmarks[name], limit=limit, seed=seeds[0]) for name in plan.datasets}
    with Progress() as progress:

        def told(row: Row) -> None:
            progress.close()
            note(
                f"{row.collection}, seed {row.seed}: {row.status} ({row.seconds:.0f} s) {printable(row.error)}".rstrip()
            )

        outcome = run(plan, collections, terms=terms, out=folder, seeds=seeds, report=progress, told=told)
    write_json(folder / "reproduction.json", outcome.as_dict())
    write_text(folder / "reproduction.md", markdown(outcome))
    if json_wanted:
        out_json(outcome.as_dict())
    else:
        rows = [[printable(cell) for cell in row] for row in line_rows(outcome.lines)]
        out(table(HEADERS, _to_the_left(rows, columns=(1, len(HEADERS) - 1))))
        note(f"-> {folder / 'reproduction.md'}")
    states = {row.status for row in outcome.rows}
    if states - {"done"}:
        raise typer.Exit(3 if "stopped" in states else 1)


def _recorded(
    shared: Path | None, page_file: Path | None, sentences: str | None, json_wanted: bool, options: dict[str, Any]
) -> None:
    from fgvr.cli.console import show_error
    from fgvr.reproduce.recorded.material import readable_recordings
    from fgvr.reproduce.recorded.measure import measure
    from fgvr.reproduce.recorded.page import page
    from fgvr.runs import write_text

    place = shared or (Path(os.environ["FGVR_SHARED"]) if os.environ.get("FGVR_SHARED") else None)
    if place is None:
        remedy = "Name the folder that holds data/recorded and data/vectors with --shared, or set FGVR_SHARED."
        raise InputError("the recorded material is not part of this software", remedy=remedy)
    if sentences == "none":
        raise InputError("the recorded benchmark scores sACC", remedy="Name a sentence encoder, or leave minilm.")
    recordings, faults = readable_recordings(place)
    for fault in faults:
        note("a recording is left out")
        show_error(fault)
    with Progress() as progress:
        found = measure(recordings, load_sentences(sentences or "minilm"), report=progress, **options)
    if page_file is not None:
        write_text(page_file, page(found))
        note(f"-> {page_file}")
    if json_wanted:
        out_json(found.as_dict())
    elif page_file is None:
        out(page(found))
    if faults:
        raise typer.Exit(1)
