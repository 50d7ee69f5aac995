"""``fgvr fewshot``: how well a memory of a few labelled images names the others, with and without an MLLM."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json
from fgvr.cli.fewshot_study import Plan, Study, embedded, labelled_splits, parse_shots
from fgvr.cli.inputs import load_dual_encoder, load_model, start_afresh
from fgvr.cli.tables import count, percent, table

if TYPE_CHECKING:
    from fgvr.methods.rar.fewshot import Row, SecondOpinion
    from fgvr.mllm.base import Mllm
    from fgvr.runs import RunFolder

HEADERS = ("method", "shots", "k", "accuracy", "top-5", "upper bound", "ECE", "MLLM calls")
LEDGER = "ranks"
SECTIONS = {
    "rows": "Draws",
    "as_released": "As the released code",
    "top5_of_top10": "First 5 of 10",
    "k_study": "Candidates",
}

Photographs = Annotated[
    str,
    typer.Argument(
        help="Labelled photographs: a manifest with splits, or a folder of split folders.", show_default=False
    ),
]
Shots = Annotated[str, typer.Option("--shots", help="Images a class, comma-separated; all for the whole split.")]
AllowLeaks = Annotated[
    bool, typer.Option("--allow-leaks", help="Score test photographs that are in training, too, and say so.")
]


def fewshot(
    images: Photographs,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for results.json and results.md.")],
    encoder: o.EncoderName,
    mllm: o.MllmMaybe = None,
    shots: Shots = "1,2,4,8,16",
    draws: Annotated[int, typer.Option(min=1, help="Seeded draws for each number of shots.")] = 3,
    train_split: Annotated[str, typer.Option(help="Where shots are drawn from.")] = "train",
    test_split: Annotated[str, typer.Option(help="What is named.")] = "test",
    held_out: Annotated[
        float | None,
        typer.Option(min=0.05, max=0.95, help="No splits: hold out this share of each class for test, by --seed."),
    ] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Candidates; 5, or 4 with four shots.")] = None,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Use the class names' text embeddings, too.")] = True,
    studies: Annotated[
        bool, typer.Option("--studies", help="Also the released code's way, top-5 of top-10, and the study of k.")
    ] = False,
    calibration: Annotated[
        int, typer.Option(min=0, help="Memory photographs the MLLM is asked about to learn its weight.")
    ] = 300,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    allow_leaks: AllowLeaks = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """Few-shot tables: retrieval baselines always, rows with ranking with --mllm.

    Draws shots of the training split, retrieves for every test photograph, and prints accuracy with 95 % t intervals.
    """
    from fgvr.mllm import load_prices
    from fgvr.runs import RunFolder

    numbers = parse_shots(shots)
    asking = {
        "concurrency": concurrency,
        "prices": load_prices(prices) if prices else None,
        "retry_failed": retry_failed,
        "allow_unpriced": allow_unpriced,
    }
    train, test = labelled_splits(images, train_split, test_split, held_out, seed)
    loaded = load_dual_encoder(encoder, device=device, dtype=dtype)
    model = None if mllm is None else load_model(mllm, device=device)
    if force:
        start_afresh(out_folder)
    settings = {
        "method": "fewshot",
        "images": images,
        "splits": [train_split, test_split, held_out],
        "encoder": loaded.fingerprint,
        "mllm": None if model is None else {"name": model.name, "revision": model.revision},
        "seed": seed,
    }
    with RunFolder.create_or_resume(out_folder, settings=settings, command="fewshot") as run, Progress() as bar:
        study = embedded(train, test, loaded, (cache or run.path) / "features", bar, text=text)
        study = study.without_leaks(allow=allow_leaks)
        plan = Plan(numbers, draws, k, seed, studies)
        results = _run(study, plan, model, run, cache, budget, calibration, asking, bar)
        _write(run, {**results, "protocol": study.protocol(plan, loaded, held_out)})
    _show(run.path, json_wanted)


def _run(
    study: Study,
    plan: Plan,
    model: Mllm | None,
    run: RunFolder,
    cache: Path | None,
    budget: float | None,
    calibration: int,
    asking: dict[str, Any],
    bar: Progress,
) -> dict[str, list[Row]]:
    from fgvr.methods.rar.fewshot import as_released, few_shot, k_study, top5_of_top10
    from fgvr.mllm import ResponseCache

    with closing(ResponseCache(cache / "replies.sqlite")) if cache and model else nullcontext() as replies:
        opinion = None
        if model is not None:
            opinion = _opinion(study, model, run, replies, budget, calibration, asking, bar)
        total = sum(plan.draws if number else 1 for number in plan.shots)
        begun: list[int] = []

        def told(number: int, draw: int) -> None:
            bar("draws", len(begun), total)
            begun.append(number)

        rows = few_shot(
            study.data, shots=plan.shots, draws=plan.draws, seed=plan.seed, k=plan.k, opinion=opinion, told=told
        )
        results = {"rows": rows}
        if plan.studies:
            ranker = None if opinion is None else opinion.test
            shown = 4 if 4 in plan.shots else plan.shots[0]
            results["as_released"] = as_released(study.data, shots=plan.shots, ranker=ranker)
            results["top5_of_top10"] = top5_of_top10(study.data, shots=shown, seed=plan.seed, ranker=ranker)
            results["k_study"] = k_study(
                study.data, shots=shown, draws=plan.draws if shown else 1, seed=plan.seed, ranker=ranker
            )
    return results


def _opinion(
    study: Study,
    model: Mllm,
    run: RunFolder,
    replies: Any,
    budget: float | None,
    calibration: int,
    asking: dict[str, Any],
    bar: Progress,
) -> SecondOpinion:
    from fgvr.methods.rar.fewshot_ranker import second_opinion
    from fgvr.mllm import Budget, spent_in

    ledger = run.ledger(LEDGER)
    return second_opinion(
        model,
        study.test.items,
        study.train.items,
        classes=len(study.data.names),
        test_hashes=study.test.hashes,
        train_hashes=study.train.hashes,
        calibration=calibration,
        ledger=ledger,
        cache=replies,
        budget=None if budget is None else Budget(budget, spent=spent_in(ledger)),
        progress=lambda done, total, _usage: bar("rank", done, total),
        **asking,
    )


def _write(run: RunFolder, results: dict[str, Any]) -> None:
    from fgvr.runs import write_json, write_text

    write_json(run.path / "results.json", results)
    lines = ["# Few-shot recognition", "", *(f"- {line}" for line in results["protocol"])]
    for key, title in SECTIONS.items():
        if key in results:
            cells = [HEADERS, ["---", *["---:"] * (len(HEADERS) - 1)], *map(row_cells, results[key])]
            lines += ["", f"## {title}", "", *("| " + " | ".join(row) + " |" for row in cells)]
    write_text(run.path / "results.md", "\n".join(lines) + "\n")


def row_cells(row: Row) -> list[str]:
    """One row of a table, as text; an empty cell where a method has no such figure."""
    spread = "" if row["interval"] is None else f" ± {100 * row['interval']:.1f}"
    shown = {key: "" if row[key] is None else percent(row[key]) for key in ("top5", "upper_bound")}
    return [
        row["method"],
        str(row["shots"]),
        str(row["k"]),
        f"{100 * row['accuracy']:.1f}{spread} %",
        shown["top5"],
        shown["upper_bound"],
        "" if row["ece"] is None else f"{row['ece']:.3f}",
        count(round(row["mllm_calls"])),
    ]


def _show(folder: Path, json_wanted: bool) -> None:
    import json

    results = json.loads((folder / "results.json").read_bytes())
    if json_wanted:
        out_json(results)
        return
    for key in SECTIONS:
        if key in results:
            out(table(HEADERS, [row_cells(row) for row in results[key]]))
    for line in results["protocol"]:
        note(f"- {line}")
    answered = min(row["answered"] for key in SECTIONS for row in results.get(key, ()))
    if answered < 1:
        note(f"- in one of the rows the MLLM answered {percent(answered)} only; the others keep the retriever's order")
    short = {str(row["shots"]): row["short_classes"] for row in results["rows"] if row["short_classes"]}
    for number, classes in short.items():
        note(f"- {classes} classes have fewer than {number} training photographs: all of theirs are used")
    note(f"-> {folder / 'results.md'}")
