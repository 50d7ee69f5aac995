"""``fgvr examine``: what a model knows of seen and unseen classes, with options and without (Fine-R1's evaluation)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import note, out_json, printable, show_set_aside
from fgvr.cli.describe import json_or
from fgvr.cli.examine_input import BOTH, load_texts, material, seen_names
from fgvr.cli.examine_run import ahead, run
from fgvr.cli.examine_shown import show
from fgvr.cli.inputs import load_dual_encoder, load_model, start_afresh
from fgvr.cli.label import show_estimate
from fgvr.cli.multiple_choice import Wrong
from fgvr.cli.multiple_choice_input import WrongOptions


class World(StrEnum):
    """With options, without, or both."""

    closed = "closed"
    open = "open"
    both = BOTH


class StyleKind(StrEnum):
    """How questions are worded."""

    paper = "paper"
    short = "short"


class UnitKind(StrEnum):
    """What the bootstrap draws."""

    items = "items"
    classes = "classes"


def examine(
    sources: Annotated[
        list[str],
        typer.Argument(help="Labelled pictures, or question files: bird_seen.jsonl bird_unseen.jsonl."),
    ],
    out_folder: o.Out,
    mllm: o.MllmName,
    pictures: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures of question files.")] = None,
    seen: Annotated[Path | None, typer.Option("--seen", help="File of the class names trained on, one a line.")] = None,
    unseen: Annotated[Path | None, typer.Option("--unseen", help="Or of those that were not.")] = None,
    world: Annotated[World, typer.Option(help="With options, without, or both.")] = World.both,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Whose nearest names are the wrong options; fairer if not compared itself."),
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="Dual encoder to set beside the model; several times.")
    ] = None,
    distractors: Annotated[
        Wrong | None, typer.Option(help="Default: nearest with --encoder, siblings with --taxonomy, else random.")
    ] = None,
    taxonomy: Annotated[
        str | None, typer.Option("--taxonomy", help="CSV or JSON of name to group (and wider), or fieldguide.")
    ] = None,
    super_category: Annotated[
        str | None, typer.Option("--super-category", help="bird, or a JSON file of class name to super-category.")
    ] = None,
    sentences: Annotated[
        str | None,
        typer.Option("--sentences", help="For relative similarity: minilm, a folder or Hub id, text:DUAL_ENCODER."),
    ] = None,
    style: Annotated[StyleKind, typer.Option(help="Wording: the paper's, or few words.")] = StyleKind.paper,
    thinking: Annotated[bool, typer.Option(help="Ask for thinking before the answer.")] = True,
    free: Annotated[bool, typer.Option("--free", help="For a model never taught tags: its plain question.")] = False,
    rotations: Annotated[bool, typer.Option(help="Ask with every option at every place.")] = True,
    official: Annotated[bool, typer.Option(help="Ask in the released order too, the truth first.")] = True,
    blank: Annotated[bool, typer.Option("--blank", help="Ask about a plain grey picture too.")] = False,
    text_only: Annotated[bool, typer.Option("--text-only", help="Ask without any picture too.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of one reply.")] = 2048,
    unit: Annotated[UnitKind, typer.Option(help="What intervals are over.")] = UnitKind.items,
    options_each: Annotated[int, typer.Option("--options", min=2, max=26, help="Options of a question made here.")] = 4,
    split: o.Split = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures a source, drawn by the seed.")] = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """Closed- and open-world accuracy on classes a model was trained on and on others (Fine-R1, section 4).

    Strict figures stand beside those of the released rules. Writes RUN/result.json, replies.jsonl, lengths.csv and
    table.md.
    """
    from fgvr.methods.fine_r1.exam import Wording
    from fgvr.mllm import load_prices
    from fgvr.multiple_choice.taxonomy import read_taxonomy

    model = load_model(mllm, device=device)
    beside = [load_dual_encoder(name, device=device) for name in baseline or ()]
    wrong = WrongOptions(
        None if distractors is None else str(distractors),
        None if encoder is None else load_dual_encoder(encoder, device=device),
        tuple(one.fingerprint for one in beside),
        None if taxonomy is None else read_taxonomy(taxonomy),
        options_each - 1,
        None if cache is None else cache / "features",
    )
    about = material(
        sources,
        world=str(world),
        pictures=pictures,
        wrong=wrong,
        super_category=json_or(super_category, lambda text: text),
        split=split,
        limit=limit,
        seed=seed,
    )
    wording = Wording(
        style=style.value,
        thinking=thinking,
        rotations=rotations,
        official=official,
        text_only=text_only,
        free=free,
        max_tokens=max_tokens,
        seed=seed,
    )
    asking: dict[str, Any] = {
        "concurrency": concurrency,
        "prices": load_prices(prices) if prices else None,
        "retry_failed": retry_failed,
    }
    replies = None if cache is None else cache / "replies.sqlite"
    if dry_run:
        show_estimate(ahead(about, model, wording, out_folder, replies, asking, blank=blank), json_wanted=json_wanted)
        return
    if force and (moved := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(moved)}")
    asking["allow_unpriced"] = allow_unpriced
    rows, summary = run(
        about,
        model,
        wording,
        out_folder,
        seen=seen_names(seen, unseen, about.names),
        texts=load_texts(sentences, device=device),
        beside=beside,
        store=wrong.store,
        unit=str(unit),
        blank=blank,
        budget=budget,
        replies=replies,
        asking=asking,
    )
    show_set_aside((*about.set_aside, *rows[0].set_aside))
    if json_wanted:
        out_json(summary)
    else:
        show(rows, summary)
    if summary["stopped"] == "budget":
        raise typer.Exit(3)
    if not rows[0].replied:
        raise typer.Exit(1)
