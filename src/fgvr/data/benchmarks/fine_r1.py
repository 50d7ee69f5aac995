"""Fine-R1's evaluation questions (ICLR 2026): ``eval/data/<data set>_{seen,unseen}.jsonl``, four options a row.

One JSON object a line: ``image_path``, ``question``, ``options``, ``ground_truth``. 60 % of each data set's classes
were trained on (``seen``), 40 % were not; the division is published only as these files.

1. *Order.* The truth is the first option in every published row and the released code asks them as they stand: a model
   that prefers the first option is rewarded. Use ``questions.shuffled``.
2. *Paths* are those of the authors' machine; pictures are found by the ends of their paths (``questions.located``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from fgvr.data.benchmarks.layout import read_text
from fgvr.data.benchmarks.questions import Question, Questions, bad_row, collected, located, question
from fgvr.errors import ManifestError
from fgvr.types import SetAside

COUNTS = {
    "aircraft": {"seen": (60, 2002), "unseen": (40, 1331)},
    "bird": {"seen": (120, 3483), "unseen": (80, 2311)},
    "car": {"seen": (117, 4811), "unseen": (79, 3230)},
    "dog": {"seen": (72, 5276), "unseen": (48, 3304)},
    "flower": {"seen": (61, 4028), "unseen": (41, 2121)},
    "pet": {"seen": (22, 2176), "unseen": (15, 1493)},
}
"""(classes, questions) of each published file."""


def read_fine_r1(
    file: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None, seen: bool | None = None
) -> Questions:
    """Questions of a JSONL file; with ``images``, those whose pictures lie below that folder, with their paths.

    ``seen`` is read from the file's name (``..._seen.jsonl``, ``..._unseen.jsonl``) unless given. Raises
    ``ManifestError`` when the file cannot be read or no row is good, or the name says neither; ``NoImagesError`` when
    no picture is found.
    """
    source = Path(file).expanduser()
    known = _seen(source) if seen is None else seen
    found = collected(_rows(source, known), source=source)
    notes = (*found.notes, *_size_notes(source, known, found))
    found = Questions(found.questions, found.set_aside, notes)
    return found if images is None else located(found, Path(images).expanduser())


def shared_classes(seen: Questions, unseen: Questions) -> tuple[str, ...]:
    """True names, without regard to case and underscores, that both files ask about: none in the published ones."""
    one, other = ({each.names[each.answer].casefold() for each in found.questions} for found in (seen, unseen))
    return tuple(sorted(one & other))


def _seen(source: Path) -> bool:
    ending = source.stem.rpartition("_")[2]
    if ending not in ("seen", "unseen"):
        raise ManifestError(
            "the file's name says neither seen nor unseen",
            remedy="Keep the published name, or say which it is (seen=).",
            file=str(source),
        )
    return ending == "seen"


def _rows(source: Path, seen: bool) -> Iterator[Question | SetAside]:
    for number, line in enumerate(read_text(source).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield question(row, image="image_path", truth="ground_truth", text="question", seen=seen)
        except (ValueError, RecursionError) as error:
            yield bad_row(f"row {number}", error)


def _size_notes(source: Path, seen: bool, found: Questions) -> tuple[str, ...]:
    published = COUNTS.get(source.stem.rpartition("_")[0])
    if published is None:
        return ()
    expected = published["seen" if seen else "unseen"]
    here = (len({each.truth for each in found.questions}), len(found.questions))
    if here == expected:
        return ()
    return (f"{here[1]} questions on {here[0]} classes; published are {expected[1]} on {expected[0]}.",)
