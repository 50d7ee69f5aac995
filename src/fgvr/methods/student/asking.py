"""What is asked of the teachers, under one allowance of calls and one cap in dollars.

Two stages, each with a ledger of its own: ``labels`` (the first question, in rounds) and ``second`` (the second
opinion). Which images a round asks about is written down in ``choice`` before the first of its questions, so that a
killed fit goes on with the very images it began and pays for none of them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.near.calibrate import probabilities
from fgvr.methods.near.support import choose_and_label, question_after, rows_of, spent_on
from fgvr.methods.student.record import Asked
from fgvr.methods.student.settings import StudentSettings
from fgvr.mllm import Budget, ResponseCache, spent_in
from fgvr.mllm.base import Mllm
from fgvr.mllm.outcomes import LedgerLike
from fgvr.naming.choose import Choosing, Informative
from fgvr.naming.labelling import MAX_TOKENS, Labelled, PromptKind, label_images
from fgvr.naming.prompts import structured_prompt

if TYPE_CHECKING:
    from fgvr.methods.student.pipeline import Learned

STAGES = ("labels", "second", "choice")
"""Ledgers of a run."""
SECOND = "second"
"""Kind of a ledger line: the ids of which a second opinion is asked."""
DRAWN = 16
"""Replies that are drawn in each call by default where they cost nothing: on the development pool of drawn species they
were better than 8, and 8 than one."""
SHORT = MAX_TOKENS["structured"]
"""Tokens of a reply that is still a short one."""
Report = Callable[[int, int], None]
"""Called with (images answered, images wanted)."""


@dataclass(frozen=True)
class Teachers:
    """Who is asked what, and what it may cost."""

    first: Mllm
    second: Mllm | None = None
    """For second opinions; ``None`` puts another question to the first."""
    prompt: PromptKind = "paper"
    text: str | None = None
    samples: int | None = 1
    """Replies drawn in each call; ``None``: as ``draws`` has it for each teacher."""
    budget: float | None = None
    cache: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """What ``ask_all`` takes besides: concurrency, prices, ..."""
    ledgers: Mapping[str, LedgerLike] = field(default_factory=dict)
    """``labels``, ``second`` and ``choice``; none keeps nothing."""

    def ask(
        self, table: FeatureTable, before: Sequence[Labelled] = (), wanted: int | None = None, *, report: Report
    ) -> Labelled:
        """The first question about the images of ``table``; ``before``: the rounds so far."""
        asked = sum(len(part.named) for part in before)
        return self._label(
            table,
            self.first,
            stage="labels",
            before=before,
            report=lambda done, total: report(asked + done, wanted or total),
            prompt=self.prompt,
            text=self.text or question_after(before, self.prompt),
        )

    def ask_again(self, table: FeatureTable, first: Labelled, *, report: Report) -> Labelled:
        """The second question about the images of ``table``; ``first``: all answers to the first one."""
        question = self.second_question(first.category)
        teacher = self.second or self.first
        return self._label(table, teacher, stage="second", before=(first,), report=report, **question)

    def second_question(self, category: str | None) -> dict[str, Any]:
        """Another teacher is asked the same; the same one is asked in other words. Never a call of its own."""
        prompt: PromptKind = self.prompt
        if self.second is None:
            prompt = "paper" if self.prompt == "structured" and self.text is None else "structured"
        elif self.text is not None:
            return {"prompt": prompt, "text": self.text}
        # The structured question would ask for the super-category first; what is known of it must do.
        return {"prompt": prompt, "text": structured_prompt(category) if prompt == "structured" else None}

    def _label(
        self,
        table: FeatureTable,
        mllm: Mllm,
        *,
        stage: str,
        before: Sequence[Labelled],
        report: Report,
        prompt: PromptKind,
        text: str | None,
    ) -> Labelled:
        return label_images(
            table.items,
            mllm,
            prompt=prompt,
            text=text,
            hashes=table.hashes,
            samples=draws(self.samples, mllm, prompt),
            ledger=self.ledgers.get(stage),
            cache=None if self.cache is None else ResponseCache(self.cache),
            budget=self._allowance(before),
            progress=lambda done, total, _usage: report(done, total),
            **self.options,
        )

    def _allowance(self, before: Sequence[Labelled]) -> Budget | None:
        """One cap over both stages and over all sessions of a run."""
        if self.budget is None:
            return None
        kept = [self.ledgers[stage] for stage in ("labels", "second") if stage in self.ledgers]
        return Budget(self.budget, spent=sum(map(spent_in, kept)) if kept else spent_on(before))


def allowance(pool: int, *, labels: int | None, share: float | None, second: float) -> tuple[int, int]:
    """Images to ask about, and calls kept back for second opinions, of a pool of so many images.

    ``labels`` calls in all (``None``: one an image) or a ``share`` of the pool, in (0, 1]; of these the share
    ``second`` is kept back (``second_opinion.split_budget``). At least one image is asked about.
    """
    from fgvr.methods.student.second_opinion import split_budget

    wanted = pool if labels is None else labels
    if share is not None:
        wanted = round(share * pool)
    return split_budget(max(1, wanted), second)


def draws(samples: int | None, mllm: Mllm, prompt: PromptKind) -> int:
    """Replies to draw in each call: ``samples``, or else ``DRAWN`` where they cost nothing and are short.

    Raises ``InputError`` for fewer than one.
    """
    if samples is not None:
        if samples < 1:
            raise InputError("a call draws a reply at least", remedy="Use samples >= 1.", samples=samples)
        return samples
    return DRAWN if mllm.local and MAX_TOKENS[prompt] <= SHORT else 1


def checked_size(labels: int | None, share: float | None) -> tuple[int | None, float | None]:
    """``labels`` or ``share``, whichever is meant. Raises ``InputError`` for one that asks nothing."""
    if share is not None and not 0 < share <= 1:
        raise InputError("a share of the images is more than 0 and at most 1", remedy="Correct it.", share=share)
    if labels is not None and labels < 1:
        raise InputError("a student needs a label", remedy="Use labels >= 1.", labels=labels)
    return (None, share) if share is not None else (labels, None)


def first_opinions(
    table: FeatureTable,
    teachers: Teachers,
    size: int,
    *,
    how: Choosing,
    seed: int,
    encoder: DualEncoder,
    settings: StudentSettings,
    report: Report,
) -> Asked:
    """Choose at most ``size`` images of the pool and ask about them, in rounds where ``how`` wants some."""
    chosen, labelled = choose_and_label(
        table,
        size,
        partial(teachers.ask, report=report),
        how=how,
        seed=seed,
        encoder=encoder,
        settled=teachers.ledgers.get("choice"),
        informative=informative_rounds(table.features, settings) if how == "active" else None,
    )
    return Asked(rows_in(table, chosen), labelled)


def informative_rounds(features: np.ndarray, settings: StudentSettings) -> Informative | None:
    """How later rounds are chosen: by what propagation leaves in doubt; ``None`` (NeaR's way) with propagation off."""
    from fgvr.methods.student.choosing import by_propagation
    from fgvr.methods.student.pool import graph_of

    edges, how = graph_of(features, settings), settings.propagation
    return None if edges is None else by_propagation(features, edges, alpha=how.alpha, keep=how.keep)


def second_opinions(
    table: FeatureTable,
    teachers: Teachers,
    first: Asked,
    learned: Learned,
    settings: StudentSettings,
    *,
    most: int,
    report: Report,
) -> Asked | None:
    """At most ``most`` calls that were kept back, spent where they are worth most; ``None`` where none is."""
    if not most or first.labelled.answers.stopped:
        return None
    ledger, ids = teachers.ledgers.get("choice"), [item.id for item in table.items]
    rows = settled_second(ledger, ids)
    if rows is None:
        rows = worth_asking_again(table.features, learned, settings, most=most)
        settle_second(ledger, [ids[row] for row in rows])
    if not len(rows):
        return None
    return Asked(rows, teachers.ask_again(rows_of(table, rows), first.labelled, report=report))


def worth_asking_again(features: np.ndarray, learned: Learned, settings: StudentSettings, *, most: int) -> np.ndarray:
    """Rows of the pool (N, D) on which student and first reply disagree, those that matter most; int64, sorted."""
    from fgvr.methods.student.pool import edges_of, graph_of
    from fgvr.methods.student.second_opinion import disagreement, influence

    rows = learned.evidence.rows
    edges = graph_of(features, settings) if learned.graph is None else edges_of(learned.graph, settings)
    weight = None if edges is None else influence(edges, alpha=settings.propagation.alpha)[rows]
    chances = probabilities(learned.held_out, learned.calibration.temperature)
    return np.sort(disagreement(chances, rows, learned.opinions, weight=weight)[:most])


def settled_second(ledger: LedgerLike | None, ids: Sequence[str]) -> np.ndarray | None:
    """Rows of the images of which a second opinion was asked by an earlier session, int64, or ``None``."""
    row = {item: index for index, item in enumerate(ids)}
    for line in ledger.records() if ledger is not None else ():
        if line.get("kind") == SECOND:
            return np.array(sorted(row[item] for item in line["ids"] if item in row), dtype=np.int64)
    return None


def settle_second(ledger: LedgerLike | None, ids: Sequence[str]) -> None:
    """Write down of which images a second opinion will be asked."""
    if ledger is not None:
        ledger.append({"kind": SECOND, "ids": list(ids)})


def rows_in(table: FeatureTable, part: FeatureTable) -> np.ndarray:
    """Where the images of ``part`` are in ``table``, int64."""
    row = {item.id: index for index, item in enumerate(table.items)}
    return np.array([row[item.id] for item in part.items], dtype=np.int64)
