"""The steps of a Fine-R1 run in its folder: each does its work once, keeps it, and finds it there the next time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError
from fgvr.methods.fine_r1.data_of_run import REASONING, divided, given, mined_by, taught
from fgvr.methods.fine_r1.rationales import Rationale, read_sharegpt, sft_rows, write_sharegpt
from fgvr.methods.fine_r1.record import (
    Parts,
    asked_as,
    card,
    read_parts,
    summary_of,
    write_parts,
)
from fgvr.methods.fine_r1.settings import Dividing, FineR1Settings, Rollouts, Teaching
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.methods.fine_r1.triplets_files import read_triplets, write_triplets
from fgvr.methods.fine_r1.tuning import fine_tune, reinforce, weights_place
from fgvr.runs import settings_digest, write_json
from fgvr.training.team import Team

if TYPE_CHECKING:
    from fgvr.data.items import Items
    from fgvr.encoders.base import DualEncoder
    from fgvr.mllm.local import LocalMllm
    from fgvr.runs import RunFolder
    from fgvr.training.progress import Live

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
DIVISION, RATIONALES, TRIPLETS, SUMMARY = "division.json", "rationales.json", "triplets.jsonl", "summary.json"
MINING, AHEAD = "mining.json", "ahead.json"
DONE = "fine_r1"


@dataclass(frozen=True)
class Job:
    """What a run was asked; see ``fit_fine_r1`` for the arguments."""

    items: Items
    test: Items | None
    spec: str
    encoder: DualEncoder
    out: Path
    teaching: Teaching
    dividing: Dividing
    settings: FineR1Settings
    mining: Mapping[str, Any]
    super_category: str | Mapping[str, str] | None
    rotations: bool
    seed: int
    device: str
    store: Path
    progress: Progress | None
    live: Live | None
    live_policy: Live | None
    allow_memory: bool = False
    engine: Rollouts = "transformers"

    # --- data ---------------------------------------------------------------------------------------------------------

    def divide(self, run: RunFolder | None) -> Parts:
        """Which pictures are for what, drawn once a run; those that cannot be read are set aside before."""
        if run is not None and run.is_done("division", self._digest(run)):
            own = None if self.test is None else self.test.items
            return read_parts(self.out / DIVISION, self.items.items, test=own)
        parts = divided(self)
        if run is not None:
            write_parts(self.out / DIVISION, parts)
            run.stage_done("division", self._digest(run), outputs=[self.out / DIVISION])
        return parts

    def reason(self, run: RunFolder, parts: Parts) -> tuple[tuple[Rationale, ...], str | None]:
        """Rationales of the SFT pictures, and why the teacher stopped early, if it did; none without an SFT."""
        if self.settings.stages == "reinforce":
            return (), None
        file = self.out / RATIONALES
        if not run.is_done("reason", self._digest(run)):
            rationales, stopped = taught(self, run, parts)
            if stopped is not None:
                return rationales, stopped
            write_sharegpt(file, rationales, style=None)
            run.stage_done("reason", self._digest(run), outputs=[file])
        return self.known_rationales(), None

    def known_rationales(self) -> tuple[Rationale, ...]:
        """What ``reason`` left in the folder."""
        file = self.out / RATIONALES
        return read_sharegpt(file).rationales if file.exists() else ()

    def mine(self, run: RunFolder | None, parts: Parts) -> tuple[Triplet, ...]:
        """Triplets of the pictures for reinforcement, mined once a run, and a page of them."""
        from fgvr.methods.fine_r1.triplets_page import write_triplets_page

        if self.settings.stages == "sft":
            return ()
        if run is not None and run.is_done("triplets", self._digest(run)):
            return self.known_triplets()
        mined = mined_by(self, parts)
        if run is None:
            return mined.triplets
        files = [self.out / name for name in (TRIPLETS, MINING)]
        write_triplets(files[0], mined.triplets)
        write_json(files[1], {"notes": mined.notes, "set_aside": [asdict(one) for one in mined.set_aside]})
        write_triplets_page(self.out / "triplets.html", mined)
        run.stage_done("triplets", self._digest(run), outputs=files)
        return self.known_triplets()

    def known_triplets(self) -> tuple[Triplet, ...]:
        """What ``mine`` left in the folder."""
        file = self.out / TRIPLETS
        return read_triplets(file).triplets if file.exists() else ()

    # --- models -------------------------------------------------------------------------------------------------------

    def load(self, spec: str) -> LocalMllm:
        """A local model. Raises ``InputError`` for one that cannot be tuned."""
        from fgvr.mllm import load_mllm
        from fgvr.mllm.local import LocalMllm

        mllm = load_mllm(spec, device=self.device)
        if not isinstance(mllm, LocalMllm):
            raise InputError("only a local model can be tuned", remedy="Use fieldguide or local:FOLDER.", mllm=spec)
        return mllm

    def tuned(self) -> str:
        """The model that reinforcement begins with."""
        sft = weights_place(self.out / "sft", self.settings.weights)
        return self.spec if self.settings.stages == "reinforce" else f"local:{sft}"

    def result(self) -> str:
        """The model that is left in the end."""
        return f"local:{weights_place(self.out, self.settings.weights)}"

    def trained(self, run: RunFolder) -> bool:
        """Whether only examinations are left to do."""
        return run.is_done("reinforce", self._digest(run))

    def fine_tune(self, run: RunFolder | None, rationales: Sequence[Rationale], team: Team) -> dict[str, Any] | None:
        """The CoT SFT; ``None`` where it is not wanted. ``run``: of the leading process."""
        if self.settings.stages == "reinforce":
            return None
        settings = self.settings
        rows = sft_rows(rationales, style=settings.style, thinking=settings.thinking, seed=self.seed)
        return self._stage("sft", run, team, lambda: fine_tune(self, rows))

    def reinforce(self, run: RunFolder | None, triplets: Sequence[Triplet], team: Team) -> dict[str, Any] | None:
        """TAPO; ``None`` where it is not wanted: the SFT's weights are then the result."""
        return self._stage("reinforce", run, team, lambda: reinforce(self, triplets))

    def _stage(
        self, name: str, run: RunFolder | None, team: Team, work: Callable[[], tuple[dict[str, Any], list[Path]]]
    ) -> dict[str, Any]:
        """Do ``work`` once; it returns facts, and the files that must be whole for it to count as done."""
        note = self.out / name / "done.json"
        if not team.agree(run is not None and run.is_done(name, self._digest(run))):
            facts, files = work()
            if run is not None:
                write_json(note, facts)
                run.stage_done(name, self._digest(run), outputs=[*files, note])
            team.wait()
        found: dict[str, Any] = json.loads(note.read_bytes())
        return found

    def examine(
        self, run: RunFolder, parts: Parts, when: str, spec: str, *, free: bool = False
    ) -> dict[str, Any] | None:
        """One examination; asked once. ``None`` without test pictures."""
        from fgvr.methods.fine_r1.exam_of_run import examined

        if not parts.division.test:
            return None
        file = self.out / f"{when}.json"
        if not run.is_done(f"examined_{when}", self._digest(run)):
            write_json(file, examined(self, run, parts, when, self.load(spec), free=free))
            run.stage_done(f"examined_{when}", self._digest(run), outputs=[file])
        found: dict[str, Any] = json.loads(file.read_bytes())
        return found

    # --- before and after ---------------------------------------------------------------------------------------------

    def ahead(
        self,
        parts: Parts,
        rationales: Sequence[Rationale] | None,
        triplets: Sequence[Triplet],
        *,
        processes: int = 1,
    ) -> dict[str, Any]:
        """Counts and estimates, JSON-like; ``rationales=None``: not built yet. Raises ``InputError`` where memory will
        not do."""
        from fgvr.methods.fine_r1.exam_of_run import what_is_ahead

        found = what_is_ahead(self, parts, rationales, triplets, processes=processes)
        for note in found["notes"]:
            if note not in parts.division.notes:  # told already
                log.warning("%s", note)
        return found

    def dry_run(self) -> dict[str, Any]:
        """Counts and estimates; nothing is kept."""
        with TemporaryDirectory() as place:
            job = replace(self, store=Path(place), allow_memory=True)
            parts = job.divide(None)
            return {"dry_run": True, **job.ahead(parts, given(job, parts), job.mine(None, parts))}

    def finish(
        self, run: RunFolder, parts: Parts, stages: Mapping[str, Any], exams: Mapping[str, dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Write the summary and mark the run done."""
        place = weights_place(self.out, self.settings.weights)
        asked = asked_as(parts.kinds, style=self.settings.style, thinking=self.settings.thinks)
        summary = summary_of(place, parts, stages=stages, exams=exams, prompt=asked, notes=self.noted())
        write_json(self.out / SUMMARY, summary)
        run.stage_done(DONE, self._digest(run), outputs=[self.out / SUMMARY])
        return summary

    def noted(self) -> list[str]:
        """What teacher, mining and probe had to say."""
        files = [self.out / name for name in (REASONING, MINING, AHEAD)]
        return [note for file in files if file.exists() for note in json.loads(file.read_bytes())["notes"]]

    def facts(self) -> dict[str, Any]:
        """Of the model card."""
        return card(self)

    def _digest(self, run: RunFolder) -> str:
        return settings_digest(run.manifest["settings"])

    def told(self, stage: str) -> Callable[..., None]:
        """For what reports (done, total, ...)."""
        return lambda done, total, *_: self.progress(stage, done, total) if self.progress is not None else None


def finished(job: Job, run: RunFolder) -> dict[str, Any] | None:
    """The summary of a run that is done, else ``None``."""
    if not run.is_done(DONE, settings_digest(run.manifest["settings"])):
        return None
    return {**json.loads((job.out / SUMMARY).read_bytes()), "was_finished": True}
