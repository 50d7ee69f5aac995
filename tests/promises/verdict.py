"""Is a run that was killed the same as one that was not? File by file; all that may differ is named here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.runs import Ledger, load_arrays

NOT_RESULTS = ("calls.log", "child.log", ".lock")
LEDGERS = {"near": "labels.jsonl", "label": "ledger.jsonl"}
TIMES_AND_PLACES = {
    # When it ran, in how many sessions, what the last of them asked anew, and where the folder lies.
    "manifest.json": {"created", "updated", "sessions", "usage"},
    "fit.json": {"finished"},
    "summary.json": {"usage", "usage_in_all", "reused", "labels"},
}


def differences(reference: Path, folder: Path) -> list[str]:
    """What in FOLDER is not as in the reference; temporary files are not looked at."""
    expected, found = _results(reference), _results(folder)
    missing = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    surplus = [f"{name} should not be there" for name in sorted(found.keys() - expected.keys())]
    changed = [
        f"{name} differs" for name in sorted(expected.keys() & found.keys()) if not _same(expected[name], found[name])
    ]
    return missing + surplus + changed + _feature_differences(reference / "run", folder / "run")


def litter(folder: Path) -> list[Path]:
    """Temporary files that a kill left behind."""
    return [path for path in folder.rglob("*") if path.name.startswith(".tmp-")]


def calls(folder: Path) -> int:
    """How often the MLLM was asked, by all processes that ever worked in FOLDER."""
    return len((folder / "calls.log").read_text().splitlines())


def items_done(folder: Path) -> Counter[str]:
    """How many finished lines each item has in the ledger."""
    return Counter(line["item"] for line in _ledger(folder).records() if line["status"] == "done")


def items_asked(folder: Path) -> int:
    """Items that were asked about in an undisturbed run: copies of a picture share a call."""
    return len({line["key"] for line in _ledger(folder).records()})


def final_answers(folder: Path) -> dict[str, str]:
    """What each item's last finished line says; a line that was damaged and asked again comes later."""
    done = [line for line in _ledger(folder).records() if line.get("status") == "done"]
    return {str(line["item"]): str(line["answer"]["text"]) for line in done if {"item", "answer"} <= line.keys()}


def _results(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in NOT_RESULTS
        and not path.name.startswith(".tmp-")
        and path.parts[len(folder.parts) : len(folder.parts) + 2] != ("run", "features")
    }


def _same(expected: Path, found: Path) -> bool:
    if expected.name in TIMES_AND_PLACES:
        return _timeless(expected) == _timeless(found)
    if expected == _ledger_file(expected.parents[1]):
        return _answers(expected) == _answers(found)
    if expected.suffix == ".safetensors" and expected.parent.name != "classifier":
        # The library that writes these orders its header's notes at random; a classifier has a single note.
        return _same_arrays(load_arrays(expected), load_arrays(found))
    return expected.read_bytes() == found.read_bytes()


def _timeless(file: Path) -> Any:
    def without(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: without(inner) for key, inner in value.items() if key not in TIMES_AND_PLACES[file.name]}

    return without(json.loads(file.read_bytes()))


def _same_arrays(one: tuple[dict[str, np.ndarray], Any], other: tuple[dict[str, np.ndarray], Any]) -> bool:
    (arrays, notes), (others, other_notes) = one, other
    return (
        notes == other_notes
        and arrays.keys() == others.keys()
        and all(
            array.dtype == others[name].dtype
            and array.shape == others[name].shape
            and array.tobytes() == others[name].tobytes()
            for name, array in arrays.items()
        )
    )


def _answers(file: Path) -> Counter[tuple[str, ...]]:
    """Lines as a multiset of (item, stage, key, status, text): their order and their seconds are chance."""
    return Counter(
        (line["item"], line["stage"], line["key"], line["status"], line.get("answer", {}).get("text", ""))
        for line in Ledger(file).records()
    )


def _ledger_file(folder: Path) -> Path:
    alone = folder / "run" / LEDGERS["label"]
    return alone if alone.exists() else folder / "run" / LEDGERS["near"]


def _ledger(folder: Path) -> Ledger:
    return Ledger(_ledger_file(folder))


def _feature_differences(reference: Path, run: Path) -> list[str]:
    expected, found = feature_rows(reference), feature_rows(run)
    if expected.keys() != found.keys():
        return [f"the feature stores hold {len(expected)} and {len(found)} rows"]
    return [f"the feature of {key} differs" for key, row in expected.items() if row != found[key]]


def feature_rows(run: Path) -> dict[tuple[str, str, str], bytes]:
    """Every row of a run's feature store, by encoder, content and view; rows kept twice must agree."""
    rows: dict[tuple[str, str, str], bytes] = {}
    for companion in sorted((run / "features").glob("*/*.json")):
        array = np.load(companion.with_suffix(".npy"))
        for (sha256, view), row in zip(json.loads(companion.read_bytes())["keys"], array, strict=True):
            key = (companion.parent.name, sha256, view)
            assert rows.setdefault(key, row.tobytes()) == row.tobytes(), f"two features of {key}"
    return rows
