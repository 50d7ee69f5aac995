"""The examinations of a run, and what a run will take: questions about its test pictures, with options and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError
from fgvr.methods.fine_r1.ahead import GUESSED_LENGTH, Ahead, ahead
from fgvr.methods.fine_r1.contrastive import contrastive_rows
from fgvr.methods.fine_r1.evaluation import examine
from fgvr.methods.fine_r1.rationales import Rationale, sft_rows
from fgvr.methods.fine_r1.record import Parts
from fgvr.methods.fine_r1.similarity import DualTexts
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.multiple_choice.distractors import FOCI_TEMPLATE, encoder_source, nearest_names
from fgvr.multiple_choice.questions import make_questions
from fgvr.training.settings import steps_in_all

if TYPE_CHECKING:
    from fgvr.data.benchmarks.questions import Question
    from fgvr.methods.fine_r1.run import Job
    from fgvr.mllm.base import Mllm
    from fgvr.mllm.local import LocalMllm
    from fgvr.runs import RunFolder
    from fgvr.training import Preflight
    from fgvr.types import ImageItem

NO_TAGS = (
    "Not one reply of the model has the tags yet, and only replies with tags are rewarded: fine-tune it on rationales "
    "first (stages both)."
)


def questions_of(job: Job, parts: Parts) -> tuple[tuple[ImageItem, ...], tuple[Question, ...]]:
    """Test pictures and a question with four options about each, the wrong ones what the encoder takes it for."""
    from fgvr.encoders.store import FeatureStore

    table = FeatureStore(job.store).features(list(parts.division.test), job.encoder)
    truths = {item.id: str(item.label) for item in table.items}
    names = sorted({*parts.division.seen, *parts.division.unseen})
    texts = job.encoder.encode_texts([FOCI_TEMPLATE.format(name) for name in names])
    wrong = nearest_names(truths, names, image_features=table.features, text_features=texts)
    return tuple(table.items), make_questions(table.items, wrong, seed=job.seed).questions


def examined(job: Job, run: RunFolder, parts: Parts, when: str, mllm: Mllm, *, free: bool) -> dict[str, Any]:
    """Figures of one model, JSON-like; with those of the dual encoder beside the first."""
    items, questions = questions_of(job, parts)
    settings, seen = job.settings, parts.division.seen
    about: dict[str, Any] = {"closed": questions, "open_items": items, "seen": seen if parts.division.unseen else None}
    source = encoder_source(job.encoder)
    found = examine(
        mllm,
        **about,
        super_category=parts.kinds_by_id(items) or None,
        style=settings.style,
        thinking=settings.thinks,
        rotations=job.rotations,
        free=free,
        max_tokens=settings.policy.sampling.max_tokens,
        sentences=DualTexts(job.encoder),
        seed=job.seed,
        source=source,
        ledgers=lambda part: run.ledger(f"examined-{when}-{part}"),
        progress=job.told(f"examine {when}"),
    ).as_dict()
    if free:
        rows = contrastive_rows([job.encoder], **about, names=(*seen, *parts.division.unseen), store=job.store)
        found["contrastive"] = [one.as_dict() for one in rows]
    return found


def what_is_ahead(
    job: Job,
    parts: Parts,
    rationales: Sequence[Rationale] | None,
    triplets: Sequence[Triplet],
    *,
    processes: int = 1,
) -> dict[str, Any]:
    """Counts and estimates, JSON-like: steps, and time and memory by a probe of the run's own model.

    ``rationales=None``: not written yet; then nobody knows how long the SFT takes. Raises ``InputError`` where memory
    will not do and is not allowed.
    """
    settings, one = job.settings, parts.division
    rows = len(one.sft) if rationales is None else len(rationales)
    notes = list(one.notes)
    sft, reinforced = _measured(job, rationales, triplets, notes, processes=processes)
    return {
        "seen": len(one.seen),
        "unseen": len(one.unseen),
        "pictures": {"sft": len(one.sft), "reinforce": len(one.rl), "test": len(one.test)},
        "rationales": None if rationales is None else rows,
        "sft_steps": 0 if settings.stages == "reinforce" else steps_in_all(rows, settings.sft),
        "sft_seconds": None if sft is None or sft.seconds is None else sft.seconds / processes,
        "sft_bytes": None if sft is None else sft.bytes,
        "reinforce": None if reinforced is None else reinforced.as_dict(),
        "examined": 0 if not one.test else len(one.test) * (3 if settings.stages == "both" else 2),
        "problems": [*(() if sft is None else sft.problems), *_problems(reinforced)],
        "notes": notes,
        "set_aside": [asdict(each) for each in one.set_aside],
    }


def _measured(
    job: Job,
    rationales: Sequence[Rationale] | None,
    triplets: Sequence[Triplet],
    notes: list[str],
    *,
    processes: int,
) -> tuple[Preflight | None, Ahead | None]:
    """Of the SFT and of TAPO, each ``None`` where it is not wanted or not known; adds to ``notes`` what is odd."""
    from fgvr.methods.fine_r1.probing import probed
    from fgvr.training import Collator, check, preflight, prepare_model

    settings, policy, sft, reinforced = job.settings, job.settings.reinforced(), None, None
    mllm = job.load(job.spec)
    model = prepare_model(mllm, settings.weights, seed=job.seed)
    length = None
    if rationales is not None and settings.stages != "reinforce":
        rows = sft_rows(rationales, style=settings.style, thinking=settings.thinking, seed=job.seed)
        sft = preflight(model, rows, Collator(mllm), settings=settings.sft, seed=job.seed, timed_steps=1)
        check(sft, allow_memory=job.allow_memory)
        length = sum(_tokens(mllm, row.answer) for row in rows) / len(rows)
    if triplets:
        found = probed(mllm, model, triplets, policy, seed=job.seed)
        own = found.probe is not None and found.ended and settings.stages == "reinforce"
        known = length if length is not None else None if own else min(GUESSED_LENGTH, policy.sampling.max_tokens)
        made = ahead(len(triplets), policy, length=known, probe=found.probe, memory=found.memory, processes=processes)
        reinforced = replace(made, measured=own or length is not None)
        if _problems(reinforced) and not job.allow_memory:
            remedy = "Use a smaller --micro-batch, --generate-batch or --max-tokens, or allow it."
            raise InputError(f"the reinforcement does not fit: {'; '.join(_problems(reinforced))}", remedy=remedy)
        if settings.stages == "reinforce" and found.probe is not None and not found.format:
            notes.append(NO_TAGS)
        if length is not None and length > policy.sampling.max_tokens:
            notes.append(
                f"Rationales have {length:.0f} tokens on average, but replies are cut off after "
                f"{policy.sampling.max_tokens}: most will never reach their answer. Allow more (max_tokens)."
            )
    return sft, reinforced


def _problems(found: Ahead | None) -> tuple[str, ...]:
    return () if found is None or found.memory is None else found.memory.problems


def _tokens(mllm: LocalMllm, answer: str) -> int:
    """Of an answer, with the one that ends it."""
    return len(mllm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]) + 1
