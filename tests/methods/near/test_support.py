"""A support set by choice: fewer labels bought, in rounds that survive a kill, a cap and a missing file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fgvr.encoders import FeatureTable
from fgvr.errors import InputError, MllmError, RunError
from fgvr.methods.near import LITE, NeaR
from fgvr.methods.near.pipeline import FitSettings
from fgvr.methods.near.support import settled_ids, settled_rows
from fgvr.mllm import Price, ScriptedMllm
from fgvr.runs import Ledger
from fgvr.types import ImageItem

from .world import NAMES, ProjectionEncoder, clustered, picture

CLASSES = NAMES[:6]
QUICK = FitSettings(tuning=LITE, folds=0)


@pytest.fixture(scope="module")
def burst(tmp_path_factory):
    """One common species and five rare ones, every picture twice (a copy with another ending): folder and names."""
    folder = tmp_path_factory.mktemp("burst")
    features, true = clustered(12, names=CLASSES, spread=0.15, seed=3)
    rows = [row for row in range(len(true)) if true[row] == 0 or row % 12 < 2]
    names = {}
    for row in rows:
        for copy in "ab":
            name = f"{row:03d}{copy}.png"
            picture(features[row]).save(folder / name)
            names[name] = CLASSES[true[row]]
    (folder / "broken.png").write_bytes(b"no picture")
    return folder, names


class Paid:
    """An MLLM that counts what it was asked, and breaks when told to."""

    def __init__(self, names, *, break_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.names, self.break_at = names, break_at
        self.mllm = ScriptedMllm(self.reply)

    def reply(self, request):
        if len(self.asked) == self.break_at:
            raise KeyboardInterrupt
        self.asked.append(request.item_id)
        return self.names[request.item_id]


def near(burst, paid=None, **options):
    paid = paid or Paid(burst[1])
    options = {"settings": QUICK, "support_size": 10, "concurrency": 1, **options}
    return NeaR(ProjectionEncoder(), paid.mllm, **options), paid


@pytest.mark.parametrize("how", ["spread", "active"])
def test_a_choice_buys_no_copy_and_finds_the_rare_species(burst, how):
    model, paid = near(burst, choose=how)
    model.fit(burst[0])
    assert len(paid.asked) == 10
    assert all(name.endswith("a.png") for name in paid.asked)
    by_chance = near(burst)
    by_chance[0].fit(burst[0])
    species, chance = ({burst[1][name] for name in asked} for asked in (paid.asked, by_chance[1].asked))
    assert len(species) > len(chance)
    assert set(model.classifier.names) == species
    assert [item.id for item in model.last_fit.table.items] == sorted(paid.asked)
    assert [one.item_id for one in model.last_fit.labelled.named] == sorted(paid.asked)
    assert [aside.id for aside in model.last_fit.set_aside] == ["broken.png"]
    assert model.last_fit.labelled.usage.calls == 10


def test_chance_is_the_default_and_its_runs_keep_their_settings(burst, tmp_path):
    model, paid = near(burst)
    items = tuple(ImageItem(name, burst[0] / name) for name in sorted(burst[1]))
    assert "choose" not in model.run_settings(items)
    model.fit(burst[0])
    assert any(name.endswith("b.png") for name in paid.asked)
    chosen, _ = near(burst, choose="spread", out=tmp_path)
    chosen.fit(burst[0])
    assert chosen.run_settings(items)["choose"] == {"how": "spread", "size": 10}
    for other in ({"choose": "active"}, {}, {"choose": "spread", "support_size": 9}):
        with pytest.raises(RunError, match="other settings"):
            near(burst, out=tmp_path, **other)[0].fit(burst[0])


def test_never_more_than_there_are_different_pictures(burst):
    for size in (None, 1000):
        model, paid = near(burst, choose="spread", support_size=size)
        model.fit(burst[0])
        assert len(paid.asked) == len(burst[1]) / 2


def test_other_seeds_other_choices(burst):
    asked = []
    for seed in (0, 0, 1):
        model, paid = near(burst, choose="active", seed=seed)
        model.fit(burst[0])
        asked.append(sorted(paid.asked))
    assert asked[0] == asked[1] != asked[2]


def test_views_are_made_of_the_chosen_only(burst, tmp_path):
    model, _ = near(burst, choose="spread", views=2, out=tmp_path)
    model.fit(burst[0])
    assert model.last_fit.table.features.shape == (10, 3, 16)
    assert [item.id for item in model.last_fit.table.items] == [one.item_id for one in model.last_fit.labelled.named]


@pytest.mark.parametrize("break_at", [0, 3, 6, 9])
def test_a_killed_choice_goes_on_and_pays_nothing_twice(burst, tmp_path, break_at):
    whole, undisturbed = near(burst, choose="active")
    whole.fit(burst[0])
    broken, first = near(burst, Paid(burst[1], break_at=break_at), choose="active", out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(burst[0])
    again, second = near(burst, choose="active", out=tmp_path)
    again.fit(burst[0])
    assert first.asked + second.asked == undisturbed.asked
    np.testing.assert_array_equal(whole.classifier.text_features, again.classifier.text_features)
    lines = Ledger(tmp_path / "choice.jsonl").records()
    assert [len(line["ids"]) for line in lines] == [5, 2, 3]
    assert sorted(settled_ids(Ledger(tmp_path / "choice.jsonl"))) == sorted(undisturbed.asked)
    rows = [json.loads(line)["item"] for line in (tmp_path / "support.jsonl").read_text().splitlines()]
    assert rows == sorted(undisturbed.asked)


def test_a_failed_question_answered_later_changes_no_choice(burst, tmp_path):
    """The second round was chosen without that name; with it another choice would cost further labels."""
    names, failing = dict(burst[1]), near(burst, choose="active")
    failing[0].fit(burst[0])
    lost = failing[1].asked[:3]
    broken = Paid({name: MllmError("no") if name in lost else said for name, said in names.items()})
    first, _ = near(burst, broken, choose="active", out=tmp_path, attempts=1)
    first.fit(burst[0])
    again, paid = near(burst, choose="active", out=tmp_path, retry_failed=True)
    again.fit(burst[0])
    assert sorted(paid.asked) == sorted(lost)
    assert len(again.last_fit.labelled.named) == 10


def test_a_cap_stops_the_round_and_a_higher_one_goes_on(burst, tmp_path):
    names, price = burst[1], {"scripted": Price(input=0.0, output=1e6 / 64)}

    def run(budget: float):
        model, paid = near(burst, choose="active", out=tmp_path, budget=budget, prices=price)
        model.fit(burst[0])
        return model.last_fit.labelled, paid.asked

    labelled, asked = run(1.1)
    assert labelled.answers.stopped == "budget"
    assert 3 <= len(asked) < 5
    assert len(labelled.named) == 5
    assert len(labelled.answers.not_asked) == 5 - len(asked)
    whole, more = run(1000.0)
    assert whole.answers.stopped is None
    assert len(set(asked + more)) == len(asked) + len(more) == 10
    assert set(names) >= set(more)


def test_the_cap_holds_over_all_rounds_without_a_run_folder(burst):
    """Each reply costs what five words cost; the worst case of one more call is 1 dollar."""
    said = {name: f"{species} or so, surely" for name, species in burst[1].items()}
    paid = Paid(said)
    prices = {"scripted": Price(input=0.0, output=1e6 / 64)}
    one = near(burst, Paid(said), choose="active", prices=prices)[0].fit(burst[0])
    cost = one.last_fit.labelled.usage.cost
    cap = 1 + 0.65 * cost
    model, _ = near(burst, paid, choose="active", prices=prices, budget=cap)
    labelled = model.fit(burst[0]).last_fit.labelled
    assert labelled.answers.stopped == "budget"
    assert 5 < len(paid.asked) < 10
    assert labelled.usage.cost <= cap


def test_the_super_category_is_asked_once(burst):
    stages = []

    def script(request):
        stages.append((request.stage, request.prompt))
        return "Birds" if request.stage == "meta" else json.dumps({"common_name": burst[1][request.item_id]})

    model = NeaR(
        ProjectionEncoder(),
        ScriptedMllm(script),
        settings=QUICK,
        support_size=10,
        choose="active",
        prompt="structured",
    )
    model.fit(burst[0])
    assert [stage for stage, _ in stages].count("meta") == 1
    assert len({prompt for stage, prompt in stages if stage != "meta"}) == 1
    assert model.last_fit.labelled.category == "birds"
    assert model.last_fit.labelled.usage.calls == 11


def test_progress_counts_labels_over_all_rounds(burst):
    seen = []
    model, _ = near(burst, choose="active", progress=lambda *step: seen.append(step))
    model.fit(burst[0])
    labels = [(done, total) for stage, done, total in seen if stage == "label"]
    assert labels == sorted(labels)
    assert labels[-1] == (10, 10)


def test_an_image_that_has_gone_is_left_out_of_its_round(tmp_path):
    ledger = Ledger(tmp_path / "choice.jsonl")
    ledger.append({"kind": "round", "round": 0, "ids": ["a", "c", "b"]})
    ledger.append({"kind": "other", "ids": ["x"]})
    assert [rows.tolist() for rows in settled_rows(ledger, ["a", "b", "d"])] == [[0, 1]]
    assert settled_rows(None, ["a"]) == []


def test_a_way_that_does_not_exist_is_refused_at_once():
    with pytest.raises(InputError, match="no way of choosing"):
        NeaR(ProjectionEncoder(), choose="best")


def test_tables_keep_what_was_set_aside(tmp_path):
    from fgvr.methods.near.support import rows_of

    items = tuple(ImageItem(name, Path(name)) for name in "abc")
    table = FeatureTable(np.eye(3, dtype=np.float32), items, ("x", "y", "z"))
    part = rows_of(table, np.array([2, 0]))
    assert [item.id for item in part.items] == ["c", "a"]
    assert part.hashes == ("z", "x")
    np.testing.assert_array_equal(part.features, np.eye(3)[[2, 0]])
