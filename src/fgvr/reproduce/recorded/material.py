"""The recorded replies and the CLIP features of the same images, joined and checked; nothing is copied anywhere."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.data.benchmarks.names import accepted_names, corrected_name, listed_name
from fgvr.errors import InputError
from fgvr.labels import parse_reply
from fgvr.types import NamedImage

RECORDINGS = (
    ("cub200", "qwen", "Birds Qwen"),
    ("cub200", "gemini", "Birds Gemini"),
    ("cars196", "qwen", "Cars Qwen"),
    ("dogs120", "qwen", "Dogs Qwen"),
    ("flowers102", "qwen", "Flowers Qwen"),
    ("pets37", "qwen", "Pets Qwen"),
)
"""(data set, recorder, title) of every recording used."""
IMAGE_ENCODER = "CLIP ViT-B/16 (recorded vectors of 512 numbers)"
WHOLE = "Take the folder as it was given; nothing of it may be edited."


class MaterialError(InputError):
    """The folder lacks a file or its parts do not belong together."""


@dataclass(frozen=True)
class Recording:
    """N support images of one data set with one model's replies, in the order of the feature rows."""

    dataset: str
    title: str
    model: str
    images: tuple[str, ...]
    """File names; the same for all recordings of a data set."""
    features: np.ndarray
    """(N, D) float32, unit norm: CLIP ViT-B/16."""
    classes: np.ndarray
    """(N,) int64 true class numbers; for scoring and for drawing the folds, never for a method."""
    class_names: tuple[str, ...]
    """Class names as listed."""
    named: tuple[str | None, ...]
    """First name as parsed by the recording's authors."""
    read: tuple[NamedImage, ...]
    """Our reading of the full reply."""

    @property
    def listed(self) -> list[str]:
        """(N) true names as the class lists have them."""
        return [self.class_names[c] for c in self.classes]

    @property
    def corrected(self) -> list[str]:
        """(N) true names without typing errors."""
        return [corrected_name(name, self.dataset) for name in self.listed]

    @property
    def accepted(self) -> list[tuple[str, ...]]:
        """(N) tuples of all names that count as right, corrected first."""
        return [accepted_names(name, self.dataset) for name in self.listed]


def load_recordings(shared: Path) -> list[Recording]:
    """All `RECORDINGS` below ``shared``. Raises `MaterialError` where one is missing, damaged or does not fit."""
    return [load_recording(shared, *which) for which in RECORDINGS]


def readable_recordings(shared: Path) -> tuple[list[Recording], list[MaterialError]]:
    """Those of `RECORDINGS` that can be read, and why the others cannot. Raises the first reason where none can."""
    found, faults = [], []
    for which in RECORDINGS:
        try:
            found.append(load_recording(shared, *which))
        except MaterialError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    return found, faults


def load_recording(shared: Path, dataset: str, recorder: str, title: str) -> Recording:
    """Join replies to feature rows by file name. Raises `MaterialError` unless they match one to one."""
    vectors = shared / "data" / "vectors" / "clip_vitb16_support"
    try:
        rows = list(csv.DictReader((vectors / f"{dataset}_rows.csv").read_text("utf-8").splitlines()))
        lines = (vectors / f"{dataset}_classnames.txt").read_text("utf-8").splitlines()
        features = np.load(vectors / f"{dataset}_img_vitb16.npy").astype(np.float32)
        text = (shared / "data" / "recorded" / f"{dataset}.{recorder}.jsonl").read_text("utf-8")
    except FileNotFoundError as error:
        remedy = "Give the folder that holds data/recorded and data/vectors (--shared, or FGVR_SHARED)."
        raise MaterialError("a file of the material is missing", remedy=remedy, file=error.filename) from error
    except (ValueError, OSError) as error:
        raise MaterialError(f"the material of {dataset} cannot be read: {error}", remedy=WHOLE) from error
    replies = {entry["image"].rpartition("/")[2]: entry for entry in _entries(text, f"{dataset}.{recorder}")}
    files = tuple(row["file"] for row in rows)
    if len(replies) != len(files) or set(replies) != set(files) or len(features) != len(files):
        wrong = f"{dataset}.{recorder}: replies, rows and features are not of the same images"
        raise MaterialError(wrong, remedy=WHOLE)
    folders = {int(row["class_id"]): row["class_dir"] for row in rows}
    if set(folders) != set(range(len(lines))):
        raise MaterialError(f"{dataset}: classes without a row, or rows without a class name", remedy=WHOLE)
    _check_alignment(dataset, folders)
    entries = [replies[file] for file in files]
    return Recording(
        dataset,
        title,
        entries[0]["model"],
        files,
        _unit(features),
        np.array([int(row["class_id"]) for row in rows], dtype=np.int64),
        tuple(listed_name(folders[c], lines[c], dataset) for c in range(len(lines))),
        tuple(entry["names"][0] if entry["names"] else None for entry in entries),
        tuple(parse_reply(entry["reply"], item_id=file) for entry, file in zip(entries, files)),
    )


def _entries(text: str, what: str) -> list[dict[str, Any]]:
    """The lines of a recording."""
    try:
        entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not entries or not all({"image", "model", "reply", "names"} <= set(entry) for entry in entries):
            raise ValueError("a line lacks image, model, reply or names")
    except (ValueError, TypeError) as error:
        raise MaterialError(f"{what}: this is no recording: {error}", remedy=WHOLE) from error
    return entries


def _check_alignment(dataset: str, folders: dict[int, str]) -> None:
    """Folders carry their own number ("105.Horned_Puffin"); two known recordings are off by one against it."""
    off = [folder for number, folder in folders.items() if int(folder.partition(".")[0]) != number]
    if off:
        raise MaterialError(f"{dataset}: class numbers disagree with the folders, first {off[0]}", remedy=WHOLE)


def _unit(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    if not np.allclose(norms, 1.0, atol=1e-2):
        raise MaterialError("features are not of unit norm", remedy=WHOLE)
    return np.asarray(features / norms, dtype=np.float32)
