"""``RAR``: the method as an object, from a few labelled photographs to named ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.data import Source, as_items
from fgvr.encoders import FeatureStore, FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.rar.asking import Asker
from fgvr.methods.rar.fitting import fitted, identity, named_table
from fgvr.methods.rar.pipeline import RarSettings
from fgvr.methods.rar.recogniser import Recogniser
from fgvr.methods.rar.record import LEDGER, Fit, Recognised, check_memory, locked_ledger, write_fit
from fgvr.mllm import Budget, ResponseCache, load_mllm, spent_in
from fgvr.mllm.base import Mllm
from fgvr.naming import Labelled
from fgvr.runs import Ledger, RunFolder, settings_digest
from fgvr.types import ImageItem, Prediction, SetAside

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); stages are features, label, rank."""


class RAR:
    """Recognise by retrieval from a memory, with an MLLM's ranking where retrieval is in doubt.

    Args:
        encoder: a ``transformers`` CLIP-like folder or Hub id, ``fieldguide``, or a loaded encoder.
        mllm: ``openai:MODEL``, ``local:...``, ``fieldguide``, or a provider; ``None`` retrieves only.
        settings: retrieval, ranking, asking; see ``RarSettings``.
        k: candidates; ``None`` takes the paper's 5, or 4 where every class has four images.
        out: the run folder. Interrupted fits go on from it; ``None`` keeps nothing.
        store: folder of the shared feature store; inside ``out`` by default.
        cache: SQLite file of a shared response cache; none by default.
        budget: cap in US dollars over all questions of the run, those of predictions included; without a run folder,
            over all questions of this object.
        seed: of the draw of calibration images.

    After ``fit``: ``recogniser`` and ``last_fit``.
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | DualEncoder,
        mllm: str | Mllm | None = None,
        *,
        settings: RarSettings | None = None,
        k: int | None = None,
        out: str | os.PathLike[str] | None = None,
        force: bool = False,
        store: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        concurrency: int = 8,
        attempts: int = 5,
        budget: float | None = None,
        prices: Any = None,
        allow_unpriced: bool = False,
        retry_failed: bool = False,
        seed: int = 0,
        progress: Progress | None = None,
        recogniser: Recogniser | None = None,
    ) -> None:
        self._encoder, self._mllm = encoder, mllm
        self.settings, self.k = settings or RarSettings(), k
        self.out = None if out is None else Path(out)
        self.force = force
        self.store = None if store is None else Path(store)
        self.cache = None if cache is None else Path(cache)
        self.budget = budget
        self._purse = None if budget is None else Budget(budget)
        self.asking: dict[str, Any] = {
            "concurrency": concurrency,
            "attempts": attempts,
            "prices": prices,
            "allow_unpriced": allow_unpriced,
            "retry_failed": retry_failed,
        }
        self.seed, self.progress = seed, progress
        self.recogniser: Recogniser | None = recogniser
        self.last_fit: Fit | None = None

    @property
    def encoder(self) -> DualEncoder:
        """Loaded at first use."""
        if isinstance(self._encoder, (str, os.PathLike)):
            from fgvr.encoders import load_encoder

            self._encoder = load_encoder(str(self._encoder))
        return self._encoder

    @property
    def mllm(self) -> Mllm | None:
        """Loaded at first use; ``None`` where there is none."""
        if isinstance(self._mllm, str):
            self._mllm = load_mllm(self._mllm)
        return self._mllm

    # --- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, images: Source | None = None, *, names: Sequence[str] = (), name_by_mllm: bool = False) -> RAR:
        """Build the memory and learn what the MLLM's word is worth. Returns itself.

        Args:
            images: labelled photographs: folder of class folders, manifest, items. Where ``names`` are given and no
                photograph has a label, they only serve to judge the MLLM; else those without a label are set aside.
            names: further classes, kept by name alone.
            name_by_mllm: the photographs have no labels; the MLLM names each once, and its names are the classes.

        Raises ``InputError`` when there is neither a label nor a name, ``NoImagesError`` when no photograph can be
        read, ``RunError`` when the run folder belongs to other settings, or its memory was changed since a fit.
        """
        found = None if images is None else as_items(images)
        items = () if found is None else found.items
        with self._run(items, names, name_by_mllm) as run, tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            table = self._features(items, Path(scratch), None if run is None else run.path)
            if run is not None:
                check_memory(run)
            ledger = None if run is None else run.ledger(LEDGER)
            answers = None
            if name_by_mllm:
                table, answers = self._named(table, ledger)
            aside = (*(found.set_aside if found is not None else ()), *table.set_aside)
            self.last_fit = self._fitted(table, names, ledger, aside, answers)
            self.recogniser = self.last_fit.recogniser
            if run is not None:
                write_fit(run, self.last_fit)
        return self

    def is_finished(
        self, images: Source | None = None, *, names: Sequence[str] = (), name_by_mllm: bool = False
    ) -> bool:
        """Whether ``out`` holds this very fit, complete. Raises ``RunError`` when it belongs to other settings."""
        if self.out is None or not (self.out / "manifest.json").exists():
            return False
        with self._run(() if images is None else as_items(images).items, names, name_by_mllm) as run:
            assert run is not None
            return run.is_done("fit", settings_digest(run.manifest["settings"]))

    def run_settings(self, items: Sequence[ImageItem], names: Sequence[str], name_by_mllm: bool) -> dict[str, Any]:
        """What makes two fits the same run (JSON-like)."""
        mllm = self.mllm
        return {
            "method": "rar",
            "encoder": self.encoder.fingerprint,
            "mllm": None if mllm is None else {"name": mllm.name, "revision": mllm.revision},
            "seed": self.seed,
            "k": self.k,
            "images": settings_digest({"ids": [[item.id, item.label] for item in items]}),
            "names": settings_digest({"names": list(names)}),
            "name_by_mllm": name_by_mllm,
            "fit": self.settings.to_dict(),
        }

    # --- predict ------------------------------------------------------------------------------------------------------

    def predict(self, images: Source, *, top_k: int = 5) -> list[Prediction]:
        """One ``Prediction`` per readable image, in input order; ``recognise`` also gives the account."""
        return list(self.recognise(as_items(images).items, top_k=top_k).predictions)

    def recognise(
        self,
        items: Sequence[ImageItem],
        *,
        top_k: int = 5,
        store: str | os.PathLike[str] | None = None,
        batch_size: int = 64,
    ) -> Recognised:
        """Retrieve for every image, ask the MLLM where the rules say so, decide.

        Without an MLLM, or past the cap, retrieval alone decides. Raises ``EncoderError`` when the encoder is not the
        memory's, ``InputError`` when the MLLM is not the one whose weight was learned.
        """
        recogniser = self._ready()
        with tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            root = Path(store) if store is not None else self.store or Path(scratch)
            table = FeatureStore(root).features(
                items, self.encoder, batch_size=batch_size, progress=self._reporter("features")
            )
            features = np.asarray(table.features)
            candidates = recogniser.candidates(features)
            asks = recogniser.asks(candidates)
            said, asker = None, None
            if self.mllm is not None and asks.any():
                said = np.full(candidates.classes.shape, np.nan)
                with self._ledger() as ledger:
                    asker = self._asker(ledger)
                    chosen = np.flatnonzero(asks)
                    shown, hashes = [table.items[i] for i in chosen], [table.hashes[i] for i in chosen]
                    said[chosen] = asker(shown, hashes, candidates.rows(chosen), recogniser.names)
        found = recogniser.predictions(
            candidates,
            [item.id for item in table.items],
            said=said,
            strange=recogniser.strange(features),
            top_k=top_k,
        )
        if asker is None:
            return Recognised(tuple(found), table.set_aside)
        account = (asker.asked, asker.unanswered, asker.stopped, asker.reused, asker.usage)
        return Recognised(tuple(found), table.set_aside, *account)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write memory and rules; ``RAR.load`` reads them."""
        self._fitted_one().save(folder)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        mllm: str | Mllm | None = None,
        *,
        encoder: str | DualEncoder | None = None,
        **options: Any,
    ) -> RAR:
        """What ``save`` wrote, or the run folder of a finished fit; without ``mllm`` it retrieves only.

        ``encoder`` replaces the stored name (moved folder); ``options`` as in the constructor. Raises ``RunError``.
        """
        recogniser = Recogniser.load(folder)
        name = recogniser.memory.encoder if encoder is None else encoder
        settings = RarSettings(ranking=recogniser.ranking)
        return cls(name, mllm, settings=settings, recogniser=recogniser, **{"out": folder, **options})

    # --- parts --------------------------------------------------------------------------------------------------------

    def _fitted(
        self,
        table: FeatureTable,
        names: Sequence[str],
        ledger: Ledger | None,
        aside: Sequence[SetAside],
        answers: Labelled | None,
    ) -> Fit:
        asker = None if self.mllm is None else self._asker(ledger)
        return fitted(
            table,
            self.encoder,
            self.settings,
            k=self.k,
            names=names,
            set_aside=aside,
            asker=asker,
            answers=answers,
            mllm=identity(self.mllm),
            free=self.mllm is not None and self.mllm.local,
            seed=self.seed,
        )

    def _named(self, table: FeatureTable, ledger: Ledger | None) -> tuple[FeatureTable, Labelled]:
        if self.mllm is None:
            raise InputError("naming the photographs needs an MLLM", remedy="Pass mllm=... (--mllm).")
        report = self._reporter("label")
        with nullcontext() if self.cache is None else closing(ResponseCache(self.cache)) as cache:
            return named_table(
                table,
                self.mllm,
                ledger=ledger,
                cache=cache,
                budget=self._budget(ledger),
                progress=lambda done, total, _usage: report(done, total),
                **self.asking,
            )

    def _features(self, items: Sequence[ImageItem], scratch: Path, folder: Path | None) -> FeatureTable:
        if not items:
            return FeatureTable(np.empty((0, self.encoder.dim), np.float32), (), ())
        root = self.store or (folder or scratch) / "features"
        return FeatureStore(root).features(items, self.encoder, progress=self._reporter("features"))

    def _run(self, items: Sequence[ImageItem], names: Sequence[str], name_by_mllm: bool) -> _MaybeRun:
        if self.out is None:
            return nullcontext()
        settings = self.run_settings(items, names, name_by_mllm)
        return RunFolder.create_or_resume(self.out, settings=settings, command="fit rar", force=self.force)

    def _ledger(self) -> AbstractContextManager[Ledger | None]:
        """The run's ledger, locked for this process; none where there is no run folder."""
        if self.out is None or not (self.out / "manifest.json").exists():
            return nullcontext()
        return locked_ledger(self.out)

    def _asker(self, ledger: Ledger | None) -> Asker:
        assert self.mllm is not None
        return Asker(
            self.mllm,
            self.settings.ranking,
            ledger=ledger,
            cache=self.cache,
            budget=self._budget(ledger),
            options=self.asking,
            report=self._reporter("rank"),
        )

    def _budget(self, ledger: Ledger | None) -> Budget | None:
        """What is left of the cap: by the run's ledger, or, where there is none, by what this object has spent."""
        if self.budget is None or ledger is None:
            return self._purse
        return Budget(self.budget, spent=spent_in(ledger))

    def _fitted_one(self) -> Recogniser:
        if self.recogniser is None:
            raise InputError("this RAR has not been fitted", remedy="Call fit, or load a saved one.")
        return self.recogniser

    def _ready(self) -> Recogniser:
        recogniser = self._fitted_one()
        recogniser.memory.check_encoder(self.encoder)
        learned_for, given = recogniser.rules.mllm, identity(self.mllm)
        if given and learned_for and given != learned_for and recogniser.rules.weight_from != "given":
            raise InputError(
                "the MLLM is not the one whose weight was learned",
                remedy="Use that one, fit again with this one, or predict without.",
                learned=learned_for,
                given=given,
            )
        return recogniser

    def _reporter(self, stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)

        return report


_MaybeRun = AbstractContextManager[RunFolder | None]
