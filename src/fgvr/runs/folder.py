"""The run folder: one lock, one manifest, completion markers. Resuming is the default; nothing is ever deleted.

::

    RUN/
      manifest.json     versions, platform, seeds, settings and their digest, what callers recorded, sessions
      stages/NAME.json  a finished stage: digest of its inputs, checksums of its files
      *.jsonl           ledgers
      .lock             held (flock) by the process at work; its text says which
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fgvr.errors import RunError
from fgvr.runs.atomic import write_error, write_json
from fgvr.runs.ledger import Ledger
from fgvr.runs.lock import FolderLock
from fgvr.runs.secrets import redact

MANIFEST = "manifest.json"
FORMAT = 1
_PACKAGES = ("fgvr", "torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "scipy")


class RunFolder:
    """An open, locked run folder; use it as a context manager. Made by ``create_or_resume``."""

    def __init__(self, path: Path, manifest: dict[str, Any], lock: FolderLock, *, resumed: bool) -> None:
        self.path = path
        self.manifest = manifest
        self.resumed = resumed
        """True when the folder already held a run with the same settings."""
        self._lock = lock
        self._ledgers: dict[str, Ledger] = {}

    @classmethod
    def create_or_resume(
        cls, path: str | os.PathLike[str], *, settings: Mapping[str, Any], command: str, force: bool = False
    ) -> RunFolder:
        """Lock the folder and either start a run or go on with the one that is there.

        ``settings``: JSON-like; two runs are the same run when these are equal. ``force`` moves a run with other
        settings (or a damaged manifest) to ``<path>.old-N`` and starts afresh. Raises ``RunError`` when another
        process holds the folder, the settings differ, or the folder holds something that is not a run.
        """
        path = Path(path)
        clean = redact(_plain(settings))
        lock = _locked(path)
        try:
            previous, fault = _previous(path, clean)
            if fault is not None:
                if not force or fault.context.get("foreign"):
                    raise fault
                lock.move_folder(_free_name(path))
                lock.release()
                lock, previous = _locked(path), None
            manifest = previous or _new_manifest(clean)
            manifest["updated"] = _now()
            manifest["sessions"].append({"started": _now(), "command": redact(command), "versions": _versions()})
            write_json(path / MANIFEST, manifest)
        except BaseException:
            lock.release()
            raise
        return cls(path, manifest, lock, resumed=previous is not None)

    def record(self, **fields: Any) -> None:
        """Put facts about the run (input hashes, counts, encoder fingerprint) under ``recorded`` in the manifest."""
        self.manifest["recorded"].update(redact(_plain(fields)))
        self.manifest["updated"] = _now()
        write_json(self.path / MANIFEST, self.manifest)

    def ledger(self, name: str = "ledger", *, sync: bool = True) -> Ledger:
        """The ledger ``NAME.jsonl`` of this run; the same object every time."""
        if name not in self._ledgers:
            self._ledgers[name] = Ledger(self.path / f"{_checked_name(name)}.jsonl", sync=sync)
        return self._ledgers[name]

    def stage_done(self, name: str, digest: str, *, outputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        """Mark a stage complete. ``digest`` covers all its inputs; ``outputs`` are files inside the run folder."""
        files = {
            Path(file).resolve().relative_to(self.path.resolve()).as_posix(): _file_digest(file) for file in outputs
        }
        write_json(self._marker(name), {"stage": name, "digest": digest, "outputs": files, "finished": _now()})

    def is_done(self, name: str, digest: str) -> bool:
        """True when the stage was completed from the same inputs and its files are still what they were."""
        try:
            marker = json.loads(self._marker(name).read_bytes())
            return bool(marker["digest"] == digest) and all(
                _file_digest(self.path / file) == stored for file, stored in marker["outputs"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False  # a checkpoint is complete or ignored

    def close(self) -> None:
        """Close the ledgers and let go of the lock."""
        for ledger in self._ledgers.values():
            ledger.close()
        self._lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _marker(self, name: str) -> Path:
        return self.path / "stages" / f"{_checked_name(name)}.json"


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a run folder, without locking it. Raises ``RunError`` when there is none that can be read."""
    file = Path(path) / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
        if manifest["format"] != FORMAT:
            raise RunError("the run was made by another version of fgvr", remedy="Use that version.", file=str(file))
        missing = {"settings", "settings_digest", "recorded", "sessions"} - manifest.keys()
        if missing:
            raise KeyError(*sorted(missing))
    except FileNotFoundError as error:
        raise RunError("this is not a run folder", remedy="Give the --out folder of a run.", path=str(path)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Start afresh with --force; the damaged run is moved aside, not deleted."
        raise RunError(f"the run's manifest cannot be read: {error!r}", remedy=remedy, file=str(file)) from error
    return dict(manifest)


def settings_digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of JSON-like settings, whatever the order of keys."""
    text = json.dumps(_plain(settings), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _previous(path: Path, settings: dict[str, Any]) -> tuple[dict[str, Any] | None, RunError | None]:
    """The run to go on with, or what stands in the way, or neither for an empty folder."""
    if not (path / MANIFEST).exists():
        if any(not entry.name.startswith(".") for entry in path.iterdir()):
            remedy = "Choose an empty or new folder for the run."
            return None, RunError("the folder holds other files, no run", remedy=remedy, path=str(path), foreign=True)
        return None, None
    try:
        manifest = read_manifest(path)
    except RunError as error:
        return None, error
    if manifest["settings_digest"] == settings_digest(settings):
        return manifest, None
    remedy = "Use another --out, or --force to start afresh (the old run is moved to a folder beside it, not deleted)."
    changes = "; ".join(_differences(manifest["settings"], settings))
    return None, RunError("the folder holds a run with other settings", remedy=remedy, path=str(path), differ=changes)


def _new_manifest(settings: dict[str, Any]) -> dict[str, Any]:
    flat = _flat(settings)
    return {
        "format": FORMAT,
        "created": _now(),
        "updated": _now(),
        "versions": _versions(),
        "platform": {"system": platform.platform(), "machine": platform.machine(), "cpus": os.cpu_count()},
        "seeds": {key: value for key, value in flat.items() if re.search(r"(^|[._])seeds?$", key)},
        "settings": settings,
        "settings_digest": settings_digest(settings),
        "recorded": {},
        "sessions": [],
    }


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before, after = _flat(old), _flat(new)
    absent = object()

    def shown(value: object) -> str:
        return "(absent)" if value is absent else json.dumps(value)

    pairs = {key: (before.get(key, absent), after.get(key, absent)) for key in sorted(before.keys() | after.keys())}
    return [f"{key}: {shown(a)} -> {shown(b)}" for key, (a, b) in pairs.items() if a is absent or b is absent or a != b]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    """What JSON will give back: tuples as lists, paths as text. Raises ``RunError`` for anything else."""
    try:
        text = json.dumps(value, default=lambda item: os.fspath(item), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(f"settings must be plain values: {error}", remedy="Use numbers, strings, lists.") from error
    return json.loads(text)


def _locked(path: Path) -> FolderLock:
    try:
        return FolderLock.acquire(path)
    except OSError as error:
        raise write_error(error, path) from error


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    return aside


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"not a usable stage or ledger name: {name!r}")
    return name


def _file_digest(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
