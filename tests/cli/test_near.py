"""``fgvr fit near``, ``predict``, ``evaluate`` and ``report`` on drawn pictures with a recording and a tiny encoder."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fgvr.data import read_predictions

from .world import done, fgvr


def test_fit_writes_a_classifier_and_a_page_and_is_not_done_twice(world, fitted, tmp_path):
    assert (fitted / "report.html").stat().st_size > 1000
    assert (fitted / "classifier" / "classifier.json").exists()
    before = (fitted / "classifier" / "classifier.safetensors").stat().st_mtime_ns
    again = json.loads(done(*world.fit(fitted, "--support", 12, "--json")).stdout)
    assert again["was_finished"] is True
    assert again["usage"]["calls"] == 0
    assert again["support"] == 12
    assert (fitted / "classifier" / "classifier.safetensors").stat().st_mtime_ns == before


def test_fit_looks_at_no_labels(world, tmp_path):
    """The same pictures in one flat folder of other names give the same classifier."""
    flat, rows = tmp_path / "flat", []
    flat.mkdir()
    for line in world.recording.read_text().splitlines():
        row = json.loads(line)
        row["image"] = row["image"].replace("/", "-")
        (flat / row["image"]).write_bytes((world.photographs / json.loads(line)["image"]).read_bytes())
        rows.append(row)
    recording = tmp_path / "flat.jsonl"
    recording.write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("--encoder", world.encoder, "--preset", "lite", "--epochs", 2, "--folds", 0)
    done("fit", "near", flat, "--out", tmp_path / "a", "--mllm", f"replay:{recording}", *names)
    done("fit", "near", world.photographs, "--out", tmp_path / "b", "--mllm", f"replay:{world.recording}", *names)
    one, two = (tmp_path / run / "classifier" / "classifier.safetensors" for run in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_dry_run_of_a_fit_counts_the_support_only(world, tmp_path):
    ahead = json.loads(done(*world.fit(tmp_path / "run", "--support", 7, "--dry-run", "--json")).stdout)
    assert ahead["calls"] == 7
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", ["spread", "active"])
def test_images_to_name_can_be_chosen(world, tmp_path, how):
    run = ("--support", 6, "--folds", 0, "--choose", how, "--json")
    ahead = json.loads(done(*world.fit(tmp_path / "run", *run, "--dry-run")).stdout)
    assert ahead["calls"] == 6
    assert not (tmp_path / "run").exists()
    first = json.loads(done(*world.fit(tmp_path / "run", *run)).stdout)
    assert (first["choose"], first["support"], first["answered"], first["collection"]) == (how, 6, 6, 24)
    lines = [json.loads(line) for line in (tmp_path / "run" / "choice.jsonl").read_text().splitlines()]
    settled = sorted(item for line in lines for item in line["ids"])
    assert settled == [
        json.loads(line)["item"] for line in (tmp_path / "run" / "support.jsonl").read_text().splitlines()
    ]
    again = json.loads(done(*world.fit(tmp_path / "run", *run)).stdout)
    assert again["was_finished"] is True
    known = json.loads(done(*world.fit(tmp_path / "run", *run, "--dry-run")).stdout)
    assert (known["calls"], known["already_answered"]) == (0, 6)
    other = fgvr(*world.fit(tmp_path / "run", "--support", 6, "--folds", 0))
    assert other.exit_code == 1
    assert "settings" in other.stderr


def test_how_images_were_chosen_is_said(world, tmp_path):
    printed = done(*world.fit(tmp_path / "run", "--support", 6, "--folds", 0, "--choose", "spread"))
    assert "6 of 24 images, chosen by spread" in printed.stderr
    assert fgvr(*world.fit(tmp_path / "other", "--choose", "best")).exit_code == 2


def test_predict_writes_lines_to_standard_output_and_files_on_request(world, fitted, tmp_path):
    printed = done("predict", fitted, world.photographs, "--top-k", 2)
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    assert len(lines) == 24
    assert all(len(line["top"]) == 2 for line in lines)
    for suffix in (".jsonl", ".csv", ".parquet"):
        file = tmp_path / f"out{suffix}"
        result = done("predict", fitted, world.photographs, "--top-k", 2, "--out", file)
        assert result.stdout == ""
        assert [p.name for p in read_predictions(file)] == [line["name"] for line in lines]


def test_predict_lists_what_it_set_aside(fitted, tmp_path, world):
    place = tmp_path / "new"
    place.mkdir()
    (place / "bad.jpg").write_bytes(b"")
    nothing = fgvr("predict", fitted, place)
    assert nothing.exit_code == 2
    (place / "good.png").write_bytes(next(world.photographs.rglob("*.png")).read_bytes())
    summary = json.loads(done("predict", fitted, place, "--json", "--out", tmp_path / "p.csv").stdout)
    assert summary["predicted"] == 1
    assert sum(summary["set_aside"].values()) == 1
    listed = (tmp_path / "p.csv.set_aside.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["bad.jpg"]


def test_a_wrong_suffix_is_noticed_before_the_work(fitted, world, tmp_path):
    assert fgvr("predict", fitted, world.photographs, "--out", tmp_path / "p.pkl").exit_code == 2


def test_evaluation_refuses_support_images(world, fitted, tmp_path):
    refused = fgvr("evaluate", fitted, world.photographs, "--sentence-encoder", "none")
    assert refused.exit_code == 1
    assert "12 of 24 images were in the support set" in refused.stderr
    few = ("--sentence-encoder", "none", "--resamples", 20, "--json")
    honest = json.loads(done("evaluate", fitted, world.photographs, "--exclude-support", *few).stdout)
    assert honest["n"] == 12
    assert "12 support images left out" in honest["protocol"]
    leaky = json.loads(done("evaluate", fitted, world.photographs, "--allow-leaks", *few).stdout)
    assert leaky["n"] == 24
    assert any("optimistic" in line for line in leaky["protocol"])
    done("predict", fitted, world.photographs, "--out", tmp_path / "p.csv")
    by_file = ("evaluate", tmp_path / "p.csv", world.photographs, *few)
    assert fgvr(*by_file, "--support", fitted).exit_code == 1
    assert json.loads(done(*by_file, "--support", fitted, "--exclude-support").stdout)["figures"] == honest["figures"]


def test_a_renamed_copy_of_a_support_image_is_found(world, fitted, tmp_path):
    seen = json.loads((fitted / "support.jsonl").read_text().splitlines()[0])["item"]
    for name in ("Red Fox", "Grey Heron"):
        (tmp_path / "new" / name).mkdir(parents=True)
    (tmp_path / "new" / "Red Fox" / "other.png").write_bytes((world.photographs / seen).read_bytes())
    other = next(p for p in world.photographs.rglob("*.png") if p.relative_to(world.photographs).as_posix() != seen)
    (tmp_path / "new" / "Grey Heron" / "b.png").write_bytes(other.read_bytes())
    refused = fgvr("evaluate", fitted, tmp_path / "new", "--sentence-encoder", "none")
    assert refused.exit_code == 1
    assert "Red Fox/other.png" in refused.stderr


def test_unanswered_items_are_never_wrong(world, tmp_path):
    done("label", world.photographs, "--out", tmp_path / "run", "--mllm", f"replay:{world.recording}")
    few = ("--sentence-encoder", "none", "--resamples", 20, "--json")
    refused = fgvr("evaluate", tmp_path / "run", *few)
    assert refused.exit_code == 1
    assert "no answer" in refused.stderr
    figures = json.loads(done("evaluate", tmp_path / "run", "--allow-missing", *few).stdout)
    assert (figures["n"], figures["scored"]) == (24, 23)
    assert figures["figures"]["exact"]["value"] == pytest.approx(22 / 23)


def test_accepted_names_count_as_right(world, tmp_path):
    done("label", world.photographs, "--out", tmp_path / "run", "--mllm", f"replay:{world.recording}")
    true = sorted(world.photographs.rglob("*.png"))[1].parent.name.replace("_", " ")
    (tmp_path / "accepted.json").write_text(json.dumps({true: ["Red Fox"]}))
    few = ("--sentence-encoder", "none", "--resamples", 20, "--json", "--allow-missing")
    figures = json.loads(done("evaluate", tmp_path / "run", "--accepted", tmp_path / "accepted.json", *few).stdout)
    assert figures["figures"]["synonym"]["value"] == 1
    assert figures["figures"]["exact"]["value"] < 1


def test_images_without_labels_cannot_be_evaluated(world, fitted, tmp_path):
    (tmp_path / "a.png").write_bytes(next(world.photographs.rglob("*.png")).read_bytes())
    result = fgvr("evaluate", fitted, tmp_path, "--allow-leaks")
    assert result.exit_code == 1
    assert "no true names" in result.stderr


def test_report_shows_predictions(world, fitted, tmp_path):
    done("predict", fitted, world.photographs, "--out", tmp_path / "p.jsonl")
    page = tmp_path / "page.html"
    images = ("--predictions", tmp_path / "p.jsonl", "--images", world.photographs)
    assert done("report", fitted, *images, "--out", page).stdout.strip() == str(page)
    html = page.read_text()
    assert "data:image" in html
    assert world.recording.read_text().split("This is a ")[1].split(".")[0] in html
    assert fgvr("report", tmp_path).exit_code == 1


def test_other_settings_are_refused_and_force_starts_afresh(world, fitted, tmp_path):
    run = tmp_path / "run"
    done(*world.fit(run, "--support", 8, "--folds", 0))
    assert fgvr(*world.fit(run, "--support", 9, "--folds", 0)).exit_code == 1
    done(*world.fit(run, "--support", 9, "--folds", 0, "--force"))
    assert (tmp_path / "run.old-1" / "classifier").is_dir()


def test_a_cap_of_nothing_is_the_caps_doing(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    names = ("--encoder", world.encoder, "--mllm", "openai:gpt-4o", "--budget", 0)
    result = fgvr("fit", "near", world.photographs, "--out", tmp_path / "run", *names)
    assert result.exit_code == 3
    assert "spending cap" in result.stderr


def test_the_real_command_keeps_data_and_remarks_apart(world, fitted):
    command = [sys.executable, "-m", "fgvr", "predict", fitted, world.photographs, "--limit", "3"]
    done_ = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True
    )
    assert len([json.loads(line) for line in done_.stdout.splitlines()]) == 3
    assert "3 images classified" in done_.stderr
    assert "Loading weights" not in done_.stderr
