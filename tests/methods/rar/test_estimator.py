"""RAR from photographs to predictions: fit, save, load, resume, refuse; with MLLMs of every worth."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fgvr.data import load_items
from fgvr.errors import EncoderError, InputError, MllmError, NoImagesError, RunError
from fgvr.methods.rar import RAR, RarSettings, Recogniser
from fgvr.methods.rar.pipeline import as_described, as_released
from fgvr.mllm import Price, ScriptedMllm, spent_in
from fgvr.runs import Ledger
from fgvr.types import ImageItem
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered

from .world import CLASSES, Witness, Worth, draw, flat, right, truths

QUERIES = 12


class Place(NamedTuple):
    shots: Path
    queries: tuple[ImageItem, ...]
    truth: dict[str, str]

    def witness(self, worth: Worth = "knows", **options: object) -> Witness:
        return Witness(self.truth, worth, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Six labelled pictures a class, twelve queries a class."""
    root = tmp_path_factory.mktemp("pictures")
    shots, queries = draw(root / "shots", 6), draw(root / "queries", QUERIES, seed=9)
    return Place(shots, load_items(queries).items, truths(shots, queries))


@pytest.fixture(scope="module")
def retrieved(place: Place) -> float:
    """Accuracy of retrieval alone."""
    return right(RAR(ProjectionEncoder()).fit(place.shots).predict(place.queries), place.queries)


@pytest.fixture(scope="module")
def learned(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose MLLM knows."""
    run = tmp_path_factory.mktemp("learned") / "run"
    RAR(ProjectionEncoder(), place.witness().mllm, out=run).fit(place.shots)
    return run


@pytest.fixture
def run(learned: Path, tmp_path: Path) -> Path:
    """A copy to do anything to."""
    return Path(shutil.copytree(learned, tmp_path / "run"))


# --- its worth --------------------------------------------------------------------------------------------------------


def test_an_mllm_that_knows_helps_and_is_asked_in_doubt_only(place: Place, retrieved: float) -> None:
    witness = place.witness()
    rar = RAR(ProjectionEncoder(), witness.mllm).fit(place.shots)
    calibrating = len(witness.asked)
    assert calibrating == rar.last_fit.asked == 48
    found = rar.recognise(place.queries)
    assert right(found.predictions, place.queries) > retrieved + 0.1
    assert len(witness.asked) - calibrating == found.asked < len(place.queries)
    assert (found.unanswered, found.stopped, found.usage.calls) == (0, None, found.asked)


@pytest.mark.parametrize("worth", ["guesses", "lies", "mumbles"])
def test_an_mllm_that_knows_nothing_costs_nothing(place: Place, retrieved: float, worth: Worth) -> None:
    rar = RAR(ProjectionEncoder(), place.witness(worth).mllm).fit(place.shots)
    found = rar.recognise(place.queries)
    noise = 2 * np.sqrt(0.25 / len(place.queries))
    assert right(found.predictions, place.queries) >= retrieved - noise
    if rar.recogniser.rules.weight == 0:
        assert found.asked == 0


def test_the_papers_way_believes_a_liar(place: Place, retrieved: float) -> None:
    """What the learned weight protects from, shown with the same MLLM."""
    settings = replace(as_described(), ranking=RarSettings().ranking)
    rar = RAR(ProjectionEncoder(), place.witness("lies").mllm, settings=settings).fit(place.shots)
    assert right(rar.predict(place.queries), place.queries) < retrieved - 0.2


@pytest.mark.parametrize("preset", [as_described, as_released])
def test_the_papers_presets_run(place: Place, preset: Callable[[], RarSettings]) -> None:
    witness = place.witness()
    rar = RAR(ProjectionEncoder(), witness.mllm, settings=preset()).fit(place.shots)
    assert not witness.asked
    found = rar.recognise(place.queries)
    assert found.asked >= 0.9 * len(place.queries)
    for one in found.predictions:
        names = [name for name, _ in one.top]
        assert len(set(names)) == len(names)
        assert 0 < one.probability <= 1
        assert sum(chance for _, chance in one.top) <= 1 + 1e-6


# --- what it is given -------------------------------------------------------------------------------------------------


def test_new_classes_are_predicted_without_a_fit(place: Place, run: Path) -> None:
    recogniser = Recogniser.load(run)
    features, true = clustered(4, names=NAMES[12:14], spread=0.1, seed=3)
    recogniser.memory.add("image", [NAMES[12 + label] for label in true], features)
    recogniser.memory.save(run / "memory")
    queries, _ = clustered(5, names=NAMES[12:14], spread=0.1, seed=4)
    after = Recogniser.load(run)
    found = after.predictions(after.candidates(queries), [str(i) for i in range(10)])
    assert [one.top[0][0] for one in found] == [NAMES[12]] * 5 + [NAMES[13]] * 5
    again = RAR(ProjectionEncoder(), place.witness().mllm, out=run)
    with pytest.raises(RunError, match="memory was changed"):
        again.fit(place.shots)
    assert NAMES[12] in Recogniser.load(run).names


def test_names_alone_are_a_memory(place: Place) -> None:
    witness = place.witness()
    rar = RAR(ProjectionEncoder(), witness.mllm).fit(names=CLASSES)
    found = rar.recognise(place.queries)
    assert right(found.predictions, place.queries) > 2 / len(CLASSES)
    assert (witness.asked, rar.recogniser.rules.asking) == ([], "never")  # nothing tells what its word is worth
    assert not any(one.unknown for one in found.predictions)


def test_unlabelled_photographs_beside_names_judge_the_mllm(tmp_path: Path) -> None:
    shots = draw(tmp_path / "shots", 16, spread=0.3)
    truth = truths(shots)
    unlabelled = flat(shots, tmp_path / "flat")
    weights = {}
    for worth in ("knows", "guesses"):
        rar = RAR(ProjectionEncoder(), Witness(truth, worth).mllm).fit(unlabelled, names=CLASSES)
        assert rar.recogniser.rules.weight_from == "agreement"
        assert (len(rar.recogniser.memory.images), rar.last_fit.set_aside) == (0, ())
        weights[worth] = rar.recogniser.rules.weight
    assert weights["knows"] > 0 == weights["guesses"]


def test_the_mllm_may_name_the_photographs_first(tmp_path: Path) -> None:
    shots = draw(tmp_path / "shots", 4, spread=0.2)
    witness = Witness(truths(shots))
    unlabelled = flat(shots, tmp_path / "flat")
    rar = RAR(ProjectionEncoder(), witness.mllm, out=tmp_path / "run").fit(unlabelled, name_by_mllm=True)
    assert sorted(rar.recogniser.names) == sorted(CLASSES)
    assert [request.stage for request in witness.asked].count("label") == 32
    assert rar.recogniser.rules.weight_from == "agreement"
    assert right(rar.predict(load_items(shots).items), load_items(shots).items) > 0.9
    with pytest.raises(InputError, match="needs an MLLM"):
        RAR(ProjectionEncoder()).fit(unlabelled, name_by_mllm=True)


def test_one_photograph_a_class(place: Place, tmp_path: Path) -> None:
    single = draw(tmp_path / "single", 1, names=NAMES, spread=0.2)
    rar = RAR(ProjectionEncoder(), Witness(truths(single)).mllm).fit(single)
    rules = rar.recogniser.rules
    assert (rules.weight_from, rules.probability_floor, rules.cosine_floor) == ("truth in set", 0.0, -1.0)
    assert rules.weight > 0


def test_one_class_needs_no_question(place: Place) -> None:
    items = [item for item in load_items(place.shots).items if item.label == CLASSES[0]]
    witness = place.witness()
    rar = RAR(ProjectionEncoder(), witness.mllm).fit(items)
    found = rar.recognise(place.queries)
    assert (witness.asked, rar.last_fit.asked, found.asked) == ([], 0, 0)
    assert {one.top[0][0] for one in found.predictions} == {CLASSES[0]}
    assert all(one.probability == pytest.approx(1.0) for one in found.predictions)


def test_k_may_be_larger_than_the_classes(place: Place) -> None:
    rar = RAR(ProjectionEncoder(), place.witness().mllm, k=50).fit(place.shots)
    for one in rar.predict(place.queries[:10], top_k=99):
        assert sorted(name for name, _ in one.top) == sorted(CLASSES)
        assert sum(chance for _, chance in one.top) == pytest.approx(1.0)


def test_four_candidates_with_four_shots(place: Place, tmp_path: Path) -> None:
    assert RAR(ProjectionEncoder()).fit(draw(tmp_path / "four", 4)).recogniser.retrieval.k == 4
    assert RAR(ProjectionEncoder()).fit(place.shots).recogniser.retrieval.k == 5


def test_a_picture_listed_twice_or_kept_in_two_classes(place: Place, tmp_path: Path) -> None:
    shots = Path(shutil.copytree(place.shots, tmp_path / "shots"))
    one, two = sorted(shots.iterdir())[:2]
    picture = sorted(one.iterdir())[0]
    shutil.copy(picture, one / "copy.png")
    shutil.copy(picture, two / "other.png")
    items = load_items(shots).items
    witness = place.witness()
    rar = RAR(ProjectionEncoder(), witness.mllm, settings=RarSettings(asking="always")).fit([*items, *items])
    assert len(rar.recogniser.memory.images) == 48 + 1
    asked = len(witness.asked)
    assert asked == 48  # equal questions are asked once
    found = rar.predict([*place.queries[:5], *place.queries[:5]])
    assert [one.item_id for one in found] == [item.id for item in place.queries[:5]] * 2
    assert found[:5] == found[5:]
    assert len(witness.asked) - asked <= 5


def test_what_cannot_be_used_is_set_aside_with_a_reason(place: Place, tmp_path: Path) -> None:
    shots = Path(shutil.copytree(place.shots, tmp_path / "shots"))
    broken = shots / CLASSES[0] / "broken.png"
    broken.write_bytes(b"no picture")
    items = [*load_items(shots).items, replace(place.queries[0], label=None)]
    rar = RAR(ProjectionEncoder()).fit(items)
    aside = {one.id: one for one in rar.last_fit.set_aside}
    assert set(aside) == {f"{CLASSES[0]}/broken.png", place.queries[0].id}
    assert aside[place.queries[0].id].reason == "no label"
    assert len(rar.recogniser.memory.images) == 48
    found = rar.recognise([*place.queries[:3], ImageItem("broken.png", broken)])
    assert ([one.item_id for one in found.predictions], len(found.set_aside)) == ([i.id for i in place.queries[:3]], 1)


def test_nothing_to_learn_from_is_said(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photograph has a label") as error:
        RAR(ProjectionEncoder()).fit(flat(place.shots, tmp_path / "flat"))
    assert "--name-by-mllm" in error.value.remedy
    with pytest.raises(InputError, match="no photograph has a label"):
        RAR(ProjectionEncoder()).fit()
    with pytest.raises(NoImagesError):
        RAR(ProjectionEncoder()).fit([ImageItem("x", place.shots / "nowhere.png", label="Wren")])
    with pytest.raises(InputError, match="not been fitted"):
        RAR(ProjectionEncoder()).predict(place.queries)
    emptied = RAR(ProjectionEncoder()).fit(names=CLASSES[:1])
    emptied.recogniser.memory.remove(CLASSES[0])
    with pytest.raises(InputError, match="does not hold anything"):
        emptied.predict(place.queries)


# --- what can go wrong ------------------------------------------------------------------------------------------------


class Wider(ProjectionEncoder):
    """Vectors of another dimension."""

    dim = ProjectionEncoder.dim + 1


class Reworked(ProjectionEncoder):
    """The same name, other preprocessing: another fingerprint."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = "0" * 64


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (ProjectionEncoder("other"), "another encoder"),
        (Wider(), "17"),
        (Reworked(), "preprocessing"),
    ],
)
def test_an_encoder_that_is_not_the_memorys_is_refused(
    place: Place, run: Path, encoder: ProjectionEncoder, message: str
) -> None:
    with pytest.raises(EncoderError, match=message) as error:
        RAR.load(run, encoder=encoder).predict(place.queries)
    assert error.value.remedy


def test_another_mllm_than_the_one_that_was_weighed_is_refused(place: Place, run: Path) -> None:
    stranger = place.witness(name="stranger")
    with pytest.raises(InputError, match="not the one whose weight was learned") as error:
        RAR.load(run, stranger.mllm, encoder=ProjectionEncoder()).predict(place.queries)
    assert error.value.context == {"learned": "witness 1", "given": "stranger 1"}
    revised = place.witness(revision="2")
    with pytest.raises(InputError, match="weight was learned"):
        RAR.load(run, revised.mllm, encoder=ProjectionEncoder()).predict(place.queries)
    assert not stranger.asked
    given = RAR(ProjectionEncoder(), place.witness().mllm, settings=RarSettings(weight=1.0, margin=0.9)).fit(
        place.shots
    )
    any_mllm = RAR(ProjectionEncoder(), stranger.mllm, recogniser=given.recogniser)
    assert any_mllm.recognise(place.queries).asked == len(stranger.asked) > 0


def test_without_its_mllm_a_run_retrieves(place: Place, run: Path, retrieved: float) -> None:
    found = RAR.load(run, encoder=ProjectionEncoder()).recognise(place.queries)
    assert found.asked == 0
    assert right(found.predictions, place.queries) == retrieved


def test_an_mllm_that_does_not_answer_leaves_it_to_retrieval(place: Place, run: Path, retrieved: float) -> None:
    dead = ScriptedMllm(lambda _: MllmError("no"), name="witness")
    found = RAR.load(run, dead, encoder=ProjectionEncoder()).recognise(place.queries)
    assert found.asked == found.unanswered > 0
    assert right(found.predictions, place.queries) == retrieved
    fitted = RAR(ProjectionEncoder(), dead).fit(place.shots)
    assert (fitted.last_fit.asked, fitted.last_fit.unanswered) == (48, 48)
    assert fitted.recogniser.rules.asking == "never"


def test_a_damaged_memory_is_refused_and_made_again_by_a_fit(place: Place, run: Path) -> None:
    whole = RAR.load(run, encoder=ProjectionEncoder()).predict(place.queries)
    segments = [file for file in (run / "memory").rglob("*") if file.suffix == ".safetensors"]
    assert segments
    for file in segments:
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RunError) as error:
        RAR.load(run, encoder=ProjectionEncoder())
    assert error.value.remedy
    witness = place.witness()
    RAR(ProjectionEncoder(), witness.mllm, out=run).fit(place.shots)
    assert not witness.asked
    assert RAR.load(run, encoder=ProjectionEncoder()).predict(place.queries) == whole


def test_a_run_of_other_settings_is_refused(place: Place, run: Path) -> None:
    mllm = place.witness().mllm
    for other in (
        RAR(ProjectionEncoder(), mllm, out=run, seed=1),
        RAR(ProjectionEncoder(), mllm, out=run, k=3),
        RAR(ProjectionEncoder(), None, out=run),
        RAR(ProjectionEncoder("other"), mllm, out=run),
        RAR(ProjectionEncoder(), mllm, out=run, settings=RarSettings(text=False)),
    ):
        with pytest.raises(RunError, match="other settings"):
            other.fit(place.shots)
    with pytest.raises(RunError, match="other settings"):
        RAR(ProjectionEncoder(), mllm, out=run).fit(place.shots, names=["Yellow Crow"])


def test_runs_of_near_and_of_rar_are_told_apart(place: Place, run: Path, tmp_path: Path) -> None:
    from fgvr.methods.near import NeaR
    from fgvr.methods.near.baselines import zero_shot_classifier

    with pytest.raises(RunError, match="no classifier"):
        NeaR.load(run, encoder=ProjectionEncoder())
    with pytest.raises(RunError, match="other settings"):
        NeaR(ProjectionEncoder(), place.witness().mllm, out=run).fit(place.shots)
    zero_shot_classifier(ProjectionEncoder(), CLASSES).save(tmp_path / "near")
    with pytest.raises(RunError, match="no finished RAR run"):
        RAR.load(tmp_path / "near")
    with pytest.raises(RunError, match="no run"):
        RAR(ProjectionEncoder(), out=tmp_path / "near").fit(place.shots)


def test_a_saved_copy_predicts_the_same(place: Place, run: Path, tmp_path: Path) -> None:
    mllm = place.witness().mllm
    loaded = RAR.load(run, mllm, encoder=ProjectionEncoder())
    found = loaded.predict(place.queries)
    loaded.save(tmp_path / "copy")
    assert RAR.load(tmp_path / "copy", mllm, encoder=ProjectionEncoder()).predict(place.queries) == found


# --- paid once --------------------------------------------------------------------------------------------------------


def test_a_finished_question_is_never_paid_for_twice(place: Place, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first, second, third = place.witness(), place.witness(), place.witness()
    before = RAR(ProjectionEncoder(), first.mllm, out=run).fit(place.shots).recognise(place.queries)
    assert len(first.asked) == 48 + before.asked
    again = RAR(ProjectionEncoder(), second.mllm, out=run).fit(place.shots).recognise(place.queries)
    assert (second.asked, again.reused, again.usage.calls) == ([], before.asked, 0)
    loaded = RAR.load(run, third.mllm, encoder=ProjectionEncoder()).recognise(place.queries)
    assert third.asked == []
    assert before.predictions == again.predictions == loaded.predictions


def test_a_cap_holds_over_naming_fit_and_predictions_with_and_without_a_run(place: Place, tmp_path: Path) -> None:
    dollar = 1e-6 * 1000
    prices = {"witness": Price(1.0, 1.0)}
    unlabelled = flat(place.shots, tmp_path / "flat")
    limit = 0.1
    for out in (None, tmp_path / "run"):
        witness = Witness(place.truth, tokens=1000)
        options = {"prices": prices, "budget": limit, "out": out, "concurrency": 4}
        rar = RAR(ProjectionEncoder(), witness.mllm, **options).fit(unlabelled, name_by_mllm=True)
        named = len(witness.asked)
        rar.recogniser = replace(rar.recogniser, rules=replace(rar.recogniser.rules, asking="always", weight=1.0))
        found = [rar.recognise(place.queries) for _ in range(2)]
        assert len(witness.asked) > named
        assert len(witness.asked) * dollar <= limit
        assert found[-1].stopped == "budget"
        assert found[-1].unanswered > 0
        assert len(found[-1].predictions) == len(place.queries)
        if out is not None:
            assert spent_in(Ledger(out / "ranks.jsonl")) <= limit
