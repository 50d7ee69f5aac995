"""Several replies a call, from photographs to a student: how many are drawn, what a run is, what is not asked twice."""

from __future__ import annotations

import json

import pytest

from fgvr.errors import InputError, RunError
from fgvr.methods.student import HeadSettings, SelfTrainingSettings, Student, StudentSettings
from fgvr.methods.student.asking import DRAWN, draws
from fgvr.mllm import Reply, ScriptedMllm
from fgvr.mllm.base import BY_ITEM, Sample
from fgvr.types import Usage
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered, picture

QUICK = StudentSettings(heads=HeadSettings(heads=("em",), folds=2), self_training=SelfTrainingSettings(rounds=0))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """4 x 6 pictures, and the two names that an MLLM wavers between for each; of two classes it prefers the wrong."""
    folder = tmp_path_factory.mktemp("photographs")
    features, true = clustered(6, names=NAMES[:4], seed=1)
    texts = {}
    for index, (feature, label) in enumerate(zip(features, true, strict=True)):
        picture(feature).save(folder / f"{index:03d}.png")
        own, next_one = NAMES[label], NAMES[label | 1]
        texts[f"{index:03d}.png"] = [next_one, own, next_one] if label % 2 == 0 else [own]
    return folder, texts, {f"{index:03d}.png": NAMES[label] for index, label in enumerate(true)}


class Drawing:
    """An MLLM that draws its texts in turn, and remembers what it was asked."""

    def __init__(self, texts, **options):
        self.texts, self.asked = texts, []
        self.mllm = ScriptedMllm(self._script, **options)

    def _script(self, request):
        self.asked.append(request)
        texts, count = self.texts[request.item_id], request.parameters.samples
        drawn = tuple(Sample(texts[at % len(texts)]) for at in range(count)) if count > 1 else ()
        return Reply("", texts[0], "scripted", Usage(calls=1), samples=drawn)


def student(world, *, local=True, **options):
    drawing = Drawing(world[1], local=local)
    how = {"settings": QUICK, "labels": None, "views": 0, "allow_unpriced": True, **options}
    return Student(ProjectionEncoder(), drawing.mllm, **how), drawing


def test_sixteen_where_they_cost_nothing_and_are_short_else_one():
    free, paid = ScriptedMllm(lambda r: "", local=True), ScriptedMllm(lambda r: "")
    recorded = ScriptedMllm(lambda r: "", local=True, preprocessing=BY_ITEM)
    assert [draws(None, mllm, "paper") for mllm in (free, paid, recorded)] == [DRAWN, 1, DRAWN]
    assert DRAWN == 16
    assert [draws(None, free, kind) for kind in ("structured", "reasoned", "reasoned-short")] == [16, 1, 1]
    assert [draws(5, mllm, "reasoned") for mllm in (free, paid, recorded)] == [5, 5, 5]
    for samples in (0, -3):
        with pytest.raises(InputError, match="a reply at least"):
            draws(samples, free, "paper")


@pytest.mark.parametrize(
    ("local", "samples", "drawn"), [(True, None, 16), (False, None, 1), (False, 4, 4), (True, 1, 1)]
)
def test_each_call_draws_as_many(world, local, samples, drawn):
    model, asked = student(world, local=local, samples=samples, labels=8)
    model.fit(world[0])
    assert [request.parameters.samples for request in asked.asked] == [drawn] * 8
    assert {request.parameters.temperature for request in asked.asked} == {1.0 if drawn > 1 else 0.0}
    assert model.samples == drawn


def test_with_several_replies_a_call_it_names_what_it_cannot_name_with_one(world):
    folder, _, true = world
    right = {}
    for samples in (1, 3):
        found = student(world, samples=samples)[0].fit(folder).predict(folder)
        right[samples] = sum(one.name == true[one.item_id] for one in found) / len(found)
    assert right[1] <= 0.5
    assert right[3] > 0.9


def test_the_number_of_replies_belongs_to_the_run(world, tmp_path):
    model, asked = student(world, samples=3, labels=12, out=tmp_path / "run")
    model.fit(world[0])
    assert len(asked.asked) == 12
    again, nothing = student(world, samples=3, labels=12, out=tmp_path / "run")
    again.fit(world[0])
    assert nothing.asked == []
    assert again.classifier.names == model.classifier.names
    with pytest.raises(RunError, match="samples"):
        student(world, samples=4, labels=12, out=tmp_path / "run")[0].fit(world[0])
    one, other = (student(world, samples=samples)[0].run_settings([]) for samples in (3, 4))
    assert {key for key in one if one[key] != other[key]} == {"samples"}
    json.dumps(one)


def test_the_record_keeps_the_names_that_were_drawn(world, tmp_path):
    for samples in (1, 3):
        student(world, samples=samples, out=tmp_path / str(samples))[0].fit(world[0])
        rows = [json.loads(line) for line in (tmp_path / str(samples) / "support.jsonl").read_text().splitlines()]
        texts = [world[1][row["item"]] for row in rows]
        two_thirds = [[[t[0], 0.666667], [t[1], 0.333333]] if len(t) > 1 else [[t[0], 1.0]] for t in texts]
        assert [row["drawn"] for row in rows] == ([[]] * len(rows) if samples == 1 else two_thirds)
