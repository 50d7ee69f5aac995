"""``fgvr fit rar``, ``predict``, ``evaluate`` and ``report`` on drawn pictures, a tiny encoder and a local service."""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fgvr.cli import memory
from fgvr.data import read_predictions
from fgvr.methods.rar import Recogniser
from fgvr.mllm import spent_in
from fgvr.runs import Ledger
from fgvr.runs.lock import FolderLock
from tests.mllm.rude_server import Answer, RudeServer, completion, serving

from .world import SPECIES, done, fgvr

HEARD = [{"token": "B", "logprob": -0.1}, {"token": "A", "logprob": -2.5}]
ALWAYS = ("--ask", "always", "--weight", 1)


def letter(number: int, body: dict[str, Any]) -> Answer:
    """The second candidate, always; a name where no letters are offered."""
    if "letter" not in body["messages"][-1]["content"][-1]["text"]:
        return Answer(completion(f"This is a **{SPECIES[number % len(SPECIES)].name}**."))
    said = {"content": [{**HEARD[0], "top_logprobs": HEARD}]}
    return Answer(completion("B", tokens=(2000, 1), logprobs=said))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[RudeServer]:
    with serving(letter) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"m": {"input": 1.0, "output": 1.0}}))
    return file


@pytest.fixture(scope="module")
def halves(world, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four labelled pictures a class to learn from, two to ask about."""
    root = tmp_path_factory.mktemp("halves")
    for file in sorted(world.photographs.rglob("*.png")):
        part = "learn" if int(file.stem) < 4 else "ask"
        (root / part / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / part / file.parent.name)
    return root / "learn", root / "ask"


@pytest.fixture(scope="module")
def finished(world, halves: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that retrieves only."""
    run = tmp_path_factory.mktemp("finished") / "run"
    done("fit", "rar", halves[0], "--out", run, "--encoder", world.encoder)
    return run


def listed(halves: tuple[Path, Path], folder: Path, labels: Callable[[int, Path], str | None]) -> Path:
    """A manifest of copies of all pictures, under labels by number and file; ``None`` leaves one without."""
    rows = []
    for part in halves:
        for file in sorted(Path(shutil.copytree(part, folder / part.name)).rglob("*.png")):
            label = labels(len(rows), file)
            rows.append({"image": file.relative_to(folder).as_posix(), **({} if label is None else {"label": label})})
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "m.jsonl"


def clean(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text if c not in "\n\t")


def refused(code: int, *arguments: object) -> str:
    """What is said on standard error when the command ends with ``code`` and without a traceback."""
    result = fgvr(*arguments)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    assert "  -> " in result.stderr  # the remedy
    return result.stderr


def test_a_fit_is_told_shown_and_not_done_twice(world, halves, finished):
    recogniser = Recogniser.load(finished)
    assert (len(recogniser.memory.images), len(recogniser.memory.texts)) == (4 * len(SPECIES), len(SPECIES))
    assert recogniser.retrieval.k == 4
    assert "RAR" in (finished / "report.html").read_text()
    before = (finished / "rar.json").stat().st_mtime_ns
    again = json.loads(done("fit", "rar", halves[0], "--out", finished, "--encoder", world.encoder, "--json").stdout)
    assert (again["was_finished"], again["classes"], again["memory_images"], again["asked"]) == (True, 4, 16, 0)
    assert (finished / "rar.json").stat().st_mtime_ns == before


def test_predict_and_evaluate(halves, finished, tmp_path):
    printed = done("predict", finished, halves[1], "--top-k", 3)
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert len(lines) == 2 * len(SPECIES)
    assert all(len(line["top"]) == 3 for line in lines)
    for suffix in (".csv", ".parquet"):
        done("predict", finished, halves[1], "--top-k", 3, "--out", tmp_path / f"p{suffix}")
        assert [one.name for one in read_predictions(tmp_path / f"p{suffix}")] == [line["name"] for line in lines]
    few = ("--sentence-encoder", "none", "--resamples", 20)
    figures = json.loads(done("evaluate", finished, halves[1], *few, "--json").stdout)
    assert figures["n"] == 2 * len(SPECIES)
    assert "no support image scored" in figures["protocol"]
    page = tmp_path / "page.html"
    done("predict", finished, halves[1], "--out", tmp_path / "p.jsonl")
    done("report", finished, "--predictions", tmp_path / "p.jsonl", "--images", halves[1], "--out", page)
    assert SPECIES[0].name in page.read_text()
    leaky = fgvr("evaluate", finished, halves[0], *few)
    assert leaky.exit_code == 1
    assert "16 of 16 images were in the support set" in leaky.stderr


def test_a_dry_run_counts_without_a_key_and_writes_nothing(world, halves, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    command = ("fit", "rar", halves[0], "--out", tmp_path / "run", "--encoder", world.encoder, "--mllm", "openai:m")
    for more, calls in (((), 16), (("--permutations", 3), 48), (ALWAYS, 0), (("--ask", "never"), 0)):
        plan = json.loads(done(*command, *more, "--dry-run", "--json").stdout)
        assert (plan["images"], plan["classes"], plan["calls_at_most"]) == (16, 4, calls)
    assert not (tmp_path / "run").exists()


def test_answers_are_paid_for_once_in_fit_and_predictions(world, halves, service, tmp_path):
    run = tmp_path / "run"
    fit = ("fit", "rar", halves[0], "--out", run, "--encoder", world.encoder, "--mllm", "openai:m", "--weight", 3)
    summary = json.loads(done(*fit, "--json").stdout)
    assert (summary["asked"], summary["usage"]["calls"], len(service.calls)) == (16, 16, 16)
    predict = ("predict", run, halves[1])
    first = json.loads(done(*predict, "--json", "--out", tmp_path / "p.jsonl").stdout)
    calls = len(service.calls)
    assert calls == 16 + first["asked"]
    again = json.loads(done(*predict, "--json", "--out", tmp_path / "q.jsonl").stdout)
    assert (again["reused"], again["usage"]["calls"], len(service.calls)) == (first["asked"], 0, calls)
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "q.jsonl").read_bytes()
    assert json.loads(done(*fit, "--json").stdout)["was_finished"]
    assert "ranking" in (run / "report.html").read_text()
    assert json.loads(done(*predict, "--mllm", "none", "--json").stdout)["predicted"] == 8


def test_the_mllm_decides_where_it_is_given_the_weight(world, halves, service, tmp_path):
    """The service always says the second letter, so retrieval's second candidate is named."""
    run = tmp_path / "run"
    more = ("--ask", "always", "--weight", 1000)
    done("fit", "rar", halves[0], "--out", run, "--encoder", world.encoder, "--mllm", "openai:m", *more)
    assert not service.calls
    swayed = [json.loads(line) for line in done("predict", run, halves[1]).stdout.splitlines()]
    alone = [json.loads(line) for line in done("predict", run, halves[1], "--mllm", "none").stdout.splitlines()]
    assert [one["top"][0][0] for one in swayed] == [one["top"][1][0] for one in alone]
    assert len(service.calls) == 8


def test_the_cap_stops_fit_and_predictions_with_code_3_over_restarts(world, halves, service, prices, tmp_path):
    run, cap = tmp_path / "run", 0.06
    names = ("--encoder", world.encoder, "--mllm", "openai:m", "--prices", prices, "--weight", 3)
    fit = ("fit", "rar", halves[0], "--out", run, *names)
    stopped = fgvr(*fit, "--budget", 0.01, "--json")
    assert stopped.exit_code == 3
    assert json.loads(stopped.stdout)["stopped"] == "budget"
    assert 0 < len(service.calls) * 0.002 <= 0.01
    assert "cap stopped" in (run / "report.html").read_text()
    done(*fit, "--budget", 1)
    assert len(service.calls) == 16
    for _ in range(2):
        out = tmp_path / "p.jsonl"
        result = fgvr("predict", run, halves[1], "--budget", 0.036, "--prices", prices, "--out", out)
        assert result.exit_code == 3
        assert "named by retrieval alone" in result.stderr
        assert len(read_predictions(out)) == 8
        assert len(service.calls) * 0.002 <= 0.036
    assert done("predict", run, halves[1], "--budget", cap, "--prices", prices)
    assert len(service.calls) * 0.002001 == pytest.approx(spent_in(Ledger(run / "ranks.jsonl")))


def test_an_evaluation_asks_within_its_cap_and_says_so(world, halves, service, prices, tmp_path):
    run = tmp_path / "run"
    names = ("--encoder", world.encoder, "--mllm", "openai:m", "--prices", prices)
    done("fit", "rar", halves[0], "--out", run, *names, *ALWAYS)
    few = ("evaluate", run, halves[1], "--sentence-encoder", "none", "--resamples", 20, "--prices", prices, "--json")
    capped = fgvr(*few, "--budget", 0.01)
    assert capped.exit_code == 3
    figures = json.loads(capped.stdout)
    assert figures["n"] == 8
    assert 0 < len(service.calls) * 0.002 <= 0.01
    said = next(line for line in figures["protocol"] if "the MLLM was asked" in line)
    assert "named by retrieval alone (the spending cap stopped the questions)" in said
    whole = json.loads(done(*few, "--budget", 1).stdout)
    assert "the MLLM was asked about 8 of 8 images" in whole["protocol"]
    assert len(service.calls) == 8
    none = json.loads(done(*few, "--mllm", "none").stdout)
    assert not [line for line in none["protocol"] if "the MLLM was asked" in line]


def test_a_cap_of_nothing_is_the_caps_doing(world, halves, service, prices, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, file in enumerate(sorted(halves[0].rglob("*.png"))):
        shutil.copy(file, flat / f"{number}.png")
    command = ("fit", "rar", flat, "--out", tmp_path / "run", "--encoder", world.encoder, "--mllm", "openai:m")
    said = refused(3, *command, "--name-by-mllm", "--budget", 0, "--prices", prices)
    assert "spending cap" in said
    assert not service.calls
    done(*command, "--name-by-mllm", "--budget", 10, "--prices", prices)
    assert sorted(Recogniser.load(tmp_path / "run").names) == sorted(one.name for one in SPECIES)
    said = refused(2, "fit", "rar", flat, "--out", tmp_path / "other", "--encoder", world.encoder)
    assert "no photograph has a label" in said
    assert "--name-by-mllm" in said


def test_a_service_that_failed_is_asked_again_on_request(world, halves, service, tmp_path):
    service.script = lambda *_: Answer(b"{}", status=400)
    command = ("fit", "rar", halves[0], "--out", tmp_path / "run", "--encoder", world.encoder, "--mllm", "openai:m")
    assert "about 16 images; --retry-failed asks again" in done(*command).stderr
    assert Recogniser.load(tmp_path / "run").rules.asking == "never"
    service.script = letter
    assert json.loads(done(*command, "--json").stdout)["was_finished"]
    again = json.loads(done(*command, "--retry-failed", "--json").stdout)
    assert (again["asked"], again["unanswered"]) == (16, 0)


def test_names_alone_and_files_of_names_that_are_none(world, tmp_path):
    names = tmp_path / "names.txt"
    command = ("fit", "rar", "--names", names, "--out", tmp_path / "run", "--encoder", world.encoder)
    for content in (b"", b"\n \n", b"\xff\xfe\x00", None):
        if content is None:
            names.unlink()
        else:
            names.write_bytes(content)
        refused(2, *command)
    names.write_text("Red Fox\n  Grey   Heron \n\nRed Fox\n", encoding="utf-8-sig")
    summary = json.loads(done(*command, "--json").stdout)
    assert (summary["classes"], summary["memory_images"], summary["memory_texts"]) == (2, 0, 2)
    assert Recogniser.load(tmp_path / "run").names == ("Red Fox", "Grey Heron")
    assert "nothing to remember" in refused(2, "fit", "rar", "--out", tmp_path / "x", "--encoder", world.encoder)


def test_shots_are_drawn_and_the_unlabelled_are_set_aside(world, halves, tmp_path):
    manifest = listed(halves, tmp_path, lambda _, file: file.parent.name if "learn" in file.parts else None)
    command = ("fit", "rar", manifest, "--out", tmp_path / "run", "--encoder", world.encoder, "--shots", 2, "--json")
    summary = json.loads(done(*command).stdout)
    assert (summary["memory_images"], summary["k"], summary["set_aside"]) == (8, 5, {"no label": 8})


def test_one_class_of_a_manifest(world, halves, tmp_path):
    manifest = listed(halves, tmp_path, lambda number, _: "Only One" if number < 3 else None)
    done("fit", "rar", manifest, "--out", tmp_path / "run", "--encoder", world.encoder)
    found = [json.loads(line) for line in done("predict", tmp_path / "run", halves[1]).stdout.splitlines()]
    assert {one["top"][0][0] for one in found} == {"Only One"}


def test_other_runs_other_encoders_and_unfinished_ones_are_refused(world, fitted, finished, halves, tmp_path):
    near = world.fit(finished)
    assert "other settings" in refused(1, *near)
    rar = ("fit", "rar", halves[0], "--out", fitted, "--encoder", world.encoder)
    assert "other settings" in refused(1, *rar)
    assert "asks no MLLM" in refused(2, "predict", fitted, halves[1], "--mllm", "openai:m")
    assert "fitted without an MLLM" in refused(2, "predict", finished, halves[1], "--mllm", "openai:m")
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "rar.json").unlink()
    for verb in ("predict", "evaluate"):
        assert "no finished RAR run" in refused(1, verb, run, halves[1])
    assert "no finished RAR run" in refused(1, "report", run)
    done("fit", "rar", halves[0], "--out", run, "--encoder", world.encoder)
    assert (run / "rar.json").read_bytes() == (finished / "rar.json").read_bytes()


def test_another_encoder_is_refused(finished, halves, tmp_path):
    from tests.encoders.tiny import save

    other = save("siglip", tmp_path / "other")
    said = refused(1, "predict", finished, halves[1], "--encoder", other)
    assert "memory" in said


def test_a_run_at_work_is_not_disturbed(world, halves, service, tmp_path):
    run = tmp_path / "run"
    command = ("fit", "rar", halves[0], "--out", run, "--encoder", world.encoder, "--mllm", "openai:m", *ALWAYS)
    done(*command)
    lock = FolderLock.acquire(run)
    try:
        assert "another process is at work" in refused(1, "predict", run, halves[1])
        assert "another process is at work" in refused(1, *command)
    finally:
        lock.release()
    assert not service.calls
    done("predict", run, halves[1])


def test_classes_added_by_hand_survive_a_second_fit(world, halves, tmp_path):
    last = sorted(halves[0].iterdir())[-1]
    labelled = Path(shutil.copytree(halves[0], tmp_path / "labelled"))
    shutil.rmtree(labelled / last.name)
    fit = ("fit", "rar", labelled, "--out", tmp_path / "run", "--encoder", world.encoder)
    done(*fit)
    added = CliRunner().invoke(memory.app, ["add", str(tmp_path / "run"), str(last), "--name", "Newcomer"])
    assert added.exit_code == 0, added.output
    predictions = [json.loads(line) for line in done("predict", tmp_path / "run", last).stdout.splitlines()]
    assert {one["top"][0][0] for one in predictions} == {"Newcomer"}
    done(*fit)
    assert "memory was changed" in refused(1, *fit, "--retry-failed")
    assert "Newcomer" in Recogniser.load(tmp_path / "run").names


HOSTILE = ("<script>alert(1)</script> Wren", "=HYPERLINK(x)", "\x1b[2J\u202egnp Tern", "W" * 5000, "{{7*7}}", "unknown")


def test_hostile_class_names_stay_text(world, halves, service, tmp_path):
    manifest = listed(halves, tmp_path, lambda number, _: HOSTILE[number % len(HOSTILE)])
    run = tmp_path / "run"
    names = ("--encoder", world.encoder, "--mllm", "openai:m", "--weight", 1)
    printed = [done("fit", "rar", manifest, "--out", run, *names)]
    printed.append(done("predict", run, halves[1], "--out", tmp_path / "p.csv"))
    printed.append(done("predict", run, halves[1]))
    printed.append(done("predict", run, halves[1], "--json"))
    done("report", run, "--predictions", tmp_path / "p.csv", "--images", halves[1])
    assert clean("".join(one.stdout + one.stderr for one in printed))
    html = (run / "report.html").read_text()
    assert "<script>alert(1)" not in html
    assert clean("".join(html.splitlines()))
    for name in read_predictions(tmp_path / "p.csv"):
        assert name.top[0][0] in Recogniser.load(run).names
    assert all(clean(question.replace("\n", "")) for question in service.questions())
    assert max(map(len, service.questions())) < 4000
    assert not [cell for cell in (tmp_path / "p.csv").read_text().splitlines() if cell.startswith("=")]
