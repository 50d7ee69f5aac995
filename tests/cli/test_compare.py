"""``fgvr compare`` on drawn species with the embedded models, and on what a user may type wrongly."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fgvr.cli.compare_input import _named, collection_of
from fgvr.compare.replies import ledgers
from fgvr.errors import InputError
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from tests.compare.world import PREFACE
from tests.mllm.rude_server import Answer, completion, serving

from .conftest import World
from .world import done, fgvr

SPECIES = (0, 20, 40)
FIRST_SEED = 902_000_000
"""View seeds from here on are for development: nothing reported is drawn from them."""


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``support`` and ``test`` folders of class folders: three species, two and two pictures of each."""
    root = tmp_path_factory.mktemp("guide") / "drawn"
    for number, index in enumerate(SPECIES):
        species = all_species()[index]
        for view in range(4):
            place = root / ("support" if view < 2 else "test") / species.name.replace(" ", "_")
            place.mkdir(parents=True, exist_ok=True)
            render(species, FIRST_SEED + 100 * number + view, size=112).image.save(place / f"{view}.png")
    return root


def embedded(
    guide: Path, out: Path, methods: str = "zero_shot,knn,near:preset=lite+epochs=2,rar"
) -> tuple[object, ...]:
    return ("compare", guide, "--out", out, "--encoder", "fieldguide", "--mllm", "fieldguide", "--methods", methods,
            "--shots", 2, "--sentence-encoder", "none")  # fmt: skip


def answers(out: Path) -> list[bytes]:
    return [file.read_bytes() for file in ledgers(out)]


def test_a_whole_comparison_with_the_embedded_models(guide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = embedded(guide, out)
    first = done(*command)
    for word in ("drawn", "cACC", "NeaR", "RAR", "zero-shot", "100.0 %"):
        assert word in first.stdout
    assert "-> " in first.stderr
    before = answers(out)
    assert len(before) == 4
    again = json.loads(done(*command, "--json").stdout)
    assert answers(out) == before  # nothing was asked
    assert [row["status"] for row in again["rows"]] == ["done"] * 4
    assert {row["images"] for row in again["rows"]} == {6}
    assert again["rows"][0]["usage"]["calls"] == 6
    assert any("true labels" in line for line in again["protocol"])
    for name in ("table.md", "table.csv", "rows.csv", "comparison.json", "page.html"):
        assert (out / name).stat().st_size > 100
    added = done(*embedded(guide, out, "knn,knn:k=3"), "--against", "knn:k=3")
    assert "k=3" in added.stdout
    assert "minus knn:k=3" in (out / "table.md").read_text()


def small(world: World, out: Path, *more: object, data: object = None) -> tuple[object, ...]:
    return ("compare", data or world.photographs, "--out", out, "--encoder", world.encoder, "--mllm",
            f"replay:{world.recording}", "--sentence-encoder", "none", *more)  # fmt: skip


def test_the_list_names_every_method_with_its_settings() -> None:
    listed = done("compare", "--list").stdout
    for line in ("zero_shot .*template=a photo of a", "knn .*k=1", "near .*preset=workshop", "rar .*preset=default"):
        assert re.search(line, listed)


@pytest.mark.parametrize("left_out", ["DATA", "--out", "--encoder", "--mllm"])
def test_what_is_missing_is_said(world: World, tmp_path: Path, left_out: str) -> None:
    given: dict[str, Any] = {
        "--out": tmp_path / "out",
        "--encoder": world.encoder,
        "--mllm": f"replay:{world.recording}",
    }
    options = [part for name, value in given.items() if name != left_out for part in (name, value)]
    ran = fgvr("compare", *([] if left_out == "DATA" else [world.photographs]), *options)
    assert ran.exit_code == 2
    assert "--encoder and --mllm" in ran.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--methods", "knn,nothing"), "no such method"),
        (("--methods", "knn:k=x"), "does not fit the setting"),
        (("--methods", " , "), "nothing to compare"),
        (("--methods", "knn", "--against", "rar"), "nothing to compare"),
        (("--methods", "knn", "--draw", "random"), "needs a size"),
        (("--methods", "knn", "--coop"), "benchmark"),
    ],
)
def test_mistakes_are_errors_of_ours(world: World, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    ran = fgvr(*small(world, tmp_path / "out", "--held-out", 0.5, *more))
    assert ran.exit_code == 2, ran.output
    assert said in ran.stderr
    assert not list((tmp_path / "out").glob("*.md"))


def test_class_folders_are_divided_when_asked(world: World, tmp_path: Path) -> None:
    refused = fgvr(*small(world, tmp_path / "out", "--methods", "knn"))
    assert refused.exit_code == 2
    assert "--held-out" in refused.stderr
    ran = done(*small(world, tmp_path / "out", "--methods", "knn", "--held-out", 0.5, "--seeds", 2, "--json"))
    found = json.loads(ran.stdout)
    assert [(row["seed"], row["images"], row["status"]) for row in found["rows"]] == [(0, 12, "done"), (1, 12, "done")]
    assert any("held out for test by seed 0" in line for line in found["protocol"])


def test_a_dry_run_writes_and_asks_nothing(world: World, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("from dataclasses import dataclass\nTITLE = 'mine'\n@dataclass(frozen=True)\nclass Settings:\n"
                    "    a: int = 1\ndef name_images(task, settings): ...\n")  # fmt: skip
    out = tmp_path / "out"
    ran = done(*small(world, out, "--methods", f"knn,rar,{mine}", "--held-out", 0.5, "--shots", 2, "--dry-run"))
    assert re.search(r"CLIP\+kNN\S* .*\b8\b", ran.stdout)
    assert re.search(r"mine +not known", ran.stdout)
    assert not out.exists()


def test_pictures_inside_parquet_files(guide: Path, world: World, tmp_path: Path) -> None:
    """They are unpacked beside the results, also into a folder that is new or is begun anew."""
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    for name in ("one", "two"):
        for split, folder in (("train", "support"), ("test", "test")):
            files = sorted((guide / folder).rglob("*.png"))
            rows = [{"image": {"bytes": f.read_bytes(), "path": f.name}, "label": f.parent.name} for f in files]
            place = tmp_path / name / "data" / f"{split}-00000-of-00001.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(arrow.Table.from_pylist(rows), place)
    mine = tmp_path / "mine.py"
    mine.write_text(PREFACE + "    return Naming(('Red Fox',) * n)\n")
    command = ("compare", tmp_path / "one", tmp_path / "two", "--out", tmp_path / "out", "--encoder", world.encoder,
               "--mllm", f"replay:{world.recording}", "--sentence-encoder", "none", "--methods", mine)  # fmt: skip
    for more in ((), ("--force",)):
        found = json.loads(done(*command, "--json", *more).stdout)
        assert [(row["collection"], row["images"]) for row in found["rows"]] == [("one", 6), ("two", 6)]


def test_force_moves_the_old_comparison_aside(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = small(world, out, "--methods", "knn", "--held-out", 0.5)
    done(*command)
    refused = fgvr(*command, "--shots", 1)
    assert refused.exit_code == 1
    assert "other settings" in refused.stderr
    assert "out.old-1" in done(*command, "--shots", 1, "--force").stderr
    assert (tmp_path / "out.old-1" / "table.md").exists()


def test_a_misspelt_method_moves_nothing_aside(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = small(world, out, "--held-out", 0.5)
    done(*command, "--methods", "knn")
    wrong = fgvr(*command, "--methods", "knn,zeroshot", "--force")
    assert wrong.exit_code == 2
    assert "zero_shot" in wrong.stderr
    assert (out / "table.md").exists()


def test_a_cap_ends_with_3_and_a_higher_one_goes_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the server's own bill: it counts every question, whether its answer was used or not."""
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"m": {"input": 10.0, "output": 10.0}}))
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")

    def reply(number: int, body: dict[str, Any]) -> Answer:
        return Answer(completion("This is a **Red Fox**.", tokens=(1000, 6)))

    out, cap = tmp_path / "out", 0.12
    with serving(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        command = ("compare", world.photographs, "--out", out, "--encoder", world.encoder, "--mllm", "openai:m",
                   "--methods", "knn,direct,zero_shot", "--held-out", 0.5, "--sentence-encoder", "none", "--prices",
                   prices, "--concurrency", 2)  # fmt: skip
        each = 1006 * 10e-6
        for _ in range(2):
            stopped = fgvr(*command, "--budget", cap)
            assert stopped.exit_code == 3, stopped.output
            assert "raise it" in stopped.stderr
            assert len(server.calls) * each <= cap
        asked = len(server.calls)
        assert asked > 2
        done(*command, "--budget", 5)
        assert len(server.calls) > asked
        total = len(server.calls)
        done(*command, "--budget", 5)
        assert len(server.calls) == total
    assert not [file for file in out.rglob("*") if file.is_file() and b"canary-0123" in file.read_bytes()]


# --- what was typed ---------------------------------------------------------------------------------------------------


def test_names_and_places() -> None:
    assert _named("birds=/data/x") == ("birds", "/data/x")
    assert _named("/data/CUB_200_2011") == ("CUB_200_2011", "/data/CUB_200_2011")
    assert _named("/data/a=b") == ("a", "/data/a=b") or _named("/data/a=b") == ("a=b", "/data/a=b")
    assert _named("/data/birds/manifest.csv") == ("birds", "/data/birds/manifest.csv")
    assert _named("=x")[1] == "=x"


def reading(**more: Any) -> dict[str, Any]:
    return {"support": ("support", "train"), "test": "test", "held_out": None, "seed": 0, **more}


def test_split_folders_and_manifests(guide: Path, tmp_path: Path) -> None:
    found = collection_of(str(guide), **reading())
    assert (found.name, len(found.pool), len(found.test)) == ("drawn", 6, 6)
    assert {item.label for item in found.test} == {all_species()[index].name for index in SPECIES}
    few = collection_of(f"few={guide}", **reading(limit=4))
    assert (few.name, len(few.test), few.notes) == ("few", 4, ("4 test images drawn by seed 0",))
    rows = ["image,label,split"]
    for side, split in ((found.pool, "train"), (found.test, "test")):
        rows += [f"{item.path.relative_to(guide).as_posix()},{item.label},{split}" for item in side]
    rows += ["nowhere/x.png,,test"]
    manifest = guide / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    try:
        listed = collection_of(str(manifest), **reading())
        assert (listed.name, len(listed.pool), len(listed.test)) == ("drawn", 6, 6)
    finally:
        manifest.unlink()
    with pytest.raises(InputError, match="support or test split"):
        collection_of(str(guide), **reading(test="validation"))


@pytest.mark.parametrize("place", ["/no/such/place", "", "empty=", "\0", "x" * 5000])
def test_places_that_are_none(world: World, tmp_path: Path, place: str) -> None:
    ran = fgvr(*small(world, tmp_path / "out", "--methods", "knn", "--held-out", 0.5, data=place or " "))
    assert ran.exit_code in (1, 2)
    assert ran.stderr.count("error: ") >= 1
    assert isinstance(ran.exception, SystemExit)
    with pytest.raises(InputError, match="place is missing"):
        collection_of("", **reading())
