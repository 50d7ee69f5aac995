"""RAF-DB, basic emotions (Li et al., CVPR 2017): 15,339 faces, 7 emotions, 12,271 for training and 3,068 for testing.

Layout: ``basic/EmoLabel/list_patition_label.txt`` (spelled so) with lines ``train_00001.jpg 5``, and
``basic/Image/aligned/train_00001_aligned.jpg`` or ``basic/Image/original/train_00001.jpg``; the aligned faces are read
where both are there. Emotions are numbered from 1 in the order below; the division is in the file names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.base import Benchmark, Problem
from fgvr.data.benchmarks.layout import ClassName, Entry, assemble, damaged, first_present, read_lines, require_file
from fgvr.data.benchmarks.wanted import official_only

NAME = "rafdb"
TITLE = "RAF-DB (basic)"
MARKS = ("EmoLabel/list_patition_label.txt",)
COUNTS = {"train": 12271, "test": 3068}
CLASSES = 7
PER_CLASS = {"train": (1290, 281, 717, 4772, 1982, 705, 2524), "test": (329, 74, 160, 1185, 478, 162, 680)}
"""Images of each emotion, in the numbered order."""

NAMES = (
    ClassName("Surprise", "Surprise", ("Surprised",)),
    ClassName("Fear", "Fear", ("Fearful", "Afraid", "Scared")),
    ClassName("Disgust", "Disgust", ("Disgusted",)),
    ClassName("Happiness", "Happiness", ("Happy", "Joy", "Joyful")),
    ClassName("Sadness", "Sadness", ("Sad",)),
    ClassName("Anger", "Anger", ("Angry",)),
    ClassName("Neutral", "Neutral", ("Neutral expression", "Neutrality")),
)


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """RAF-DB's basic part below ``folder``. Raises ``ManifestError`` for ``split="coop"``: CoOp has none."""
    official_only(split, TITLE)
    base = first_present(folder, "basic") or folder
    entries = _official(folder, base)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=NAMES,
        counts=COUNTS,
        original_names=original_names,
        notes=coop.official_notes(NAME, COUNTS["test"]),
        problems=_emotion_problems(entries),
    )


def _official(folder: Path, base: Path) -> list[Entry]:
    file = require_file(base, "EmoLabel/list_patition_label.txt", "list_patition_label.txt")
    aligned = (base / "Image/aligned").is_dir()
    images = base.relative_to(folder) / ("Image/aligned" if aligned else "Image/original")
    entries = []
    for number, line in read_lines(file):
        name, _, emotion = line.rpartition(" ")
        part, stem = name.partition("_")[0], name.removesuffix(".jpg")
        if part not in COUNTS or stem == name or emotion not in ("1", "2", "3", "4", "5", "6", "7"):
            raise damaged(file, "expected lines 'train_00001.jpg 5' with emotions 1 to 7", line=number)
        image = images / (f"{stem}_aligned.jpg" if aligned else name)
        entries.append(Entry(image.as_posix(), int(emotion) - 1, part))
    return entries


def _emotion_problems(entries: Sequence[Entry]) -> list[Problem]:
    found = Counter((entry.split, entry.label) for entry in entries)
    return [
        Problem("wrong count", f"{split}: {found[split, label]} of {NAMES[label].name}, {count} expected")
        for split, counts in PER_CLASS.items()
        for label, count in enumerate(counts)
        if found[split, label] != count
    ]
