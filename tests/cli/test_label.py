"""``fgvr label``: names, resume, dry run, spending cap, broken files, hostile replies."""

from __future__ import annotations

import csv
import json

import pytest

from tests.mllm.rude_server import Answer, completion, serving

from .world import done, draw, fgvr, record


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_label_names_every_image_and_a_second_run_asks_nothing(world, tmp_path):
    run = tmp_path / "run"
    command = ("label", world.photographs, "--out", run, "--mllm", f"replay:{world.recording}", "--json")
    first = json.loads(done(*command).stdout)
    assert (first["images"], first["named"], first["statuses"]) == (24, 23, {"named": 23, "refused": 1})
    assert first["usage"]["calls"] == 24
    again = json.loads(done(*command).stdout)
    assert again["usage"]["calls"] == 0
    assert again["reused"] == 24
    named = rows(run / "labels.jsonl")
    assert named[0]["name"] == named[0]["image"].split("/")[0].replace("_", " ")
    assert len(rows(run / "predictions.jsonl")) == 24


def test_labels_can_be_replayed(world, tmp_path):
    done("label", world.photographs, "--out", tmp_path / "one", "--mllm", f"replay:{world.recording}")
    recording = tmp_path / "one" / "labels.jsonl"
    done("label", world.photographs, "--out", tmp_path / "two", "--mllm", f"replay:{recording}")
    one, two = (rows(tmp_path / name / "labels.jsonl") for name in ("one", "two"))
    assert [row["name"] for row in one] == [row["name"] for row in two]


def test_dry_run_makes_no_call_and_no_folder(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    with serving() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", "openai:gpt-4o", "--dry-run")
        result, shown = done(*command), done(*command, "--json")
    assert server.calls == []
    assert not (tmp_path / "run").exists()
    assert "calls             24" in result.stdout
    ahead = json.loads(shown.stdout)
    assert ahead["calls"] == 24
    assert 0 < ahead["cost"] <= ahead["cost_at_most"]


def test_a_dry_run_counts_the_thinking_too(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", "openai:gpt-4o", "--dry-run", "--json")
    own = "Which bird is this? Think in <think> tags, then answer in <answer> tags."
    rooms = {"paper": 64, "What bird is this?": 64, "reasoned": 2048, "reasoned-short": 256, own: 2048}
    for prompt, room in rooms.items():
        assert json.loads(done(*command, "--prompt", prompt).stdout)["output_tokens"] == 24 * room // 2
    refused = fgvr(*command, "--prompt", "reasons")
    assert refused.exit_code == 2
    assert "reasoned, reasoned-short, or write a whole question" in " ".join(refused.stderr.split())


def test_replies_in_tags_are_named_by_their_answers(world, tmp_path):
    images = [json.loads(line)["image"] for line in world.recording.read_text().splitlines()]
    said = ["<think>A Reed Warbler?</think> <answer>Sedge Warbler</answer>", "<think>A Reed Warbler, since"]
    recording = tmp_path / "replies.jsonl"
    lines = [{"image": image, "reply": said[place % 2], "model": "tuned"} for place, image in enumerate(images)]
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", f"replay:{recording}", "--json")
    summary = json.loads(done(*command, "--prompt", "reasoned").stdout)
    assert summary["statuses"] == {"named": 12, "unparsed": 12}
    assert summary["doubtful"] == {"tags: cut off": 12}
    assert {row["name"] for row in rows(tmp_path / "run" / "labels.jsonl")} == {"Sedge Warbler", None}


def test_the_cap_stops_the_run_and_a_higher_one_goes_on(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    command = ("label", world.photographs, "--out", tmp_path / "run", "--mllm", "openai:gpt-4o", "--json")
    with serving(lambda *_: Answer(completion("Sedge Warbler", tokens=(800, 4)))) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        stopped = fgvr(*command, "--budget", "0.02", "--concurrency", "1")
        assert stopped.exit_code == 3
        first = json.loads(stopped.stdout)
        assert first["stopped"] == "budget"
        assert 0 < first["answered"] < 24
        assert first["answered"] + first["not_asked"] == 24
        assert first["spent_in_run"] <= 0.02
        assert len(rows(tmp_path / "run" / "unanswered.jsonl")) == first["not_asked"]
        second = json.loads(done(*command, "--budget", "1").stdout)
    assert second["answered"] == 24
    assert len(server.calls) == 24  # none twice
    written = b"".join(file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert b"canary" not in written


def test_broken_files_are_set_aside_unpaid(tmp_path):
    photographs = draw(tmp_path / "photographs")
    recording = record(photographs, tmp_path / "replies.jsonl")
    (photographs / "broken.jpg").write_bytes(b"<html>no picture</html>")
    command = ("label", photographs, "--out", tmp_path / "run", "--mllm", f"replay:{recording}", "--json")
    result = done(*command)
    summary = json.loads(result.stdout)
    assert sum(summary["set_aside"].values()) == 1
    assert "broken.jpg" in result.stderr
    assert summary["failed"] == 0
    assert rows_of_json(tmp_path / "run" / "set_aside.json")[0]["id"] == "broken.jpg"


def rows_of_json(file):
    return json.loads(file.read_text())


def test_failures_are_kept_and_retried_on_demand_only(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")
    bad = Answer({"error": {"message": "no"}}, status=422)
    command = ("label", world.photographs, "--out", tmp_path / "r", "--mllm", "openai:gpt-4o", "--limit", 3, "--json")
    with serving(lambda number, _: bad if number == 0 else Answer()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        first = json.loads(done(*command, "--concurrency", 1).stdout)
        assert (first["answered"], first["failed"]) == (2, 1)
        assert json.loads(done(*command).stdout)["failed"] == 1
        assert len(server.calls) == 3
        assert json.loads(done(*command, "--retry-failed").stdout)["failed"] == 0
    assert len(server.calls) == 4


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "@SUM(A1)", "+1 Warbler"])
def test_no_cell_becomes_a_formula(world, tmp_path, name):
    recording = tmp_path / "replies.jsonl"
    images = [json.loads(line)["image"] for line in world.recording.read_text().splitlines()]
    recording.write_text("".join(json.dumps({"image": i, "reply": name, "model": name}) + "\n" for i in images))
    done("label", world.photographs, "--out", tmp_path / "run", "--mllm", f"replay:{recording}")
    with (tmp_path / "run" / "labels.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{name}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "-"))]


def test_force_moves_the_old_run_aside(world, tmp_path):
    run = tmp_path / "run"
    command = ("label", world.photographs, "--out", run, "--mllm", f"replay:{world.recording}", "--json")
    done(*command)
    refused = fgvr(*command, "--prompt", "What bird is this?")
    assert refused.exit_code == 1
    assert "other settings" in refused.stderr
    summary = json.loads(done(*command, "--force").stdout)
    assert summary["usage"]["calls"] == 24
    assert (tmp_path / "run.old-1" / "labels.jsonl").exists()


@pytest.mark.parametrize("source", ["missing", "empty"])
def test_nothing_to_do_is_an_error(world, tmp_path, source):
    (tmp_path / "empty").mkdir()
    result = fgvr("label", tmp_path / source, "--out", tmp_path / "run", "--mllm", f"replay:{world.recording}")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_hostile_names_cannot_rewrite_the_terminal(tmp_path):
    from fgvr.cli.console import printable

    assert printable("a\x1b[2Jb\u202ec\nd\ud800") == "a\ufffd[2Jb\ufffdc\ufffdd\ufffd"
