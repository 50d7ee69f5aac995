"""``NeaR``: the method as an object, from photographs to a saved classifier."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from fgvr.data import Source, as_items, draw_support
from fgvr.encoders import FeatureStore, FeatureTable, crop_views
from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.near.classifier import Classifier
from fgvr.methods.near.local import check_encoder, predictions
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.methods.near.record import Fit as Fit
from fgvr.methods.near.record import annotated, write_fit
from fgvr.methods.near.support import choose_and_label, question_after, spent_on, with_views
from fgvr.mllm import Budget, ResponseCache, load_mllm, spent_in
from fgvr.mllm.base import Mllm
from fgvr.naming.choose import Choosing, checked
from fgvr.naming.labelling import Labelled, PromptKind, label_images
from fgvr.runs import Ledger, RunFolder, settings_digest
from fgvr.types import ImageItem, Prediction, SetAside

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); stages are features, label, select, tune, calibrate."""

SUPPORT_SIZE = 600
"""Images the MLLM names when the collection is larger; Bird-200's support in the paper."""


class NeaR:
    """Learn to name photographs from an MLLM's answers about a few of them.

    Args:
        encoder: a ``transformers`` CLIP-like folder or Hub id, ``fieldguide``, or a loaded encoder.
        mllm: ``openai:MODEL``, ``local:...``, ``replay:FILE.jsonl``, ``fieldguide``, or a provider. Only for ``fit``.
        settings: candidate sets, tuning, merging, calibration; defaults are the workshop method.
        prompt: as in ``naming.label_images``.
        text: a prompt of your own.
        support_size: photographs to name when there are more; ``None`` names all.
        choose: which of them: ``random`` draws by ``seed``; ``spread`` and ``active`` encode all first and leave
            near-duplicates out, see ``fgvr.naming.choose``.
        views: augmented views per image beside the plain one.
        sentence_encoder: merges synonyms by meaning where ``settings.merge_threshold`` is set.
        out: the run folder. Interrupted fits go on from it; ``None`` keeps nothing.
        store: folder of the shared feature store; inside ``out`` by default.
        cache: SQLite file of a shared response cache; none by default (the run's ledger alone prevents double payment).
        budget: cap in US dollars.
        seed: of the support draw, the context, batches, folds.

    After ``fit``: ``classifier`` and ``last_fit``.
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | DualEncoder,
        mllm: str | Mllm | None = None,
        *,
        settings: FitSettings | None = None,
        prompt: PromptKind = "paper",
        text: str | None = None,
        support_size: int | None = SUPPORT_SIZE,
        choose: Choosing = "random",
        views: int = 0,
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
        classifier: Classifier | None = None,
    ) -> None:
        self._encoder, self._mllm = encoder, mllm
        self.settings = settings or FitSettings()
        self.prompt, self.text, self.support_size, self.views = prompt, text, support_size, views
        self.choose = checked(choose)
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
        self.classifier: Classifier | None = classifier
        self.last_fit: Fit | None = None

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
            raise InputError("fitting needs an MLLM to name the support images", remedy="Pass mllm=...")
        if isinstance(self._mllm, str):
            self._mllm = load_mllm(self._mllm)
        return self._mllm

    def fit(self, images: Source, *, support: Source | None = None) -> NeaR:
        """Name a support set, tune, calibrate. Returns itself.

        Args:
            images: folder, pattern, manifest, list of paths, or items. Rows of a manifest with split ``support`` are
                the support set; otherwise ``support_size`` are drawn.
            support: name the support set itself instead. What ``choose`` chooses, it chooses of these.

        Raises ``NoImagesError`` when nothing can be read, ``InputError`` when the MLLM named nothing, ``RunError`` when
        the run folder belongs to other settings. True labels in the input are never looked at.
        """
        found = as_items(images if support is None else support)
        items = found.items if support is not None else self._support(found.items)
        with self._run(items) as run, tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            folder = None if run is None else run.path
            table, labelled = self._named(items, run, self.store or (folder or Path(scratch)) / "features")
            fitted = fit_classifier(
                table.features,
                labelled.named,
                self.encoder,
                self.settings,
                sentence_encoder=self.sentence_encoder,
                seed=self.seed,
                folder=folder,
                progress=self.progress,
            )
            self.classifier = annotated(fitted.classifier, labelled, self.mllm)
            self.last_fit = Fit(fitted, table, labelled, (*found.set_aside, *table.set_aside))
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
        """As ``predict``, with the images set aside."""
        classifier = self._fitted()
        check_encoder(classifier, self.encoder)
        with tempfile.TemporaryDirectory(prefix="fgvr-") as scratch:
            root = Path(store) if store is not None else self.store or Path(scratch)
            table = FeatureStore(root).features(
                items, self.encoder, batch_size=batch_size, progress=self._reporter("features")
            )
            return predictions(classifier, table, top_k=top_k), table.set_aside

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the classifier (safetensors and JSON); ``fgvr.load`` reads it."""
        self._fitted().save(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, encoder: str | DualEncoder | None = None) -> NeaR:
        """A saved classifier, or the run folder of a finished fit. ``encoder`` replaces the stored name (moved folder).

        Raises ``RunError`` for a damaged classifier; a wrong encoder is noticed at the first prediction.
        """
        place = Path(folder)
        classifier = Classifier.load(place / "classifier" if (place / "classifier").is_dir() else place)
        return cls(classifier.encoder if encoder is None else encoder, classifier=classifier)

    def run_settings(self, items: Sequence[ImageItem]) -> dict[str, Any]:
        """What makes two fits the same run (JSON-like): settings, models, prompt, ids to name or choose from."""
        # A random draw is no key of its own: its ids tell it, and runs begun before there was a choice go on.
        chosen = {} if self.choose == "random" else {"choose": {"how": self.choose, "size": self.support_size}}
        return {
            "method": "near",
            "encoder": self.encoder.fingerprint,
            "mllm": {"name": self.mllm.name, "revision": self.mllm.revision},
            "prompt": self.text or self.prompt,
            "views": self.views,
            "seed": self.seed,
            "support": settings_digest({"ids": [item.id for item in items]}),
            **chosen,
            "fit": self.settings.to_dict(),
        }

    def _support(self, items: Sequence[ImageItem]) -> tuple[ImageItem, ...]:
        marked = tuple(item for item in items if item.split == "support")
        if marked:
            return marked
        if self.choose != "random" or self.support_size is None or len(items) <= self.support_size:
            return tuple(items)
        return draw_support(items, n=self.support_size, seed=self.seed)[0]

    def _run(self, items: Sequence[ImageItem]) -> AbstractContextManager[RunFolder | None]:
        if self.out is None:
            return nullcontext()
        return RunFolder.create_or_resume(
            self.out, settings=self.run_settings(items), command="fit near", force=self.force
        )

    def _named(self, items: Sequence[ImageItem], run: RunFolder | None, store: Path) -> tuple[FeatureTable, Labelled]:
        """The support set and the MLLM's answers about it."""
        encode = partial(FeatureStore(store).features, encoder=self.encoder, progress=self._reporter("features"))
        ask = partial(self._label, None if run is None else run.ledger("labels"))
        views = ("plain", *crop_views(self.views))
        if self.choose == "random":
            table = encode(items, views=views)
            return table, ask(table)
        how = partial(choose_and_label, how=self.choose, seed=self.seed, encoder=self.encoder)
        settled = None if run is None else run.ledger("choice")
        chosen, labelled = how(encode(items), self.support_size, ask, settled=settled)
        return with_views(chosen, labelled, encode(chosen.items, views=views)) if self.views else (chosen, labelled)

    def _label(
        self, ledger: Ledger | None, table: FeatureTable, before: Sequence[Labelled] = (), wanted: int | None = None
    ) -> Labelled:
        budget = None
        if self.budget is not None:
            budget = Budget(self.budget, spent=spent_on(before) if ledger is None else spent_in(ledger))
        report = self._reporter("label")
        asked = sum(len(part.named) for part in before)
        return label_images(
            table.items,
            self.mllm,
            prompt=self.prompt,
            text=self.text or question_after(before, self.prompt),
            hashes=table.hashes,
            ledger=ledger,
            cache=None if self.cache is None else ResponseCache(self.cache),
            budget=budget,
            progress=lambda done, total, _usage: report(asked + done, wanted or total),
            **self.asking,
        )

    def _fitted(self) -> Classifier:
        if self.classifier is None:
            raise InputError("this NeaR has not been fitted", remedy="Call fit, or load a saved classifier.")
        return self.classifier

    def _reporter(self, stage: str) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)

        return report
