"""The data of a run: its pictures divided, its rationales written, its triplets mined."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fgvr.errors import InputError
from fgvr.methods.fine_r1.rationales import Rationale, read_sharegpt
from fgvr.methods.fine_r1.record import Parts, counted, matched, unexplained
from fgvr.methods.fine_r1.shots import Division, divide
from fgvr.methods.fine_r1.triplets import Mined, mine_triplets
from fgvr.runs import write_json

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.run import Job
    from fgvr.runs import RunFolder

log = logging.getLogger(__name__)
REASONING = "reasoning.json"


def divided(job: Job) -> Parts:
    """Which pictures are for what; those that cannot be read are set aside before."""
    from fgvr.encoders.store import FeatureStore

    store = FeatureStore(job.store)
    table = store.features(list(job.items.items), job.encoder, progress=job.told("encode"))
    apart = None if job.test is None else store.features(list(job.test.items), job.encoder)
    asked = job.dividing
    division = divide(
        table.items,
        unseen_share=asked.unseen_share,
        unseen=asked.unseen,
        shots=asked.shots,
        sft_per_class=asked.sft_per_class if job.settings.stages != "reinforce" else 0,
        tests_per_class=asked.tests_per_class,
        test=None if apart is None else apart.items,
        super_category=job.super_category,
        seed=job.seed,
    )
    aside = (*job.items.set_aside, *table.set_aside, *(() if apart is None else apart.set_aside))
    whole = replace(division, set_aside=(*aside, *division.set_aside))
    for note in whole.notes:
        log.warning("%s", note)
    return Parts(whole, _kinds(whole, job.super_category))


def _kinds(division: Division, given: str | Mapping[str, str] | None) -> dict[str, str]:
    """Class name to super-category, where it is known."""
    names = (*division.seen, *division.unseen)
    if isinstance(given, str):
        return dict.fromkeys(names, given)
    return {name: given[name] for name in names if name in given} if given else {}


def given(job: Job, parts: Parts) -> tuple[Rationale, ...] | None:
    """Rationales for which nobody is asked; ``None`` where a teacher is."""
    if job.settings.thinking == "none" or job.settings.stages == "reinforce":
        return unexplained(parts.division.sft, parts.kinds, seed=job.seed)
    if job.teaching.file is not None:
        return matched(parts.division.sft, read_sharegpt(job.teaching.file).rationales)
    return None


def taught(job: Job, run: RunFolder, parts: Parts) -> tuple[tuple[Rationale, ...], str | None]:
    """Rationales of the SFT pictures, and why the teacher stopped early, if it did."""
    from fgvr.methods.fine_r1.reasoning import build_reasoning

    asked, known = job.teaching, given(job, parts)
    if known is not None:
        return known, None
    if asked.teacher is None:
        remedy = "Name a teacher, give a file of rationales, or train with thinking='none'."
        raise InputError("the fine-tuning needs rationales", remedy=remedy)
    found = build_reasoning(
        parts.division.sft,
        asked.teacher,
        super_category=parts.kinds or None,
        settings=replace(job.settings.reasoning, seed=job.seed),
        how=asked.how,
        teacher_sees=asked.sees,
        among=parts.division.seen if parts.division.unseen else None,
        ledger=run.ledger("reasoning"),
        report=job.progress,
        **(asked.options or {}),
    )
    told = counted(found)
    for note in told["notes"]:
        log.warning("%s", note)
    write_json(job.out / REASONING, told)
    return found.rationales, found.stopped


def mined_by(job: Job, parts: Parts) -> Mined:
    """Triplets of the pictures for reinforcement."""
    from fgvr.encoders.store import FeatureStore

    table = FeatureStore(job.store).features(list(parts.division.rl), job.encoder)
    texts = None
    if job.mining.get("similarity") == "image-text":
        names = parts.division.seen
        vectors = job.encoder.encode_texts([f"a photo of a {name}." for name in names])
        texts = dict(zip(names, vectors, strict=True))
    mined = mine_triplets(
        table.items,
        table.features,
        shots=None,
        super_category=parts.kinds or None,
        text_features=texts,
        seed=job.seed,
        **job.mining,
    )
    for note in mined.notes:
        log.warning("%s", note)
    return mined
