"""``fgvr fit fine-r1``: adapter, summary, resume, dry run, spent budget, clear errors; the embedded world in full."""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fgvr.cli import fit_fine_r1
from fgvr.errors import FgvrError, InputError
from fgvr.methods.fine_r1.rationales import read_sharegpt
from tests.cli.world import done
from tests.methods.fine_r1.fitted import NamedColours, constant, pictures, teacher, varied
from tests.mllm import tiny_models

app = typer.Typer()
app.command()(fit_fine_r1.fine_r1)
FAST = (
    "--encoder", "x", "--style", "short", "--super-category", "bird", "--shots", 2, "--unseen-share", 0.25,
    "--tests-per-class", 1, "--no-rotations", "--sft-epochs", 1, "--sft-batch", 2, "--rank", 2, "--sft-rate", "1e-2",
    "--rate", "1e-2", "--epochs", 1, "--rollout-batch", 3, "--mini-rollout", 3, "--update-batch", 3, "--replies", 2,
    "--max-tokens", 6, "--tries", 1,
)  # fmt: skip


def fgvr(*arguments: object):
    with varied():
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, FgvrError):
        raise result.exception
    return result


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    folder = pictures(tmp_path_factory.mktemp("labelled"))
    (folder / "tern" / "bad.png").write_bytes(b"<html>")
    return folder


@pytest.fixture(autouse=True)
def world(monkeypatch):
    """In place of a dual encoder and a teacher: the command line's part is what is tested here."""
    monkeypatch.setattr(fit_fine_r1, "load_dual_encoder", lambda *_, **__: NamedColours())
    monkeypatch.setattr(fit_fine_r1, "load_model", lambda *_, **__: teacher())


@pytest.fixture(scope="module")
def run(labelled, model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_fine_r1, "load_dual_encoder", lambda *_, **__: NamedColours())
        result = fgvr(labelled, "--model", model, "--out", folder, "--thinking", "none", *FAST)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "adapter")
    told = flat(result.stderr)
    for part in (
        "set aside 1 (not an image: 1)",
        "3 seen and 1 unseen classes; 3 pictures to reason about, 6 to reinforce, 4 to test",
        "steps: 2 of fine-tuning and 2 of TAPO (about 12 replies); about",
        "GiB",
        "fine-tuning 3 rationales, 2 steps",
        "TAPO 2 steps, reward",
        "closed world, unseen",
        "95 % interval",
        "fgvr label IMAGES --out NAMED --prompt 'What kind of bird is this? Answer in <answer> tags.' --mllm local:",
        f"local:{folder}/adapter",
    ):
        assert part in told, (part, result.stderr)
    return folder


def test_again_it_is_finished_and_says_the_same(run, labelled, model):
    result = fgvr(labelled, "--mllm", model, "--out", run, "--thinking", "none", *FAST, "--json")
    summary = json.loads(result.stdout)
    assert summary["was_finished"]
    assert summary["set_aside"] == {"not an image": 1}
    assert summary["model"] == str(run / "adapter")
    assert summary["stages"]["reinforce"]["alarm"] is None


def test_changed_settings_are_refused(run, labelled, model):
    with pytest.raises(FgvrError, match="settings"):
        fgvr(labelled, "--mllm", model, "--out", run, *FAST, "--seed", 1)


def test_the_report_of_a_run_is_its_rollouts(run, tmp_path):
    page = Path(done("report", run, "--out", tmp_path / "page.html").stdout.strip())
    assert "red warbler" in page.read_text()


def test_the_teacher_writes_and_the_reason_of_a_stop_is_told(labelled, model, tmp_path):
    """Replies that never end: the alarm is on the terminal, the adapter saved, its rationales the teacher's."""
    out, unseen = tmp_path / "run", tmp_path / "unseen.txt"
    unseen.write_text("puffin\n")
    command = (labelled, "--model", model, "--out", out, *FAST, "--unseen", unseen, "--epochs", 3)
    with varied(constant(0.0)):
        result = CliRunner().invoke(app, [str(one) for one in command])
    assert result.exit_code == 0, result.output
    told = flat(result.stderr)
    assert "ended by themselves for 5 steps" in told[told.index("stopped early") :]
    assert len(read_sharegpt(out / "rationales.json").rationales) == 3
    assert (out / "adapter" / "adapter_model.safetensors").exists()
    assert "What kind of bird is this? Think in <think> tags" in told


def test_a_dry_run_counts_and_keeps_nothing(labelled, model, tmp_path):
    result = fgvr(labelled, "--model", model, "--out", tmp_path / "run", *FAST, "--dry-run")
    told = flat(result.stderr)
    for part in ("3 seen, 1 unseen", "time known when the rationales are", "memory ahead", "TAPO 2 steps, about"):
        assert part in told, (part, result.stderr)
    assert not (tmp_path / "run").exists()


def test_a_spent_budget_has_its_exit_code(labelled, model, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_fine_r1, "load_model", lambda *_, **__: teacher(local=False, name="gpt-4o"))
    result = fgvr(labelled, "--model", model, "--out", tmp_path / "run", *FAST, "--budget", 1e-9)
    assert result.exit_code == 3
    assert "nothing was trained" in result.stderr


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (("--rationales", "nowhere.json"), "no such file|cannot be read"),
        (("--unseen", "nowhere.txt"), "file of class names cannot be read"),
        (("--shots", "2", "--objective", "grpo", "--full", "--kl-ref", "0.1", "--stages", "reinforce"), "no reference"),
    ],
)
def test_clear_errors(labelled, model, tmp_path, more, error):
    with pytest.raises(InputError, match=error):
        fgvr(labelled, "--model", model, "--out", tmp_path / "run", *FAST, *more)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--teacher", "fieldguide-text"), ("--how", "composed")])
def test_the_embedded_model_learns_to_answer_in_tags(tmp_path, monkeypatch, how):
    """Drawn birds, the field guide or the model itself as teacher; the printed command names pictures."""
    from fgvr.cli.inputs import load_dual_encoder, load_model
    from fgvr.fieldguide.guide import all_species
    from fgvr.fieldguide.render import render

    monkeypatch.setattr(fit_fine_r1, "load_dual_encoder", load_dual_encoder)
    monkeypatch.setattr(fit_fine_r1, "load_model", load_model)
    birds = [one for one in all_species() if one.super_category == "bird"][:6]
    for species in birds:
        place = tmp_path / "images" / species.name
        place.mkdir(parents=True)
        for index in range(4):
            render(species, 50 + index, size=64).image.save(place / f"{index}.png")
    command = [
        tmp_path / "images", "--model", "fieldguide", "--out", tmp_path / "run", *FAST, "--encoder", "fieldguide",
        "--unseen-share", 0, "--full", "--sft-rate", "1e-3", "--sft-epochs", 20, "--rate", "1e-4", "--max-tokens", 100,
        *how,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(one) for one in command])
    assert result.exit_code == 0, (result.output, result.exception)
    next_line = next(line for line in result.stderr.splitlines() if "fgvr label" in line)
    words = shlex.split(next_line[next_line.index("fgvr label") :])
    prompt, mllm = words[words.index("--prompt") + 1], words[words.index("--mllm") + 1]
    named = done("label", tmp_path / "images", "--out", tmp_path / "n", "--prompt", prompt, "--mllm", mllm, "--json")
    assert json.loads(named.stdout)["images"] == 24
