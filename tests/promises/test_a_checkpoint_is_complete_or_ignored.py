"""Promised: whatever becomes of the files a fit leaves behind, the same command either ends with the same result or
stops with a clear error that says what to do. And a finished fit, run again, asks nothing, trains nothing and changes
nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import FgvrError
from fgvr.methods.near import Classifier, NeaR, TuneSettings, tuning
from fgvr.methods.near.pipeline import FitSettings
from fgvr.mllm import Request, ScriptedMllm, spent_in
from fgvr.runs import Ledger
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered, noisy, picture
from tests.promises import verdict

CLASSES = NAMES[:6]
SETTINGS = FitSettings(tuning=TuneSettings(epochs=3, context_length=2), folds=2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("photographs")
    features, true = clustered(4, names=CLASSES, seed=1)
    said = noisy(true, share=0.25, classes=len(CLASSES), seed=2)
    for index, feature in enumerate(features):
        picture(feature).save(folder / f"{index:03d}.png")
    return folder, {f"{index:03d}.png": CLASSES[name] for index, name in enumerate(said)}


@pytest.fixture(scope="module")
def finished(photographs: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    fit(photographs, folder)
    return folder


def fit(
    photographs: tuple[Path, dict[str, str]],
    folder: Path,
    *,
    asked: list[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Fit into ``FOLDER/run``, predict into ``FOLDER/predictions.jsonl``."""
    from fgvr.data import write_predictions

    images, answers = photographs

    def script(request: Request) -> str:
        if asked is not None:
            asked.append(request.item_id)
        return answers[request.item_id]

    near = NeaR(ProjectionEncoder(), ScriptedMllm(script), settings=SETTINGS, out=folder / "run", progress=progress)
    near.fit(images)
    loaded = NeaR.load(folder / "run", encoder=ProjectionEncoder())
    write_predictions(folder / "predictions.jsonl", loaded.predict(images, store=folder / "run" / "features"))


def test_a_finished_fit_run_again_asks_nothing_and_changes_nothing(
    photographs: tuple[Path, dict[str, str]], finished: Path, tmp_path: Path
) -> None:
    again = shutil.copytree(finished, tmp_path / "again")
    asked: list[str] = []
    stages: list[str] = []
    fit(photographs, again, asked=asked, progress=lambda stage, _done, _total: stages.append(stage))
    assert asked == []
    assert "tune" not in stages
    assert verdict.differences(finished, again) == []
    for name in ("labels.jsonl", "support.jsonl", "classifier/classifier.json", "classifier/classifier.safetensors"):
        assert (again / "run" / name).read_bytes() == (finished / "run" / name).read_bytes()


def test_the_judge_of_these_tests_notices_every_kind_of_difference(finished: Path, tmp_path: Path) -> None:
    for name in ("predictions.jsonl", "run/support.jsonl", "run/labels.jsonl", "run/classifier/classifier.json"):
        other = shutil.copytree(finished, tmp_path / name.replace("/", "-"))
        text = (other / name).read_text()
        wrong = CLASSES[0] if CLASSES[0] in text else CLASSES[1]
        (other / name).write_text(text.replace(wrong, "Yellow Crow", 1))
        assert verdict.differences(finished, other) == [f"{name} differs"]
    other = shutil.copytree(finished, tmp_path / "features")
    shard = next((other / "run" / "features").glob("*/*.npy"))
    rows = np.load(shard)
    rows[0, 0] = np.nextafter(rows[0, 0], np.float32(2))
    np.save(shard, rows)
    assert len(verdict.differences(finished, other)) == 1
    next((other / "run").glob("tuning-*")).unlink()
    assert any(line.endswith("is missing") for line in verdict.differences(finished, other))


def damages(data: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes | None]]:
    """What may become of a file: gone, empty, cut off, or one bit turned over somewhere."""
    yield "gone", None
    yield "empty", b""
    yield "half", data[: len(data) // 2]
    yield "cut", data[:-1]
    for at in rng.integers(len(data), size=3):
        bit = 1 << int(rng.integers(8))
        yield f"bit {bit} of byte {at}", data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def refusal(action: Callable[[], object]) -> FgvrError | None:
    """The package's own error, if that is how ``action`` ends."""
    try:
        action()
    except FgvrError as error:
        return error
    return None


def test_a_damaged_file_is_made_again_or_refused_with_a_remedy_never_believed(
    photographs: tuple[Path, dict[str, str]], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # most of the time, and no power will fail
    rng, number, refused = np.random.default_rng(0), 0, set()
    files = [path for path in finished.rglob("*") if path.is_file() and path.name != ".lock" and path.stat().st_size]
    for file in files:
        name = file.relative_to(finished).as_posix()
        for damage, data in damages(file.read_bytes(), rng):
            number += 1
            folder = shutil.copytree(finished, tmp_path / str(number))
            if data is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(data)
            error = refusal(lambda folder=folder: fit(photographs, folder))
            if error is None:
                assert results(folder) == results(finished), (name, damage)
            else:
                assert error.remedy, (name, damage)
                refused.add(name)
            shutil.rmtree(folder)
    assert number > 80
    assert refused == {"run/manifest.json"}, "all else is computed again without a word from the user"


def results(folder: Path) -> list[object]:
    """What a user takes away."""
    run = folder / "run"
    files = ("classifier/classifier.json", "classifier/classifier.safetensors", "support.jsonl", "set_aside.json")
    answers = verdict.final_answers(folder)
    return [answers, *((run / name).read_bytes() for name in files), (folder / "predictions.jsonl").read_bytes()]


def test_a_reply_altered_in_the_ledger_is_asked_again_and_no_other(
    photographs: tuple[Path, dict[str, str]], finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "altered")
    ledger = folder / "run" / "labels.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    altered = json.loads(lines[5])["item"]
    lines[5] = lines[5].replace('"text":"', '"text":"X')
    ledger.write_text("".join(lines))
    asked: list[str] = []
    fit(photographs, folder, asked=asked)
    assert asked == [altered]
    assert results(folder) == results(finished)
    assert spent_in(Ledger(ledger)) == 0.0


def test_a_damaged_classifier_does_not_predict(
    photographs: tuple[Path, dict[str, str]], finished: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    expected = Classifier.load(finished / "run" / "classifier")
    support = expected.support
    assert support is not None
    ids = [str(row) for row in range(len(support))]
    for name in ("classifier.json", "classifier.safetensors"):
        for damage, data in damages((finished / "run" / "classifier" / name).read_bytes(), rng):
            folder = shutil.copytree(finished / "run" / "classifier", tmp_path / f"{name} {damage}")
            if data is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(data)
            error = refusal(lambda folder=folder: Classifier.load(folder))
            if error is None:
                assert Classifier.load(folder).predict(support, ids) == expected.predict(support, ids), (name, damage)
            else:
                assert error.remedy


def test_a_classifier_saved_over_another_and_killed_in_between_is_refused(finished: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from fgvr.errors import RunError

    classifier = Classifier.load(finished / "run" / "classifier")
    classifier.save(tmp_path / "old")
    replace(classifier, names=tuple(reversed(classifier.names))).save(tmp_path / "new")
    shutil.copy(tmp_path / "new" / "classifier.safetensors", tmp_path / "old")
    with pytest.raises(RunError, match="not the one that was saved"):
        Classifier.load(tmp_path / "old")


def test_what_a_kill_costs_of_a_long_tuning_is_bounded_in_seconds(
    photographs: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bound at zero every epoch is on disk before the next one begins."""
    monkeypatch.setattr(tuning, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    def at_the_third_epoch(stage: str, done: int, _total: int) -> None:
        if stage == "tune" and done == 3:
            raise Killed

    with pytest.raises(Killed):
        fit(photographs, tmp_path, progress=at_the_third_epoch)
    epochs: list[int] = []
    fit(photographs, tmp_path, progress=lambda stage, done, _total: epochs.append(done) if stage == "tune" else None)
    assert epochs == [3]
