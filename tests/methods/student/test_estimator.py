"""From photographs to predictions: ask about a part, learn from all, resume, save, load, refuse."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import fgvr
from fgvr.errors import EncoderError, InputError, RunError
from fgvr.methods.near.support import settled_ids
from fgvr.methods.student import HeadSettings, SecondOpinionSettings, SelfTrainingSettings, Student, StudentSettings
from fgvr.methods.student.asking import Teachers, allowance
from fgvr.mllm import Price, ScriptedMllm
from fgvr.naming.prompts import PAPER_PROMPT, structured_prompt
from fgvr.runs import Ledger
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered, noisy, picture

CLASSES = NAMES[:5]
QUICK = StudentSettings(
    heads=HeadSettings(heads=("prototypes",), text_shares=(0.3,), folds=2), self_training=SelfTrainingSettings(rounds=1)
)
AGAIN = replace(QUICK, second_opinion=SecondOpinionSettings(0.25))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A flat folder of 5 x 10 pictures, one file that is none, what an MLLM says to each, and the truth."""
    folder = tmp_path_factory.mktemp("photographs")
    features, true = clustered(10, names=CLASSES, seed=1)
    said = noisy(true, share=0.2, classes=len(CLASSES), seed=2)
    answers = {}
    for index, feature in enumerate(features):
        name = f"{index:03d}.png"
        picture(feature).save(folder / name)
        answers[name] = f"This is a **{CLASSES[said[index]]}**."
    (folder / "broken.png").write_bytes(b"no picture")
    return folder, answers, {f"{index:03d}.png": CLASSES[label] for index, label in enumerate(true)}


class Asked:
    """A scripted MLLM that remembers what it was asked, and may fail after some calls."""

    def __init__(self, answers, *, fails_after=None):
        self.requests, self.answers, self.fails_after = [], answers, fails_after
        self.mllm = ScriptedMllm(self._script)

    def _script(self, request):
        if self.fails_after is not None and len(self.requests) >= self.fails_after:
            raise KeyboardInterrupt
        self.requests.append(request)
        return self.answers[request.item_id]

    @property
    def ids(self):
        return [request.item_id for request in self.requests]


def student(world, **options):
    asked = Asked(world[1])
    return Student(ProjectionEncoder(), asked.mllm, **{"settings": QUICK, "labels": 20, "views": 1, **options}), asked


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_part_is_asked_about_and_all_of_the_pool_is_named(world, tmp_path):
    folder, answers, true = world
    model, asked = student(world, out=tmp_path / "run")
    predictions = model.fit(folder).predict(folder, top_k=3)
    assert len(asked.ids) == len(set(asked.ids)) == 20
    assert [aside.id for aside in model.last_fit.set_aside] == ["broken.png"]
    assert np.mean([p.top[0][0] == true[p.item_id] for p in predictions]) > 0.7

    support, pool = rows(tmp_path / "run" / "support.jsonl"), rows(tmp_path / "run" / "pool.jsonl")
    assert {row["item"] for row in support} == set(asked.ids)
    assert [row["item"] for row in pool] == sorted(answers)
    assert {row["item"] for row in pool if row["asked"]} == set(asked.ids)
    for row, prediction in zip(pool, predictions, strict=True):
        assert (row["name"], row["unknown"]) == (prediction.name, prediction.unknown)
        assert row["teacher"] == ({"name": mentioned(answers, row), "status": "named"} if row["asked"] else None)
    for row in support:
        assert row["reply_name"] == mentioned(answers, row)
        assert sum(weight for _, weight in row["candidates"]) <= 1 + 1e-4
        assert row["settled_on"] == row["candidates"][0][0]

    loaded = fgvr.load(tmp_path / "run", encoder=ProjectionEncoder())
    assert isinstance(loaded, Student)
    assert loaded.predict(folder, top_k=3) == predictions
    with pytest.raises(EncoderError, match="another encoder"):
        Student.load(tmp_path / "run", encoder=ProjectionEncoder("other")).predict(folder)


def mentioned(answers, row):
    return answers[row["item"]].split("**")[1]


def test_a_finished_run_asks_nothing_again_and_other_settings_are_refused(world, tmp_path):
    first, _ = student(world, out=tmp_path / "run")
    first.fit(world[0])
    before = (tmp_path / "run" / "classifier" / "classifier.safetensors").read_bytes()
    again, asked = student(world, out=tmp_path / "run")
    again.fit(world[0])
    assert asked.ids == []
    assert (tmp_path / "run" / "classifier" / "classifier.safetensors").read_bytes() == before
    for changes in ({"seed": 1}, {"labels": 21}, {"views": 0}, {"settings": AGAIN}):
        with pytest.raises(RunError, match="other settings"):
            student(world, out=tmp_path / "run", **changes)[0].fit(world[0])


def test_an_interrupted_fit_goes_on_with_the_images_it_had_chosen(world, tmp_path):
    broken = Asked(world[1], fails_after=7)
    with pytest.raises(KeyboardInterrupt):
        Student(
            ProjectionEncoder(), broken.mllm, settings=QUICK, labels=20, views=1, out=tmp_path / "run", concurrency=1
        ).fit(world[0])
    chosen = settled_ids(Ledger(tmp_path / "run" / "choice.jsonl"))
    assert len(chosen) == 20
    model, asked = student(world, out=tmp_path / "run")
    model.fit(world[0])
    assert set(broken.ids) | set(asked.ids) == chosen
    assert not set(broken.ids) & set(asked.ids)
    whole, _ = student(world)
    whole.fit(world[0])
    features = whole.classifier.support
    np.testing.assert_array_equal(model.classifier.logits(features), whole.classifier.logits(features))


def test_second_opinions_are_kept_back_of_the_same_allowance(world, tmp_path):
    model, asked = student(world, settings=AGAIN, labels=40, out=tmp_path / "run")
    model.fit(world[0])
    first = [r for r in asked.requests if r.prompt == PAPER_PROMPT]
    again = [r for r in asked.requests if r.prompt != PAPER_PROMPT]
    assert len(first) == 30
    assert 0 < len(again) <= 10
    assert {r.prompt for r in again} == {structured_prompt(None)}
    assert {r.item_id for r in again} <= {r.item_id for r in first}
    noted = {row["item"] for row in rows(tmp_path / "run" / "support.jsonl") if row["again"] is not None}
    assert noted == {r.item_id for r in again}
    assert model.classifier.notes["asked_again"] == len(again)
    resumed, nothing = student(world, settings=AGAIN, labels=40, out=tmp_path / "run")
    resumed.fit(world[0])
    assert nothing.ids == []


def test_another_mllm_is_asked_the_same_question(world, tmp_path):
    other = Asked({item: f"This is a **{name}**." for item, name in world[2].items()})
    model, asked = student(world, settings=AGAIN, labels=40, second=other.mllm)
    model.fit(world[0])
    assert len(asked.ids) == 30
    assert 0 < len(other.ids) <= 10
    assert {request.prompt for request in other.requests} == {PAPER_PROMPT}


def test_one_cap_covers_both_questions(world, tmp_path):
    free, asked = student(world, settings=AGAIN, labels=40)
    free.fit(world[0])
    prices = {"scripted": Price(1.0, 1.0)}
    model, few = student(
        world, settings=AGAIN, labels=40, out=tmp_path / "run", budget=1e-9, prices=prices, allow_unpriced=True
    )
    if model.mllm.local:
        pytest.fail("a local model costs nothing: the cap is not tried")
    with pytest.raises(InputError):
        model.fit(world[0])
    assert few.ids == []
    assert len(asked.ids) > 30


@pytest.mark.parametrize("how", ["random", "active", "facility"])
def test_every_way_of_choosing_keeps_to_its_allowance(world, tmp_path, how):
    model, asked = student(world, choose=how, out=tmp_path / "run")
    model.fit(world[0])
    assert len(asked.ids) == len(set(asked.ids)) == 20
    rounds = [line for line in rows(tmp_path / "run" / "choice.jsonl") if line["kind"] == "round"]
    assert sorted(item for line in rounds for item in line["ids"]) == sorted(asked.ids)
    assert (len(rounds) > 1) == (how == "active")


def test_shares_and_numbers_of_calls():
    assert allowance(50, labels=None, share=None, second=0.0) == (50, 0)
    assert allowance(50, labels=20, share=None, second=0.0) == (20, 0)
    assert allowance(50, labels=None, share=0.1, second=0.0) == (5, 0)
    assert allowance(50, labels=20, share=None, second=0.25) == (15, 5)
    assert allowance(1, labels=None, share=0.01, second=0.5) == (1, 0)


@pytest.mark.parametrize("size", [{"labels": 0}, {"share": 0.0}, {"share": 1.5}])
def test_sizes_that_make_no_sense(size):
    with pytest.raises(InputError):
        Student("fieldguide", **size)


def test_what_is_asked_a_second_time():
    one, other = ScriptedMllm(lambda r: "A"), ScriptedMllm(lambda r: "B")
    cases = {
        ("paper", None, None): ("structured", structured_prompt("birds")),
        ("structured", None, None): ("paper", None),
        ("paper", "What is this?", None): ("structured", structured_prompt("birds")),
        ("paper", None, other): ("paper", None),
        ("structured", None, other): ("structured", structured_prompt("birds")),
        ("paper", "What is this?", other): ("paper", "What is this?"),
    }
    for (prompt, text, second), expected in cases.items():
        found = Teachers(one, second, prompt=prompt, text=text).second_question("birds")
        assert (found["prompt"], found["text"]) == expected


def test_nothing_to_fit_with_and_nothing_fitted(world):
    with pytest.raises(InputError, match="MLLM"):
        Student(ProjectionEncoder(), views=0).fit(world[0])
    with pytest.raises(InputError, match="not been fitted"):
        Student(ProjectionEncoder()).predict(world[0])
    silent = ScriptedMllm(lambda request: "I cannot tell.")
    with pytest.raises(InputError, match="named none"):
        Student(ProjectionEncoder(), silent, settings=QUICK, labels=5, views=0).fit(world[0])


def test_names_of_a_person_hold_and_nothing_is_asked_again(world, tmp_path):
    folder, answers, true = world
    asked = Asked(answers)
    out = tmp_path / "run"

    def student():
        return Student(ProjectionEncoder(), asked.mllm, settings=QUICK, labels=15, views=0, out=out)

    first = student().fit(folder)
    calls = len(asked.ids)
    mine = [item for item in sorted(true) if true[item] == CLASSES[0]][:6]
    names = dict.fromkeys(mine, "Garden Gnome")
    second = student().fit(folder, names=names)
    assert len(asked.ids) == calls
    assert "Garden Gnome" not in first.classifier.names
    assert "Garden Gnome" in second.classifier.names
    assert second.classifier.notes["given"] == 6
    rows = {row["item"]: row for row in map(json.loads, (out / "pool.jsonl").read_text().splitlines())}
    assert [item for item, row in rows.items() if row["given"] == "Garden Gnome"] == mine
    assert all(rows[item]["top"][0][0] == "Garden Gnome" for item in mine)
    # What was given before holds in every later fit, and further names come on top.
    further = [item for item in sorted(true) if true[item] == CLASSES[1]][:3]
    third = student().fit(folder, names=dict.fromkeys(further, "Garden Chair"))
    assert {"Garden Gnome", "Garden Chair"} <= set(third.classifier.names)
    assert third.classifier.notes["given"] == 9
    (out / "names.csv").unlink()
    last = student().fit(folder)
    assert last.classifier.names == first.classifier.names
    np.testing.assert_array_equal(last.predict(folder)[0].top, first.predict(folder)[0].top)


def test_names_for_images_of_another_collection_are_refused(world, tmp_path):
    folder, answers, _ = world
    student = Student(ProjectionEncoder(), Asked(answers).mllm, settings=QUICK, labels=5, views=0, out=tmp_path / "run")
    with pytest.raises(InputError, match="none of the 1 named images"):
        student.fit(folder, names={"elsewhere.png": "Owl"})
    assert not (tmp_path / "run" / "names.csv").exists()
