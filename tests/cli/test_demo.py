"""``fgvr demo`` and ``fgvr fieldguide make`` on a few species with a recording in place of the MLLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fgvr.cli.demo import PRICED_AS, draw, what_it_would_cost
from fgvr.fieldguide import dataset
from fgvr.fieldguide.guide import all_species

from .world import done


@pytest.fixture
def few_species(monkeypatch):
    """Six species instead of all, drawn in this process."""
    whole = dataset.make
    monkeypatch.setattr(dataset, "make", lambda *a, **k: whole(*a, **{**k, "species": all_species()[:6], "workers": 1}))


def test_demo_prints_one_table_and_a_second_run_asks_nothing(world, few_species, tmp_path):
    counts = ("--support-per-species", 2, "--test-per-species", 2, "--sentence-encoder", "none")
    # Draw first, as the demo would, to know what a recording must answer.
    draw(tmp_path / "demo" / "world", seed=0, support=2, test=2)
    manifest = next((tmp_path / "demo" / "world").rglob("manifest.jsonl"))
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    replies = [{"image": row["image"], "reply": f"It is a {row['label']}.", "model": "m"} for row in rows]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    models = ("--encoder", world.encoder, "--mllm", f"replay:{tmp_path / 'replies.jsonl'}", "--preset", "lite")
    command = ("demo", "--out", tmp_path / "demo", *counts, *models)
    shown = done(*command).stdout
    assert [line.split("  ")[0] for line in shown.splitlines()[2:5]] == [
        "direct MLLM",
        "zero-shot, MLLM's names",
        "NeaR",
    ]
    assert f"at {PRICED_AS} prices" in shown
    again = json.loads(done(*command, "--json").stdout)
    direct, guessed, near = again["rows"]
    assert direct["evaluation"]["figures"]["cacc"]["value"] == 1  # the recording is always right
    assert (direct["usage"]["calls"], near["usage"]["calls"], guessed["usage"]["calls"]) == (12, 12, 12)
    assert (tmp_path / "demo" / "run" / "report.html").exists()


def test_the_estimated_cost_is_that_of_the_questions_answered(tmp_path):
    from fgvr.mllm import ScriptedMllm
    from fgvr.naming.labelling import label_images
    from fgvr.types import ImageItem

    items = [ImageItem(str(i), tmp_path / f"{i}.png") for i in range(4)]
    for item in items:
        item.path.write_bytes(item.id.encode())
    one = label_images(items[:1], ScriptedMllm(lambda request: "Wren"))
    all_four = label_images(items, ScriptedMllm(lambda request: "Wren"))
    assert 0 < what_it_would_cost(items, one) * 4 == pytest.approx(what_it_would_cost(items, all_four))


def test_fieldguide_make_writes_a_manifest(few_species, tmp_path):
    counts = ("--support-per-species", 1, "--test-per-species", 1, "--scenes", 0, "--size", 48)
    manifest = Path(done("fieldguide", "make", tmp_path / "guide", *counts).stdout.strip())
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len(rows) == 12
    assert {row["split"] for row in rows} == {"support", "test"}
