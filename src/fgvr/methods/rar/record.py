"""What a finished fit leaves in its run folder, for predictions, evaluations and reports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fgvr.errors import RunError
from fgvr.memory import Memory
from fgvr.methods.rar.recogniser import MEMORY, SETTINGS, Recogniser
from fgvr.runs import Ledger, RunFolder, settings_digest, write_json, write_text
from fgvr.runs.lock import FolderLock
from fgvr.types import ImageItem, Prediction, SetAside, Usage

LEDGER = "ranks"
"""Every question of a run, of fit and predictions alike: nothing asked before is asked, or paid for, again."""


@dataclass(frozen=True)
class Recognised:
    """What ``RAR.recognise`` found, and what it took."""

    predictions: tuple[Prediction, ...]
    set_aside: tuple[SetAside, ...]
    asked: int = 0
    """Images the MLLM was to be asked about (answers known before included)."""
    unanswered: int = 0
    """Of these, without a usable answer: retrieval alone named them."""
    stopped: str | None = None
    """``budget`` or ``deadline`` when not all could be asked."""
    reused: int = 0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Fit:
    """Everything one ``fit`` produced, for reports."""

    recogniser: Recogniser
    items: tuple[ImageItem, ...]
    """The memory's pictures, with the names they are kept under."""
    hashes: tuple[str, ...]
    set_aside: tuple[SetAside, ...]
    asked: int = 0
    """Memory pictures the MLLM was asked about to learn its weight."""
    unanswered: int = 0
    """Of these, without a usable answer."""
    stopped: str | None = None
    reused: int = 0
    usage: Usage = field(default_factory=Usage)


@contextmanager
def locked_ledger(folder: Path) -> Iterator[Ledger]:
    """A run's ledger, with the run's lock held. Raises ``RunError`` when another process holds it."""
    lock = FolderLock.acquire(folder)
    try:
        with closing(Ledger(folder / f"{LEDGER}.jsonl")) as ledger:
            yield ledger
    finally:
        lock.release()


def check_memory(run: RunFolder) -> None:
    """Raise ``RunError`` when the memory of an earlier fit was changed by hand since: the change would be lost."""
    fitted = run.manifest["recorded"].get("memory_version")
    if fitted is None:
        return
    try:
        found = Memory.load(run.path / MEMORY, verify=False).version
    except RunError:
        return  # damaged: it is made again
    if found != fitted:
        raise RunError(
            "the memory was changed since the fit; fitting again would undo that",
            remedy="Fit into another --out, or with --force (the old run is moved aside, not deleted).",
            path=str(run.path),
        )


def write_fit(run: RunFolder, fit: Fit) -> None:
    """The recogniser and what a report needs, each file atomic, then the mark that the fit is complete."""
    folder = run.path
    fit.recogniser.save(folder)
    write_text(folder / "support.jsonl", _support(fit.items, fit.hashes))
    write_json(folder / "set_aside.json", [asdict(aside) for aside in fit.set_aside])
    memory = fit.recogniser.memory
    run.record(
        support=len(fit.items),
        set_aside=len(fit.set_aside),
        labels=len(memory.names),
        memory_version=memory.version,
        encoder={"name": memory.encoder, "fingerprint": memory.fingerprint},
        stopped=fit.stopped,
        usage=asdict(fit.usage),
    )
    run.stage_done("fit", settings_digest(run.manifest["settings"]), outputs=[folder / SETTINGS])


def _support(items: Sequence[ImageItem], hashes: Sequence[str]) -> str:
    """One line a memory picture; its hash lets an evaluation find it among the test images."""
    rows = (
        {"item": item.id, "label": item.label, "path": str(item.path), "sha256": sha256}
        for item, sha256 in zip(items, hashes, strict=True)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)
