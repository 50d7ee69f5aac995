"""The page: one file, no network, nobody's text as markup; the right images in dispute."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from fgvr.compare import Collection, Draw
from fgvr.compare.cell import folder_name, keep
from fgvr.compare.differences import Difference
from fgvr.compare.output import Output
from fgvr.compare.page import DISPUTED, disputed, page_of, write_page
from fgvr.compare.summary import lines
from fgvr.methods.baselines.task import Naming
from fgvr.metrics.bootstrap import Interval
from fgvr.types import ImageItem, SetAside
from tests.compare.rows import failed, row
from tests.compare.world import collection, run, terms, witness
from tests.report.examples import HOSTILE

TRUTH = tuple(ImageItem(f"i{n}", Path(f"/none/{n}.png"), "Red Fox", ("Vulpes vulpes",)) for n in range(5))


def written(root: Path, said: dict[str, tuple[str | None, ...]], truth: tuple[ImageItem, ...] = TRUTH) -> list:
    rows = []
    for method, names in said.items():
        rows.append(row(method))
        keep(root / "birds" / "seed-0" / folder_name(method), "d", rows[-1], items=truth, naming=Naming(names))
    return rows


def test_the_most_disputed_images_come_first(tmp_path: Path) -> None:
    rows = written(tmp_path, {
        "a": ("Red Fox", "red fox", "Cat", "Cat", None),
        "b": ("Red Fox", "Red-Fox", "Dog", "Cat", "Cat"),
        "c": ("Red Fox", "RED FOX", "Cow", "Vulpes vulpes", "Cat"),
    })  # fmt: skip
    found = disputed(tmp_path, rows, TRUTH)
    assert [one["item"] for one in found] == ["i2", "i3"]  # spelling is no dispute, nor is silence
    assert [right for _, right in found[1]["names"]] == [False, False, True]
    assert found[0]["truth"] == "red fox" or found[0]["truth"] == "Red Fox"
    assert found[0]["uri"] == ""  # a picture that cannot be read is no reason to stop


def test_silence_is_shown_as_such(tmp_path: Path) -> None:
    rows = written(tmp_path, {"a": (None,) * 5, "b": ("x",) * 5, "c": ("y",) * 5})
    found = disputed(tmp_path, rows, TRUTH)
    assert [one["item"] for one in found] == [item.id for item in TRUTH]
    assert found[0]["names"][0] == ("(no answer)", False)


def test_no_dispute_without_two_methods_or_two_names(tmp_path: Path) -> None:
    rows = written(tmp_path, {"a": ("x",) * 5, "b": ("X",) * 5})
    assert disputed(tmp_path, rows, TRUTH) == []
    assert disputed(tmp_path, rows[:1], TRUTH) == []
    assert disputed(tmp_path / "elsewhere", rows, TRUTH) == []


def test_at_most_so_many_disputed_images(tmp_path: Path) -> None:
    truth = tuple(ImageItem(f"i{n:03d}", Path(f"/none/{n}.png"), "x") for n in range(60))
    rows = written(tmp_path, {"a": ("x",) * 60, "b": ("y",) * 60}, truth)
    assert [one["item"] for one in disputed(tmp_path, rows, truth)] == [f"i{n:03d}" for n in range(DISPUTED)]


class Tags(HTMLParser):
    """Every element with its attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


LINKS = ("src", "href", "action", "data", "srcset", "poster", "xlink:href", "formaction", "background")


def assert_closed(page: str) -> None:
    """Nothing is fetched, nothing runs but the page's own script, under the policy that names it."""
    tags = Tags(page)
    policy = next(attrs["content"] for _, attrs in tags.found if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert not {tag for tag, _ in tags.found} & {"iframe", "object", "embed", "link", "base", "form"}
    for tag, attrs in tags.found:
        for key, value in attrs.items():
            assert not key.startswith("on"), (tag, attrs)
            assert key not in LINKS or value.startswith(("#", "data:image/")), (tag, attrs)


@pytest.mark.parametrize("attack", HOSTILE)
def test_no_text_becomes_markup(tmp_path: Path, attack: str) -> None:
    picture = tmp_path / "p.png"
    Image.new("RGB", (20, 20), "red").save(picture)
    truth = (ImageItem(f"0 {attack}", picture, attack, (attack,)), ImageItem("1", picture, "x"))
    said = {attack: (attack, "x"), "b": ("other", None)}
    rows = [
        replace(one, title=attack, collection=attack, notes=(attack,), extra={attack: 1.0})
        for one in written(tmp_path, said, truth)
    ]
    for one in rows:
        place = tmp_path / folder_name(attack) / "seed-0" / folder_name(one.method)
        keep(place, "d", one, items=truth, naming=Naming(said[one.method]))
    rows.append(replace(failed("c", error=attack), title=attack, collection=attack))
    compared = [Difference(attack, attack, attack, {"cacc": Interval(0.1, 0, 0.2, 0.95, 0)}, "draws")]
    file = write_page(tmp_path, rows, lines(rows), compared, [attack], {attack: truth})
    page = file.read_text("utf-8")
    assert_closed(page)
    assert "Where they differ" in page
    assert "Not finished" in page
    for hidden in ("\u202e", "\u2066", "\x00", "\x07"):
        assert hidden not in page


def test_a_page_of_nothing_but_failures() -> None:
    rows = [failed("a"), failed("b", collection="fish")]
    page = page_of(Path("/none"), rows, lines(rows), [], ["p"], {"birds": (), "fish": ()})
    assert_closed(page)
    assert page.count("broken") >= 2


def test_the_headline_praises_no_one_for_cacc_alone() -> None:
    """With few test images a class, a method of many wrong names has the highest cACC."""
    rows = [
        row("wordnet", title="WordNet", figures={"cacc": 0.8, "synonym": 0.0}),
        row("near", title="NeaR", figures={"cacc": 0.5, "synonym": 0.4}),
    ]
    page = page_of(Path("/none"), rows, lines(rows), [], ["p"], {"birds": ()})
    assert "Highest cACC: WordNet, 80.0 % (birds). Highest accuracy: NeaR, 40.0 % (birds)." in page


def test_what_a_whole_comparison_leaves(tmp_path: Path) -> None:
    birds, fish = collection(tmp_path / "world"), collection(tmp_path / "world", "fish", seed=2)
    birds = Collection("birds", birds.pool, birds.test, ("a note",), (SetAside("x", "x.png", "truncated"),))
    one = witness(birds, fish)
    out, draw = tmp_path / "out", Draw(shots=2)
    for seeds, paired in (((0,), "images"), ((0, 1), "draws")):
        rows = run([birds, fish], ["knn", "zero_shot"], one.mllm, out, draw=draw, seeds=seeds)
        output = Output(out, (birds, fish), terms(one.mllm), draw, "knn")
        output.write_tables(rows)
        page = output.write_page(rows).read_text("utf-8")
        assert_closed(page)
        found = output.differences(rows)
        assert [(d.collection, d.method, d.paired) for d in found] == [
            ("birds", "zero_shot", paired), ("fish", "zero_shot", paired),
        ]  # fmt: skip
        protocol = "\n".join(output.protocol(rows))
        for word in ("true labels", "projection", "witness", "a note", "1 inputs were set aside", "8 test images of 4"):
            assert word in protocol
        assert f"birds: 8 test images of 4 classes; {len(birds.pool)} in the support pool" in protocol
        assert "fish: fewer than 3 test images a class: cACC flatters methods with many names" in protocol
        assert f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" in protocol
        for word in ("birds", "fish", "all collections", "Minus knn"):
            assert word in page
        assert "all collections" in (out / "table.md").read_text()
