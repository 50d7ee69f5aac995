"""Fine-R1 on the embedded world: pictures, rationales, one training after another, and what each has learned.

Used by ``fine_r1_embedded.py`` (tables) and by whoever wants another row.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embedded_results import draw
from fair_table import named

from fgvr.data.benchmarks.questions import Question
from fgvr.encoders import load_encoder
from fgvr.encoders.store import FeatureStore
from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.training.texts import withheld
from fgvr.methods.fine_r1.contrastive import contrastive_rows
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.evaluation import Examined, examine
from fgvr.methods.fine_r1.policy import train_policy
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.reasoning import ReasoningSettings, build_reasoning, sft_rows
from fgvr.methods.fine_r1.record import unexplained
from fgvr.methods.fine_r1.settings import sft_settings, trained_weights
from fgvr.methods.fine_r1.shots import Division, divide
from fgvr.methods.fine_r1.similarity import DualTexts
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.methods.fine_r1.triplets import Triplet, mine_triplets
from fgvr.mllm import load_mllm
from fgvr.mllm.local import LocalMllm
from fgvr.multiple_choice.distractors import FOCI_TEMPLATE, encoder_source, nearest_names
from fgvr.multiple_choice.questions import make_questions
from fgvr.runs import write_json
from fgvr.training import Collator, prepare_model, save_full, train
from fgvr.training.rollout import Sampling
from fgvr.types import ImageItem

TRAIN_SEED, TEST_SEED = 310_000_000, 312_000_000
"""View seeds of the first picture of a species."""
SHOTS, TESTS = 5, 3
"""Pictures a species: one to reason about and four to reinforce; three to test."""
KIND = {one.name: one.super_category for one in all_species()}
WITHHELD = frozenset(one.name for one in withheld())
WEIGHTS = trained_weights(full=True)
SFT = sft_settings(
    learning_rate=1e-3, batch_size=8, micro_batch=8, weight_decay=0.0, warmup=0.03, checkpoint_every=0, precision="no"
)
POLICY = PolicySettings(
    learning_rate=1e-4,
    epochs=1,
    rollout_batch=16,
    mini_rollout=20,
    update_batch=8,
    anchors=3,
    positives=3,
    micro_batch=48,
    sampling=Sampling(max_tokens=100, batch=160),
    dynamic=DynamicSampling(tries=1),
    style="short",
    checkpoint_every=0,
    precision="no",
)
"""The paper's proportions in the size of the drawn world: two updates a rollout, one mini rollout a step (what is
filtered out is replaced by four spare prompts at most). Rates and lengths were chosen on other drawn pictures by the CoT SFT and by DAPO."""


@dataclass(frozen=True)
class Row:
    """One row of a table: how a model is trained."""

    title: str
    thinking: str = "short"
    """Of the rationales: ``full``, ``short`` or ``none``."""
    tuned: bool = True
    """Whether there is an SFT."""
    objective: TapoSettings | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Changes of ``POLICY``."""
    among: bool = True
    """Rationales name seen species only."""
    rate: float = SFT.learning_rate
    """Of the SFT."""
    free: bool = False
    """Asked its plain naming question and scored by names, as a model that never learned the tags."""


class World:
    """Pictures of every species, divided anew by every seed."""

    def __init__(self, work: Path, *, train_seed: int = TRAIN_SEED, test_seed: int = TEST_SEED) -> None:
        self.work = work
        self.train = named(draw(work / f"train-{train_seed}", train_seed, SHOTS))
        self.test = named(draw(work / f"test-{test_seed}", test_seed, TESTS))
        self.encoder = load_encoder("fieldguide")
        self.store = FeatureStore(work / "features")
        self.key = f"{train_seed}-{test_seed}"

    def division(self, seed: int) -> Division:
        """60 % of the species are seen."""
        return divide(self.train, test=self.test, super_category=KIND, seed=seed)

    def triplets(self, seed: int) -> tuple[Triplet, ...]:
        """Anchors, positives, hard negatives of the seen species."""
        items = self.division(seed).rl
        features = self.store.features(list(items), self.encoder).features
        return mine_triplets(items, features, shots=None, super_category=KIND, seed=seed).triplets

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Four options about a test picture of each species, three of them what the encoder takes it for."""
        items = [*{str(item.label): item for item in self.test}.values()]
        names = sorted(KIND)
        table = self.store.features(items, self.encoder)
        texts = self.encoder.encode_texts([FOCI_TEMPLATE.format(name) for name in names])
        truths = {item.id: str(item.label) for item in items}
        wrong = nearest_names(truths, names, image_features=table.features, text_features=texts)
        return make_questions(items, wrong, seed=0).questions

    # --- training -----------------------------------------------------------------------------------------------------

    def tuned(self, row: Row, seed: int) -> Path:
        """The model after the SFT; trained once."""
        told = f"{row.thinking}{'' if row.among else '-any'}{'' if row.rate == SFT.learning_rate else f'-{row.rate:g}'}"
        place = self.work / "models" / self.key / f"sft-{told}-{seed}"
        if (place / "config.json").exists():
            return place
        began = time.perf_counter()
        items, mllm = self.division(seed).sft, local("fieldguide")
        model = prepare_model(mllm, WEIGHTS, seed=seed)
        rows = sft_rows(self.rationales(items, row, seed), style="short", thinking=as_rows(row.thinking), seed=seed)
        settings = replace(SFT, learning_rate=row.rate)
        with tempfile.TemporaryDirectory() as folder:
            done = train(model, rows, Collator(mllm), settings=settings, folder=folder, seed=seed)
        facts = {"rows": len(rows), "steps": done.steps, "loss": done.loss, "seconds": time.perf_counter() - began}
        return save_full(mllm, place, source=weights_folder("mllm"), facts=facts)

    def rationales(self, items: tuple[ImageItem, ...], row: Row, seed: int) -> tuple[Any, ...]:
        """Written by the field guide's text, which knows the true attributes."""
        if row.thinking == "none":
            return unexplained(items, KIND, seed=seed)
        return build_reasoning(
            items,
            load_mllm("fieldguide-text"),
            super_category=KIND,
            settings=ReasoningSettings(length=row.thinking, captions=(), seed=seed),  # type: ignore[arg-type]
            teacher_sees=False,
            among=self.division(seed).seen if row.among else None,
        ).rationales

    def result(self, row: Row, *, seed: int) -> dict[str, Any]:
        """Train and measure, or read what was measured before."""
        place = self.work / "results" / self.key / f"{slug(row.title)}-{seed}.json"
        if not place.exists():
            began = time.perf_counter()
            found = self.trained(row, seed=seed)
            write_json(place, {**found, "seconds": time.perf_counter() - began})
        read: dict[str, Any] = json.loads(place.read_bytes())
        return read

    def trained(self, row: Row, *, seed: int) -> dict[str, Any]:
        """The figures of one training."""
        mllm = local(f"local:{self.tuned(row, seed)}" if row.tuned else "fieldguide")
        facts: dict[str, Any] = {}
        if row.objective is not None:
            model = prepare_model(mllm, WEIGHTS, seed=seed)
            settings = replace(POLICY, objective=row.objective, thinking=row.thinking != "none", **row.policy)
            with tempfile.TemporaryDirectory() as folder:
                done = train_policy(mllm, model, self.triplets(seed), settings=settings, folder=folder, seed=seed)
                lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
            facts = {"steps": done.steps, "log": lines, "alarm": None if done.alarm is None else done.alarm.kind}
        return {"trained": facts, **self.examined(mllm, row, seed)}

    # --- examination --------------------------------------------------------------------------------------------------

    def examined(self, mllm: LocalMllm, row: Row, seed: int) -> dict[str, Any]:
        """Right or wrong a picture, open and closed; relative similarity; lengths."""
        found = examine(
            mllm,
            closed=self.questions,
            open_items=self.test,
            seen=self.division(seed).seen,
            super_category={item.id: KIND[str(item.label)] for item in self.test},
            style="short",
            thinking=row.thinking != "none",
            rotations=False,
            free=row.free,
            max_tokens=160 if row.thinking == "full" else POLICY.sampling.max_tokens,
            sentences=DualTexts(self.encoder),
            source=encoder_source(self.encoder),
        )
        return facts_of(found)

    def contrastive(self, seed: int) -> list[dict[str, Any]]:
        """The dual encoder on the same pictures, with a prompt and with an ensemble."""
        rows = contrastive_rows(
            [self.encoder],
            closed=self.questions,
            open_items=self.test,
            names=sorted(KIND),
            seen=self.division(seed).seen,
            super_category={item.id: KIND[str(item.label)] for item in self.test},
            sentences=DualTexts(self.encoder),
        )
        return [facts_of(one) for one in rows]


def facts_of(found: Examined) -> dict[str, Any]:
    """What is kept of an examination: scores a picture, and which classes were seen."""
    kept: dict[str, Any] = {}
    for name, part in found.parts.items():
        measured = part.measured
        assert measured is not None
        kept[name] = {
            key: [None if value != value else float(value) for value in values]
            for key, values in measured.scores.items()
        }
        kept[f"{name} seen"] = list(measured.flags)
        kept[f"{name} words"] = None if part.words is None else part.words.as_dict()
        kept[f"{name} replied"] = part.replied
    kept["open answers"] = [row["answer"] for row in found.parts["open"].replies]
    return kept


def local(spec: str) -> LocalMllm:
    """A model of this study."""
    mllm = load_mllm(spec, batch_size=96)
    assert isinstance(mllm, LocalMllm)
    return mllm


def as_rows(thinking: str) -> Any:
    """A short rationale is written short, and learned whole."""
    return "none" if thinking == "none" else "full"


def slug(title: str) -> str:
    """A title as a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def share(values: list[float | None], flags: list[bool | None], wanted: bool) -> float:
    """Mean over the pictures of seen, or of unseen classes; what has no value is left out."""
    kept = [value for value, flag in zip(values, flags, strict=True) if flag is wanted and value is not None]
    return float(np.mean(kept)) if kept else float("nan")


def one_thread() -> None:
    """Several trainings side by side, each with its own processor."""
    torch.set_num_threads(1)
