"""Recipes: strictly read, complete, and true to the tables they come from as far as the tables are to themselves."""

from __future__ import annotations

import os
import re
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from fgvr.compare.method import find
from fgvr.errors import InputError
from fgvr.reproduce import Have, Recipe, all_recipes, load_recipe, plan, recipe_names
from fgvr.reproduce.recipe import DATASETS, METRICS, Disagreement, parse_recipe
from fgvr.reproduce.tables import about

MODELS = ("gpt_4o", "gemini_flash", "gemini_pro")
TABLE_2 = {
    "GPT-4o": "direct_gpt_4o",
    "Gemini Flash": "direct_gemini_flash",
    "Gemini Pro": "direct_gemini_pro",
    "BLIP-2": "direct_blip2",
    "LLaVA-1.5-7B": "direct_llava_7b",
    "LLaVA-1.5-13B": "direct_llava_13b",
    "CaSED": "cased",
    "FineR": "finer",
    "ZS-CLIP-WordNet": "wordnet",
    "ZS-CLIP-GPT-4o": "zs_clip_gpt_4o",
    "ZS-CLIP-GeminiFlash": "zs_clip_gemini_flash",
    "ZS-CLIP-GeminiPro": "zs_clip_gemini_pro",
    "Ours (GPT-4o)": "ours_gpt_4o",
    "Ours (Gemini Flash)": "ours_gemini_flash",
    "Ours (Gemini Pro)": "ours_gemini_pro",
}
"""Row to recipe, without ``workshop_table2_``."""
EXPECTED = {
    *(f"workshop_table2_{name}" for name in TABLE_2.values()),
    *(f"workshop_table3_{sets}_{model}" for sets in ("random", "ours") for model in MODELS),
    "workshop_table4_asked_gpt_4o",
    "workshop_table4_ours_gpt_4o",
    *(f"workshop_figure2_{name}" for name in ("ours", "finer", "zs_clip")),
    *(f"rar_table1_{name}" for name in ("wordnet", "blip2", "cased", "finer", "rar", "rar_released")),
    "finer",
    "e_finer",
    "findr",
    *(f"findr_birds_{model}" for model in ("qwen", "gemini")),
    *(f"findr_pets_{design}" for design in ("base", "meta", "expert")),
    *(f"findr_table_{name}" for name in ("kmeans", "cased", "blip2", "finer", "e_finer", "true_names")),
}
DISAGREE = {
    "workshop_table2_direct_llava_13b": {"sacc": (31.5, 32.2), "cacc": (10.1, 9.82), "siou": (1.1, 10.28)},
    "workshop_table2_ours_gpt_4o": {"siou": (44.4, 44.26)},
}
"""Every printed mean that is not the mean of its row: printed, computed."""

SMALL = """\
title = "A row"
method = "direct"

[source]
paper = "A paper"
table = "Table 1"
row = "Ours"
read = "paper"

[protocol]
datasets = ["cub200", "pets37"]
split = "official"
shots = [3]
k = 3
sentence_encoder = "all-mpnet-base-v2"

[published.sacc]
cub200 = 70.0
pets37 = 80.1
mean = 75.0
"""


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in all_recipes()}


def test_every_row_has_one_recipe_and_every_recipe_is_a_row(recipes: dict[str, Recipe]) -> None:
    assert set(recipes) == EXPECTED
    rows = Counter((r.source.paper, r.source.table, r.source.row) for r in recipes.values())
    assert rows.most_common(1)[0][1] == 1
    assert len({recipe.name for recipe in recipes.values()}) == len(recipes)


def test_recipes_are_data_of_the_package() -> None:
    files = {file.name for file in resources.files("fgvr.recipes").iterdir() if file.name.endswith(".toml")}
    assert files == {f"{name}.toml" for name in EXPECTED}
    assert recipe_names() == tuple(sorted(EXPECTED))


def test_printed_means_are_the_means_of_their_rows_but_for_the_known_ones(recipes: dict[str, Recipe]) -> None:
    found = {
        name: {one.metric: (one.printed, pytest.approx(one.computed, abs=1e-6)) for one in recipe.disagreements()}
        for name, recipe in recipes.items()
        if recipe.disagreements()
    }
    assert found == DISAGREE
    checked = sum("mean" in values and len(values) > 1 for r in recipes.values() for values in r.published.values())
    assert checked > 40
    for name, metrics in DISAGREE.items():
        said = [line for line in about(plan(recipes[name], Have({}))) if "is not the mean" in line]
        assert len(said) == len(metrics)


def test_methods_can_be_found_with_their_settings(recipes: dict[str, Recipe]) -> None:
    specs = {recipe.method for recipe in recipes.values() if recipe.method}
    assert {spec.partition(":")[0] for spec in specs} == {
        "direct", "zero_shot", "wordnet", "cased", "finer", "e_finer", "findr", "near", "rar", "rar_released"
    }  # fmt: skip
    for spec in specs:
        find(spec)


def test_every_sacc_names_its_sentence_encoder_and_every_car_figure_its_fault(recipes: dict[str, Recipe]) -> None:
    for recipe in recipes.values():
        if "sacc" in recipe.published:
            assert recipe.protocol.sentence_encoder == "all-mpnet-base-v2"
            printed = recipe.published["sacc"]
            if "cars196" in recipe.protocol.datasets and (set(printed) & {"cars196", "mean"}):
                assert any(fault.startswith("Cars:") for fault in recipe.faults), recipe.name
        if recipe.protocol.shots and "cub200" in recipe.protocol.datasets and recipe.published:
            assert any(fault.startswith("Birds:") for fault in recipe.faults), recipe.name


def test_rows_that_two_papers_print_agree(recipes: dict[str, Recipe]) -> None:
    for name in ("cased", "wordnet", "finer"):
        ours, theirs = recipes[f"workshop_table2_{name}"].published, recipes[f"rar_table1_{name}"].published
        assert ours == theirs
    assert recipes["workshop_table2_direct_blip2"].published == recipes["rar_table1_blip2"].published
    assert recipes["finer"].published == recipes["rar_table1_finer"].published
    for model in MODELS:
        table_2, table_3 = (recipes[f"workshop_table{t}_ours_{model}"].published for t in (2, 3))
        assert {metric: values["mean"] for metric, values in table_2.items()} == {
            metric: values["mean"] for metric, values in table_3.items()
        }
    own, again = (recipes[f"workshop_table{t}_ours_gpt_4o"].published["sacc"] for t in (2, 4))
    assert {name for name in DATASETS if own[name] != again[name]} == {"cars196"}


def test_a_curve_whose_values_cannot_be_read_gives_no_number(recipes: dict[str, Recipe]) -> None:
    for name in ("ours", "finer", "zs_clip"):
        recipe = recipes[f"workshop_figure2_{name}"]
        assert (recipe.published, recipe.source.read) == ({}, "none")
        assert recipe.protocol.shots == tuple(range(1, 11))
        assert "no number is given" in " ".join(recipe.notes)


def test_nothing_in_a_recipe_is_of_this_machine(recipes: dict[str, Recipe]) -> None:
    for recipe in recipes.values():
        text = (resources.files("fgvr.recipes") / f"{recipe.name}.toml").read_text("utf-8")
        assert not re.search(r"/(?:home|work|tmp|Users)/|TODO|\\\\", text)
        assert recipe.title
        assert recipe.source.row


def test_means_over_the_data_sets_that_were_run() -> None:
    recipe = parse_recipe(SMALL, name="small")
    assert recipe.mean("sacc") == pytest.approx(75.05)
    assert recipe.mean("sacc", ("pets37",)) == 80.1
    assert recipe.mean("sacc", ("cars196",)) is None
    assert recipe.mean("cacc") is None
    assert recipe.disagreements() == ()  # 75.0 against 75.05 is rounding
    off = parse_recipe(SMALL.replace("mean = 75.0", "mean = 75.2"), name="off")
    assert off.disagreements() == (Disagreement("sacc", 75.2, pytest.approx(75.05)),)
    alone = parse_recipe(SMALL.replace("cub200 = 70.0\npets37 = 80.1\n", ""), name="alone")
    assert alone.mean("sacc") == 75.0
    assert alone.mean("sacc", ("pets37",)) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title =", "titel =", "unknown key 'titel'"),
        ('row = "Ours"', 'row = "Ours"\npage = 3', "unknown key 'page'"),
        ("k = 3", "k = 0", "'k' should be"),
        ("k = 3", "k = true", "'k' should be"),
        ("shots = [3]", "shots = 3", "'shots' should be"),
        ("shots = [3]", 'shots = ["3"]', "'shots' should be"),
        ('title = "A row"', "title = 3", "'title' should be"),
        ('title = "A row"\n', "", "incomplete"),
        ('table = "Table 1"\n', "", "incomplete"),
        ('split = "official"', 'split = "mine"', "neither official nor coop"),
        ('read = "paper"', 'read = "heard"', "must be one of"),
        ('read = "paper"', 'read = "note"', "'where' is for"),
        ('read = "paper"', 'read = "paper"\nwhere = "x"', "'where' is for"),
        ('read = "paper"', 'read = "none"', "do not fit"),
        ('method = "direct"', "", "either 'method' or 'not_run'"),
        ('method = "direct"', 'method = "direct"\nnot_run = "x"', "either 'method' or 'not_run'"),
        ('sentence_encoder = "all-mpnet-base-v2"\n', "", "without its sentence encoder"),
        ('["cub200", "pets37"]', "[]", "data sets are none"),
        ('["cub200", "pets37"]', '["cub200", "cub200"]', "named twice"),
        ("cub200 = 70.0", "cub200 = 170.0", "must be per cent"),
        ("cub200 = 70.0", "cub200 = nan", "must be per cent"),
        ("cub200 = 70.0", 'cub200 = "70"', "must be per cent"),
        ("cub200 = 70.0", "cub200 = true", "must be per cent"),
        ("cub200 = 70.0", "dogs120 = 70.0", "no data set of the recipe"),
        ("published.sacc", "published.accuracy", "unknown or empty metric"),
        ("[published.sacc]\n", "[published]\nsacc = 70.0\n[x]\n", "unknown key 'x'"),
        ("[source]", "[sourced]", "no table"),
        ("[protocol]", "[protocol", "no TOML"),
    ],
)
def test_a_slip_of_the_pen_is_an_error(old: str, new: str, says: str) -> None:
    parse_recipe(SMALL, name="small")
    assert old in SMALL
    with pytest.raises(InputError, match=re.escape(says)):
        parse_recipe(SMALL.replace(old, new, 1), name="small")


def test_an_unknown_recipe_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe("rar_table1_raar")
    assert "rar_table1_rar" in caught.value.remedy
    own = tmp_path / "mine.toml"
    own.write_text(SMALL)
    assert load_recipe(str(own)).name == "mine"
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(str(tmp_path / "other.toml"))


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED")
def test_table_2_is_the_papers(recipes: dict[str, Recipe]) -> None:
    """Cell by cell against the paper's text."""
    text = (Path(os.environ["FGVR_SHARED"]) / "papers" / "fgvr_in_the_age_of_mllms.txt").read_text("utf-8")
    seen = 0
    for line in text.splitlines():
        row, *cells = re.sub(r"^\[.\] ", "", line).split("\t")
        if row not in TABLE_2 or len(cells) != 18:
            continue
        published = recipes[f"workshop_table2_{TABLE_2[row]}"].published
        for i, cell in enumerate(cells):
            metric, place = METRICS[i % 3], (*DATASETS, "mean")[i // 3]
            value = None if cell == "-" else float(cell.partition("(")[0])
            assert published.get(metric, {}).get(place) == value, (row, metric, place)
        seen += 1
    assert seen == len(TABLE_2)
