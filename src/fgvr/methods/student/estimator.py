"""``Student``: the method as an object, from photographs to a saved classifier."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.data import Source, as_items
from fgvr.encoders import FeatureStore, FeatureTable, crop_views
from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.near.local import check_encoder, predictions
from fgvr.methods.student.asking import (
    STAGES,
    Teachers,
    allowance,
    checked_size,
    draws,
    first_opinions,
    second_opinions,
)
from fgvr.methods.student.classifier import METHOD, StudentClassifier
from fgvr.methods.student.given_names import Given, given_opinions, keep_names, names_in
from fgvr.methods.student.record import Asked, Fit, classifier_of, groups_in, identity, write_fit
from fgvr.methods.student.settings import StudentSettings
from fgvr.methods.student.views import averaged_features
from fgvr.mllm import load_mllm
from fgvr.mllm.base import Mllm
from fgvr.naming.choose import Choosing, checked
from fgvr.naming.labelling import PromptKind
from fgvr.runs import RunFolder, settings_digest
from fgvr.types import ImageItem, Prediction, SetAside

if TYPE_CHECKING:
    from fgvr.methods.student.pipeline import Learned

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); stages are features, label, second, and those of ``pipeline.learn``."""


class Student:
    """Learn from an MLLM's answers about a part of a collection, and from the whole of it.

    Args:
        encoder: a ``transformers`` CLIP-like folder or Hub id, ``fieldguide``, or a loaded encoder.
        mllm: ``openai:MODEL``, ``local:...``, ``replay:FILE.jsonl``, ``fieldguide``, or a provider. Only for ``fit``.
        settings: every part of the method, each with its switch.
        prompt: as in ``naming.label_images``.
        text: a prompt of your own.
        samples: replies drawn in each call, a distribution over names instead of one (``naming/sampled.py``). By
            default 16 from a local MLLM with a short question, else 1: a service takes its price for every one.
        labels: calls to the MLLM in all; ``None``: one an image.
        share: the same as a share of the collection, in (0, 1]; instead of ``labels``.
        choose: which images are asked about; see ``fgvr.naming.choose``.
        views: crops whose features are averaged with those of the whole image, here and in every prediction.
        second: the MLLM for second opinions (``settings.second_opinion``); ``None`` asks the same one in other words.
        sentence_encoder: tells how alike names are; without one their words do.
        out: the run folder. Interrupted fits go on from it; ``None`` keeps nothing.
        store: folder of the shared feature store; inside ``out`` by default.
        cache: SQLite file of a shared response cache; none by default (the run's ledgers alone prevent double payment).
        budget: cap in US dollars, over first and second opinions and all sessions.
        seed: of the choice, the folds, the heads.

    After ``fit``: ``classifier`` and ``last_fit``.
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | DualEncoder,
        mllm: str | Mllm | None = None,
        *,
        settings: StudentSettings | None = None,
        prompt: PromptKind = "paper",
        text: str | None = None,
        samples: int | None = None,
        labels: int | None = 600,
        share: float | None = None,
        choose: Choosing = "spread",
        views: int = 4,
        second: str | Mllm | None = None,
        sentence_encoder: Any = None,
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
        classifier: StudentClassifier | None = None,
    ) -> None:
        self._encoder, self._mllm, self._second = encoder, mllm, second
        self.settings = settings or StudentSettings()
        self.prompt, self.text, self._samples = prompt, text, samples
        self.labels, self.share = checked_size(labels, share)
        self.choose, self.views = checked(choose), views
        self.sentence_encoder = sentence_encoder
        self.out = None if out is None else Path(out)
        self.force = force
        self.store = None if store is None else Path(store)
        self.cache = None if cache is None else Path(cache)
        self.budget = budget
        self.asking: dict[str, Any] = {
            "concurrency": concurrency,
            "attempts": attempts,
            "prices": prices,
            "allow_unpriced": allow_unpriced,
            "retry_failed": retry_failed,
        }
        self.seed, self.progress = seed, progress
        self.classifier: StudentClassifier | None = classifier
        self.last_fit: Fit | None = None
        self.kept_back = 0
        """Calls that the last fit kept back for second opinions."""

    @property
    def encoder(self) -> DualEncoder:
        """Loaded at first use."""
        if isinstance(self._encoder, (str, os.PathLike)):
            from fgvr.encoders import load_encoder

            self._encoder = load_encoder(str(self._encoder))
        return self._encoder

    @property
    def mllm(self) -> Mllm:
        """Loaded at first use."""
        if self._mllm is None:
            raise InputError("fitting needs an MLLM to learn from", remedy="Pass mllm=...")
        if isinstance(self._mllm, str):
            self._mllm = load_mllm(self._mllm)
        return self._mllm

    @property
    def samples(self) -> int:
        """Replies drawn in each call."""
        return draws(self._samples, self.mllm, self.prompt)

    @property
    def second(self) -> Mllm | None:
        """The MLLM for second opinions where there is another one, loaded at first use."""
        if isinstance(self._second, str):
            self._second = load_mllm(self._second)
        return self._second

    def fit(self, images: Source, *, names: Mapping[str, str] | None = None) -> Student:
        """Encode the collection, ask about a part of it, learn from all of it. Returns itself.

        Args:
            images: folder, pattern, manifest, list of paths, or items: all of it is the pool.
            names: what you call some of the images, by item id: trusted, whatever the MLLM says of them. With a run
                folder they are kept there (``names.csv``) and hold beside those given before.

        Raises ``NoImagesError`` when nothing can be read, ``InputError`` when the MLLM named nothing, ``RunError`` when
        the run folder belongs to other settings. True labels in the input are never looked at.
        """
        found = as_items(images)
        with self._run(found.items) as run, tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            place = Path(scratch) if run is None else run.path
            named = self._names(run, names)
            table = self._encoded(found.items, self.store or place / "features")
            given = given_opinions(named, table.items) if named else None
            if run is not None and names:
                keep_names(run.path, named)
            teachers = self._teachers(run)
            again = self.settings.second_opinion.share
            size, kept = allowance(len(table.items), labels=self.labels, share=self.share, second=again)
            choose: dict[str, Any] = {"how": self.choose, "seed": self.seed, "settings": self.settings}
            report = self._reporter("label")
            first = first_opinions(table, teachers, size, encoder=self.encoder, report=report, **choose)
            self.kept_back = kept
            learned = self._learn(table, first, None, given, None)
            report = self._reporter("second")
            second = second_opinions(table, teachers, first, learned, self.settings, most=kept, report=report)
            if second is not None:
                learned = self._learn(table, first, second, given, learned)
            groups = groups_in(table.features, learned, self.settings)
            self.last_fit = Fit(learned, table, first, second, (*found.set_aside, *table.set_aside), groups, given)
            self.classifier = classifier_of(
                self.last_fit, self.encoder, views=self.views, teachers=(self.mllm, self.second)
            )
            if run is not None:
                write_fit(run, self.classifier, self.last_fit)
        return self

    def predict(
        self, images: Source, *, top_k: int = 5, store: str | os.PathLike[str] | None = None, batch_size: int = 64
    ) -> list[Prediction]:
        """Classify images locally: one ``Prediction`` per readable image, in input order (unreadable ones are logged).

        Raises ``EncoderError`` when the encoder is not the one the classifier was fitted with.
        """
        return self.predict_items(as_items(images).items, top_k=top_k, store=store, batch_size=batch_size)[0]

    def predict_items(
        self,
        items: Sequence[ImageItem],
        *,
        top_k: int = 5,
        store: str | os.PathLike[str] | None = None,
        batch_size: int = 64,
    ) -> tuple[list[Prediction], tuple[SetAside, ...]]:
        """As ``predict``, with the images set aside. Every image is encoded in all views of the fit."""
        classifier = self._fitted()
        check_encoder(classifier, self.encoder)
        with tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            root = Path(store) if store is not None else self.store or Path(scratch)
            table = self._encoded(items, root, views=classifier.views, batch_size=batch_size)
        return predictions(classifier, table, top_k=top_k), table.set_aside

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the classifier (safetensors and JSON); ``fgvr.load`` reads it."""
        self._fitted().save(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, encoder: str | DualEncoder | None = None) -> Student:
        """A saved classifier, or the run folder of a finished fit. ``encoder`` replaces the stored name (moved folder).

        Raises ``RunError`` for a damaged classifier; a wrong encoder is noticed at the first prediction.
        """
        inner = Path(folder) / "classifier"
        classifier = StudentClassifier.load(inner if inner.is_dir() else folder)
        return cls(classifier.encoder if encoder is None else encoder, classifier=classifier, views=classifier.views)

    def run_settings(self, items: Sequence[ImageItem]) -> dict[str, Any]:
        """What makes two fits the same run (JSON-like): settings, models, prompt, ids of the pool."""
        return {
            "method": METHOD,
            "encoder": self.encoder.fingerprint,
            "mllm": identity(self.mllm),
            "second": None if self.second is None else identity(self.second),
            "prompt": self.text or self.prompt,
            "samples": self.samples,
            "views": self.views,
            "seed": self.seed,
            "pool": {"images": len(items), "ids": settings_digest({"ids": [item.id for item in items]})},
            "choose": {"how": self.choose, "labels": self.labels, "share": self.share},
            "fit": self.settings.to_dict(),
        }

    def _run(self, items: Sequence[ImageItem]) -> AbstractContextManager[RunFolder | None]:
        if self.out is None:
            return nullcontext()
        return RunFolder.create_or_resume(
            self.out, settings=self.run_settings(items), command="fit student", force=self.force
        )

    def _encoded(
        self, items: Sequence[ImageItem], store: Path, *, views: int | None = None, batch_size: int = 64
    ) -> FeatureTable:
        """Averaged features (N, D) of all images that can be read."""
        names = ("plain", *crop_views(self.views if views is None else views))
        report = self._reporter("features")
        return averaged_features(
            FeatureStore(store), items, self.encoder, views=names, batch_size=batch_size, progress=report
        )

    def _teachers(self, run: RunFolder | None) -> Teachers:
        return Teachers(
            first=self.mllm,
            second=self.second,
            prompt=self.prompt,
            text=self.text,
            samples=self._samples,
            budget=self.budget,
            cache=self.cache,
            options=self.asking,
            ledgers={} if run is None else {name: run.ledger(name) for name in STAGES},
        )

    def _names(self, run: RunFolder | None, names: Mapping[str, str] | None) -> dict[str, str]:
        """All names given so far, by item id; later ones win."""
        return {**({} if run is None else names_in(run.path)), **(names or {})}

    def _learn(
        self, table: FeatureTable, first: Asked, second: Asked | None, given: Given | None, before: Learned | None
    ) -> Learned:
        from fgvr.methods.student.pipeline import learn

        return learn(
            table.features,
            first.rows,
            first.labelled.named,
            self.encoder,
            self.settings,
            second=None if second is None else (second.rows, second.labelled.named),
            given=given,
            sentence_encoder=self.sentence_encoder,
            graph=None if before is None else before.graph,
            seed=self.seed,
            progress=self.progress,
        )

    def _fitted(self) -> StudentClassifier:
        if self.classifier is None:
            raise InputError("this student has not been fitted", remedy="Call fit, or load a saved classifier.")
        return self.classifier

    def _reporter(self, stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)

        return report
