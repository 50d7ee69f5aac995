"""The student as a contestant: ``fgvr.methods.student`` on a comparison's terms. Its pool is the support set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.errors import InputError
from fgvr.methods.baselines.task import Naming, Task
from fgvr.methods.near.calibrate import probabilities
from fgvr.methods.near.support import choose_and_label, question_after
from fgvr.methods.student.asking import allowance, rows_in
from fgvr.methods.student.settings import EvidenceSettings, StudentSettings
from fgvr.methods.student.views import averaged_views
from fgvr.naming.choose import Choosing
from fgvr.naming.labelling import Labelled, PromptKind, label_images

TITLE = "Student"


@dataclass(frozen=True)
class Settings:
    """All support images are asked about unless ``labels`` says fewer; then ``choose`` says which."""

    labels: int | None = None
    choose: Choosing = "spread"
    views: int = 4
    prompt: PromptKind = "paper"
    samples: int = 1
    """Replies drawn in each call. With one, its replies are those that the other contestants learn from."""
    merge: bool = True
    drop: bool = True
    evidence: bool = False
    propagation: bool = True
    self_training: bool = True


def calls(support: int, test: int, settings: Settings) -> int:
    """One question an image asked about, one about the collection with the structured prompt."""
    return min(support, settings.labels or support) + (settings.prompt == "structured")


def name_images(task: Task, settings: Settings) -> Naming:
    """Ask, learn from the whole support set, classify; every image gets its best name ("unknown" is off)."""
    from fgvr.methods.student.pipeline import learn

    if settings.views < 0 or settings.samples < 1 or (settings.labels is not None and settings.labels < 1):
        raise InputError("a student needs a label, a reply, and no fewer than 0 views", remedy="Correct the settings.")
    pool, test = (_averaged(task, table, settings.views) for table in (task.support, task.test))
    rows, labelled = _asked(task, replace(task.support, features=pool), settings)
    learned = learn(
        pool,
        rows,
        labelled.named,
        task.encoder,
        _student_settings(settings),
        seed=task.seed,
        progress=task.report,
    )
    chances = probabilities(learned.head.logits(test), learned.calibration.temperature)
    return Naming(
        names=tuple(learned.names[j] for j in chances.argmax(axis=1)),
        vocabulary=learned.names,
        probabilities=tuple(float(chance) for chance in chances.max(axis=1)),
        figures={"images asked about": float(len(rows)), "names dropped": float(len(learned.space.dropped))},
    )


def _averaged(task: Task, table: FeatureTable, views: int) -> np.ndarray:
    return averaged_views(task.views(table, views) if views else np.asarray(table.features))


def _asked(task: Task, table: FeatureTable, settings: Settings) -> tuple[np.ndarray, Labelled]:
    """Rows of the support set and the answers about them; all rows where ``labels`` does not say fewer."""
    size, _ = allowance(len(table.items), labels=settings.labels, share=None, second=0.0)
    if size >= len(table.items) and settings.samples == 1:
        return np.arange(len(table.items)), task.label_support(prompt=settings.prompt)

    def ask(part: FeatureTable, before: Sequence[Labelled], _wanted: int) -> Labelled:
        return label_images(
            part.items,
            task.mllm,
            prompt=settings.prompt,
            text=question_after(before, settings.prompt),
            hashes=part.hashes,
            samples=settings.samples,
            **task.asking(),
        )

    if size >= len(table.items):
        return np.arange(len(table.items)), ask(table, (), size)
    chosen, labelled = choose_and_label(table, size, ask, how=settings.choose, seed=task.seed, encoder=task.encoder)
    return rows_in(table, chosen), labelled


def _student_settings(settings: Settings) -> StudentSettings:
    base = StudentSettings()
    space = replace(base.label_space, merge=settings.merge, merge_by_images=settings.merge, drop=settings.drop)
    return replace(
        base,
        label_space=space,
        evidence=EvidenceSettings() if settings.evidence else EvidenceSettings.off(),
        propagation=replace(base.propagation, on=settings.propagation),
        self_training=base.self_training if settings.self_training else replace(base.self_training, rounds=0),
    )
