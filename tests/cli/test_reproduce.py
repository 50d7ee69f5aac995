"""``fgvr reproduce``: the list, what is missing, a run on a miniature of CUB, the recorded benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from fgvr.cli.main import Verbs
from fgvr.cli.reproduce import reproduce
from fgvr.reproduce import recipe_names
from fgvr.reproduce.recorded import material
from tests.data.benchmarks.miniature import PET_TEST, make_cub, make_pets
from tests.reproduce.test_recorded import shared as _shared
from tests.reproduce.words import WordEncoder

shared = _shared

app = typer.Typer(cls=Verbs, pretty_exceptions_enable=False)
app.command("reproduce")(reproduce)


@app.callback()
def _group() -> None:
    """A group of one verb."""


def fgvr(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)])


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights are loaded for sACC."""
    monkeypatch.setattr("fgvr.encoders.sentence.load_sentence_encoder", lambda name: WordEncoder("all-MiniLM-L6-v2"))
    monkeypatch.setattr("fgvr.cli.reproduce_models.find_spec", lambda name: object())
    monkeypatch.delenv("FGVR_SHARED", raising=False)


@pytest.fixture(scope="module")
def cub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cub(tmp_path_factory.mktemp("cub"))


@pytest.fixture(scope="module")
def recording(cub: Path) -> Path:
    """Replies for every image of the miniature."""
    file = cub.parent / "replies.jsonl"
    names = {"Eastern_Towhee": "Eastern Towhee", "Artic_Tern": "Common Tern"}
    rows = [
        {"image": place.relative_to(cub).as_posix(), "model": "m", "reply": f"This is a **{said}**."}
        for key, said in names.items()
        for place in sorted(cub.rglob(f"{key}_*.jpg"))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_the_list_has_every_recipe() -> None:
    result = fgvr("--list")
    assert result.exit_code == 0
    for name in recipe_names():
        assert f"\n{name} " in result.stdout
    listed = json.loads(fgvr("--list", "--json").stdout)["recipes"]
    assert [one["name"] for one in listed] == list(recipe_names())
    (rar,) = (one for one in listed if one["name"] == "rar_table1_rar")
    assert rar["published"]["cacc"]["mean"] == 58.5


def test_what_is_missing_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    result = fgvr("workshop_table2_ours_gpt_4o", "--out", tmp_path / "run")
    assert result.exit_code == 2
    for part in ("--encoder", "--mllm", "--sentence-encoder", "--data birds=DIR", "--data pets=DIR"):
        assert part in result.stderr
    assert "nothing can be run" in result.stderr
    assert not (tmp_path / "run").exists()
    ahead = fgvr("workshop_table2_ours_gpt_4o", "--dry-run", "--json")
    assert ahead.exit_code == 0
    said = json.loads(ahead.stdout)
    assert said["runnable"] is False
    assert len(said["missing"]) == 8


def test_a_dry_run_says_what_would_be_run(cub: Path, recording: Path, tmp_path: Path) -> None:
    result = fgvr(
        "workshop_table2_direct_gpt_4o", "--data", f"birds={cub}", "--encoder", "nowhere", "--mllm", "openai:gpt-4o",
        "--dry-run", "--json",
    )  # fmt: skip
    said = json.loads(result.stdout)
    assert said["runnable"] is True
    assert said["datasets"] == ["cub200"]
    assert not any("MLLM" in text for text in said["differs"])


def test_a_row_is_run_on_what_is_there(cub: Path, recording: Path, world: object, tmp_path: Path) -> None:
    """NeaR's row on the miniature, with recorded replies and a tiny random encoder."""
    out = tmp_path / "run"
    call = (
        "workshop_table2_zs_clip_gpt_4o", "--data", f"birds={cub}", "--encoder", world.encoder,
        "--mllm", f"replay:{recording}", "--out", out, "--resamples", 5, "--cache", tmp_path / "cache",
    )  # fmt: skip
    result = fgvr(*call)
    assert result.exit_code == 0, result.output
    assert "Stanford Cars. Give its folder" in result.stderr
    assert (tmp_path / "cache" / "features").is_dir()
    assert (tmp_path / "cache" / "replies.sqlite").exists()
    page = (out / "reproduction.md").read_text()
    assert "CUB-200-2011" in page
    assert "sACC (all-MiniLM-L6-v2)" in page
    assert str(tmp_path) not in page
    again = json.loads(fgvr(*call, "--json").stdout)
    assert again == json.loads((out / "reproduction.json").read_text())
    lines = {(line["dataset"], line["metric"], line["encoder"]): line for line in again["lines"]}
    birds = lines["cub200", "cacc", None]
    assert birds["published"] == 48.8
    assert birds["difference"] is None  # two classes are not two hundred
    assert "not as distributed" in birds["remark"]
    assert lines["cub200", "sacc", "all-MiniLM-L6-v2"]["published"] is None
    assert lines["cub200", "sacc", "all-mpnet-base-v2"]["ours"] is None
    assert lines["mean", "cacc", None]["ours"] is None  # one of five
    assert lines["cars196", "cacc", None]["ours"] is None
    assert again["runs"][0]["support"] == 2  # three shots of classes that have one training image
    assert any("birds: support images are drawn from the training list" in text for text in again["differs"])


@pytest.mark.parametrize("fault", ["list", "images"])
def test_one_broken_data_set_does_not_cost_the_other(
    cub: Path, recording: Path, world: object, tmp_path: Path, fault: str
) -> None:
    """Its list of test images is damaged, or not one of them is there."""
    broken = make_pets(tmp_path / "pets")
    if fault == "list":
        (broken / "annotations" / "test.txt").write_bytes(b"\xff\xfe\x00")
    for line in PET_TEST if fault == "images" else ():
        (broken / "images" / f"{line.split()[0]}.jpg").unlink()
    result = fgvr(
        "workshop_table2_zs_clip_gpt_4o", "--data", cub, "--data", f"pets={broken}", "--encoder", world.encoder,
        "--mllm", f"replay:{recording}", "--out", tmp_path / "run", "--resamples", 5, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "left out" in result.stderr
    assert json.loads(result.stdout)["datasets"] == ["cub200"]


def test_a_method_that_fails_is_a_failure_with_its_reason(cub: Path, world: object, tmp_path: Path) -> None:
    """CaSED asks nobody, so it needs no MLLM; its captions hold nothing."""
    captions = tmp_path / "captions.txt"
    captions.write_text("\n")
    result = fgvr(
        "workshop_table2_cased", "--data", f"birds={cub}", "--encoder", world.encoder, "--captions", captions,
        "--out", tmp_path / "run", "--resamples", 5,
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    assert "failed" in result.stderr
    assert (tmp_path / "run" / "reproduction.md").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no recipe is named"),
        (("workshop_table2_our_gpt_4o",), "there is no recipe"),
        (("finer", "--shared", "x"), "--shared belongs to"),
        (("recorded",), "not part of this software"),
        (("recorded", "--shared", "nowhere"), "a file of the material is missing"),
        (("recorded", "--shared", "nowhere", "--sentence-encoder", "none"), "scores sACC"),
    ],
)
def test_wrong_calls_have_a_remedy(arguments: tuple[str, ...], says: str) -> None:
    result = fgvr(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "  -> " in result.stderr


def test_a_place_for_the_run_is_needed(cub: Path, recording: Path, world: object) -> None:
    result = fgvr(
        "workshop_table2_direct_gpt_4o", "--data", f"birds={cub}", "--encoder", world.encoder,
        "--mllm", f"replay:{recording}",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_recorded_writes_its_page_and_json(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "RECORDINGS", (("cub200", "qwen", "Birds Qwen"),))
    page = tmp_path / "deep" / "page.md"
    quick = ("--shared", shared, "--resamples", 5, "--no-classifier")
    result = fgvr("recorded", *quick, "--out", page, "--json")
    assert result.exit_code == 0, result.output
    assert page.read_text().startswith("# Real recorded labels")
    found = json.loads(result.stdout)
    assert found["sentence_encoder"] == "all-MiniLM-L6-v2"
    assert found["image_encoder"].startswith("CLIP ViT-B/16")
    assert [fit["shift"] for fit in found["shifts"]["Birds Qwen"]] == [-1, 0, 1]
    monkeypatch.setenv("FGVR_SHARED", str(shared))
    assert fgvr("recorded", *quick[2:]).stdout.startswith("# Real recorded labels")


def test_a_recording_that_is_missing_does_not_cost_the_others(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "RECORDINGS", (("cars196", "qwen", "Cars Qwen"), ("cub200", "qwen", "Birds Qwen")))
    result = fgvr("recorded", "--shared", shared, "--no-classifier", "--resamples", 5)
    assert result.exit_code == 1
    assert "a recording is left out" in result.stderr
    assert "cars196_rows.csv" in result.stderr
    assert "Birds Qwen" in result.stdout
    assert "was read off a run of everything with seed 0, not this one" in result.stdout


def test_a_shifted_recording_is_refused_on_the_command_line(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material, "RECORDINGS", (("cub200", "qwen", "Birds Qwen"),))
    file = shared / "data" / "recorded" / "cub200.qwen.jsonl"
    entries = sorted((json.loads(line) for line in file.read_text().splitlines()), key=lambda entry: entry["image"])
    names = np.roll(np.array([entry["names"][0] for entry in entries]).reshape(4, 3), 1, axis=0).reshape(-1)
    rows = [{**entry, "names": [str(name)]} for entry, name in zip(entries, names)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = fgvr("recorded", "--shared", shared, "--no-classifier", "--resamples", 5)
    assert result.exit_code == 2
    assert "the class before better than their own" in result.stderr
    assert "--allow-shift" in result.stderr
    allowed = fgvr("recorded", "--shared", shared, "--no-classifier", "--resamples", 5, "--allow-shift", "--json")
    assert allowed.exit_code == 0


def test_importing_the_verb_is_light() -> None:
    code = (
        "import sys, fgvr.cli.reproduce, fgvr.reproduce\n"
        "print([name for name in ('torch', 'transformers', 'scipy', 'pyarrow') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]", said.stdout
