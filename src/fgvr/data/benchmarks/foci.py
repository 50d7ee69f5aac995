"""FOCI (Geigle et al., EMNLP 2024): multiple-choice questions whose wrong options are what CLIP confuses.

Files, in FOCI's repository and in Finedefics': ``data/<data set>-ViT-L-14-laion2b_s32b_b82k-4.json``, ``{true name:
[{"image", "options", "groundtruth"}]}``; and results, ``results/mc/<data set>--<model>.json``, with ``metrics``,
``predictions`` (``image``, ``options`` in the order they were asked, ``correct``, ``predicted``, ``predicted_raw``) and
``config``.

1. *Order.* The truth is written first and the code shuffles without a seed; use ``questions.shuffled``.
2. *Distractors* are OpenCLIP ViT-L/14's (LAION-2B) nearest names, the truth put among them where it was not: a
   CLIP-like baseline is asked about its own mistakes.
3. *Replies.* The released code takes a reply for a letter when it merely starts with it ("Boeing" is B); ``predicted``
   in results files is what that gave. ``reply`` is kept, so that a stricter reading can be scored beside it.
4. *Accuracy* is counted again from the rows; one that differs from the file's own is noted. Two published results
   differ from the paper's table (birds 47.96 against 57.61, cars 23.87 against 84.67).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.data.benchmarks.layout import read_text
from fgvr.data.benchmarks.questions import Question as Question
from fgvr.data.benchmarks.questions import Questions, bad_row, collected, located, question
from fgvr.errors import ManifestError
from fgvr.types import SetAside

TEST_IMAGES = {
    "aircraft": 3333,
    "bird": 5794,
    "car": 8041,
    "dog": 8580,
    "flower": 6149,
    "pet": 3669,
    "fgvc_aircraft": 3333,
    "flowers102": 6149,
    "food101": 25250,
    "oxford_pet": 3669,
    "stanford_cars": 8041,
}
"""Images of the official test lists by the start of a file's name: Finedefics' six (section 4), then FOCI's own."""


@dataclass(frozen=True)
class Answered:
    """One question with what a model replied."""

    question: Question
    """With the options in the order they were asked."""
    reply: str
    """As the model wrote it."""
    chosen: int | None
    """Position of the option its authors' code read from the reply; ``None`` where it read none."""


@dataclass(frozen=True)
class Results:
    """A results file; ``answers`` is never empty."""

    answers: tuple[Answered, ...]
    model: str
    query: str
    """The question put before the options."""
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of right choices, in [0, 1]; a reply without a choice counts as wrong, as in the released code."""
        return sum(each.chosen == each.question.answer for each in self.answers) / len(self.answers)

    @property
    def unread(self) -> float:
        """Share of replies without a choice, in [0, 1]."""
        return sum(each.chosen is None for each in self.answers) / len(self.answers)


def read_foci(file: str | os.PathLike[str], *, images: str | os.PathLike[str] | None = None) -> Questions:
    """Questions of a FOCI file; with ``images``, those whose pictures lie below that folder, with their paths.

    Raises ``ManifestError`` when the file cannot be read or no row is good, ``NoImagesError`` when no picture is found.
    """
    source = Path(file).expanduser()
    content = _json(source)
    if not isinstance(content, Mapping):
        raise ManifestError("not a FOCI file: expected an object of lists", remedy="Check the file.", file=str(source))
    found = collected(_rows(content), source=source, notes=_size_notes(source, content))
    return found if images is None else located(found, Path(images).expanduser())


def read_results(file: str | os.PathLike[str]) -> Results:
    """A results file of the task ``mc``. Raises ``ManifestError`` when it cannot be read or no row is good."""
    source = Path(file).expanduser()
    content = _json(source)
    rows = content.get("predictions") if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise ManifestError("not a results file: it has no predictions", remedy="Check the file.", file=str(source))
    answers: list[Answered] = []
    aside: list[SetAside] = []
    for number, row in enumerate(rows, start=1):
        try:
            answers.append(_answered(row))
        except ValueError as error:
            aside.append(bad_row(f"row {number}", error))
    if not answers:
        raise ManifestError(f"no usable answer in this file ({len(aside)} bad rows)", file=str(source))
    config = content.get("config") if isinstance(content.get("config"), Mapping) else {}
    results = Results(tuple(answers), str(config.get("model", "")), str(config.get("prompt_query", "")), tuple(aside))
    return _checked(results, content.get("metrics"))


def _json(source: Path) -> Any:
    try:
        return json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not JSON: {error}", remedy="Fetch the file again.", file=str(source)) from error


def _rows(content: Mapping[str, Any]) -> Iterator[Question | SetAside]:
    for name, rows in content.items():
        if not isinstance(rows, list):
            yield bad_row(f"{name!r}", "not a list of questions")
            continue
        for number, row in enumerate(rows, start=1):
            where = f"{name!r}, row {number}"
            try:
                asked = question(row, image="image", truth="groundtruth")
                if asked.truth != name.strip():
                    raise ValueError(f"the true name is {asked.truth!r}")
                yield asked
            except ValueError as error:
                yield bad_row(where, error)


def _size_notes(source: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    expected = TEST_IMAGES.get(source.name.partition("-")[0])
    count = sum(len(rows) for rows in content.values() if isinstance(rows, list))
    if expected is None or count == expected:
        return ()
    return (f"{count} questions, but the official test list has {expected} images.",)


def _answered(row: Any) -> Answered:
    asked = question(row, image="image", truth="correct")
    predicted, reply = row.get("predicted"), row.get("predicted_raw")
    if not isinstance(predicted, str) or not isinstance(reply, str):
        raise ValueError("predicted or predicted_raw is not a text")
    chosen = asked.options.index(predicted.strip()) if predicted.strip() in asked.options else None
    return Answered(asked, reply, chosen)


def _checked(results: Results, metrics: Any) -> Results:
    stated = metrics.get("accuracy") if isinstance(metrics, Mapping) else None
    if not isinstance(stated, (int, float)) or abs(stated - results.accuracy) < 5e-5:
        return results
    note = f"The file says accuracy {stated:.4f}; its rows give {results.accuracy:.4f}."
    return Results(results.answers, results.model, results.query, results.set_aside, (note,))
