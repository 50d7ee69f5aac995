"""From embedded photographs to a fitted recogniser: who is in the memory, who is asked about what, and the account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.memory import Memory
from fgvr.methods.rar.asking import Asker, Said
from fgvr.methods.rar.calibration import LeftOut
from fgvr.methods.rar.pipeline import RarSettings, build_memory, learn, with_k
from fgvr.methods.rar.record import Fit
from fgvr.methods.rar.vocabulary_free import name_by_mllm, named_as
from fgvr.mllm.base import Mllm
from fgvr.naming import Labelled
from fgvr.types import ImageItem, SetAside


def named_table(table: FeatureTable, mllm: Mllm, **asking: Any) -> tuple[FeatureTable, Labelled]:
    """The photographs under the names the MLLM gave them; those it could not name lose their label."""
    found = name_by_mllm(table.items, mllm, hashes=table.hashes, **asking)
    return named_as(table, found.names, found.labels), found.labelled


def fitted(
    table: FeatureTable,
    encoder: DualEncoder,
    settings: RarSettings,
    *,
    k: int | None,
    names: Sequence[str],
    set_aside: Sequence[SetAside],
    asker: Asker | None,
    answers: Labelled | None,
    mllm: str,
    free: bool,
    seed: int,
) -> Fit:
    """Memory, calibration, rules.

    Args:
        table: the photographs; those with a label go into the memory. Where none has one, and there are ``names``, they
            serve to judge the MLLM; else those without are set aside.
        names: further classes, known by name alone.
        asker: puts candidates before the MLLM; ``None`` retrieves only.
        answers: of the MLLM that named the photographs, where it did: their labels are not the truth then.
        mllm, free: whose word is weighed, and whether it costs no money.

    Raises ``InputError`` when there is neither a label nor a name.
    """
    kept = np.array([row for row, item in enumerate(table.items) if item.label is not None], dtype=np.int64)
    if not len(kept) and not names:
        raise _no_labels(len(table.items))
    features, items = np.asarray(table.features), tuple(table.items[row] for row in kept)
    hashes = tuple(table.hashes[row] for row in kept)
    memory = build_memory(
        encoder,
        features=features[kept],
        labels=[str(item.label) for item in items],
        sources=[str(item.path) for item in items],
        hashes=hashes,
        names=names,
        text=settings.text,
        templates=settings.templates,
    )
    recogniser = learn(
        memory,
        with_k(settings, k, memory.images.labels),
        ask=None if asker is None else _asking(asker, table, memory),
        labelled=answers is None,
        others=None if len(kept) else (features, table.hashes),
        mllm=mllm,
        free=free,
        seed=seed,
    )
    unlabelled = (_no_label(item) for item in table.items if item.label is None) if len(kept) else ()
    return _accounted(Fit(recogniser, items, hashes, (*set_aside, *unlabelled)), asker, answers)


def identity(mllm: Mllm | None) -> str:
    """Whose word a weight was learned for."""
    return "" if mllm is None else f"{mllm.name} {mllm.revision}"


def _asking(asker: Asker, table: FeatureTable, memory: Memory) -> Any:
    by_hash = dict(zip(table.hashes, table.items, strict=True))

    def ask(out: LeftOut) -> Said:
        return asker([by_hash[sha256] for sha256 in out.hashes], out.hashes, out.candidates, memory.names)

    return ask


def _accounted(fit: Fit, asker: Asker | None, answers: Labelled | None) -> Fit:
    """With what asking took, for candidates and for names."""
    if asker is not None:
        fit = replace(fit, asked=asker.asked, unanswered=asker.unanswered, stopped=asker.stopped)
        fit = replace(fit, reused=asker.reused, usage=asker.usage)
    if answers is None:
        return fit
    stopped, reused = answers.answers.stopped, answers.answers.reused
    return replace(fit, stopped=stopped or fit.stopped, reused=reused + fit.reused, usage=answers.usage + fit.usage)


def _no_labels(images: int) -> InputError:
    remedy = (
        "Sort them into one folder per class (two or more, no photograph beside them), "
        "or give a manifest with labels, --names or --name-by-mllm."
    )
    return InputError("no photograph has a label", remedy=remedy, images=images)


def _no_label(item: ImageItem) -> SetAside:
    return SetAside(item.id, str(item.path), "no label", "only labelled photographs go into the memory")
