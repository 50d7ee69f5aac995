"""``fgvr regions``: a run from annotations to figures, resumed, refused, and without any good box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import fgvr.cli.regions as cli
from fgvr.data.boxes import Boxes
from fgvr.errors import FgvrError, ManifestError, NoImagesError, RunError
from fgvr.mllm import ScriptedMllm
from fgvr.mllm.base import Reply, Request
from fgvr.types import Usage
from tests.methods.rar.test_regions import NamedColours, world


class Oracle(ScriptedMllm):
    """Prefers the option that names a colour, whatever the picture; counts what it is asked."""

    def __init__(self, wanted: str) -> None:
        super().__init__(self.prefer)
        self.wanted, self.asked = wanted, 0

    def prefer(self, request: Request) -> Reply:
        self.asked += 1
        logprobs = tuple(-0.01 if self.wanted in option else -5.0 for option in request.options)
        return Reply(request.item_id, "", self.name, Usage(calls=1), logprobs)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> NamedColours:
    encoder = NamedColours()
    monkeypatch.setattr(cli, "load_dual_encoder", lambda *_args, **_more: encoder)
    return encoder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    world(tmp_path / "world", pictures=4, each=4)
    return tmp_path / "world"


def fgvr(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def done(*arguments: object) -> Result:
    result = fgvr(*arguments)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


def predicted(place: Path, run: Path, *more: object) -> dict[str, Any]:
    arguments = ("predict", place / "annotations.json", place / "images", "--encoder", "colours", "--out", run)
    result = done(*arguments, "--json", *more)
    return dict(json.loads(result.stdout))


def evaluated(place: Path, *more: object) -> dict[str, Any]:
    return dict(json.loads(done("evaluate", place / "annotations.json", *more, "--json").stdout))


TIGHT = ("--small", 1, "--medium", 1)


class TestPredict:
    def test_from_annotations_to_figures(self, place: Path, tmp_path: Path, colours: NamedColours):
        summary = predicted(place, tmp_path / "run", *TIGHT)
        assert (summary["boxes"], summary["pictures"], summary["detections"], summary["asked"]) == (16, 4, 64, 0)
        rows = json.loads((tmp_path / "run" / "results.json").read_text())
        assert len(rows) == 64
        assert json.loads((tmp_path / "run" / "set_aside.json").read_text()) == []
        assert not (tmp_path / "run" / "crops").exists()
        figures = evaluated(place, tmp_path / "run")
        assert figures["AP"]["AP"] == pytest.approx(1)
        assert figures["accuracy"]["all"]["top_1"] == figures["coverage"] == 1
        assert figures["AP"]["AP_l"] is None

    def test_finished_work_is_kept(self, place: Path, tmp_path: Path, colours: NamedColours):
        predicted(place, tmp_path / "run")
        predicted(place, tmp_path / "run")
        assert colours.images == 16

    def test_another_setting_needs_another_folder(self, place: Path, tmp_path: Path, colours: NamedColours):
        predicted(place, tmp_path / "run")
        arguments = ("predict", place / "annotations.json", place / "images", "--encoder", "colours")
        result = fgvr(*arguments, "--out", tmp_path / "run", "--blur", 0)
        assert isinstance(result.exception, RunError)
        assert "policy.blur_sigma" in str(result.exception)
        predicted(place, tmp_path / "run", "--blur", 0, "--force")
        assert (tmp_path / "run.old-1" / "results.json").exists()

    def test_ranking_changes_the_order_and_is_paid_once(
        self, place: Path, tmp_path: Path, colours: NamedColours, monkeypatch: pytest.MonkeyPatch
    ):
        oracle = Oracle("blue")
        monkeypatch.setattr(cli, "load_model", lambda *_args, **_more: oracle)
        options = ("--mllm", "oracle", "--scores", "rank-consistent", *TIGHT)
        summary = predicted(place, tmp_path / "run", *options)
        first = oracle.asked  # fewer than boxes: equal crops with equal candidates are asked about once
        assert (summary["asked"], summary["statuses"]) == (16, {"scored": 16})
        assert len(list((tmp_path / "run" / "crops").glob("*.jpg"))) == 16
        assert evaluated(place, tmp_path / "run")["accuracy"]["all"]["top_1"] == pytest.approx(1 / 4)
        again = predicted(place, tmp_path / "run", *options)
        assert (oracle.asked, again["reused"]) == (first, 16)

    def test_fusion_does_not_believe_an_mllm_that_knows_nothing(
        self, place: Path, tmp_path: Path, colours: NamedColours, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(cli, "load_model", lambda *_args, **_more: Oracle("blue"))
        summary = predicted(place, tmp_path / "run", "--mllm", "oracle", *TIGHT)
        assert summary["weight"]["weight"] == 0
        assert evaluated(place, tmp_path / "run")["accuracy"]["all"]["top_1"] == 1

    def test_only_the_least_certain_are_asked_about(
        self, place: Path, tmp_path: Path, colours: NamedColours, monkeypatch: pytest.MonkeyPatch
    ):
        oracle = Oracle("blue")
        monkeypatch.setattr(cli, "load_model", lambda *_args, **_more: oracle)
        predicted(place, tmp_path / "run", "--mllm", "oracle", "--ask", 0.25)
        assert oracle.asked == 4

    def test_a_dry_run_asks_and_writes_nothing(
        self, place: Path, tmp_path: Path, colours: NamedColours, monkeypatch: pytest.MonkeyPatch
    ):
        oracle = Oracle("blue")
        monkeypatch.setattr(cli, "load_model", lambda *_args, **_more: oracle)
        summary = predicted(place, tmp_path / "run", "--mllm", "oracle", "--dry-run", "--ask", 0.5)
        assert (summary["dry_run"], summary["calls"], oracle.asked, colours.images) == (True, 8, 0, 0)
        assert not (tmp_path / "run").exists()

    def test_classes_of_ones_own(self, place: Path, tmp_path: Path, colours: NamedColours):
        names = tmp_path / "names.txt"
        names.write_text("0\tred\n10\tgreen\n20\tblue\n30\twhite\n99\tblack\n")
        predicted(place, tmp_path / "run", "--names", names)
        rows = json.loads((tmp_path / "run" / "results.json").read_text())
        assert {row["category_id"] for row in rows} == {0, 10, 20, 30, 99}

    def test_what_cannot_be_used_is_set_aside(self, place: Path, tmp_path: Path, colours: NamedColours):
        (place / "images" / "0.png").write_bytes(b"no picture")
        (place / "images" / "1.png").unlink()
        content = json.loads((place / "annotations.json").read_text())
        content["annotations"][-1]["bbox"] = [500, 500, 10, 10]
        (place / "annotations.json").write_text(json.dumps(content))
        summary = predicted(place, tmp_path / "run")
        assert summary["boxes"] == 7
        assert summary["set_aside"] == {"outside image": 1, "missing": 1, "not an image": 1}

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"annotations": []}, NoImagesError),
            ({"categories": []}, ManifestError),
            ({"images": []}, NoImagesError),
        ],
    )
    def test_nothing_to_do_is_an_error(
        self, place: Path, tmp_path: Path, colours: NamedColours, change: dict[str, Any], error: type[FgvrError]
    ):
        content = json.loads((place / "annotations.json").read_text())
        (place / "annotations.json").write_text(json.dumps(content | change))
        arguments = ("predict", place / "annotations.json", place / "images", "--encoder", "colours")
        result = fgvr(*arguments, "--out", tmp_path / "run")
        assert isinstance(result.exception, error)


class TestEvaluate:
    def test_lvis_files_are_scored_by_lvis_rules(self, place: Path, tmp_path: Path, colours: NamedColours):
        content = json.loads((place / "annotations.json").read_text())
        for image in content["images"]:
            image["neg_category_ids"] = [0]
        for category, letter in zip(content["categories"], "rcff", strict=True):
            category["frequency"] = letter
        (place / "annotations.json").write_text(json.dumps(content))
        predicted(place, tmp_path / "run", *TIGHT)
        figures = evaluated(place, tmp_path / "run")
        assert [figures["AP"][name] for name in ("AP_r", "AP_c", "AP_f")] == pytest.approx([1, 1, 1])
        assert figures["accuracy"]["rare"]["boxes"] == 4
        assert any(line.startswith("federated") for line in figures["protocol"])
        plain = evaluated(place, tmp_path / "run", "--not-federated")
        assert any(line.startswith("not federated") for line in plain["protocol"])

    def test_tables_for_people(self, place: Path, tmp_path: Path, colours: NamedColours):
        predicted(place, tmp_path / "run", *TIGHT)
        result = done("evaluate", place / "annotations.json", tmp_path / "run", "--out", tmp_path / "figures.json")
        assert "AP_s" in result.stdout
        assert "macro top-1" in result.stdout
        assert "coverage 100.0 %" in result.stderr
        assert json.loads((tmp_path / "figures.json").read_text())["AP"]["AP"] == pytest.approx(1)

    def test_unanswered_boxes_are_missing_not_wrong(self, place: Path, tmp_path: Path, colours: NamedColours):
        predicted(place, tmp_path / "run", *TIGHT)
        file = tmp_path / "run" / "results.json"
        rows = [row for row in json.loads(file.read_text()) if row["image_id"] > 2]
        file.write_text(json.dumps(rows))
        figures = evaluated(place, file)
        assert figures["coverage"] == 0.5
        assert figures["accuracy"]["all"]["top_1"] == 1
        assert figures["AP"]["AP"] < 0.6


def test_the_embedded_models_together(tmp_path: Path):
    from fgvr.data.boxes import read_boxes
    from fgvr.fieldguide.guide import all_species
    from fgvr.fieldguide.render import render

    species = all_species()[:3]
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number, one in enumerate(species, start=1):
        drawn = render(one, 10 + number, size=96)
        drawn.image.save(tmp_path / "images" / f"{number}.png")
        x0, y0, x1, y1 = drawn.box
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 96})
        box = [x0, y0, x1 - x0, y1 - y0]
        annotations.append({"id": number, "image_id": number, "category_id": number, "bbox": box})
    categories = [{"id": number, "name": one.name} for number, one in enumerate(species, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    models = ("--encoder", "fieldguide", "--mllm", "fieldguide", "--device", "cpu", "--weight", 0.5)
    arguments = ("predict", tmp_path / "annotations.json", tmp_path / "images", "--out", tmp_path / "run", *models)
    summary = json.loads(done(*arguments, "--json").stdout)
    assert (summary["asked"], summary["statuses"], summary["detections"]) == (3, {"scored": 3}, 9)
    assert isinstance(read_boxes(tmp_path / "annotations.json"), Boxes)
