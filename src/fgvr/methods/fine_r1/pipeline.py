"""Fine-R1 (He et al., ICLR 2026, Figure 2): divide, reason, fine-tune, mine triplets, reinforce, examine.

======================  ==============================================================================================
seen and unseen         ``shots.py``: 60 % of the classes; one picture a class to reason about, four to reinforce
reasoning data          ``reasoning.py``: concepts, the structured prompt, filters, resampling
CoT SFT                 the shared training loop on ``rationales.sft_rows``
triplets                ``triplets.py``: anchor, positive, hard negative
TAPO                    ``policy.py``: ``rollouts.py`` samples, ``rewards.py`` judges, ``tapo.py`` is the objective
examination             ``evaluation.py``: closed and open world, seen and unseen classes
======================  ==============================================================================================

The run folder::

    RUN/division.json              which pictures are for what
    RUN/reasoning.jsonl            every reply of the teacher
    RUN/rationales.json            the SFT data, ShareGPT; reasoning.json: what became of the replies
    RUN/ahead.json                 what the trainings would take, by a probe
    RUN/sft/                       loss.jsonl, checkpoints, adapter/ (or model/)
    RUN/triplets.jsonl, .html      what TAPO learns from, and a page of it; mining.json: what is odd about it
    RUN/reinforce/                 log.jsonl, rollouts.jsonl, rollouts.html, checkpoints
    RUN/adapter/ (or model/)       load_mllm("local:RUN/adapter")
    RUN/before.json, sft.json, after.json   the examinations
    RUN/summary.json

1. *One adapter.* With LoRA, the SFT's adapter is merged in memory and a second one trained on it, whose base is then
   the reference of ``kl_ref``. What is saved in the end is their exact sum, one adapter on the original model.
2. *Before.* The untuned model never learned the tags: it is asked its plain naming question and scored by options'
   names (``free``). ``sft.json`` and ``after.json`` are asked in the words of the training.
3. *Once a run.* Division, rationales and triplets are kept and read again when a run goes on, so that a picture which
   breaks meanwhile changes none of them: it is left out of the steps that would show it, with a reason.
4. *Names of unseen classes* are kept out of the teacher's candidates (``among``); the paper does not say so of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.data.items import Source, as_items
from fgvr.methods.fine_r1.record import meant
from fgvr.methods.fine_r1.run import AHEAD, Job, finished
from fgvr.methods.fine_r1.settings import Dividing as Dividing
from fgvr.methods.fine_r1.settings import FineR1Settings as FineR1Settings
from fgvr.methods.fine_r1.settings import Rollouts as Rollouts
from fgvr.methods.fine_r1.settings import Teaching as Teaching
from fgvr.methods.fine_r1.tuning import require_engine
from fgvr.training.team import Team

if TYPE_CHECKING:
    from fgvr.encoders.base import DualEncoder
    from fgvr.training.progress import Live

Progress = Callable[[str, int, int], None]


def fit_fine_r1(
    images: Source,
    *,
    mllm: str,
    encoder: DualEncoder,
    out: str | Path,
    teaching: Teaching | None = None,
    dividing: Dividing | None = None,
    settings: FineR1Settings | None = None,
    triplets: Mapping[str, Any] | None = None,
    test: Source | None = None,
    super_category: str | Mapping[str, str] | None = None,
    rotations: bool = True,
    seed: int = 0,
    device: str = "auto",
    store: str | Path | None = None,
    allow_memory: bool = False,
    engine: Rollouts = "transformers",
    dry_run: bool = False,
    progress: Progress | None = None,
    live: Live | None = None,
    live_policy: Live | None = None,
    before_training: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Teach a local MLLM to reason about look-alike classes; returns the summary (JSON-like), ``out/summary.json``.

    An unfinished run in ``out`` is resumed, a finished one returned. Where the budget ends while the teacher writes,
    ``stopped`` says so and nothing is trained. Under ``accelerate launch`` all processes call this.

    Args:
        images: labelled: a folder a class, or a manifest.
        mllm: a local model, as for ``load_mllm``.
        encoder: finds negatives, and the wrong options of the examination.
        triplets: of ``mine_triplets``: positives, negatives, similarity.
        test: labelled images to examine on; default what training leaves over.
        super_category: what is told apart ("bird"), or class name to word.
        rotations: ask closed questions in every order of their options.
        store: folder of features shared between runs; default inside ``out``.
        allow_memory: train although memory will hardly do.
        engine: what writes the replies of TAPO; ``vllm`` for LoRA in one process (``rollout_vllm``).
        dry_run: counts and estimates only; nothing is kept. The model is loaded and timed, the teacher is not asked.
        live, live_policy: after every step of the SFT, of TAPO.
        before_training: called with counts and estimates.

    Raises ``InputError`` when there is nothing to learn from, or no memory to learn in; ``RunError`` when ``out`` holds
    another run.
    """
    from fgvr.runs import RunFolder, write_json

    job = Job(
        items=as_items(images),
        test=None if test is None else as_items(test),
        spec=mllm,
        encoder=encoder,
        out=Path(out),
        teaching=teaching or Teaching(),
        dividing=dividing or Dividing(),
        settings=settings or FineR1Settings(),
        mining=dict(triplets or {}),
        super_category=super_category,
        rotations=rotations,
        seed=seed,
        device=device,
        store=Path(store) if store is not None else Path(out) / "features",
        progress=progress,
        live=live,
        live_policy=live_policy,
        allow_memory=allow_memory,
        engine=engine,
    )
    require_engine(job)
    if dry_run:
        return job.dry_run()
    team = Team.gather()
    if not team.leads:
        return _follow(job, team)
    with RunFolder.create_or_resume(job.out, settings=meant(job), command="fit fine-r1") as run:
        summary = finished(job, run)
        if team.agree(summary is not None) and summary is not None:
            return summary
        parts = job.divide(run)
        rationales, stopped = job.reason(run, parts)
        if team.agree(stopped is not None):
            return {"stopped": stopped, "rationales": len(rationales)}
        triplets_ = job.mine(run, parts)
        if not job.trained(run):
            ahead = job.ahead(parts, rationales, triplets_, processes=team.size)
            write_json(job.out / AHEAD, ahead)
            if before_training is not None:
                before_training(ahead)
        before = job.examine(run, parts, "before", mllm, free=True)
        team.wait()
        tuned = job.fine_tune(run, rationales, team)
        between = job.examine(run, parts, "sft", job.tuned()) if job.settings.stages == "both" else None
        learned = job.reinforce(run, triplets_, team)
        after = job.examine(run, parts, "after", job.result())
        stages = {"sft": tuned, "reinforce": learned}
        return job.finish(run, parts, stages, {"before": before, "sft": between, "after": after})


def _follow(job: Job, team: Team) -> dict[str, Any]:
    """What the other processes of a launch do: train on what the first one has put into the folder."""
    if team.agree(False) or team.agree(False):
        return {}
    team.wait()
    job.fine_tune(None, job.known_rationales(), team)
    job.reinforce(None, job.known_triplets(), team)
    return {}
