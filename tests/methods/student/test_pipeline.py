"""The student end to end on clusters with a noisy teacher: it beats it, every part can be switched off, nothing hidden
decides."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fgvr.errors import InputError
from fgvr.methods.student.pipeline import learn
from fgvr.methods.student.settings import (
    EvidenceSettings,
    HeadSettings,
    LabelSpaceSettings,
    PropagationSettings,
    SelfTrainingSettings,
    StudentSettings,
)
from fgvr.types import NamedImage

from .clusters import STRONG, World, unit, world

DEFAULT = StudentSettings()
QUICK = replace(DEFAULT, heads=HeadSettings(heads=("em",), folds=2), self_training=SelfTrainingSettings(rounds=1))
SMALL = {"classes": 6, "per_class": 15, "dim": 16, "tested": 200}


def says(learned, one: World) -> np.ndarray:
    """(T, C) probabilities over the world's names, 0 for names that the student does not have."""
    logits = learned.head.logits(one.test).astype(float)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = np.zeros((len(one.test), len(one.names)))
    found[:, [one.names.index(name) for name in learned.names]] = chances / chances.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("tower", [False, True])
def test_the_student_beats_its_teacher(tower):
    """Two in five of its names are wrong, and the student has never seen a true one."""
    one = world(3, per_class=25)
    rows, named = one.asked(len(one.features))
    learned = learn(one.features, rows, named, one.tower(STRONG) if tower else None)
    teacher = np.mean([reply.name == one.names[label] for reply, label in zip(one.said, one.true, strict=True)])
    assert 0.5 < teacher < 0.7
    assert one.accuracy(learned.names, learned.head.logits(one.test)) > teacher + 0.25
    assert set(learned.names) == set(one.names)


def test_with_a_third_of_the_calls_it_still_does():
    one = world(4, per_class=25)
    rows, named = one.asked(100)
    learned = learn(one.features, rows, named, None)
    assert one.accuracy(learned.names, learned.head.logits(one.test)) > 0.75


ON = replace(DEFAULT, heads=HeadSettings(heads=("zero-shot", "prototypes", "em", "gaussian"), rule="equal", folds=2))
SWITCHES = {
    "propagation": replace(ON, propagation=PropagationSettings(on=False)),
    "mutual edges": replace(ON, propagation=PropagationSettings(mutual=True)),
    "self-training": replace(ON, self_training=SelfTrainingSettings(rounds=0)),
    "alignment": replace(ON, self_training=SelfTrainingSettings(align=False)),
    "evidence": replace(ON, evidence=EvidenceSettings()),
    "evidence without agreement": replace(ON, evidence=EvidenceSettings(agreement=False)),
    "text shares": replace(ON, heads=replace(ON.heads, text_shares=(0.0,))),
    "rule": replace(ON, heads=replace(ON.heads, rule="best")),
    **{
        f"the head {name}": replace(ON, heads=replace(ON.heads, heads=(*ON.heads.heads, name), epochs=3))
        for name in ("residual", "cache")
    },
    **{
        f"without the head {name}": replace(
            ON, heads=replace(ON.heads, heads=tuple(one for one in ON.heads.heads if one != name))
        )
        for name in ON.heads.heads
    },
}


@pytest.fixture(scope="module")
def small():
    """A small world, who was asked, and what the student says of the test points with all parts on."""
    one = world(1, spread=1.3, **SMALL)
    rows, named = one.asked(40)
    return one, rows, named, says(learn(one.features, rows, named, one.tower(STRONG), ON), one)


@pytest.mark.parametrize("part", SWITCHES)
def test_every_switch_runs_and_matters(part, small):
    one, rows, named, before = small
    learned = learn(one.features, rows, named, one.tower(STRONG), SWITCHES[part])
    after = says(learned, one)
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 1e-4
    assert one.accuracy(learned.names, learned.head.logits(one.test)) > 0.55
    assert learned.notes["settings"] == SWITCHES[part].to_dict()


def test_spellings_are_merged():
    """Another spelling of a name is that name, with ``merge``."""
    one = world(2, **SMALL, noise=0.0)
    rows, named = one.asked(60)
    first = named[0].name
    spelt = [replace(reply, name=f"  {first.upper()} ") if at == 0 else reply for at, reply in enumerate(named)]
    on = learn(one.features, rows, spelt, None, QUICK)
    off = learn(one.features, rows, spelt, None, replace(QUICK, label_space=LabelSpaceSettings(merge=False)))
    assert len(on.names) == len(one.names)
    assert len(off.names) >= len(on.names)


def test_a_name_given_once_and_wrongly_goes_only_with_drop():
    one = world(2, **SMALL, noise=0.0, spread=0.5)
    rows, named = one.asked(60)
    wrong = [replace(reply, name="Zebra") if at == 0 else reply for at, reply in enumerate(named)]
    how = replace(QUICK, evidence=EvidenceSettings())
    kept = learn(one.features, rows, wrong, None, replace(how, label_space=LabelSpaceSettings(drop=False)))
    dropped = learn(one.features, rows, wrong, None, how)
    assert "Zebra" in kept.names
    assert "Zebra" not in dropped.names
    assert one.accuracy(dropped.names, dropped.head.logits(one.test)) > 0.95


def test_the_same_seed_is_the_same_student_and_rows_come_in_any_order(small):
    one, rows, named, _ = small
    first, again = (learn(one.features, rows, named, one.tower(STRONG), seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.head.logits(one.test), again.head.logits(one.test))
    np.testing.assert_array_equal(first.held_out, again.held_out)
    assert first.notes == again.notes
    order = np.random.default_rng(0).permutation(len(rows))
    other = learn(one.features, rows[order], [named[at] for at in order], one.tower(STRONG), seed=5)
    assert set(other.names) == set(first.names)
    np.testing.assert_allclose(says(other, one), says(first, one), atol=1e-3)


def test_what_comes_out_has_its_shapes_and_notes_are_json(small):
    one, rows, named, _ = small
    told = []
    learned = learn(one.features, rows, named, None, progress=lambda *stage: told.append(stage))
    names = len(learned.names)
    assert set(json.loads(json.dumps(learned.notes))) == set(learned.notes)
    assert learned.held_out.shape == (len(rows), names)
    assert learned.soft.shape == (len(one.features), names)
    assert learned.head.logits(one.test).shape == (len(one.test), names)
    np.testing.assert_array_equal(learned.evidence.rows, rows)
    assert {stage for stage, *_ in told} >= {"names", "graph", "propagation", "heads", "self-training"}


def test_images_that_were_never_held_out_are_nan():
    """A name's only picture, and an image without a name."""
    one = world(2, **SMALL, noise=0.0)
    rows, named = one.asked(30)
    named[3] = NamedImage("x", None, status="refused")
    named[7] = replace(named[7], name="Solitary Kite")
    keep = replace(QUICK, label_space=LabelSpaceSettings(drop=False))
    learned = learn(one.features, rows, named, None, keep)
    unheld = np.isnan(learned.held_out).any(axis=1)
    assert unheld[[3, 7]].all()
    counts = {reply.name: sum(other.name == reply.name for other in named) for reply in named}
    lone = [at for at, reply in enumerate(named) if reply.name is None or counts[reply.name] == 1]
    np.testing.assert_array_equal(np.flatnonzero(unheld), lone)


def test_without_a_name_there_is_nothing_to_learn():
    one = world(0, **SMALL)
    refused = [NamedImage(str(at), None, status="refused") for at in range(5)]
    with pytest.raises(InputError):
        learn(one.features, np.arange(5), refused, None)


def test_heads_that_need_a_text_tower_alone_are_refused_without_one():
    one = world(0, **SMALL)
    rows, named = one.asked(20)
    with pytest.raises(InputError, match="no head"):
        learn(one.features, rows, named, None, replace(QUICK, heads=HeadSettings(heads=("zero-shot",))))


@pytest.mark.parametrize("tower", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_labels(count, tower):
    one = world(0, **SMALL)
    rows, named = one.asked(count)
    learned = learn(one.features, rows, named, one.tower(STRONG) if tower else None)
    assert set(learned.names) <= {reply.name for reply in named}
    assert np.isfinite(learned.head.logits(one.test)).all()


def test_one_name_for_all():
    one = world(0, **SMALL)
    rows, named = one.asked(20)
    named = [replace(reply, name="Bird") for reply in named]
    learned = learn(one.features, rows, named, None)
    assert learned.names == ("Bird",)
    assert np.isfinite(learned.head.logits(one.test)).all()


@pytest.mark.parametrize("images", [1, 2, 4])
def test_pools_smaller_than_the_number_of_neighbours(images):
    features = unit(np.eye(4)[:images])
    named = [NamedImage(str(at), "ab"[at % 2] * 5) for at in range(images)]
    learned = learn(features, np.arange(images), named, None)
    chosen = [learned.names[best] for best in learned.head.logits(features).argmax(axis=1)]
    assert chosen == [reply.name for reply in named]


def test_copies_of_pictures_are_no_trouble():
    one = world(1, **SMALL)
    rows, named = one.asked(40)
    features = np.vstack([one.features, one.features[rows]])
    twice = np.append(rows, len(one.features) + np.arange(len(rows)))
    learned = learn(features, twice, [*named, *named], None, QUICK)
    assert np.isfinite(learned.head.logits(one.test)).all()
    assert one.accuracy(learned.names, learned.head.logits(one.test)) > 0.6


@pytest.mark.parametrize("evidence", [EvidenceSettings.off(), EvidenceSettings()])
def test_second_opinions(evidence):
    """A second teacher that is always right, about images on which the first was wrong, helps."""
    one = world(6, spread=1.3, **SMALL)
    rows, named = one.asked(60)
    how = replace(QUICK, evidence=evidence)
    again = rows[::2]
    right = [NamedImage(f"{row}", one.names[one.true[row]]) for row in again]
    before = learn(one.features, rows, named, None, how)
    after = learn(one.features, rows, named, None, how, second=(again, right))
    assert set(after.opinions.source.tolist()) == {0, 1}
    gain = [one.accuracy(found.names, found.head.logits(one.test)) for found in (before, after)]
    assert gain[1] > gain[0] - 0.01
    json.dumps(after.notes)
