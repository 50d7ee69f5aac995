"""The two trainings of a run: from rows or triplets to weights in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fgvr.errors import InputError
from fgvr.methods.fine_r1.settings import Rollouts
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.mllm.adapters import CONFIG, WEIGHTS
from fgvr.training import Collator, Lora, base_of, prepare_model, save_adapter, save_full, train
from fgvr.training.distributed import is_main_process
from fgvr.training.rows import TrainingRow

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.run import Job
    from fgvr.mllm.local import LocalMllm
    from fgvr.training.rollout import Engine

Done = tuple[dict[str, Any], list[Path]]
"""Facts, and the files that must be whole for the training to count as done."""


def weights_place(folder: Path, weights: Lora) -> Path:
    """Where a training's result lies in its folder."""
    return folder / ("model" if weights.full else "adapter")


def fine_tune(job: Job, rows: Sequence[TrainingRow]) -> Done:
    """The CoT SFT of the run's model."""
    folder, (_, digest) = job.out / "sft", base_of(job.spec)
    mllm = job.load(job.spec)
    model = prepare_model(mllm, job.settings.weights, seed=job.seed)
    done = train(
        model,
        rows,
        Collator(mllm),
        settings=job.settings.sft,
        folder=folder,
        seed=job.seed,
        key=f"{digest} {job.settings.weights}",
        progress=None if job.progress is None else _named(job, "sft"),
        live=job.live,
    )
    facts = {"rows": len(rows), "steps": done.steps, "loss": done.loss, "set_aside": len(done.set_aside)}
    files = _saved(job, mllm, model, job.spec, folder, {"sft": facts})
    if job.settings.stages == "sft":
        files += _saved(job, mllm, model, job.spec, job.out, {"sft": facts})
    return facts, files


def reinforce(job: Job, triplets: Sequence[Triplet]) -> Done:
    """TAPO on what the SFT left (or on the model itself); nothing where it is not wanted."""
    from fgvr.methods.fine_r1.policy import train_policy
    from fgvr.methods.fine_r1.rollouts_page import write_rollouts_page

    if job.settings.stages == "sft":
        return {}, []
    folder, start = job.out / "reinforce", job.tuned()
    _, digest = base_of(start)
    mllm = job.load(start)
    frozen = _frozen(job, mllm, start, folder)
    model = prepare_model(mllm, job.settings.weights, seed=job.seed + 1)
    done = train_policy(
        mllm,
        model,
        triplets,
        settings=job.settings.reinforced(),
        folder=folder,
        seed=job.seed,
        key=f"{digest} {job.settings.weights}",
        monitor=job.settings.monitor,
        engine=None if frozen is None else _vllm(mllm, model, frozen, folder),
        progress=job.progress,
        live=job.live_policy,
    )
    facts: dict[str, Any] = {
        "triplets": len(triplets),
        "steps": done.steps,
        "generated_tokens": done.tokens,
        "finished": done.finished,
        "alarm": None if done.alarm is None else asdict(done.alarm),
        "last": dict(done.last),
        "set_aside": [asdict(one) for one in done.set_aside],
    }
    told = {"sft": _known(job.out / "sft" / "done.json"), "reinforce": {**facts, "set_aside": len(done.set_aside)}}
    if job.settings.weights.full or job.settings.stages == "reinforce":
        files = _saved(job, mllm, model, start, job.out, told)
    else:
        files = _joined(job, model, start, folder, told)
    if is_main_process():
        write_rollouts_page(folder)
    return facts, files


def require_engine(job: Job) -> None:
    """Raises where replies cannot be written as asked, before anything is paid for."""
    if job.engine not in get_args(Rollouts):
        raise InputError("no such engine", remedy=f"Use one of {get_args(Rollouts)}.", engine=job.engine)
    if job.engine == "vllm" and job.settings.stages != "sft":
        from fgvr.training.rollout_vllm import require_vllm

        require_vllm(full=job.settings.weights.full)


def _frozen(job: Job, mllm: LocalMllm, start: str, folder: Path) -> Path | None:
    """Where vLLM finds the weights that stay, if it is to write the replies."""
    if job.engine != "vllm":
        return None
    from fgvr.training.rollout_vllm import frozen_folder

    return frozen_folder(mllm, _folder(start), folder / "frozen")


def _vllm(mllm: LocalMllm, model: Any, frozen: Path, folder: Path) -> Engine:
    from fgvr.training.rollout_vllm import VllmEngine

    return VllmEngine(mllm, model, base=frozen, folder=folder / "vllm")


def _saved(job: Job, mllm: LocalMllm, model: Any, base: str, folder: Path, facts: dict[str, Any]) -> list[Path]:
    """Write an adapter or a whole model; returns the files that must be whole."""
    from fgvr.mllm.weights import model_files

    weights = job.settings.weights
    place, told = weights_place(folder, weights), {**job.facts(), **facts}
    if weights.full:
        source = _folder(base)
        save_full(mllm, place, source=model_files(source).base, facts={"base": base_of(job.spec)[0], **told})
        return [place / "config.json"]
    name, digest = base_of(base)
    save_adapter(model, place, base=name, base_digest=digest, facts=told)
    return [place / CONFIG, place / WEIGHTS]


def _joined(job: Job, model: Any, start: str, folder: Path, facts: dict[str, Any]) -> list[Path]:
    """Write the second adapter, and the sum of both as one on the original model."""
    from fgvr.training.joined import join_adapters

    second, place = folder / "adapter", weights_place(job.out, job.settings.weights)
    name, digest = base_of(start)
    save_adapter(model, second, base=name, base_digest=digest, facts={**job.facts(), **facts})
    if is_main_process():
        name, digest = base_of(job.spec)
        first = weights_place(job.out / "sft", job.settings.weights)
        join_adapters(first, second, place, base=name, base_digest=digest, facts={**job.facts(), **facts})
    return [place / CONFIG, place / WEIGHTS]


def _folder(spec: str) -> str:
    """A model's folder or Hub id, as ``model_files`` takes it."""
    from fgvr.fieldguide import weights_folder

    source = spec.removeprefix("local:")
    return str(weights_folder("mllm")) if source == "fieldguide" else source


def _known(note: Path) -> Any:
    import json

    return json.loads(note.read_bytes()) if note.exists() else None


def _named(job: Job, stage: str) -> Any:
    return lambda _, done, total: job.progress and job.progress(stage, done, total)
