"""What every vocabulary-free method is given, and what it gives back: the terms of a fair comparison.

A method sees the same photographs without their labels, the same encoder, the same models, the same allowance. What
it asks goes through ``ask`` (the MLLM, which sees pictures) and ``ask_text`` (a language model, which sees only words),
so that it is recorded, never asked twice, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.encoders import FeatureStore, FeatureTable, crop_views
from fgvr.encoders.base import DualEncoder
from fgvr.mllm import ask_all
from fgvr.mllm.base import Mllm, Request
from fgvr.mllm.outcomes import Answers
from fgvr.naming.labelling import Labelled, PromptKind, label_images


@dataclass(frozen=True)
class Material:
    """What some methods need besides pictures and models; ``None`` where the user gave none."""

    captions: Path | None = None
    """For CaSED: a text file (one caption a line) or Parquet."""
    wordnet: Path | None = None
    """Folder of the WordNet 3.0 database files; ``None`` looks where systems keep it."""
    voter: DualEncoder | None = None
    """A second, stronger encoder for FineR's vote; ``None`` votes with the task's own."""


@dataclass(frozen=True)
class Task:
    """One comparison's terms: one draw of the support set, one test set."""

    support: FeatureTable
    """Unlabelled: N images with features (N, D) float32, unit norm; ``label`` and ``accepted`` are empty."""
    test: FeatureTable
    """T images to be named, likewise unlabelled."""
    encoder: DualEncoder
    mllm: Mllm
    llm: Mllm
    """For steps of pure text; the MLLM itself unless the user named another."""
    store: FeatureStore
    """Shared by all methods: pictures and views are encoded once."""
    folder: Path
    """This method's own, for checkpoints and whatever it wants kept (text features, intermediate answers)."""
    material: Material = field(default_factory=Material)
    seed: int = 0
    asking: Callable[[], dict[str, Any]] = dict
    """What ``ask_all`` takes besides, made afresh for each call: ledger, cache, what is left of the budget, ..."""
    report: Callable[[str, int, int], None] = lambda stage, done, total: None
    """Progress: (stage, done, total)."""

    def ask(self, requests: Sequence[Request]) -> Answers:
        """Questions about pictures, to the MLLM. Raises what ``ask_all`` raises."""
        return ask_all(requests, self.mllm, **self.asking())

    def ask_text(self, requests: Sequence[Request]) -> Answers:
        """Questions without pictures, to the language model."""
        return ask_all(requests, self.llm, **self.asking())

    def label_support(self, *, prompt: PromptKind = "paper", text: str | None = None) -> Labelled:
        """The MLLM's name for every support image, one question each; the same for every method that asks so."""
        return label_images(
            self.support.items, self.mllm, prompt=prompt, text=text, hashes=self.support.hashes, **self.asking()
        )

    def views(self, table: FeatureTable, count: int, *, min_scale: float = 0.5) -> np.ndarray:
        """Features of the plain view and of ``count`` random crops and flips: (N, 1 + count, D) float32, unit norm."""
        names = ("plain", *crop_views(count, min_scale=min_scale))
        told = partial(self.report, "views")
        found = self.store.features(table.items, self.encoder, views=names, progress=told).features
        return np.asarray(found).reshape(len(table.items), len(names), -1)


@dataclass(frozen=True)
class Naming:
    """A method's answer."""

    names: tuple[str | None, ...]
    """One a test image, in order; ``None`` where there is no answer (never scored as wrong, but counted)."""
    vocabulary: tuple[str, ...] = ()
    """The label space the names come from; empty where there is none (every image its own)."""
    probabilities: tuple[float, ...] | None = None
    """Of each name, in [0, 1], where the method has them."""
    notes: tuple[str, ...] = ()
    """What a reader of the figure must know: what was used instead of what, coverage of a word list, ..."""
    figures: dict[str, float] = field(default_factory=dict)
    """Further figures worth keeping (label space before the vote, replies that could not be read, ...)."""
