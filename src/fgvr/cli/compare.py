"""``fgvr compare``: methods side by side on the same images, splits, encoder, MLLM, metrics and allowance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.compare_input import collection_of
from fgvr.cli.console import Progress, note, out, out_json, printable
from fgvr.cli.inputs import load_dual_encoder, load_model, load_sentences, start_afresh
from fgvr.cli.tables import count, money, table
from fgvr.errors import FgvrError, InputError

if TYPE_CHECKING:
    from fgvr.compare import Collection, Draw, Row, Terms

DEFAULT = "direct,zero_shot,wordnet,knn,cased,finer,e_finer,findr,near,rar"
TEXT_OF_THE_FIELD_GUIDE = "fieldguide-text"

Data = Annotated[
    list[str] | None,
    typer.Argument(
        help="Labelled collections, each [NAME=]PLACE: a benchmark's folder, a manifest or folder with splits, "
        "Parquet or image folders of Hugging Face, or one folder per class with --held-out.",
        show_default=False,
    ),
]
Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        help="Comma-separated; each NAME[:FIELD=VALUE[+FIELD=VALUE]], a module or a Python file. --list shows them.",
    ),
]


def compare(
    data: Data = None,
    methods: Methods = DEFAULT,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Folder; what is finished there is kept.")] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="fieldguide, or a CLIP-like folder or Hub id.")
    ] = None,
    mllm: o.MllmMaybe = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="For steps of pure text; the MLLM itself, or fieldguide-text for fieldguide."),
    ] = None,
    voter: Annotated[
        str | None, typer.Option("--voter", help="A second encoder for FineR's vote (the paper: ViT-L/14).")
    ] = None,
    captions: Annotated[Path | None, typer.Option(help="CaSED's captions: one a line, or Parquet.")] = None,
    wordnet: Annotated[Path | None, typer.Option(help="Folder of the WordNet 3.0 database files.")] = None,
    draw: Annotated[o.DrawKind, typer.Option(help="How support images are drawn.")] = o.DrawKind.balanced,
    shots: Annotated[int, typer.Option(min=1, help="Support images a class (balanced).")] = 3,
    size: Annotated[int | None, typer.Option(min=1, help="Support images (random, spread).")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws; intervals are over these where two or more.")] = 1,
    seed: o.Seed = 0,
    support_split: Annotated[
        str, typer.Option(help="Support is drawn from the first of these the data has.")
    ] = "support,train,trainval",
    test_split: Annotated[str, typer.Option(help="What is named.")] = "test",
    held_out: Annotated[
        float | None, typer.Option(min=0.05, max=0.95, help="No splits: this share of each class is the test set.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Test images at most, drawn by --seed.")] = None,
    coop: Annotated[bool, typer.Option("--coop", help="CoOp's splits of a benchmark.")] = False,
    original_names: Annotated[
        bool, typer.Option("--original-names", help="A benchmark's class names as listed, errors included.")
    ] = False,
    against: Annotated[str | None, typer.Option(help="Differences are to this method; the first by default.")] = None,
    budget: o.BudgetCap = None,
    budget_each: Annotated[
        float | None,
        typer.Option("--budget-each", min=0.0, help="US dollars each method may take on a draw, as if alone."),
    ] = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Score test images that are support images, too.")
    ] = False,
    force: o.Force = False,
    cache: o.Cache = None,
    sentence_encoder: o.SentenceEncoderName = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    list_wanted: Annotated[bool, typer.Option("--list", help="List the methods and their settings.")] = False,
    json_wanted: o.Json = False,
) -> None:
    """Vocabulary-free methods side by side: one table with intervals, calls, tokens, money, seconds.

    Every method gets the same images, splits, encoder, MLLM, metrics and allowance. What one has asked the others need
    not ask again; each is counted as if it ran alone. Stop it at any time and give the same command again.
    """
    from fgvr.compare import Draw, Terms
    from fgvr.compare.method import find
    from fgvr.methods.baselines.task import Material
    from fgvr.mllm import load_prices

    if list_wanted:
        _list()
        return
    if not data or out_folder is None or encoder is None or mllm is None:
        raise InputError("something is missing", remedy="Give DATA, --out, --encoder and --mllm; or --list.")
    drawn = Draw(str(draw), shots, size)  # type: ignore[arg-type]
    specs = [spec.strip() for spec in methods.split(",") if spec.strip()]
    if not specs or (against is not None and against not in specs):
        remedy = "Name methods (--methods), and --against one of them."
        raise InputError("there is nothing to compare", remedy=remedy, methods=methods, against=against)
    for spec in specs:
        find(spec)  # a slip of the pen shows before an old comparison is moved aside and anything is loaded
    if force and not dry_run and (aside := start_afresh(out_folder)):
        note(f"the old comparison was moved to {printable(aside)}")
    collections, broken = _collections(
        data,
        support=[name.strip() for name in support_split.split(",")],
        test=test_split,
        held_out=held_out,
        seed=seed,
        limit=limit,
        coop=coop,
        original_names=original_names,
        scratch=out_folder / ".pictures",
    )
    model = load_model(mllm, device=device)
    price_table = load_prices(prices) if prices else None
    if dry_run:
        _ahead(collections, specs, drawn, range(seed, seed + seeds), model, price_table)
        return
    reasoner = llm or (TEXT_OF_THE_FIELD_GUIDE if mllm == "fieldguide" else None)
    loaded = load_dual_encoder(encoder, device=device, dtype=dtype)
    terms = Terms(
        encoder=loaded,
        mllm=model,
        llm=None if reasoner is None else load_model(reasoner, device=device),
        material=Material(
            captions, wordnet, None if voter is None else load_dual_encoder(voter, device=device, dtype=dtype)
        ),
        sentence_encoder=load_sentences(sentence_encoder),
        budget=budget,
        budget_each=budget_each,
        asking={
            "concurrency": concurrency,
            "prices": price_table,
            "retry_failed": retry_failed,
            "allow_unpriced": allow_unpriced,
        },
        store=None if cache is None else cache / "features",
        allow_leaks=allow_leaks,
    )
    rows = _run(collections, specs, terms, out_folder, drawn, range(seed, seed + seeds), against)
    _show(rows, out_folder, json_wanted)
    _leave(rows, broken)


def _collections(data: Sequence[str], **how: Any) -> tuple[list[Collection], int]:
    """Those that can be read, and how many cannot: one broken data set does not cost the others their results."""
    from fgvr.cli.console import show_error

    found: list[Collection] = []
    faults: list[FgvrError] = []
    for source in data:
        try:
            found.append(collection_of(source, **how))
        except Exception as error:
            remedy = "Look at its files; fgvr data check may say more."
            fault = (
                error
                if isinstance(error, FgvrError)
                else InputError(f"it cannot be read: {error!r}", remedy=remedy, data=source)
            )
            if len(data) == 1:
                raise fault from error
            faults.append(fault)
            note(f"{printable(source)}: left out")
            show_error(fault)
    if not found:
        raise faults[0]
    return found, len(faults)


def _run(
    collections: Sequence[Collection],
    methods: Sequence[str],
    terms: Terms,
    folder: Path,
    draw: Draw,
    seeds: Sequence[int],
    against: str | None,
) -> list[Row]:
    """Every cell, with the tables written anew after each, the page at the end."""
    from fgvr.compare import compare as run_all
    from fgvr.compare.output import Output

    output = Output(folder, collections, terms, draw, against or methods[0])
    done: list[Row] = []
    with Progress() as progress:

        def told(row: Row) -> None:
            done.append(row)
            progress.close()
            note(_said(row))
            output.write_tables(done)

        rows = run_all(
            collections, methods, terms=terms, out=folder, draw=draw, seeds=seeds, report=progress, told=told
        )
    output.write_tables(rows)
    output.write_page(rows)
    return rows


def _said(row: Row) -> str:
    place = f"{printable(row.collection)}, seed {row.seed}: {printable(row.method)}"
    if not row.figures:
        return f"{place}: {row.status}: {printable(row.error)}"
    shown = ", ".join(
        f"{key} {100 * row.figures[key].value:.1f}" for key in ("cacc", "sacc", "synonym") if key in row.figures
    )
    return f"{place}: {shown} ({row.seconds:.0f} s){'' if row.status == 'done' else f' {row.status}'}"


def _show(rows: Sequence[Row], folder: Path, json_wanted: bool) -> None:
    import json

    from fgvr.compare.summary import lines
    from fgvr.compare.table import HEADERS, cells

    if json_wanted:
        out_json(json.loads((folder / "comparison.json").read_bytes()))
        return
    found = lines(rows)
    for collection in dict.fromkeys(line.collection for line in found):
        out(f"\n{printable(collection)}")
        out(
            table(
                HEADERS, [[printable(cell) for cell in cells(line)] for line in found if line.collection == collection]
            )
        )
    noted = dict.fromkeys((line.title, text) for line in found for text in (*line.notes, *line.errors))
    for title, text in noted:
        note(f"- {printable(title)}: {printable(text)}")
    note(f"-> {folder / 'page.html'}, table.md, table.csv")


def _leave(rows: Sequence[Row], broken: int) -> None:
    """1 where something failed, 3 where the cap stopped something; what finished stands either way."""
    states = {row.status for row in rows}
    if "stopped" in states:
        note("the spending cap left questions open: raise it and give the same command again")
        raise typer.Exit(3)
    if "failed" in states or broken:
        raise typer.Exit(1)


def _list() -> None:
    from fgvr.compare.method import find, known

    rows = []
    for name, title in known().items():
        settings = vars(find(name).settings).items()
        rows.append([name, title, ", ".join(f"{field}={value}" for field, value in settings)])
    size = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, title, given in rows:
        out(f"{name:{size[0]}}  {title:{size[1]}}  {given}")


def _ahead(
    collections: Sequence[Collection], methods: Sequence[str], draw: Draw, seeds: Sequence[int], model: Any, prices: Any
) -> None:
    """What it would take at most: every method as if alone; what several ask is paid once."""
    from fgvr.compare.collection import drawn
    from fgvr.compare.method import find
    from fgvr.mllm import estimate
    from fgvr.naming.labelling import naming_requests

    rows = []
    for collection in collections:
        most = draw.size if draw.kind == "spread" else None
        supports = [len(drawn(collection.pool, draw, seed=seed)[:most]) for seed in seeds]
        shown = naming_requests(collection.test[:200])
        each = estimate(shown, model, prices=prices, concurrency=1)
        for spec in methods:
            method = find(spec)
            calls = [method.calls(number, len(collection.test)) for number in supports]
            if any(number is None for number in calls):
                rows.append([printable(collection.name), method.title, "not known", ""])
                continue
            total = sum(number or 0 for number in calls)
            dollars = None if each.cost is None else each.cost / len(shown) * total
            rows.append([printable(collection.name), method.title, count(total), money(dollars)])
    out(table(("collection", "method", "calls at most", "about"), rows))
    note("as if each ran alone, at the price of a short question about a picture; shared questions are paid once")
