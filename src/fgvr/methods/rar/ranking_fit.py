"""Fine-tuning an MLLM to rank: labelled images to lists, lists to a LoRA adapter (paper section 3.3).

1. *Training settings.* Paper: one epoch, rate 1e-5, about 30,000 lists. Rank, batch size, schedule and which layers are
   not published (the checkpoint's name says LoRA); here rank 8 on the language model's linear layers, 16 lists a step,
   cosine.
2. *One source.* The paper tunes on aircraft and uses the ranker on other things; nothing here depends on the classes.

The run folder::

    RUN/data.jsonl, RUN/sharegpt.json   the lists as training rows
    RUN/training/                       loss.jsonl, checkpoints
    RUN/adapter/                        load_mllm("local:RUN/adapter")
    RUN/summary.json
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.data.items import Source, as_items
from fgvr.errors import InputError
from fgvr.methods.rar.ranking_data import (
    AS_DESCRIBED,
    Pool,
    RankingDataSettings,
    RankingRow,
    ranking_rows,
    released_rows,
    training_rows,
    two_subsets,
)
from fgvr.runs import settings_digest
from fgvr.training import Lora, TrainSettings, base_of, preflight, prepare_model, save_adapter, train, write_rows
from fgvr.training.rows import TrainingRow
from fgvr.types import ImageItem, SetAside

if TYPE_CHECKING:
    from fgvr.data.items import Items
    from fgvr.encoders.base import DualEncoder
    from fgvr.encoders.store import FeatureTable
    from fgvr.runs import RunFolder
    from fgvr.training import Preflight, Trained

Progress = Callable[[str, int, int], None]
STAGE = "adapter"


@dataclass(frozen=True)
class RankerSettings:
    """Everything that decides the adapter but the images, the models and the seed."""

    data: RankingDataSettings = AS_DESCRIBED
    memory_share: float = 0.5
    """Of each class's images that are memory (D_a); the rest are queries (D_b)."""
    most_lists: int | None = 30_000
    """More are thinned by seed (paper: "roughly 30,000")."""
    prompt: str = "test"
    """``test`` (the prompt asked in use) or ``released`` (the released training data's)."""
    kind: str = "aircraft"
    """Super-category in the released prompt."""
    lora: Lora = field(default_factory=Lora)
    training: TrainSettings = field(default_factory=lambda: TrainSettings(learning_rate=1e-5))


@dataclass(frozen=True)
class RankerData:
    """Lists to learn from, and what they were made of."""

    rows: tuple[TrainingRow, ...]
    classes: int
    memory: int
    """Images in D_a."""
    queries: int
    """Images in D_b."""
    queries_used: int
    """Those with at least one list."""
    lists: int
    """Before thinning."""
    set_aside: tuple[SetAside, ...]


def ranker_data(
    images: Source,
    encoder: DualEncoder,
    *,
    settings: RankerSettings = RankerSettings(),
    store: Path,
    seed: int = 0,
    progress: Progress | None = None,
) -> RankerData:
    """Encode the labelled images, draw two subsets, make lists. Raises ``InputError`` with fewer than two classes."""
    from fgvr.encoders.store import FeatureStore

    found = as_items(images)
    labelled = [item for item in found.items if item.label is not None]
    unlabelled = [SetAside(i.id, str(i.path), "no label") for i in found.items if i.label is None]
    names = sorted({str(item.label) for item in labelled})
    if len(names) < 2:
        remedy = "Give a folder with one sub-folder a class, or a manifest with a label column."
        raise InputError("ranking needs images of two classes at least", remedy=remedy, classes=len(names))

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress("encode", done, total)

    table = FeatureStore(store).features(labelled, encoder, progress=told)
    pool = _pool(table, names)
    memory, queries = _subsets(pool, settings, seed)
    lists = ranking_rows(queries, memory, names, settings=settings.data, seed=seed)
    chosen = _thinned(lists, settings.most_lists, seed)
    shown = _asked(chosen, settings)
    return RankerData(
        rows=tuple(shown),
        classes=len(names),
        memory=len(memory),
        queries=len(queries),
        queries_used=len({row.image for row in lists}),
        lists=len(lists),
        set_aside=(*found.set_aside, *unlabelled, *table.set_aside),
    )


def fit_ranker(
    images: Source,
    *,
    mllm: str,
    encoder: DualEncoder,
    out: str | Path,
    settings: RankerSettings = RankerSettings(),
    seed: int = 0,
    device: str = "auto",
    store: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    before_training: Callable[[RankerData, Preflight], None] | None = None,
) -> dict[str, Any]:
    """Tune an MLLM to rank; returns the summary (JSON-like), written to ``out/summary.json``.

    An unfinished run in ``out`` is resumed, a finished one returned. ``dry_run``: data and estimate only, nothing kept.

    Args:
        images: labelled ones: a folder a class, or a manifest.
        mllm: a local model, as for ``load_mllm``.
        store: folder of features shared between runs; default inside ``out``.
        before_training: called with what is about to be done.

    Raises ``InputError`` when there is nothing to learn from, ``RunError`` when ``out`` holds another run.
    """
    from fgvr.runs import RunFolder

    out, found = Path(out), as_items(images)
    job = _Job(mllm, encoder, settings, seed, device, progress)
    if dry_run:
        with TemporaryDirectory() as place:
            data, _, _, ahead = job.ahead(found, Path(store or place))
        return {"dry_run": True, **_counts(data), **_estimate(ahead)}
    base, digest = base_of(mllm)
    meant = {"settings": asdict(settings), "seed": seed, "base": base, "base_digest": digest}
    meant |= {"encoder": encoder.fingerprint, "images": _items_digest(found.items)}
    with RunFolder.create_or_resume(out, settings=meant, command="fit ranker") as run:
        if run.is_done(STAGE, settings_digest(run.manifest["settings"])):
            return {**json.loads((out / "summary.json").read_bytes()), "was_finished": True}
        data, model, collate, ahead = job.ahead(found, Path(store or out / "features"))
        write_rows(out / "data.jsonl", data.rows)
        write_rows(out / "sharegpt.json", data.rows)
        if before_training is not None:
            before_training(data, ahead)
        done = train(
            model,
            ahead.rows,
            collate,
            settings=settings.training,
            folder=out / "training",
            seed=seed,
            key=digest,
            progress=progress,
        )
        facts = {**_sizes(data), **meant, "steps": done.steps, "loss": done.loss, "answer_tokens": done.answer_tokens}
        save_adapter(model, out / "adapter", base=base, base_digest=digest, facts=facts)
        return _finish(run, data, ahead, done)


@dataclass(frozen=True)
class _Job:
    """What a fit was asked."""

    mllm: str
    encoder: DualEncoder
    settings: RankerSettings
    seed: int
    device: str
    progress: Progress | None

    def ahead(self, found: Items, store: Path) -> tuple[RankerData, Any, Any, Preflight]:
        """Data, trainable model, collator, estimate."""
        data = ranker_data(
            found, self.encoder, settings=self.settings, store=store, seed=self.seed, progress=self.progress
        )
        model, collate = self._model()
        estimate = preflight(model, data.rows, collate, settings=self.settings.training, seed=self.seed)
        return data, model, collate, estimate

    def _model(self) -> tuple[Any, Any]:
        from fgvr.mllm import load_mllm
        from fgvr.mllm.local import LocalMllm
        from fgvr.training import Collator

        mllm = load_mllm(self.mllm, device=self.device)
        if not isinstance(mllm, LocalMllm):
            raise InputError("only a local model can be tuned", remedy=_LOCAL, mllm=self.mllm)
        return prepare_model(mllm, self.settings.lora, seed=self.seed), Collator(mllm)


_LOCAL = "Use fieldguide or local:FOLDER."


def _finish(run: RunFolder, data: RankerData, ahead: Preflight, done: Trained) -> dict[str, Any]:
    from fgvr.mllm.adapters import CONFIG, WEIGHTS
    from fgvr.runs import write_json

    adapter = run.path / "adapter"
    summary = {
        "run": str(run.path),
        "adapter": str(adapter),
        **_counts(data),
        **_estimate(ahead),
        "done": done.steps,
        "loss": done.loss,
        "seconds": done.seconds,
        "resumed_at": done.resumed_at,
        "left_out": [asdict(one) for one in (*ahead.set_aside, *done.set_aside)],
        "was_finished": False,
    }
    write_json(run.path / "summary.json", summary)
    files = [run.path / "summary.json", adapter / CONFIG, adapter / WEIGHTS]
    run.stage_done(STAGE, settings_digest(run.manifest["settings"]), outputs=files)
    return summary


def _pool(table: FeatureTable, names: Sequence[str]) -> Pool:
    labels = np.array([names.index(str(item.label)) for item in table.items])
    return Pool(np.asarray(table.features), labels, tuple(item.path for item in table.items), table.hashes)


def _subsets(pool: Pool, settings: RankerSettings, seed: int) -> tuple[Pool, Pool]:
    if settings.data.one_pool:
        return pool, pool
    memory, queries = two_subsets(pool.labels, share=settings.memory_share, seed=seed)
    return pool.part(memory), pool.part(queries)


def _thinned(lists: Sequence[RankingRow], most: int | None, seed: int) -> list[RankingRow]:
    if most is None or len(lists) <= most:
        return list(lists)
    chosen = np.random.default_rng([seed, len(lists)]).choice(len(lists), size=most, replace=False)
    return [lists[int(i)] for i in sorted(chosen)]


def _asked(lists: Sequence[RankingRow], settings: RankerSettings) -> list[TrainingRow]:
    if settings.prompt == "released":
        return released_rows(lists, kind=settings.kind)
    if settings.prompt != "test":
        raise InputError("unknown prompt", remedy="Use test or released.", prompt=settings.prompt)
    return training_rows(lists)


def _items_digest(items: Sequence[ImageItem]) -> str:
    lines = "".join(f"{item.id}\0{item.label}\n" for item in items)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sizes(data: RankerData) -> dict[str, Any]:
    plain = {key: value for key, value in vars(data).items() if key not in ("rows", "set_aside")}
    return {**plain, "rows": len(data.rows)}


def _counts(data: RankerData) -> dict[str, Any]:
    return {**_sizes(data), "set_aside": [asdict(one) for one in data.set_aside]}


def _estimate(ahead: Preflight) -> dict[str, Any]:
    return {
        "steps": ahead.steps,
        "trainable": ahead.trainable,
        "parameters": ahead.parameters,
        "memory_bytes": ahead.bytes,
        "estimated_seconds": ahead.seconds,
    }
