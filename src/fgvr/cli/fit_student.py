"""``fgvr fit student``: a classifier learned from names of a few photographs and the sight of all of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, printable
from fgvr.cli.fit_shared import LEDGER, explain_cap, finish, finished
from fgvr.cli.fit_student_shown import summary_of, words_of
from fgvr.cli.inputs import (
    cost_ahead,
    first_items,
    load_dual_encoder,
    load_model,
    load_sentences,
    prompt_options,
    stand_ins,
    start_afresh,
)
from fgvr.cli.label import show_estimate
from fgvr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fgvr.data import Items
    from fgvr.methods.student import Student, StudentSettings
    from fgvr.mllm import Estimate
    from fgvr.mllm.base import Mllm

COMMAND = "fit student"


def student(
    images: o.Images,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    encoder: o.EncoderName,
    mllm: o.MllmName,
    prompt: o.Prompt = "paper",
    labels: Annotated[int, typer.Option("--labels", min=1, help="Calls to the MLLM in all, at most.")] = 600,
    share: Annotated[
        float | None, typer.Option("--share", min=0, max=1, help="The same as a share of the images.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Replies drawn in each call; default 16 where they cost nothing, else 1."),
    ] = None,
    choose: Annotated[
        o.Choose,
        typer.Option(help="Drawn; one of each cluster; half so, then the least certain; or those that cover best."),
    ] = o.Choose.spread,
    split: o.Split = None,
    views: Annotated[int, typer.Option(min=0, help="Crops averaged with each image, now and when predicting.")] = 4,
    second_opinion: Annotated[
        float, typer.Option("--second-opinion", min=0, max=0.5, help="Share of the calls kept back to ask again.")
    ] = 0.0,
    second_mllm: Annotated[
        str | None, typer.Option("--second-mllm", help="Who is asked again; default the same, in other words.")
    ] = None,
    heads: Annotated[
        str | None, typer.Option(help="Of zero-shot, prototypes, em, gaussian, residual, cache, prompt; with commas.")
    ] = None,
    rule: Annotated[
        o.HeadRule, typer.Option(help="Weigh the heads by held-out replies, take one, or all.")
    ] = o.HeadRule.mix,
    merge: Annotated[bool, typer.Option("--merge/--no-merge", help="Merge names by spelling and by images.")] = True,
    drop: Annotated[bool, typer.Option("--drop/--no-drop", help="Drop names that no image supports.")] = True,
    evidence: Annotated[
        bool, typer.Option("--evidence/--no-evidence", help="Weigh each reply by its neighbours.")
    ] = False,
    propagation: Annotated[
        bool, typer.Option("--propagation/--no-propagation", help="Spread names over images not asked about.")
    ] = True,
    self_training: Annotated[
        bool, typer.Option("--self-training/--no-self-training", help="Learn from the student's own names, guarded.")
    ] = True,
    unknown: Annotated[
        bool, typer.Option("--unknown/--no-unknown", help="Look for groups that no name covers.")
    ] = True,
    names: Annotated[
        Path | None, typer.Option("--names", help="Names of yours: the filled-in table of groups (CSV) of the report.")
    ] = None,
    limit: o.Limit = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    force: o.Force = False,
    cache: o.Cache = None,
    sentence_encoder: o.SentenceEncoderName = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """Student: a classifier that may pass the MLLM it learns from.

    Asks about a part of the images and learns from all of them. True labels are never looked at.

    Given again, the same command asks nothing twice: it goes on, or says that all is done. With --names it learns
    again, with your names for groups that nobody has named.
    """
    from fgvr.data import load_items
    from fgvr.methods.student import Student
    from fgvr.mllm import load_prices

    settings = student_settings(
        heads=heads,
        rule=str(rule),
        merge=merge,
        drop=drop,
        evidence=evidence,
        propagation=propagation,
        self_training=self_training,
        unknown=unknown,
        second_opinion=second_opinion,
    )
    given = {} if names is None else filled_in(names)
    found = first_items(load_items(images, split=split), limit)
    teacher = load_model(mllm, device=device)
    other = None if second_mllm is None else load_model(second_mllm, device=device)
    replies = None if cache is None else cache / "replies.sqlite"
    asking: dict[str, Any] = {
        "concurrency": concurrency,
        "prices": load_prices(prices) if prices else None,
        "retry_failed": retry_failed,
    }
    question = prompt_options(prompt)
    if share is not None and not share:
        raise InputError("a share of 0 asks nothing", remedy="Give more than 0, or --labels.")
    if dry_run:
        sizes = {"labels": labels, "share": share, "second": second_opinion}
        ahead = calls_ahead(
            found,
            teacher,
            other,
            sizes=sizes,
            samples=samples,
            seed=seed,
            run=out_folder,
            cache=replies,
            prompt=question,
            **asking,
        )
        show_estimate(ahead, json_wanted=json_wanted)
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        estimator = Student(
            load_dual_encoder(encoder, device=device, dtype=dtype),
            teacher,
            settings=settings,
            samples=samples,
            labels=labels,
            share=share,
            choose=choose.value,
            views=views,
            second=other,
            sentence_encoder=None if sentence_encoder is None else load_sentences(sentence_encoder),
            out=out_folder,
            store=None if cache is None else cache / "features",
            cache=replies,
            budget=budget,
            allow_unpriced=allow_unpriced,
            seed=seed,
            progress=progress,
            **question,
            **asking,
        )
        summary = run_fit(estimator, found, source=images, dtype=dtype, names=given)
    finish(summary, words_of(summary), json_wanted=json_wanted)


def student_settings(
    *,
    heads: str | None,
    rule: str,
    merge: bool,
    drop: bool,
    evidence: bool,
    propagation: bool,
    self_training: bool,
    unknown: bool,
    second_opinion: float,
) -> StudentSettings:
    """The options as the library's settings. Raises ``InputError`` for a head that does not exist."""
    from fgvr.methods.student import EvidenceSettings, StudentSettings

    base = StudentSettings()
    return replace(
        base,
        label_space=replace(base.label_space, merge=merge, merge_by_images=merge, drop=drop),
        evidence=EvidenceSettings() if evidence else EvidenceSettings.off(),
        propagation=replace(base.propagation, on=propagation),
        self_training=base.self_training if self_training else replace(base.self_training, rounds=0),
        heads=replace(base.heads, rule=rule, heads=_heads(heads) or base.heads.heads),  # type: ignore[arg-type]
        second_opinion=replace(base.second_opinion, share=second_opinion),
        unknown=replace(base.unknown, on=unknown),
    )


def _heads(given: str | None) -> tuple[str, ...]:
    from fgvr.methods.student.settings import HEADS

    names = tuple(dict.fromkeys(name.strip() for name in (given or "").split(",") if name.strip()))
    if wrong := [name for name in names if name not in HEADS]:
        raise InputError(f"no head is called {wrong[0]!r}", remedy=f"The heads are: {', '.join(HEADS)}.")
    return names


def calls_ahead(
    found: Items,
    teacher: Mllm,
    other: Mllm | None,
    *,
    sizes: dict[str, Any],
    samples: int | None,
    seed: int,
    run: Path,
    cache: Path | None,
    prompt: dict[str, Any],
    **asking: Any,
) -> tuple[Estimate, int]:
    """What both stages of questions would still take, and how many answers are known already. Asks nothing.

    Which images will be asked about again is not known yet: as many stand in for them.
    """
    from fgvr.methods.student.asking import Teachers, allowance, draws, settled_second
    from fgvr.runs import Ledger

    size, kept = allowance(len(found.items), **sizes)
    looking: dict[str, Any] = {"cache": cache, **asking}
    asked = stand_ins(found, size=size, seed=seed, run=run)
    question = {**prompt, "samples": draws(samples, teacher, prompt["prompt"])}
    first, known = cost_ahead(asked.items, teacher, ledger=run / f"{LEDGER}.jsonl", prompt=question, **looking)
    if not kept:
        return first, known
    rows = settled_second(Ledger(run / "choice.jsonl"), [item.id for item in found.items])
    again = asked.items[:kept] if rows is None else [found.items[row] for row in rows]
    question = Teachers(teacher, other, **prompt).second_question(None)
    question["samples"] = draws(samples, other or teacher, question["prompt"])
    second, more = cost_ahead(again, other or teacher, ledger=run / "second.jsonl", prompt=question, **looking)
    return _sum(first, second), known + more


def _sum(one: Estimate, other: Estimate) -> Estimate:
    from fgvr.mllm import Estimate

    both = [(value, asdict(other)[key]) for key, value in asdict(one).items()]
    return Estimate(*(None if a is None or b is None else a + b for a, b in both))  # type: ignore[arg-type]


def filled_in(table: Path) -> dict[str, str]:
    """The names of a table, by item. Raises ``InputError`` where it has none."""
    from fgvr.methods.student.given_names import read_names

    if not (given := read_names(table)):
        remedy = "Write a name beside at least one image of a group."
        raise InputError("the table has no names yet", remedy=remedy, file=str(table))
    return given


def run_fit(
    estimator: Student, found: Items, *, source: str, dtype: str, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Fit, or find the finished fit; write what the other verbs need; returns the summary (JSON-like)."""
    from fgvr.methods.student.given_names import names_in
    from fgvr.methods.student.record import fit_digest
    from fgvr.runs import write_json
    from fgvr.types import Usage

    assert estimator.out is not None
    new = names is not None and not names.items() <= names_in(estimator.out).items()
    if not new and (known := finished(estimator, found, command=COMMAND, digest=fit_digest)) is not None:
        return {**known, "reused": known["answered"], "usage": asdict(Usage()), "was_finished": True}
    try:
        estimator.fit(found, names=names)
    except InputError as error:
        explain_cap(estimator, error)
        raise
    summary = summary_of(estimator, source=source, dtype=dtype)
    write_json(estimator.out / "summary.json", summary)
    return summary
