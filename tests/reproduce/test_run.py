"""Running a recipe: with a stand-in for the comparison that gives real rows, and with the comparison itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fgvr.compare import Collection, Row, Terms
from fgvr.compare.run import folder_name
from fgvr.data.benchmarks import Benchmark, read_benchmark
from fgvr.encoders import load_encoder
from fgvr.errors import RunError
from fgvr.mllm.base import Request
from fgvr.mllm.scripted import ScriptedMllm
from fgvr.reproduce import Have, Line, Outcome, collection, load_recipe, plan, reproduce
from fgvr.reproduce.recipe import Recipe, parse_recipe
from fgvr.reproduce.tables import about, line_rows, markdown
from tests.data.benchmarks.miniature import make_cars, make_cub
from tests.encoders.tiny import save
from tests.reproduce.words import WordEncoder

MPNET = "all-mpnet-base-v2"
BOTH = """\
title = "Two data sets"
method = "direct"
faults = ["Cars: a fault."]

[source]
paper = "A paper"
table = "Table 1"
row = "Ours"
read = "paper"

[protocol]
datasets = ["cub200", "cars196"]
split = "official"
shots = [1]
sentence_encoder = "all-mpnet-base-v2"

[published.sacc]
cub200 = 70.0
cars196 = 50.0
mean = 61.0

[published.cacc]
cub200 = 50.0
cars196 = 40.0
mean = 45.0
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("benchmarks")
    return {"cub200": make_cub(root / "cub"), "cars196": make_cars(root / "cars")}


@pytest.fixture(scope="module")
def collections(folders: dict[str, Path]) -> dict[str, Collection]:
    return {name: collection(read_benchmark(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def data(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: whole(read_benchmark(folder)) for name, folder in folders.items()}


def perfect(item: Any) -> str:
    return str(item.label)


class Stub:
    """In place of ``fgvr.compare``: names every test image by ``says`` and writes what the comparison writes."""

    def __init__(self, says: Any = perfect, *, failing: Sequence[str] = ()) -> None:
        self.says, self.failing = says, failing
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self, collections: Sequence[Collection], methods: Sequence[str], *, out: Path, seeds: Sequence[int], **rest: Any
    ) -> list[Row]:
        self.asked.append({"out": out, "methods": methods, "draw": rest["draw"]})
        rows = []
        for one in collections:
            for seed in seeds:
                place = out / folder_name(one.name) / f"seed-{seed}" / folder_name(methods[0])
                place.mkdir(parents=True)
                lines = [{"item": item.id, "name": self.says(item)} for item in one.test]
                (place / "named.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
                failed = one.name in self.failing
                rows.append(
                    Row(one.name, methods[0], "t", seed, "failed" if failed else "done", "it broke" if failed else "")
                )
        return rows


def terms(encoder: Any = None) -> Terms:
    return Terms(encoder=None, mllm=None, sentence_encoder=encoder, resamples=5)  # type: ignore[arg-type]


def run(recipe: Recipe, data: Any, collections: Any, out: Path, *, stub: Stub, encoder: Any, **more: Any) -> Outcome:
    name = None if encoder is None else encoder.name
    ready = plan(recipe, Have(data, encoder="e", mllm="m", sentence_encoder=name))
    return reproduce(ready, collections, terms=terms(encoder), out=out, compare=stub, **more)


def whole(benchmark: Benchmark) -> Benchmark:
    """As if the miniature were all there is to the data set."""
    return replace(benchmark, problems=())


def by(outcome: Outcome) -> dict[tuple[str, str], list[Line]]:
    found: dict[tuple[str, str], list[Line]] = {}
    for line in outcome.lines:
        found.setdefault((line.dataset, line.metric), []).append(line)
    return found


def test_ours_beside_theirs(data: Any, collections: Any, tmp_path: Path) -> None:
    recipe = parse_recipe(BOTH, name="both")
    found = by(run(recipe, data, collections, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET)))
    (birds,) = found["cub200", "sacc"]
    # Two of three test birds are "Arctic Tern", listed as "Artic Tern": cosine 1/2; the towhee is right.
    assert birds.ours == pytest.approx(100 * (1 + 2 * 0.5) / 3, abs=1e-4)
    assert birds.accepted == pytest.approx(100)
    assert birds.published == 70.0
    assert birds.difference == pytest.approx(birds.ours - 70)
    assert birds.low <= birds.ours <= birds.high
    assert birds.unshifted is None
    (cars,) = found["cars196", "sacc"]
    # One of three is written "Ram C/V ..." and listed as "Ram CV ...": five words of six.
    assert cars.unshifted == pytest.approx(100 * (2 + 5 / 6) / 3, abs=1e-4)
    assert cars.ours < cars.unshifted - 20
    (mean,) = found["mean", "sacc"]
    assert mean.ours == pytest.approx((birds.ours + cars.ours) / 2)
    assert mean.unshifted == pytest.approx((birds.ours + cars.unshifted) / 2)
    assert mean.published == pytest.approx(60.0)
    assert "printed as 61.0" in mean.remark
    (clusters,) = found["mean", "cacc"]
    assert (clusters.ours, clusters.published, clusters.remark) == (100, 45, "")
    assert ("cub200", "siou") in found
    assert found["cub200", "siou"][0].published is None


def test_sacc_of_another_sentence_encoder_never_stands_beside_theirs(
    data: Any, collections: Any, tmp_path: Path
) -> None:
    recipe = parse_recipe(BOTH, name="both")
    outcome = run(recipe, data, collections, tmp_path, stub=Stub(), encoder=WordEncoder("all-MiniLM-L6-v2"))
    saccs = [line for line in outcome.lines if line.metric == "sacc"]
    assert {(line.encoder, line.published is None, line.ours is None) for line in saccs} == {
        (MPNET, False, True),
        ("all-MiniLM-L6-v2", True, False),
    }
    assert all(line.difference is None for line in saccs)
    assert all(line.difference is not None for line in outcome.lines if line.metric == "cacc")
    shown = line_rows(outcome.lines)
    assert all(("sACC (all-MiniLM-L6-v2)" in row) != ("sACC (all-mpnet-base-v2)" in row) for row in shown[:6])


def test_without_a_sentence_encoder_sacc_is_theirs_alone(data: Any, collections: Any, tmp_path: Path) -> None:
    recipe = parse_recipe(BOTH, name="both")
    outcome = run(recipe, data, collections, tmp_path, stub=Stub(), encoder=None)
    saccs = [line for line in outcome.lines if line.metric == "sacc"]
    assert [(line.dataset, line.published, line.ours, line.encoder) for line in saccs] == [
        ("cub200", 70.0, None, MPNET),
        ("cars196", 50.0, None, MPNET),
        ("mean", 60.0, None, MPNET),
    ]


def test_a_data_set_that_fails_does_not_cost_the_other(data: Any, collections: Any, tmp_path: Path) -> None:
    recipe = parse_recipe(BOTH, name="both")
    outcome = run(recipe, data, collections, tmp_path, stub=Stub(failing=("cars196",)), encoder=WordEncoder(MPNET))
    found = by(outcome)
    assert found["cars196", "cacc"][0].remark == "it broke"
    (mean,) = found["mean", "cacc"]
    assert (mean.published, mean.ours, mean.remark) == (45.0, None, "not run on all")
    assert "it broke" in markdown(outcome)


def test_names_that_cannot_be_scored_do_not_cost_the_other(data: Any, collections: Any, tmp_path: Path) -> None:
    strange = replace(collections["cub200"].test[0], label="Roc")
    spoilt = {**collections, "cub200": replace(collections["cub200"], test=(strange,))}
    recipe = parse_recipe(BOTH, name="both")
    found = by(run(recipe, data, spoilt, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET)))
    assert "no class 'Roc'" in found["cub200", "cacc"][0].remark
    assert found["cars196", "cacc"][0].ours == 100


def test_figures_of_other_images_have_no_difference(
    folders: dict[str, Path], data: Any, collections: Any, tmp_path: Path
) -> None:
    """A folder that is not as distributed, and a part of the test images."""
    recipe = parse_recipe(BOTH, name="both")
    flawed = {**data, "cub200": read_benchmark(folders["cub200"])}
    found = by(run(recipe, flawed, collections, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET)))
    birds, cars, mean = (found[name, "cacc"][0] for name in ("cub200", "cars196", "mean"))
    assert (birds.published, birds.ours, birds.difference) == (50.0, 100, None)
    assert "not as distributed (wrong count" in birds.remark
    assert cars.difference == 60
    assert mean.difference is None
    part = plan(recipe, Have(data, encoder="e", mllm="m", sentence_encoder=MPNET), limit=2)
    assert part.incomparable == {"cub200": "2 of 3 test images", "cars196": "2 of 3 test images"}


def test_unanswered_images_are_said(data: Any, collections: Any, tmp_path: Path) -> None:
    first = {one.test[0].id for one in collections.values()}
    stub = Stub(lambda item: None if item.id in first else item.label)
    found = by(run(parse_recipe(BOTH, name="b"), data, collections, tmp_path, stub=stub, encoder=WordEncoder(MPNET)))
    assert found["cub200", "cacc"][0].remark == "1 images without an answer are left out"


def test_several_seeds_give_mean_and_range(data: Any, collections: Any, tmp_path: Path) -> None:
    recipe = parse_recipe(BOTH, name="both")
    outcome = run(recipe, data, collections, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET), seeds=(0, 1, 2))
    (birds,) = by(outcome)["cub200", "sacc"]
    assert birds.low == birds.ours == birds.high  # the stub says the same each time
    assert len(outcome.rows) == 6


def test_a_curve_runs_every_number_of_shots(data: Any, collections: Any, tmp_path: Path) -> None:
    recipe = load_recipe("workshop_figure2_zs_clip")
    recipe = replace(recipe, protocol=replace(recipe.protocol, shots=(1, 2, 3)))
    stub = Stub()
    outcome = run(recipe, data, collections, tmp_path, stub=stub, encoder=WordEncoder(MPNET))
    assert [(one["out"].name, one["draw"].shots) for one in stub.asked] == [
        ("shots-1", 1),
        ("shots-2", 2),
        ("shots-3", 3),
    ]
    assert {line.shots for line in outcome.lines} == {1, 2, 3}
    assert all(line.published is None for line in outcome.lines)
    assert line_rows(outcome.lines)[0][0] == "1 shots, CUB-200-2011"


def test_published_means_alone_stand_beside_the_mean_of_all(data: Any, collections: Any, tmp_path: Path) -> None:
    only_mean = BOTH.replace("cub200 = 50.0\ncars196 = 40.0\n", "")
    found = by(
        run(parse_recipe(only_mean, name="m"), data, collections, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET))
    )
    assert found["mean", "cacc"][0].published == 45.0
    assert found["cub200", "cacc"][0].published is None
    one = {"cub200": data["cub200"]}
    found = by(
        run(
            parse_recipe(only_mean, name="m"), one, collections, tmp_path / "b", stub=Stub(), encoder=WordEncoder(MPNET)
        )
    )
    assert found["mean", "cacc"][0].ours is None  # theirs is over both


def test_what_cannot_be_run_is_refused_with_every_remedy(collections: Any, tmp_path: Path) -> None:
    ready = plan(parse_recipe(BOTH, name="both"), Have({}))
    with pytest.raises(RunError, match="nothing of this recipe") as caught:
        reproduce(ready, collections, terms=terms(), out=tmp_path)
    for option in ("--encoder", "--mllm", "--data birds=DIR"):
        assert option in caught.value.remedy


def test_the_page_states_source_faults_and_runs(data: Any, collections: Any, tmp_path: Path) -> None:
    outcome = run(parse_recipe(BOTH, name="both"), data, collections, tmp_path, stub=Stub(), encoder=WordEncoder(MPNET))
    text = markdown(outcome)
    for part in (
        "A paper, Table 1, row Ours",
        "Cars: a fault.",
        "61.0 is not the mean",
        "## Runs",
        "cub200, seed 0: done",
    ):
        assert part in text
    assert str(tmp_path) not in text
    assert len({len(row) for row in line_rows(outcome.lines)}) == 1
    assert any(line.startswith("differs: encoder: e") for line in about(outcome.plan))
    json.dumps(outcome.as_dict(), allow_nan=False)


def test_with_the_comparison_itself(data: Any, collections: Any, tmp_path: Path) -> None:
    """The real ``compare`` on the miniature of CUB: direct questions to an MLLM that knows the towhee only."""
    asked: list[Request] = []

    def say(request: Request) -> str:
        asked.append(request)
        return "This is an **Eastern Towhee**." if "Towhee" in request.item_id else "This is a **Common Tern**."

    recipe = parse_recipe(BOTH, name="both")
    ready = plan(recipe, Have({"cub200": data["cub200"]}, encoder="tiny", mllm="scripted", sentence_encoder=MPNET))
    real = Terms(
        encoder=load_encoder(str(save("clip", tmp_path / "encoder"))),
        mllm=ScriptedMllm(say, local=True),
        sentence_encoder=WordEncoder(MPNET),
        resamples=5,
    )
    outcome = reproduce(ready, collections, terms=real, out=tmp_path / "run")
    found = by(outcome)
    assert [row.status for row in outcome.rows] == ["done"]
    assert len(asked) == 3
    assert found["cub200", "cacc"][0].ours == 100  # two clusters, two classes
    # "Common Tern" shares one word of two with "Artic Tern".
    assert found["cub200", "sacc"][0].ours == pytest.approx(100 * (1 + 2 * 0.5) / 3, abs=1e-4)
    again = reproduce(ready, collections, terms=real, out=tmp_path / "run")
    assert len(asked) == 3  # a finished item is never paid for twice
    assert again.lines == outcome.lines


def test_a_curve_pays_for_no_image_twice(data: Any, collections: Any, tmp_path: Path) -> None:
    """The images of few shots are among those of more."""
    asked: list[str] = []

    def say(request: Request) -> str:
        asked.append(request.item_id)
        return "This is a **Common Tern**."

    recipe = load_recipe("workshop_figure2_zs_clip")
    recipe = replace(recipe, protocol=replace(recipe.protocol, shots=(1, 2)))
    ready = plan(recipe, Have({"cub200": data["cub200"]}, encoder="tiny", mllm="scripted"))
    real = Terms(
        encoder=load_encoder(str(save("clip", tmp_path / "encoder"))), mllm=ScriptedMllm(say, local=True), resamples=5
    )
    outcome = reproduce(ready, collections, terms=real, out=tmp_path / "run")
    assert [row.status for row in outcome.rows] == ["done", "done"], [row.error for row in outcome.rows]
    assert len(asked) == len(set(asked)) == 2  # two training images, one of each class
    assert (tmp_path / "run" / "features").is_dir()


def test_what_other_numbers_of_shots_paid_is_taken_off_the_cap(
    data: Any, collections: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("workshop_figure2_zs_clip")
    recipe = replace(recipe, protocol=replace(recipe.protocol, shots=(1, 2, 3)))
    monkeypatch.setattr("fgvr.reproduce.run.ledgers", lambda folder: [folder])
    monkeypatch.setattr("fgvr.reproduce.run.paid", lambda places: 2.0 if places[0].exists() else 0.0)
    caps = []

    class Capped(Stub):
        def __call__(self, *given: Any, **rest: Any) -> list[Row]:
            caps.append(rest["terms"].budget)
            return super().__call__(*given, **rest)

    ready = plan(recipe, Have(data, encoder="e", mllm="m"))
    reproduce(ready, collections, terms=replace(terms(), budget=3.0), out=tmp_path, compare=Capped())
    assert caps == [3.0, 1.0, 0.0]
