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
from fgvr.methods.fine_r1.rationales import Rationale, read_sharegpt, sft_rows, write_sharegpt
from fgvr.methods.fine_r1.record import (
    Parts,
    asked_as,
    card,
    counted,
    matched,
    read_parts,
    summary_of,
    unexplained,
    write_parts,
)
from fgvr.methods.fine_r1.settings import Dividing, FineR1Settings, Teaching
from fgvr.methods.fine_r1.shots import divide
from fgvr.methods.fine_r1.triplets import Triplet, mine_triplets
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
REASONING, MINING = "reasoning.json", "mining.json"
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

    # --- data ---------------------------------------------------------------------------------------------------------

    def divide(self, run: RunFolder | None) -> Parts:
        """Which pictures are for what, drawn once a run; those that cannot be read are set aside before."""
        from fgvr.encoders.store import FeatureStore

        if run is not None and run.is_done("division", self._digest(run)):
            return read_parts(
                self.out / DIVISION, self.items.items, test=None if self.test is None else self.test.items
            )
        store = FeatureStore(self.store)
        table = store.features(list(self.items.items), self.encoder, progress=self._told("encode"))
        apart = None if self.test is None else store.features(list(self.test.items), self.encoder)
        asked = self.dividing
        division = divide(
            table.items,
            unseen_share=asked.unseen_share,
            unseen=asked.unseen,
            shots=asked.shots,
            sft_per_class=asked.sft_per_class if self.settings.stages != "reinforce" else 0,
            tests_per_class=asked.tests_per_class,
            test=None if apart is None else apart.items,
            super_category=self.super_category,
            seed=self.seed,
        )
        aside = (*self.items.set_aside, *table.set_aside, *(() if apart is None else apart.set_aside))
        parts = Parts(replace(division, set_aside=(*aside, *division.set_aside)), self.kinds(division))
        for note in division.notes:
            log.warning("%s", note)
        if run is not None:
            write_parts(self.out / DIVISION, parts)
            run.stage_done("division", self._digest(run), outputs=[self.out / DIVISION])
        return parts

    def kinds(self, division: Any) -> dict[str, str]:
        """Class name to super-category, where it is known."""
        names = (*division.seen, *division.unseen)
        if isinstance(self.super_category, str):
            return dict.fromkeys(names, self.super_category)
        given = self.super_category or {}
        return {name: given[name] for name in names if name in given}

    def reason(self, run: RunFolder, parts: Parts) -> tuple[tuple[Rationale, ...], str | None]:
        """Rationales of the SFT pictures, and why the teacher stopped early, if it did; none without an SFT."""
        if self.settings.stages == "reinforce":
            return (), None
        file = self.out / RATIONALES
        if not run.is_done("reason", self._digest(run)):
            rationales, stopped = self._rationales(run, parts)
            if stopped is not None:
                return rationales, stopped
            write_sharegpt(file, rationales, style=None)
            run.stage_done("reason", self._digest(run), outputs=[file])
        return self.known_rationales(), None

    def _rationales(self, run: RunFolder, parts: Parts) -> tuple[tuple[Rationale, ...], str | None]:
        from fgvr.methods.fine_r1.reasoning import build_reasoning

        items, asked = parts.division.sft, self.teaching
        given = self.given_rationales(parts)
        if given is not None:
            return given, None
        if asked.teacher is None:
            remedy = "Name a teacher, give a file of rationales, or train with thinking='none'."
            raise InputError("the fine-tuning needs rationales", remedy=remedy)
        found = build_reasoning(
            items,
            asked.teacher,
            super_category=parts.kinds or None,
            settings=replace(self.settings.reasoning, seed=self.seed),
            how=asked.how,
            teacher_sees=asked.sees,
            among=parts.division.seen if parts.division.unseen else None,
            ledger=run.ledger("reasoning"),
            report=self.progress,
            **(asked.options or {}),
        )
        told = counted(found)
        for note in told["notes"]:
            log.warning("%s", note)
        write_json(self.out / REASONING, told)
        return found.rationales, found.stopped

    def given_rationales(self, parts: Parts) -> tuple[Rationale, ...] | None:
        """Rationales for which nobody is asked; ``None`` where a teacher is."""
        if self.settings.thinking == "none" or self.settings.stages == "reinforce":
            return unexplained(parts.division.sft, parts.kinds, seed=self.seed)
        if self.teaching.file is not None:
            return matched(parts.division.sft, read_sharegpt(self.teaching.file).rationales)
        return None

    def known_rationales(self) -> tuple[Rationale, ...]:
        """What ``reason`` left in the folder."""
        file = self.out / RATIONALES
        return read_sharegpt(file).rationales if file.exists() else ()

    def mine(self, run: RunFolder | None, parts: Parts) -> tuple[Triplet, ...]:
        """Triplets of the pictures for reinforcement, mined once a run, and a page of them."""
        from fgvr.encoders.store import FeatureStore
        from fgvr.methods.fine_r1.triplets_page import write_triplets_page

        if self.settings.stages == "sft":
            return ()
        if run is not None and run.is_done("triplets", self._digest(run)):
            return self.known_triplets()
        table = FeatureStore(self.store).features(list(parts.division.rl), self.encoder)
        texts = None
        if self.mining.get("similarity") == "image-text":
            names = parts.division.seen
            vectors = self.encoder.encode_texts([f"a photo of a {name}." for name in names])
            texts = dict(zip(names, vectors, strict=True))
        mined = mine_triplets(
            table.items,
            table.features,
            shots=None,
            super_category=parts.kinds or None,
            text_features=texts,
            seed=self.seed,
            **self.mining,
        )
        for note in mined.notes:
            log.warning("%s", note)
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
            return {"dry_run": True, **job.ahead(parts, job.given_rationales(parts), job.mine(None, parts))}

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
        """What teacher and mining had to say."""
        files = [self.out / name for name in (REASONING, MINING)]
        return [note for file in files if file.exists() for note in json.loads(file.read_bytes())["notes"]]

    def facts(self) -> dict[str, Any]:
        """Of the model card."""
        return card(self)

    def _digest(self, run: RunFolder) -> str:
        return settings_digest(run.manifest["settings"])

    def _told(self, stage: str) -> Callable[..., None]:
        """For what reports (done, total, ...)."""
        return lambda done, total, *_: self.progress(stage, done, total) if self.progress is not None else None


def finished(job: Job, run: RunFolder) -> dict[str, Any] | None:
    """The summary of a run that is done, else ``None``."""
    if not run.is_done(DONE, settings_digest(run.manifest["settings"])):
        return None
    return {**json.loads((job.out / SUMMARY).read_bytes()), "was_finished": True}
