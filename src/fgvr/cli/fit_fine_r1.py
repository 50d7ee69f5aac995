"""``fgvr fit fine-r1``: a local MLLM learns to reason about look-alike classes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, printable
from fgvr.cli.describe import json_or
from fgvr.cli.fit_fine_r1_input import names_of, objective_of
from fgvr.cli.fit_fine_r1_shown import LiveTable, finish, tell
from fgvr.cli.inputs import load_dual_encoder, load_model, quieten, start_afresh

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.settings import FineR1Settings, Teaching


class Stages(StrEnum):
    """What is trained."""

    both = "both"
    sft = "sft"
    reinforce = "reinforce"


class StyleKind(StrEnum):
    """Wording of the prompts."""

    paper = "paper"
    short = "short"


class ThinkingKind(StrEnum):
    """How much reasoning is learned."""

    full = "full"
    short = "short"
    none = "none"


class How(StrEnum):
    """How the teacher works."""

    written = "written"
    composed = "composed"


class FrozenKind(StrEnum):
    """What stays as it is."""

    both = "vision+connector"
    vision = "vision"
    nothing = "nothing"


class Objective(StrEnum):
    """Of the reinforcement."""

    tapo = "tapo"
    dapo = "dapo"
    grpo = "grpo"


class VariantKind(StrEnum):
    """Of TAPO."""

    corrected = "corrected"
    official_code = "official_code"
    paper = "paper"


class ConditioningKind(StrEnum):
    """Under which picture a reply is learned."""

    own = "own"
    anchor = "anchor"
    anchor_is = "anchor_is"


class RuleKind(StrEnum):
    """Of the accuracy reward."""

    strict = "strict"
    official = "official"


class EngineKind(StrEnum):
    """What writes the replies."""

    transformers = "transformers"
    vllm = "vllm"


class SimilarityKind(StrEnum):
    """How negatives are found."""

    images = "image-image"
    names = "image-text"


class NegativeKind(StrEnum):
    """Which pictures are negatives."""

    hard = "hard"
    random = "random"


def fine_r1(
    images: o.Images,
    mllm: Annotated[
        str, typer.Option("--model", "--mllm", help="The model to tune: fieldguide, or local:FOLDER_OR_HUB_ID.")
    ],
    encoder: o.EncoderName,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    shots: Annotated[int, typer.Option(min=1, help="Pictures a seen class to reinforce with.")] = 4,
    sft_shots: Annotated[int, typer.Option(min=1, help="Pictures a seen class to reason about.")] = 1,
    unseen_share: Annotated[float, typer.Option(min=0, max=0.9, help="Of the classes, kept from all training.")] = 0.4,
    unseen: Annotated[Path | None, typer.Option(help="File of class names to be kept out instead, one a line.")] = None,
    test: Annotated[
        str | None, typer.Option("--test", help="Labelled images to examine on; default what training leaves over.")
    ] = None,
    tests: Annotated[int, typer.Option("--tests-per-class", min=0, help="Examined pictures a class.")] = 5,
    super_category: Annotated[
        str | None, typer.Option(help="bird, or a JSON file of class name to super-category.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Who writes the rationales: as --mllm elsewhere; default the model.")
    ] = None,
    rationales: Annotated[Path | None, typer.Option(help="ShareGPT JSON of rationales; nobody is then asked.")] = None,
    how: Annotated[How, typer.Option(help="written by one prompt, or composed of short answers.")] = How.written,
    stages: Annotated[Stages, typer.Option(help="Both, or one alone.")] = Stages.both,
    thinking: Annotated[ThinkingKind, typer.Option(help="Reasoning before the answer.")] = ThinkingKind.full,
    style: Annotated[StyleKind, typer.Option(help="Wording of prompts: the paper's, or few words.")] = StyleKind.paper,
    full: Annotated[bool, typer.Option("--full", help="Train the weights themselves instead of LoRA.")] = False,
    frozen: Annotated[FrozenKind, typer.Option(help="What is never trained.")] = FrozenKind.both,
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA updates.")] = 16,
    alpha: Annotated[float, typer.Option(help="Of the LoRA updates.")] = 32.0,
    sft_rate: Annotated[float | None, typer.Option(help="Default 5e-5, with --full the paper's 5e-6.")] = None,
    sft_epochs: Annotated[int, typer.Option(min=1)] = 10,
    sft_batch: Annotated[int, typer.Option(min=1)] = 64,
    rate: Annotated[float | None, typer.Option(help="Of TAPO; default 1e-5, with --full the paper's 1e-6.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of TAPO.")] = 10,
    objective: Annotated[Objective, typer.Option(help="tapo, or what it builds on.")] = Objective.tapo,
    variant: Annotated[VariantKind, typer.Option(help="Of TAPO: mended, as released, or as printed.")] = (
        VariantKind.corrected
    ),
    conditioning: Annotated[
        ConditioningKind | None, typer.Option(help="Picture a reply is learned under; default the variant's.")
    ] = None,
    no_intra: Annotated[bool, typer.Option("--no-intra", help="No replies to the positive.")] = False,
    no_inter: Annotated[bool, typer.Option("--no-inter", help="No term of the negative, no entropy terms.")] = False,
    kl_coef: Annotated[float, typer.Option(min=0, help="Weight of the inter-class term (gamma).")] = 0.01,
    kl_ref: Annotated[float, typer.Option(min=0, help="Weight of the distance to the model before TAPO.")] = 0.0,
    replies: Annotated[int, typer.Option(min=2, help="Replies a triplet, to anchor and positive together.")] = 10,
    pos_ratio: Annotated[float, typer.Option(min=0, max=1, help="Share of them that go to the positive.")] = 0.5,
    rollout_batch: Annotated[int, typer.Option(min=1, help="Prompts of a step.")] = 384,
    mini_rollout: Annotated[int, typer.Option(min=1, help="Prompts asked at once.")] = 128,
    update_batch: Annotated[int, typer.Option(min=1, help="Prompts of one update.")] = 128,
    tries: Annotated[int, typer.Option(min=1, help="Mini rollouts for one step at most.")] = 20,
    reward: Annotated[RuleKind, typer.Option(help="strict, or the released substring rule.")] = RuleKind.strict,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a reply.")] = 2048,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of the replies.")] = 1.0,
    generate_batch: Annotated[int, typer.Option(min=1, help="Replies written side by side.")] = 64,
    micro_batch: Annotated[int, typer.Option(min=1, help="Replies learned from at once; the result is the same.")] = 4,
    engine: Annotated[
        EngineKind, typer.Option(help="That writes replies; vllm for LoRA in one process (fgvr[rl-vllm]).")
    ] = EngineKind.transformers,
    similarity: Annotated[SimilarityKind, typer.Option(help="That finds negatives.")] = SimilarityKind.images,
    negatives: Annotated[NegativeKind, typer.Option(help="hard, or random.")] = NegativeKind.hard,
    rotations: Annotated[bool, typer.Option(help="Examine every order of the options.")] = True,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, about a third more time.")
    ] = False,
    allow_memory: Annotated[bool, typer.Option("--allow-memory", help="Train although memory may not do.")] = False,
    checkpoint_every: Annotated[int, typer.Option(min=0, help="Steps of TAPO between checkpoints.")] = 5,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    concurrency: o.Concurrency = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Counts and estimate only; nothing is kept.")] = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """Teach a local MLLM to reason about look-alike classes, and reinforce what proves right (Fine-R1).

    Divides the classes into seen and unseen, has a teacher write rationales, tunes on them, mines triplets, runs TAPO
    and examines before and after. Use the result as local:RUN/adapter (with --full: local:RUN/model).
    """
    from fgvr.data import load_items
    from fgvr.methods.fine_r1.dynamic import DynamicSampling
    from fgvr.methods.fine_r1.pipeline import Dividing, FineR1Settings, fit_fine_r1
    from fgvr.methods.fine_r1.policy_settings import PolicySettings
    from fgvr.methods.fine_r1.reasoning import ReasoningSettings
    from fgvr.methods.fine_r1.settings import RATES, sft_settings, trained_weights
    from fgvr.training.rollout import Sampling

    rates = RATES["full" if full else "lora"]
    memory: dict[str, Any] = {"micro_batch": micro_batch, "gradient_checkpointing": gradient_checkpointing}
    positives = round(pos_ratio * replies)
    settings = FineR1Settings(
        stages=stages.value,
        style=style.value,
        thinking=thinking.value,
        weights=trained_weights(full=full, frozen=frozen.value, rank=rank, alpha=alpha),
        reasoning=ReasoningSettings(length="short" if style == StyleKind.short else "full"),
        sft=sft_settings(learning_rate=sft_rate or rates["sft"], epochs=sft_epochs, batch_size=sft_batch, **memory),
        policy=PolicySettings(
            learning_rate=rate or rates["reinforce"],
            epochs=epochs,
            rollout_batch=rollout_batch,
            mini_rollout=mini_rollout,
            update_batch=update_batch,
            anchors=replies - positives,
            positives=positives,
            sampling=Sampling(temperature, max_tokens=max_tokens, batch=generate_batch),
            objective=objective_of(
                objective.value,
                variant=variant.value,
                conditioning=conditioning.value if conditioning else None,
                intra=not no_intra,
                inter=not no_inter,
                kl_coef=kl_coef,
                kl_ref=kl_ref,
            ),
            rule=reward.value,
            dynamic=DynamicSampling(tries=tries),
            checkpoint_every=checkpoint_every,
            **memory,
        ),
    )
    quieten()
    if force and not dry_run and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        summary = fit_fine_r1(
            load_items(images),
            mllm=mllm,
            encoder=load_dual_encoder(encoder, device=device),
            out=out_folder,
            teaching=_teaching(
                settings,
                rationales,
                teacher or mllm,
                how,
                cache,
                device,
                asking=None if dry_run else (budget, allow_unpriced, concurrency),
            ),
            dividing=Dividing(shots, unseen_share, names_of(unseen), sft_shots, tests),
            settings=settings,
            triplets={"similarity": similarity.value, "negatives": negatives.value},
            test=test,
            super_category=json_or(super_category, lambda text: text),
            rotations=rotations,
            seed=seed,
            device=device,
            store=None if cache is None else cache / "features",
            allow_memory=allow_memory,
            engine=engine.value,
            dry_run=dry_run,
            progress=progress,
            live=progress.live,
            live_policy=LiveTable(progress),
            before_training=tell,
        )
    finish(summary, json_wanted=json_wanted)


def _teaching(
    settings: FineR1Settings,
    file: Path | None,
    teacher: str,
    how: How,
    cache: Path | None,
    device: str,
    *,
    asking: tuple[float | None, bool, int] | None,
) -> Teaching:
    """Where rationales come from; no model is loaded where none is needed. ``asking``: budget, whether a model without
    a price may be asked, concurrency; ``None``: nobody is asked."""
    from fgvr.methods.fine_r1.settings import Teaching
    from fgvr.mllm import Budget, ResponseCache

    if file is not None or asking is None or settings.stages == "reinforce" or not settings.thinks:
        return Teaching(file=file, how=how.value)
    options = {
        "budget": None if asking[0] is None else Budget(asking[0]),
        "allow_unpriced": asking[1],
        "concurrency": asking[2],
        "cache": None if cache is None else ResponseCache(cache / "replies.sqlite"),
    }
    sees = teacher != "fieldguide-text"
    return Teaching(teacher=load_model(teacher, device=device), how=how.value, sees=sees, options=options)
