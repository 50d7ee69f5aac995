"""The comparison itself: every method on every draw of every collection, each in a folder of its own.

::

    OUT/
      manifest.json                      encoder, models, draw: what makes it one comparison
      COLLECTION/seed-N/METHOD/
        replies.jsonl                    its questions and answers (``replies.py``)
        named.jsonl                      one name a test image
        result.json                      its row, and the digest of what it was made from
        error.txt                        where it failed: the whole traceback
      table.md table.csv rows.csv comparison.json page.html

Killed at any point it goes on with the same command: finished cells are read, the answers of unfinished ones are in
their ledgers. More methods, seeds or collections may be added to a comparison that is there.
"""

from __future__ import annotations

import errno
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgvr.compare.cell import ERROR, finished, keep
from fgvr.compare.cell import folder_name as folder_name
from fgvr.compare.collection import Collection, Draw, blinded, drawn, spread_of
from fgvr.compare.method import Method, find
from fgvr.compare.replies import FILE, Answered, Purse, SharedReplies, alone, ledgers, paid, taken
from fgvr.compare.row import Row, Status, checked, scored
from fgvr.compare.terms import Terms as Terms
from fgvr.compare.terms import identity_of, material_identity
from fgvr.encoders import FeatureStore, FeatureTable
from fgvr.errors import EvaluationError, FgvrError, InputError
from fgvr.methods.baselines.task import Naming, Task
from fgvr.runs import Ledger, RunFolder, settings_digest, write_text
from fgvr.runs.secrets import redact
from fgvr.types import ImageItem

logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
Told = Callable[[Row], None]

UNBOUNDED = 1e12
"""Dollars."""
TAKEN = {"manifest.json", "table.md", "table.csv", "rows.csv", "comparison.json", "page.html", "features", "stages"}
"""Names of the comparison's own files."""


def compare(
    collections: Sequence[Collection],
    methods: Sequence[str],
    *,
    terms: Terms,
    out: Path,
    draw: Draw | None = None,
    seeds: Sequence[int] = (0,),
    force: bool = False,
    report: Report = lambda stage, done, total: None,
    told: Told = lambda row: None,
) -> list[Row]:
    """Run what is not finished yet and return every row, in the order collection, seed, method.

    Args:
        methods: names as ``method.find`` reads them; unknown ones raise ``InputError`` before anything is run.
        out: the comparison's folder; one that is there is gone on with, if it was made under the same terms.
        report: progress (stage, done, total).
        told: called with every row as it is finished.

    A method or collection that fails gives rows that say so; the others go on. What is raised: ``InputError`` for
    contradictory arguments, ``RunError`` for a folder that is in use, of other terms, or cannot be written.
    """
    draw = draw or Draw()
    chosen, seeds = [find(spec) for spec in dict.fromkeys(methods)], list(dict.fromkeys(seeds))
    _check(collections, chosen, seeds)
    settings = identity_of(terms, draw)
    rows = []
    with RunFolder.create_or_resume(out, settings=settings, command="compare", force=force) as run:
        store = FeatureStore(terms.store or run.path / "features")
        bench = _Bench(run.path, terms, draw, store, report)
        for collection in collections:
            for seed in seeds:
                for row in bench.rows(collection, seed, chosen):
                    told(row)
                    rows.append(row)
    return rows


@dataclass(frozen=True)
class _Drawn:
    """One draw of one collection, as every method is given it."""

    collection: str
    seed: int
    support: FeatureTable
    test: FeatureTable
    truth: tuple[ImageItem, ...]
    """The test images with their labels, for the scores."""
    notes: tuple[str, ...]

    def blank(self, method: Method) -> Row:
        """A row without figures."""
        row = Row(self.collection, method.spec, method.title, self.seed, "failed", notes=self.notes)
        return replace(row, support=len(self.support.items), images=len(self.test.items))


@dataclass
class _Bench:
    """Where cells are run."""

    root: Path
    terms: Terms
    draw: Draw
    store: FeatureStore
    report: Report

    def __post_init__(self) -> None:
        self._answered = Answered(self.root)

    def rows(self, collection: Collection, seed: int, methods: Sequence[Method]) -> Iterator[Row]:
        """All methods on one draw, each as it is finished; where the draw itself fails, every row says why."""
        place = self.root / folder_name(collection.name) / f"seed-{seed}"
        try:
            found = self._drawn(collection, seed)
        except Exception as error:
            _stop_if_disk_is_full(error)
            logger.warning("%s, seed %d: %s", collection.name, seed, _words(error))
            yield from (Row(collection.name, one.spec, one.title, seed, "failed", _words(error)) for one in methods)
            return
        for method in methods:
            yield self._row(method, found, place / folder_name(method.spec))

    def _drawn(self, collection: Collection, seed: int) -> _Drawn:
        chosen = drawn(collection.pool, self.draw, seed=seed)
        support, test = (
            self.store.features(
                blinded(side), self.terms.encoder, progress=lambda done, total: self.report("features", done, total)
            )
            for side in (chosen, collection.test)
        )
        if self.draw.kind == "spread":
            support = spread_of(support, self.draw, seed=seed)
        known = set(support.hashes)
        shared = [item.id for item, sha256 in zip(test.items, test.hashes, strict=True) if sha256 in known]
        said = f"{len(shared)} of {len(test.items)} test images are support images, too"
        if shared and not self.terms.allow_leaks:
            raise EvaluationError(
                said,
                remedy="Take them out of one side, or allow it (--allow-leaks): the figures are optimistic then.",
                first=shared[0],
            )
        notes = [f"{said}: the figures are optimistic"] if shared else []
        notes += [*_left_out("support", support), *_left_out("test", test)]
        labels = {item.id: item for item in collection.test}
        return _Drawn(collection.name, seed, support, test, tuple(labels[item.id] for item in test.items), tuple(notes))

    def _row(self, method: Method, found: _Drawn, folder: Path) -> Row:
        digest = settings_digest(self._digest(method, found))
        if (earlier := finished(folder, digest)) and not self._again(earlier):
            return earlier
        blank = found.blank(method)
        began = time.monotonic()
        purse = self._purse(folder / FILE)
        replies = SharedReplies(folder / FILE, self._answered.but(folder / FILE), purse=purse)

        def accounted(row: Row) -> Row:
            own = replies.own
            return replace(row, usage=alone(own), paid=paid([own.path]), seconds=time.monotonic() - began)

        try:
            naming = self._named(method, found, folder, replies, purse)
            scores = scored(
                naming,
                found.truth,
                sentence_encoder=self.terms.sentence_encoder,
                resamples=self.terms.resamples,
                seed=found.seed,
            )
            notes = (*naming.notes, *found.notes)
            row = replace(blank, **{**scores, "status": _status(purse), "extra": naming.figures, "notes": notes})
            row = accounted(row)
            keep(folder, digest, row, items=found.test.items, naming=naming)
        except (Exception, SystemExit) as error:
            _stop_if_disk_is_full(error)
            logger.warning("%s on %s, seed %d: %s", method.spec, found.collection, found.seed, _words(error))
            stopped = _status(purse) == "stopped"
            said = f"the spending cap left too much open: {_words(error)}" if stopped else _words(error)
            row = accounted(replace(blank, status="stopped" if stopped else "failed", error=said))
            keep(folder, digest, row)
            write_text(folder / ERROR, redact(traceback.format_exc()))
        finally:
            replies.close()
        return row

    def _named(
        self, method: Method, found: _Drawn, folder: Path, replies: SharedReplies, purse: Purse | None
    ) -> Naming:
        task = Task(
            support=found.support,
            test=found.test,
            encoder=self.terms.encoder,
            mllm=self.terms.mllm,
            llm=self.terms.reasoner,
            store=self.store,
            folder=folder / "work",
            material=self.terms.material,
            seed=found.seed,
            asking=lambda: {**self.terms.asking, "ledger": replies, "budget": purse},
            report=lambda stage, done, total: self.report(f"{method.spec}: {stage}", done, total),
        )
        return checked(method.name_images(task), len(found.test.items))

    def _purse(self, own: Path) -> Purse | None:
        """What a cell may still cost: what is left for all, and for this method as if alone; ``None`` without a cap."""
        total, each = self.terms.budget, self.terms.budget_each
        if total is None and each is None:
            return None
        left = UNBOUNDED if total is None else max(0.0, total - paid(ledgers(self.root)))
        return Purse(left, each=UNBOUNDED if each is None else max(0.0, each - taken(Ledger(own))))

    def _again(self, row: Row) -> bool:
        """Whether a finished cell is run again: failed or stopped ones always, unanswered images when asked to."""
        return row.status != "done" or (bool(self.terms.asking.get("retry_failed")) and row.answered < row.images)

    def _digest(self, method: Method, found: _Drawn) -> dict[str, Any]:
        sentence = self.terms.sentence_encoder
        sides = {"support": found.support, "test": found.test}
        return {
            "method": method.digest(),
            "seed": found.seed,
            **{
                side: [[item.id, sha256] for item, sha256 in zip(table.items, table.hashes, strict=True)]
                for side, table in sides.items()
            },
            "truth": [[item.label, *item.accepted] for item in found.truth],
            "material": material_identity(self.terms.material),
            "sentence_encoder": None if sentence is None else sentence.name,
            "resamples": self.terms.resamples,
        }


def _left_out(side: str, table: FeatureTable) -> list[str]:
    if not table.set_aside:
        return []
    reasons = Counter(aside.reason for aside in table.set_aside).most_common()
    listed = ", ".join(f"{reason}: {count}" for reason, count in reasons)
    return [f"{len(table.set_aside)} {side} images could not be read ({listed})"]


def _status(purse: Purse | None) -> Status:
    return "stopped" if purse is not None and purse.refused else "done"


def _check(collections: Sequence[Collection], methods: Sequence[Method], seeds: Sequence[int]) -> None:
    if not collections or not methods or not seeds:
        raise InputError("a comparison needs a collection, a method and a seed", remedy="Name at least one of each.")
    for what, names in (("collections", [c.name for c in collections]), ("methods", [m.spec for m in methods])):
        folders = [folder_name(name).lower() for name in names]
        if len(set(folders)) < len(folders):
            raise InputError(f"two {what} have one name", remedy="Name them apart (NAME=PLACE).", names=names)
    for one in collections:
        if folder_name(one.name).lower() in TAKEN:
            raise InputError("a collection cannot have this name", remedy="Give another (NAME=PLACE).", name=one.name)


def _words(error: BaseException) -> str:
    """What went wrong, without secrets, and without halves of characters that no file or log can hold."""
    said = str(redact(str(error) if isinstance(error, FgvrError) else f"{type(error).__name__}: {error}"))
    return said.encode("utf-8", "backslashreplace").decode("utf-8")


def _stop_if_disk_is_full(error: BaseException | None) -> None:
    """A full disk would fail every method alike: the comparison stops, what is finished is kept."""
    cause = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise error  # type: ignore[misc]
        cause = cause.__cause__ or cause.__context__
