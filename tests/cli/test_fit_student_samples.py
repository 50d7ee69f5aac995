"""``fgvr fit student --samples``: several replies a call, counted ahead, told after, and never asked for twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .world import done, fgvr

QUICK = ("--labels", 12, "--views", 0, "--heads", "em", "--no-self-training")


@pytest.fixture(scope="module")
def recording(world, tmp_path_factory) -> Path:
    """The world's recording with three replies an image: twice what it says, once another name."""
    file = tmp_path_factory.mktemp("drawn") / "replies.jsonl"
    rows = [json.loads(line) for line in world.recording.read_text().splitlines()]
    rows = [{**row, "samples": [row["reply"], "Grey Heron", row["reply"]]} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def fit(world, recording, run, *more):
    names = ("--encoder", world.encoder, "--mllm", f"replay:{recording}")
    return ("fit", "student", world.photographs, "--out", run, *names, *QUICK, *more)


@pytest.fixture(scope="module")
def learned(world, recording, tmp_path_factory):
    run = tmp_path_factory.mktemp("learned") / "run"
    return run, done(*fit(world, recording, run, "--samples", 3))


def test_the_replies_are_told(world, recording, learned):
    run, printed = learned
    assert "3 drawn in each call: a distribution over names" in printed.stderr
    again = json.loads(done(*fit(world, recording, run, "--samples", 3, "--json")).stdout)
    assert (again["was_finished"], again["usage"]["calls"], again["support"]) == (True, 0, 12)
    assert (again["samples"], again["samples_wanted"]) == (3, 3)


def test_one_reply_a_call_is_told_with_its_reason(world, recording, tmp_path):
    one = done(*fit(world, recording, tmp_path / "one", "--samples", 1))
    assert "one a call" in one.stderr
    assert "cannot draw" not in one.stderr
    without = done(*fit(world, world.recording, tmp_path / "without", "--samples", 3))
    assert "one a call: this MLLM cannot draw several" in without.stderr


def test_another_number_is_another_run(world, recording, learned):
    other = fgvr(*fit(world, recording, learned[0], "--samples", 2))
    assert other.exit_code == 1
    assert "samples: 3 -> 2" in other.stderr


def test_a_dry_run_counts_every_reply(world, recording, learned, tmp_path):
    def ahead(run, *more):
        return json.loads(done(*fit(world, recording, run, "--dry-run", "--json", *more)).stdout)

    one, four = (ahead(tmp_path / "run", "--samples", samples) for samples in (1, 4))
    assert ahead(tmp_path / "run")["output_tokens"] == 16 * one["output_tokens"], "replies of a recording are free"
    assert (one["calls"], four["calls"]) == (12, 12)
    assert one["input_tokens"] == four["input_tokens"]
    assert four["output_tokens"] == 4 * one["output_tokens"] > 0
    both = ahead(tmp_path / "run", "--samples", 4, "--second-opinion", 0.25)
    assert both["calls"] == 12
    assert both["output_tokens"] > four["output_tokens"], "the second question has room for longer replies, four times"
    known = ahead(learned[0], "--samples", 3)
    assert (known["calls"], known["already_answered"]) == (0, 12)
    assert not (tmp_path / "run").exists()


def test_no_reply_at_all_is_refused(world, recording, tmp_path):
    assert fgvr(*fit(world, recording, tmp_path / "run", "--samples", 0)).exit_code == 2
