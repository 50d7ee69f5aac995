"""``fgvr fit ranker``: tune a local MLLM to rank retrieved candidates."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, clock, note, out, out_json, printable, show_set_aside
from fgvr.cli.inputs import load_dual_encoder, quieten, start_afresh
from fgvr.cli.tables import count, pairs

if TYPE_CHECKING:
    from fgvr.methods.rar.ranking_fit import RankerData, RankerSettings
    from fgvr.training import Preflight


class Variant(StrEnum):
    """Of the training lists."""

    described = "as-described"
    released = "as-released"


class PromptKind(StrEnum):
    """Of the questions in the training lists."""

    test = "test"
    released = "released"


def ranker(
    images: o.Images,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    mllm: Annotated[str, typer.Option("--mllm", help="The model to tune: fieldguide, or local:FOLDER_OR_HUB_ID.")],
    encoder: o.EncoderName,
    k: Annotated[int, typer.Option("--k", min=2, help="Candidates in a list.")] = 5,
    neighbours: Annotated[int, typer.Option(min=2, help="Nearest images that lists are drawn from.")] = 20,
    sets: Annotated[int, typer.Option(min=1, help="Lists drawn for an image, before those without it go.")] = 16,
    variant: Annotated[Variant, typer.Option(help="How lists are made; as-released has the code's faults.")] = (
        Variant.described
    ),
    question: Annotated[PromptKind, typer.Option("--question", help="The prompt trained on.")] = PromptKind.test,
    most_lists: Annotated[int, typer.Option(min=1, help="More lists are thinned at random.")] = 30_000,
    epochs: Annotated[int, typer.Option(min=1)] = 1,
    learning_rate: Annotated[float, typer.Option(help="The paper's, for 7B; tiny models want 1e-3 or more.")] = 1e-5,
    batch_size: Annotated[int, typer.Option(min=1, help="Lists a step.")] = 16,
    micro_batch: Annotated[int, typer.Option(min=1, help="Lists in memory at once.")] = 16,
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA updates.")] = 8,
    alpha: Annotated[float | None, typer.Option(help="Of the LoRA updates; default the rank.")] = None,
    dropout: Annotated[float, typer.Option(min=0, max=0.9)] = 0.0,
    targets: Annotated[str | None, typer.Option(help="Regular expression of the layers to tune.")] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, about a third more time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Counts and estimate only; nothing is kept.")] = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """Tune a local MLLM to rank what the memory retrieves (RAR, section 3.3).

    Makes lists of look-alike classes from labelled images and teaches the model to put the true one first. The result
    is a LoRA adapter: use it as local:RUN/adapter wherever a model is asked for.
    """
    from dataclasses import replace

    from fgvr.methods.rar.ranking_data import AS_DESCRIBED, AS_RELEASED
    from fgvr.methods.rar.ranking_fit import RankerSettings, fit_ranker
    from fgvr.training import LANGUAGE_LINEAR, Lora, TrainSettings

    data = AS_RELEASED if variant == Variant.released else AS_DESCRIBED
    settings = RankerSettings(
        data=replace(data, k=k, neighbours=neighbours, sets=sets),
        most_lists=most_lists,
        prompt=str(question),
        lora=Lora(rank, rank if alpha is None else alpha, dropout, targets or LANGUAGE_LINEAR),
        training=TrainSettings(
            learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            micro_batch=micro_batch,
            gradient_checkpointing=gradient_checkpointing,
        ),
    )
    quieten()
    if force and not dry_run and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        summary = fit_ranker(
            images,
            mllm=mllm,
            encoder=load_dual_encoder(encoder, device=device),
            out=out_folder,
            settings=settings,
            seed=seed,
            device=device,
            store=None if cache is None else cache / "features",
            dry_run=dry_run,
            progress=progress,
            before_training=_tell,
        )
    _finish(summary, settings, json_wanted=json_wanted)


def _tell(data: RankerData, ahead: Preflight) -> None:
    """What is about to be done, before the time is spent."""
    seconds = "unknown" if ahead.seconds is None else clock(ahead.seconds)
    note(
        f"{count(len(data.rows))} lists of {data.queries_used} images, {count(ahead.steps)} steps, about {seconds}, "
        f"{ahead.bytes / 2**30:.1f} GiB"
    )


def _finish(summary: dict[str, Any], settings: RankerSettings, *, json_wanted: bool) -> None:
    from fgvr.types import SetAside

    aside = [SetAside(**one) for one in (*summary["set_aside"], *summary.get("left_out", []))]
    show_set_aside(aside)
    if json_wanted:
        out_json({**summary, "set_aside": dict(Counter(one.reason for one in aside))})
        return
    note(_shown(summary, settings))
    if not summary.get("dry_run"):
        out(summary["adapter"])


def _shown(summary: dict[str, Any], settings: RankerSettings) -> str:
    seconds = summary["estimated_seconds"]
    rows = [
        ("memory", f"{count(summary['memory'])} images of {summary['classes']} classes"),
        ("queries", f"{count(summary['queries'])} images, {count(summary['queries_used'])} with a list"),
        ("lists", f"{count(summary['rows'])} of {count(summary['lists'])}, {settings.data.k} names at most"),
        ("steps", f"{count(summary['steps'])} of {settings.training.batch_size} lists"),
        ("trained", f"{count(summary['trainable'])} of {count(summary['parameters'])} numbers"),
        ("memory ahead", f"{summary['memory_bytes'] / 2**30:.2f} GiB, roughly"),
        ("time ahead", "unknown" if seconds is None else clock(seconds)),
    ]
    if not summary.get("dry_run"):
        rows[-2:] = [
            ("loss", f"{summary['loss']:.3f} per answer token at the end"),
            ("next", f"--mllm local:{printable(summary['adapter'])}"),
        ]
    return pairs(rows)
