"""The support set by choice instead of by chance: encode the pool, choose, have it named in rounds.

The choice is a function of features, replies and seed. Each round is written down (``choice.jsonl``) before its first
question, so that a killed fit goes on with the very rows it began, even where another machine rounds differently or a
failed question is answered later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.mllm.outcomes import Answers, LedgerLike
from fgvr.naming.choose import Choosing, Informative, LabelsSoFar, choose_among, distinct, labels_so_far
from fgvr.naming.labelling import Labelled, PromptKind
from fgvr.naming.prompts import structured_prompt

logger = logging.getLogger(__name__)

ROUND = "round"
"""Kind of a ledger line: the ids that one round has named."""
Ask = Callable[[FeatureTable, Sequence[Labelled], int], Labelled]
"""Has the MLLM name a table: (table, the rounds before, names to be bought in all)."""


def choose_and_label(
    table: FeatureTable,
    n: int | None,
    ask: Ask,
    *,
    how: Choosing,
    seed: int,
    encoder: DualEncoder,
    settled: LedgerLike | None = None,
    informative: Informative | None = None,
) -> tuple[FeatureTable, Labelled]:
    """At most ``n`` rows of ``table`` (``None``: all that differ) and the MLLM's answers, in the order of the table.

    ``table`` has plain features (N, D) of the whole pool. ``settled`` keeps the rounds. ``informative``: as of
    ``choose_among``. Where the cap or a deadline
    stops a round, no further one begins. Raises what ``choose_support`` and ``ask`` raise.
    """
    pool = distinct(table.features, table.hashes)
    logger.info("%d of %d images are near-duplicates of others", len(table.items) - len(pool), len(table.items))
    past = settled_rows(settled, [item.id for item in table.items])
    wanted = len(pool) if n is None else min(n, len(pool))
    begun, rounds = list[np.ndarray](), list[Labelled]()

    def label(rows: np.ndarray) -> LabelsSoFar | None:
        if settled is not None and len(begun) >= len(past):
            ids = [table.items[row].id for row in rows]
            settled.append(
                {"kind": ROUND, "round": len(begun), "pool": len(table.items), "distinct": len(pool), "ids": ids}
            )
        begun.append(rows)
        rounds.append(ask(rows_of(table, rows), tuple(rounds), wanted))
        if rounds[-1].answers.stopped:
            return None
        return labels_so_far([one for part in rounds for one in part.named], encoder)

    chosen = choose_among(
        table.features, pool, wanted, how=how, seed=seed, label=label, past=past, informative=informative
    )
    return rows_of(table, np.sort(chosen)), joined(rounds, order=np.argsort(chosen, kind="stable"))


def question_after(before: Sequence[Labelled], prompt: PromptKind) -> str | None:
    """The question of a later round: in the words of the first, whose answer about the super-category stands.

    ``None`` in the first round, and where the question has no such word in it.
    """
    return structured_prompt(before[0].category) if before and prompt == "structured" else None


def spent_on(before: Sequence[Labelled]) -> float:
    """US dollars of earlier rounds at most, for a cap where no ledger tells; unpriced calls count as 0."""
    return sum((part.usage.cost or 0.0) + part.answers.doubtful_cost for part in before)


def settled_rows(ledger: LedgerLike | None, ids: Sequence[str]) -> list[np.ndarray]:
    """The rounds of a ledger as rows; an image that can no longer be read is left out of its round."""
    row = {item: index for index, item in enumerate(ids)}
    lines = [line for line in (ledger.records() if ledger is not None else ()) if line.get("kind") == ROUND]
    return [np.array(sorted(row[item] for item in line["ids"] if item in row), dtype=np.int64) for line in lines]


def settled_ids(ledger: LedgerLike) -> set[str]:
    """Ids of all images that some round of a ledger has named, or began to."""
    return {str(item) for line in ledger.records() if line.get("kind") == ROUND for item in line["ids"]}


def rows_of(table: FeatureTable, rows: np.ndarray) -> FeatureTable:
    """A part of a table; what was set aside stays with it."""
    items, hashes = tuple(table.items[row] for row in rows), tuple(table.hashes[row] for row in rows)
    return FeatureTable(np.asarray(table.features[rows]), items, hashes, table.set_aside)


def with_views(chosen: FeatureTable, labelled: Labelled, views: FeatureTable) -> tuple[FeatureTable, Labelled]:
    """The same with features (N, V, D); a picture that can no longer be read is set aside, whatever was said of it."""
    left = {item.id for item in views.items}
    named = tuple(one for one in labelled.named if one.item_id in left)
    return replace(views, set_aside=(*chosen.set_aside, *views.set_aside)), replace(labelled, named=named)


def joined(rounds: Sequence[Labelled], *, order: np.ndarray) -> Labelled:
    """The rounds as one account of labelling; ``order`` sorts the names of all rounds. Items are in one round each."""
    named = [one for part in rounds for one in part.named]
    return replace(
        rounds[0],
        named=tuple(named[at] for at in order),
        answers=_joined_answers([part.answers for part in rounds]),
        usage=_total(part.usage for part in rounds),
    )


def _joined_answers(parts: Sequence[Answers]) -> Answers:
    return Answers(
        replies={key: reply for part in parts for key, reply in part.replies.items()},
        failures={key: why for part in parts for key, why in part.failures.items()},
        not_asked=tuple(item for part in parts for item in part.not_asked),
        usage=_total(part.usage for part in parts),
        saved=_total(part.saved for part in parts),
        doubtful_cost=sum(part.doubtful_cost for part in parts),
        stopped=parts[-1].stopped,
        reused=sum(part.reused for part in parts),
        estimated=sum(part.estimated for part in parts),
    )


def _total(values: Iterable[Any]) -> Any:
    first, *rest = values
    for value in rest:
        first = first + value
    return first
