"""The whole run: what it leaves, what it repeats, what it refuses, and what bad input does to it."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fgvr.errors import InputError, RunError
from fgvr.methods.fine_r1.pipeline import Dividing, Teaching
from fgvr.methods.fine_r1.rationales import read_sharegpt
from fgvr.methods.fine_r1.triplets_files import read_triplets
from fgvr.mllm import Budget, Price, Request, load_mllm
from tests.methods.fine_r1.fitted import SEEN, constant, fit, pictures, settings, teacher, teaching
from tests.mllm import tiny_models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def whole(model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, list[str]]:
    out, asked = tmp_path_factory.mktemp("runs") / "whole", []
    return fit(images, model, out, teaching=teaching(asked)), out, asked


UNTESTED = Dividing(shots=2, unseen=("puffin",), tests_per_class=0)
"""No examinations, for what is not about them."""


def weights(folder: Path) -> dict[str, bytes]:
    [file] = folder.glob("*.safetensors")
    return {name: value.tobytes() for name, value in load_file(file).items()}


def copied(done: Path, out: Path, *, without: tuple[str, ...]) -> Path:
    """A finished run as a kill would have left it: the markers of some stages, and what they wrote, are gone."""
    shutil.copytree(done, out, ignore=shutil.ignore_patterns(".lock"))
    for name in without:
        (out / "stages" / f"{name}.json").unlink()
    return out


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_a_run_divides_reasons_mines_trains_and_examines(whole):
    summary, out, asked = whole
    assert (summary["seen"], summary["unseen"]) == (3, 1)
    assert summary["pictures"] == {"sft": 3, "reinforce": 6, "test": 4}
    assert (summary["stages"]["sft"]["rows"], summary["stages"]["sft"]["steps"]) == (3, 4)
    learned = summary["stages"]["reinforce"]
    assert (learned["triplets"], learned["steps"], learned["finished"], learned["alarm"]) == (6, 3, True, None)
    rationales = read_sharegpt(out / "rationales.json").rationales
    assert {one.category for one in rationales} == set(SEEN)
    assert all(set(one.candidates) <= set(SEEN) for one in rationales)
    trained = {one.id for one in rationales}
    triplets = read_triplets(out / "triplets.jsonl").triplets
    assert {one.category for one in triplets} == set(SEEN)
    assert not trained & {one.id for one in triplets}
    assert all(one.negative_category in set(SEEN) - {one.category} for one in triplets)
    assert len([line for line in asked if "reasoning" in line]) == 3
    assert {*summary["examined"]} == {"before", "sft", "after"}
    assert {"seen", "unseen"} <= {*summary["examined"]["after"]["open"]["figures"]}
    for name in ("triplets.html", "reinforce/rollouts.html", "division.json", "reasoning.json"):
        assert (out / name).stat().st_size > 0


def test_the_joined_adapter_answers_as_the_second_on_the_first(whole, images):
    """One adapter on the original model is the SFT merged, with the second adapter on it."""
    from peft import PeftModel

    _, out, _ = whole
    picture = next(images.rglob("*.png"))
    asked = [Request("x", "what bird is this ?", (picture,), options=("tern", "puffin"))]
    joined = load_mllm(f"local:{out / 'adapter'}").answer(asked)[0].option_logprobs
    between = load_mllm(f"local:{out / 'sft' / 'adapter'}")
    assert between.answer(asked)[0].option_logprobs != pytest.approx(joined, abs=1e-4)
    PeftModel.from_pretrained(between.model, str(out / "reinforce" / "adapter"))  # puts its layers into the model
    assert between.answer(asked)[0].option_logprobs == pytest.approx(joined, abs=1e-4)


def test_the_card_says_how_to_load_and_ask_and_nothing_of_this_machine(whole):
    summary, out, _ = whole
    card = (out / "adapter" / "README.md").read_text()
    for part in ("load_mllm", "examined after", "fine-r1, both", summary["prompt"]):
        assert part in card, part
    assert str(out) not in card
    assert summary["prompt"].startswith("What kind of bird is this?")


def test_full_weights_make_a_model_of_its_own(images, model, tmp_path):
    summary = fit(images, model, tmp_path / "run", settings=settings(full=True), dividing=UNTESTED)
    assert summary["model"] == str(tmp_path / "run" / "model")
    tuned, before = weights(tmp_path / "run" / "model"), weights(model)
    frozen = [name for name in before if "vision" in name or "projector" in name]
    assert frozen
    assert all(tuned[name] == before[name] for name in frozen)
    assert any(tuned[name] != before[name] for name in before)
    picture = next(images.rglob("*.png"))
    assert load_mllm(f"local:{tmp_path / 'run' / 'model'}").answer([Request("x", "what ?", (picture,))])[0].text


@pytest.mark.parametrize("stages", ["sft", "reinforce"])
def test_one_stage_alone(images, model, tmp_path, stages):
    asked: list[str] = []
    summary = fit(images, model, tmp_path / "run", settings=settings(stages=stages), teaching=teaching(asked))
    assert {*summary["examined"]} == {"before", "after"}
    assert bool(summary["stages"]["sft"]) == (stages == "sft") == bool(asked)
    assert bool(summary["stages"]["reinforce"]) == (stages == "reinforce") == (tmp_path / "run/triplets.jsonl").exists()
    assert weights(tmp_path / "run" / "adapter")


def test_without_thinking_nobody_is_asked(images, model, tmp_path):
    summary = fit(
        images, model, tmp_path / "run", settings=settings(thinking="none"), teaching=Teaching(),
        super_category=None, dividing=UNTESTED,
    )  # fmt: skip
    assert summary["examined"] == {}
    assert summary["prompt"] == "What kind of object is this? Answer in <answer> tags."
    assert all(one.think == "" for one in read_sharegpt(tmp_path / "run" / "rationales.json").rationales)
    replies = [json.loads(line) for line in (tmp_path / "run/reinforce/rollouts.jsonl").read_text().splitlines()]
    assert {line["category"] for line in replies} <= set(SEEN)


def test_rationales_of_a_file(whole, images, model, tmp_path):
    _, done, _ = whole
    summary = fit(
        images, model, tmp_path / "run", settings=settings(stages="sft"),
        teaching=Teaching(file=done / "rationales.json"),
    )  # fmt: skip
    assert summary["stages"]["sft"]["rows"] == 3
    assert weights(tmp_path / "run/sft/adapter") == weights(done / "sft/adapter")
    other = tmp_path / "other.json"
    other.write_text((done / "rationales.json").read_text().replace("/1.png", "/77.png").replace(".png", ".jpg"))
    with pytest.raises(InputError, match="no rationale belongs"):
        fit(images, model, tmp_path / "b", teaching=Teaching(file=other))


def test_a_dry_run_measures_and_keeps_nothing(images, model, tmp_path):
    asked: list[str] = []
    found = fit(images, model, tmp_path / "run", teaching=teaching(asked), dry_run=True)
    assert (found["sft_steps"], found["sft_seconds"], found["rationales"]) == (4, None, None)
    assert (found["reinforce"]["steps"], found["reinforce"]["rollouts"]) == (3, 12)
    assert found["reinforce"]["seconds"] > 0
    assert found["reinforce"]["memory"]["bytes"] > 0
    assert not found["reinforce"]["measured"]  # nobody knows yet how long rationales will be
    assert asked == []
    assert not (tmp_path / "run").exists()


def test_what_is_ahead_is_told_before_training_and_changes_nothing(whole, images, model, tmp_path):
    _, done, _ = whole
    out = copied(done, tmp_path / "run", without=("sft", "examined_sft", "reinforce", "examined_after", "fine_r1"))
    for name in ("sft", "reinforce", "adapter"):
        shutil.rmtree(out / name)
    told: list[Any] = []
    fit(images, model, out, before_training=told.append)
    [ahead] = told
    assert ahead["rationales"] == 3
    assert ahead["sft_seconds"] > 0
    assert ahead["reinforce"]["measured"]
    assert any("cut off after 6" in line for line in ahead["notes"])  # rationales are longer than replies may be
    assert weights(out / "adapter") == weights(done / "adapter")


def test_too_little_memory_is_refused_unless_allowed(images, model, tmp_path, monkeypatch):
    from fgvr.training import memory

    monkeypatch.setattr(memory, "free_bytes", lambda _: 1000)
    told = {"settings": settings(stages="reinforce"), "dividing": UNTESTED}
    with pytest.raises(InputError, match="the reinforcement does not fit"):
        fit(images, model, tmp_path / "a", **told)
    with pytest.raises(InputError, match="this training does not fit"):
        fit(images, model, tmp_path / "b", settings=settings(stages="sft"))
    assert fit(images, model, tmp_path / "c", **told, dry_run=True)["problems"]
    assert fit(images, model, tmp_path / "d", **told, allow_memory=True)["stages"]["reinforce"]["steps"] == 3


def test_a_test_folder_of_ones_own(images, model, tmp_path):
    tests = pictures(tmp_path / "tests", 7, names=["tern", "puffin"])
    for path in tests.glob("*/[0-4].png"):
        path.unlink()
    summary = fit(
        images, model, tmp_path / "run", test=tests, settings=settings(stages="sft"),
        dividing=Dividing(shots=2, unseen_share=0.0, tests_per_class=None),
    )  # fmt: skip
    assert summary["pictures"]["test"] == 4
    assert (summary["seen"], summary["unseen"]) == (4, 0)


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_returned_and_another_is_refused(whole, images, model):
    summary, out, asked = whole
    before = len(asked)
    again = fit(images, model, out, teaching=teaching(asked))
    assert again.pop("was_finished")
    assert again == summary
    assert len(asked) == before
    with pytest.raises(RunError, match="settings"):
        fit(images, model, out, teaching=teaching(asked), seed=1)
    with pytest.raises(RunError, match="settings"):
        fit(images, model, out, settings=settings(policy={"learning_rate": 2e-2}))


ORDER = ("reason", "triplets", "examined_before", "sft", "examined_sft", "reinforce", "examined_after", "fine_r1")


@pytest.mark.parametrize(
    "lost",
    [
        "reason",
        pytest.param("sft", marks=pytest.mark.slow),
        pytest.param("reinforce", marks=pytest.mark.slow),
    ],
)
def test_what_is_missing_is_done_again_and_comes_out_the_same(whole, images, model, tmp_path, lost):
    summary, done, _ = whole
    out = copied(done, tmp_path / "run", without=ORDER[ORDER.index(lost) :])
    shutil.rmtree(out / "adapter")
    shutil.rmtree(out / "reinforce")
    if lost != "reinforce":
        shutil.rmtree(out / "sft")
    asked: list[str] = []
    again = fit(images, model, out, teaching=teaching(asked))
    assert asked == []  # replies lie in the ledger
    assert weights(out / "adapter") == weights(done / "adapter")
    assert again["examined"] == summary["examined"]


class Interrupted(Exception):
    """As a kill, at a step of one's choice."""


def after(steps: int) -> Any:
    def live(_: Any, done: int, __: int) -> None:
        if done == steps:
            raise Interrupted

    return live


def test_interrupted_in_both_trainings_it_ends_like_an_undisturbed_one(whole, images, model, tmp_path):
    _, done, asked = whole
    again: list[str] = []
    with pytest.raises(Interrupted):
        fit(images, model, tmp_path / "run", teaching=teaching(again), live=after(3))
    with pytest.raises(Interrupted):
        fit(images, model, tmp_path / "run", teaching=teaching(again), live_policy=after(2))
    fit(images, model, tmp_path / "run", teaching=teaching(again))
    assert sorted(again) == sorted(asked)
    assert weights(tmp_path / "run" / "adapter") == weights(done / "adapter")
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/reinforce/log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]


def test_a_spent_budget_stops_before_training_and_goes_on_later(images, model, tmp_path):
    asked: list[str] = []

    def given(dollars: float) -> Teaching:
        options = {"prices": {"scripted": Price(1.0, 1.0)}, "budget": Budget(dollars)}
        return Teaching(teacher=teacher(asked, local=False), options=options)

    stopped = fit(
        images, model, tmp_path / "run", teaching=given(2e-3), settings=settings(stages="sft"), dividing=UNTESTED
    )
    assert stopped["stopped"] == "budget"
    assert not (tmp_path / "run" / "sft").exists()
    assert 0 < len(asked) < 21
    finished = fit(
        images, model, tmp_path / "run", teaching=given(10.0), settings=settings(stages="sft"), dividing=UNTESTED
    )
    assert finished["stages"]["sft"]["rows"] == 3
    assert len(asked) == len(set(asked)) == 21


# --- bad input --------------------------------------------------------------------------------------------------------


def test_classes_that_cannot_be_told_apart_are_errors(images, model, tmp_path):
    with pytest.raises(InputError, match="fewer than two"):
        fit(pictures(tmp_path / "one", names=["tern"]), model, tmp_path / "a", dividing=Dividing(2))
    with pytest.raises(InputError, match="two seen classes"):
        fit(images, model, tmp_path / "b", dividing=Dividing(2, unseen=("puffin", "tern", "grey gull")))
    with pytest.raises(InputError, match="no picture is left to test on"):
        fit(pictures(tmp_path / "few", 3), model, tmp_path / "c", dividing=Dividing(2, unseen_share=0.0))
    with pytest.raises(InputError, match="needs rationales"):
        fit(images, model, tmp_path / "d", teaching=Teaching())
    with pytest.raises(InputError, match="only a local model"):
        fit(images, model, tmp_path / "e", mllm="fieldguide-text")


def test_a_class_of_one_picture_and_broken_ones(model, tmp_path):
    lonely = pictures(tmp_path / "lonely", 5)
    for path in sorted((lonely / "tern").iterdir())[1:]:
        path.unlink()
    (lonely / "tern" / "broken.png").write_bytes(b"<html>")
    (lonely / "red warbler" / "0.png").write_bytes(b"")
    summary = fit(lonely, model, tmp_path / "run", settings=settings(stages="reinforce"), dividing=UNTESTED)
    assert {one["reason"] for one in summary["set_aside"]} >= {"not an image"}
    assert any("one training picture, and no positive" in note for note in summary["notes"])
    triplets = read_triplets(tmp_path / "run" / "triplets.jsonl").triplets
    assert [one.positive for one in triplets if one.category == "tern"] == [None]


def test_a_picture_that_breaks_between_mining_and_training_is_left_out(whole, model, tmp_path):
    broken = pictures(tmp_path / "images")
    told: list[Any] = []

    def breaks(ahead: Any) -> None:
        told.append(ahead)
        for one in read_triplets(tmp_path / "run" / "triplets.jsonl").triplets[:1]:
            one.anchor.write_bytes(b"<html>")

    with pytest.raises(Interrupted):
        fit(broken, model, tmp_path / "run", before_training=breaks, live_policy=after(2), dividing=UNTESTED)
    summary = fit(broken, model, tmp_path / "run", dividing=UNTESTED)  # neither division nor triplets are drawn again
    assert summary["stages"]["reinforce"]["triplets"] == 6
    assert summary["stages"]["reinforce"]["steps"] == 3
    assert len(told) == 1
    [aside] = json.loads((tmp_path / "run/reinforce/done.json").read_text())["set_aside"]
    assert aside["reason"] == "not an image"
    assert summary["stages"]["reinforce"]["set_aside"] == [aside]


@pytest.mark.parametrize(
    ("value", "kind"), [(0.0, "all_wrong"), pytest.param(1.0, "all_right", marks=pytest.mark.slow)]
)
def test_constant_rewards_stop_and_say_so_and_the_adapter_is_saved(images, model, tmp_path, value, kind):
    given = settings(stages="reinforce", policy={"epochs": 3})
    watched = replace(given.monitor, never_end=replace(given.monitor.never_end, patience=0))  # which these do not
    given = replace(given, monitor=watched)
    summary = fit(images, model, tmp_path / "run", judge=constant(value), settings=given)
    learned = summary["stages"]["reinforce"]
    assert (learned["alarm"]["kind"], learned["steps"], learned["finished"]) == (kind, 5, False)
    assert weights(tmp_path / "run" / "adapter")
    assert {*summary["examined"]} == {"before", "after"}
    assert fit(images, model, tmp_path / "run", settings=given)["was_finished"]


def test_replies_that_never_end_stop_with_the_reason(images, model, tmp_path):
    """The random model never writes its end token within six tokens; the real reward finds no answer in that."""
    small = settings(stages="reinforce", policy={"epochs": 3})
    watched = replace(small.monitor, all_wrong=replace(small.monitor.all_wrong, patience=0))
    summary = fit(
        images, model, tmp_path / "run", judge=None, settings=replace(small, monitor=watched), dividing=UNTESTED
    )
    alarm = summary["stages"]["reinforce"]["alarm"]
    assert alarm["kind"] == "never_end"
    assert "Raise the limit of new tokens" in alarm["remedy"]
    assert any("Not one reply of the model has the tags" in note for note in summary["notes"])


def test_hostile_class_names_are_only_text(model, tmp_path):
    names = ["<script>alert(1)<", "</answer><answer>tern", "bell\x07 \x1b[31mred", "{question}"]
    from PIL import Image

    for number, name in enumerate(names):
        place = tmp_path / "images" / name.replace("/", "∕")
        place.mkdir(parents=True)
        for index in range(5):
            Image.new("RGB", (32, 32), (50 * number, 10 * index, 90)).save(place / f"{index}.png")
    summary = fit(
        tmp_path / "images", model, tmp_path / "run", settings=settings(thinking="none"), teaching=Teaching(),
        dividing=Dividing(shots=2, unseen_share=0.0, tests_per_class=1), super_category=None,
    )  # fmt: skip
    assert summary["seen"] == 4
    for page in ("triplets.html", "reinforce/rollouts.html"):
        assert "<script>alert" not in (tmp_path / "run" / page).read_text()


def test_a_teacher_whose_replies_fail_says_why(images, model, tmp_path, caplog):
    """Candidates outside the seen classes are refused, for two of three pictures."""
    given = Teaching(teacher=teacher(other="tern"))  # for the tern itself: one candidate, which is too few
    summary = fit(images, model, tmp_path / "run", settings=settings(stages="sft"), teaching=given, dividing=UNTESTED)
    assert summary["stages"]["sft"]["rows"] == 2
    with pytest.raises(InputError, match="no rationale passed the filters"):
        fit(images, model, tmp_path / "b", teaching=Teaching(teacher=teacher(other="Grey Crow")))
