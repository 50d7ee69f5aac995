"""``fgvr examine``: made questions and released ones, groups, resume, dry run, bad input."""

from __future__ import annotations

import json

import pytest

from tests.methods.fine_r1.examining import Colours, knowing, tagged, writing
from tests.multiple_choice.world import pictures

from .world import done, fgvr


@pytest.fixture
def photographs(tmp_path):
    """Eight pictures of four classes, in folders."""
    folder = tmp_path / "photographs"
    for item in pictures(tmp_path / "flat", 8):
        place = folder / item.label.replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        item.path.rename(place / item.path.name)
    return folder


@pytest.fixture
def released(tmp_path):
    """Two files as released, and the folder of their pictures."""
    items = pictures(tmp_path / "CUB" / "test", 4)
    for number, (stem, members) in enumerate({"bird_seen": items[:2], "bird_unseen": items[2:]}.items()):
        rows = [
            {
                "image_path": f"/their/machine/test/{item.path.name}",
                "question": f"What is this, {number}?",
                "options": [item.label, *(one.label for one in items if one.label != item.label)],
                "ground_truth": item.label,
            }
            for item in members
        ]
        (tmp_path / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "bird_seen.jsonl", tmp_path / "bird_unseen.jsonl", tmp_path / "CUB"


@pytest.fixture
def asked(monkeypatch):
    """Puts a model of known answers in the place of ``--mllm``."""

    def put(model):
        monkeypatch.setattr("fgvr.cli.examine.load_model", lambda spec, device: model)
        monkeypatch.setattr("fgvr.cli.examine.load_dual_encoder", lambda spec, device: Colours())
        return model

    return put


def value(summary, part, group, key):
    return summary["parts"][part]["figures"][group][key]["value"]


def test_pictures_in_class_folders(photographs, asked, tmp_path):
    model = asked(writing(knowing))
    names = tmp_path / "seen.txt"
    names.write_text("sedge warbler\nReed Warbler\nElsewhere\n")
    run = tmp_path / "run"
    command = ("examine", photographs, "--out", run, "--mllm", "known", "--seen", names, "--super-category", "bird")
    command = (*command, "--baseline", "colours", "--blank")
    summary = json.loads(done(*command, "--json").stdout)
    assert value(summary, "closed", "average", "strict") == 1.0
    assert value(summary, "open", "unseen", "accepted") == 1.0
    assert summary["parts"]["closed"]["items"] == {"seen": 4, "unseen": 4, "all": 8}
    assert value(summary, "closed", "all", "blank") == 0.25
    assert [one["model"] for one in summary["baselines"]] == ["colours (prompt)", "colours (ensemble of 7)"]
    assert summary["source"]["kind"] == "random"
    assert json.loads((run / "result.json").read_text())["parts"] == summary["parts"]
    assert {"replies.jsonl", "lengths.csv", "table.md"} <= {file.name for file in run.iterdir()}
    calls = len(model.asked)

    shown = done(*command)
    assert len(model.asked) == calls  # nothing is asked twice
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "closed seen (4) unseen (4) average (8) all (8)" in lines
    assert any(line.startswith("colours (prompt)") for line in lines)
    assert "wrong options" in shown.stderr
    ahead = json.loads(done(*command, "--dry-run", "--json").stdout)
    assert ahead["calls"] == 0
    assert ahead["already_answered"] == 8 * 9 + 8


def test_other_groups_need_no_new_replies(photographs, asked, tmp_path):
    model = asked(writing(lambda request, options: tagged("Blue Tit")))
    command = ("examine", photographs, "--out", tmp_path / "run", "--mllm", "known", "--world", "open", "--json")
    summary = json.loads(done(*command).stdout)
    assert list(summary["parts"]) == ["open"]
    assert list(summary["parts"]["open"]["figures"]) == ["all"]
    calls = len(model.asked)
    (tmp_path / "unseen.txt").write_text("Blue Tit")
    summary = json.loads(done(*command, "--unseen", tmp_path / "unseen.txt").stdout)
    assert len(model.asked) == calls
    assert (value(summary, "open", "unseen", "strict"), value(summary, "open", "seen", "strict")) == (1.0, 0.0)


def test_released_files_bring_options_order_groups_and_super_category(released, asked, tmp_path):
    seen, unseen, images = released
    model = asked(writing(lambda request, options: tagged(options[0] if options else "Blue Tit")))
    command = ("examine", seen, unseen, "--images", images, "--out", tmp_path / "run", "--mllm", "known", "--json")
    summary = json.loads(done(*command).stdout)
    assert summary["parts"]["closed"]["items"] == {"seen": 2, "unseen": 2, "all": 4}
    assert value(summary, "closed", "all", "official") == 1.0  # the first option, in the released order
    assert value(summary, "closed", "all", "strict") == 0.25
    assert value(summary, "open", "unseen", "strict") == 0.5
    assert all("What is this, " in one.prompt for one in model.asked)
    assert "bird" not in model.asked[0].prompt


def test_a_dry_run_asks_nothing_and_makes_no_folder(photographs, asked, tmp_path):
    model = asked(writing(knowing))
    command = (
        "examine",
        photographs,
        "--out",
        tmp_path / "run",
        "--mllm",
        "known",
        "--limit",
        3,
        "--dry-run",
        "--json",
    )
    # Three questions in four rotations and the released order, which for one of them is a rotation of its shuffle.
    assert json.loads(done(*command, "--world", "closed").stdout)["calls"] == 3 * 5 - 1
    assert json.loads(done(*command, "--no-rotations", "--no-official").stdout)["calls"] == 3 + 3
    assert model.asked == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seen", "{names}", "--unseen", "{names}"), "twice"),
        (("--seen", "{names}"), "names none of the classes"),
        (("--seen", "{names}.gone"), "cannot be read"),
        (("--images", "{names}"), "question files"),
        (("--distractors", "nearest"), "--encoder"),
    ],
)
def test_what_does_not_go_together_is_said(photographs, asked, tmp_path, more, said):
    asked(writing(knowing))
    names = tmp_path / "names.txt"
    names.write_text("Penguin\n")
    options = [option.format(names=names) for option in more]
    found = fgvr("examine", photographs, "--out", tmp_path / "run", "--mllm", "known", *options)
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_model_that_never_replies_fails(photographs, asked, tmp_path):
    from fgvr.errors import MllmError

    def broken(request, options):
        raise MllmError("down")

    asked(writing(broken))
    found = fgvr("examine", photographs, "--out", tmp_path / "run", "--mllm", "known", "--world", "open")
    assert found.exit_code == 1
    assert "0.0 %" in found.stdout
