"""A comparison on a small world: what methods are given, what they may do wrong, and what of it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fgvr.compare import Collection, Draw, Row
from fgvr.compare.cell import folder_name, named
from fgvr.errors import InputError, RunError
from fgvr.metrics import evaluate
from fgvr.runs import Ledger
from fgvr.types import ImageItem
from tests.compare.world import DOLLARS, FEW, asker, collection, method, run, witness


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return collection(tmp_path_factory.mktemp("world"))


def by_method(rows: list[Row]) -> dict[str, Row]:
    return {Path(row.method.partition(":")[0]).stem: row for row in rows}


def test_every_cell_is_scored_as_evaluate_does(birds: Collection, tmp_path: Path) -> None:
    told: list[Row] = []
    out = tmp_path / "out"
    rows = run([birds], ["knn", "zero_shot"], witness(birds).mllm, out, seeds=(0, 1), told=told.append)
    assert rows == told
    assert [(row.collection, row.seed, row.method) for row in rows] == [
        ("birds", 0, "knn"), ("birds", 0, "zero_shot"), ("birds", 1, "knn"), ("birds", 1, "zero_shot"),
    ]  # fmt: skip
    for row in rows:
        names = named(out, row)
        assert list(names) == [item.id for item in birds.test]
        expected = evaluate(
            list(names.values()), [(str(i.label), *i.accepted) for i in birds.test], resamples=20, seed=row.seed
        )
        assert {key: figure.value for key, figure in expected.figures.items()} == {
            key: row.figures[key].value for key in expected.figures
        }
        assert (row.status, row.images, row.answered, row.support, row.coverage) == ("done", 8, 8, 8, 1.0)
        assert (row.names, row.truth_covered) == (4, 1.0)
        assert row.usage.calls == 8


def test_each_is_counted_as_if_alone_and_paid_once(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds)
    rows = by_method(run([birds], ["knn", "zero_shot", asker(tmp_path, "mine")], one.mllm, tmp_path / "out"))
    assert len(one.asked) == 8 + 8
    assert [rows[name].usage.calls for name in ("knn", "zero_shot", "mine")] == [8, 8, 8]
    assert [rows[name].paid for name in ("knn", "zero_shot", "mine")] == pytest.approx([8 * DOLLARS, 0, 8 * DOLLARS])
    assert [rows[name].usage.cost for name in ("knn", "zero_shot", "mine")] == pytest.approx([8 * DOLLARS] * 3)


SPY = """
import dataclasses
seen, todo = set(), [task]
words = []
while todo:
    one = todo.pop()
    if id(one) in seen:
        continue
    seen.add(id(one))
    if isinstance(one, str):
        words.append(one)
    elif isinstance(one, dict):
        todo += [*one.keys(), *one.values()]
    elif isinstance(one, (list, tuple, set)):
        todo += list(one)
    elif dataclasses.is_dataclass(one):
        todo += [getattr(one, field.name) for field in dataclasses.fields(one)]
for item in (*task.support.items, *task.test.items):
    assert (item.label, item.accepted, item.split) == (None, (), None), item
task.folder.mkdir(parents=True)
(task.folder / "words.txt").write_text(chr(10).join(words))
return Naming(("x",) * n)
"""


def test_a_method_sees_no_label(tmp_path: Path) -> None:
    """Ids and paths are the pictures' own: a benchmark with class folders shows names there, the task nowhere else."""
    found = collection(tmp_path / "world")
    hidden = {
        side: tuple(
            replace(item, id=f"{side}{i}", label=f"secret {item.label}", accepted=("secret synonym",), split="secret")
            for i, item in enumerate(getattr(found, side))
        )
        for side in ("pool", "test")
    }
    for side, items in hidden.items():
        for i, item in enumerate(items):
            flat = tmp_path / f"{side}{i}.png"
            flat.write_bytes(item.path.read_bytes())
            hidden[side] = tuple(replace(one, path=flat) if one is item else one for one in hidden[side])
    out = tmp_path / "out"
    blind = Collection("blind", hidden["pool"], hidden["test"])
    rows = run([blind], [method(tmp_path, "spy", SPY)], witness(found).mllm, out)
    assert rows[0].status == "done", rows[0].error
    words = next(out.rglob("words.txt")).read_text()
    assert "pool0" in words
    assert "secret" not in words


BROKEN = {
    "fgvr_error": ("from fgvr.errors import EncoderError\nraise EncoderError('lens cap', remedy='Take it off.')",
                   "lens cap Take it off."),
    "value_error": ("raise ValueError('no')", "ValueError: no"),
    "memory": ("raise MemoryError", "MemoryError"),
    "recursion": ("return name_images(task, settings)", "RecursionError"),
    "exits": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "asserts": ("assert n < 0", "AssertionError"),
    "os_error": ("raise PermissionError(13, 'denied')", "denied"),
    "group": ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])", "ExceptionGroup"),
    "surrogates": ("raise ValueError('\\udcff' + chr(0x202e))", "ValueError"),
    "key": ("import os\nraise ValueError('refused ' + os.environ['MY_API_KEY'])", "refused (not stored)"),
    "too_few": ("return Naming(('x',) * (n - 1))", "7 names for 8 test images"),
    "too_many": ("return Naming(('x',) * (n + 1))", "9 names for 8 test images"),
    "nothing": ("return None", "gave no Naming"),
    "numbers": ("return Naming((7,) * n)", "no text"),
    "bytes": ("return Naming((b'x',) * n)", "no text"),
    "no_answer": ("return Naming((None,) * n)", "nothing to score"),
    "nan_chance": ("return Naming(('x',) * n, probabilities=(float('nan'),) * n)", "probabilities"),
    "odd_chance": ("return Naming(('x',) * n, probabilities=(1.5,) * n)", "probabilities"),
    "few_chances": ("return Naming(('x',) * n, probabilities=(0.5,))", "probabilities"),
    "nan_figure": ("return Naming(('x',) * n, figures={'a': float('nan')})", "not finite"),
    "text_figure": ("return Naming(('x',) * n, figures={'a': 'b'})", "ValueError"),
    "odd_note": ("return Naming(('x',) * n, notes=(task,))", "no text"),
    "odd_vocabulary": ("return Naming(('x',) * n, vocabulary=(1, 2))", "no text"),
}  # fmt: skip


def test_one_broken_method_loses_no_other(birds: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "canary-canary-1234")
    specs = [method(tmp_path, name, body) for name, (body, _) in BROKEN.items()]
    out = tmp_path / "out"
    rows = run([birds], [*specs, "knn"], witness(birds).mllm, out)
    assert rows[-1].status == "done"
    assert len(rows) == len(BROKEN) + 1
    for (name, (_, said)), row in zip(BROKEN.items(), rows):
        assert row.status == "failed", name
        assert said in row.error, (name, row.error)
        assert (row.figures, row.images, row.answered) == ({}, 8, 0)
        folder = out / "birds" / "seed-0" / folder_name(row.method)
        assert "Traceback" in (folder / "error.txt").read_text()
        assert not (folder / "named.jsonl").exists()
    assert not [file for file in out.rglob("*") if file.is_file() and b"canary-canary" in file.read_bytes()]


ODD = {
    "empty": "return Naming(('',) * n)",
    "spaces": "return Naming((chr(0x2028) + ' ' + chr(0x85),) * n)",
    "hostile": "return Naming(tuple(['</script>', '=1', chr(0x2028), chr(0), chr(0xdcff), '|', 'x' * 9999, '../..']))",
    "lists": "return Naming(['x'] * n, vocabulary=['x'], probabilities=[1] * n, notes=['a'])",
    "numpy": "import numpy as np\nreturn Naming(tuple(np.array(['x'] * n)), probabilities=np.full(n, .5, np.float32),"
    " figures={'a': np.float32(1)})",
    "some": "return Naming(('x', None) * (n // 2), probabilities=(0.5,) * n)",
}


def test_odd_names_are_names(birds: Collection, tmp_path: Path) -> None:
    specs, out = [method(tmp_path, name, body) for name, body in ODD.items()], tmp_path / "out"
    rows = by_method(run([birds], specs, witness(birds).mllm, out))
    for name, row in rows.items():
        assert row.status == "done", (name, row.error)
        assert list(named(out, row)) == [item.id for item in birds.test]
    assert list(named(out, rows["hostile"]).values())[2:5] == ["\u2028", "\0", "\udcff"]
    assert (rows["some"].answered, rows["some"].images, rows["some"].coverage) == (4, 8, 0.5)
    assert rows["some"].figures["cacc"].value == 0.25  # one of four classes; unanswered ones are never wrong
    assert rows["numpy"].extra == {"a": 1.0}
    assert run([birds], specs, witness(birds).mllm, out) == list(rows.values())


GARBAGE = """
place = task.folder
place.mkdir(parents=True, exist_ok=True)
for name in ("result.json", "replies.jsonl", "named.jsonl", "manifest.json", ".tmp-1"):
    (place / name).write_bytes(bytes(range(256)))
(place / "loop").symlink_to(place)
(place / "seed-0").mkdir()
return Naming(("x",) * n)
"""
VANDAL = """
import shutil
shutil.rmtree(task.folder.parent, ignore_errors=True)
task.folder.parent.mkdir(parents=True)
(task.folder.parent / "replies.jsonl").write_bytes(b"[" * 10_000 + bytes(range(256)))
(task.folder.parent / "named.jsonl").write_bytes(b"?")
return Naming(("x",) * n)
"""


def test_garbage_in_a_methods_folder_hurts_nobody(birds: Collection, tmp_path: Path) -> None:
    specs = [method(tmp_path, "messy", GARBAGE), method(tmp_path, "vandal", VANDAL), "knn"]
    one = witness(birds)
    rows = run([birds], specs, one.mllm, tmp_path / "out", budget=1.0)
    assert [row.status for row in rows] == ["done"] * 3, rows
    assert run([birds], specs, one.mllm, tmp_path / "out", budget=1.0) == rows
    assert len(one.asked) == 8


def test_an_interrupt_is_no_fault_of_the_method(birds: Collection, tmp_path: Path) -> None:
    stops = method(tmp_path, "stops", "raise KeyboardInterrupt")
    one, told = witness(birds), list[Row]()
    with pytest.raises(KeyboardInterrupt):
        run([birds], ["knn", stops, "zero_shot"], one.mllm, tmp_path / "out", told=told.append)
    assert [row.method for row in told] == ["knn"]
    assert not list((tmp_path / "out").rglob("error.txt"))
    method(tmp_path, "stops", "return Naming(('x',) * n)")
    rows = run([birds], ["knn", stops, "zero_shot"], one.mllm, tmp_path / "out")
    assert [row.status for row in rows] == ["done"] * 3
    assert rows[0] == told[0]
    assert len(one.asked) == 8


def test_rows_are_told_as_they_are_finished(birds: Collection, tmp_path: Path) -> None:
    """Not when all methods of a draw are: the tables are written after every cell."""
    seen: list[tuple[str, bool]] = []
    out = tmp_path / "out"

    def told(row: Row) -> None:
        seen.append((row.method, (out / "birds" / "seed-0" / "zero_shot").exists()))

    run([birds], ["knn", "zero_shot"], witness(birds).mllm, out, told=told)
    assert seen == [("knn", False), ("zero_shot", True)]


# --- broken collections -----------------------------------------------------------------------------------------------


def test_a_broken_collection_loses_no_other(birds: Collection, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    unlabelled = replace(birds, name="unlabelled", pool=tuple(replace(i, label=None) for i in birds.pool))
    unreadable = replace(birds, name="unreadable", test=tuple(replace(i, path=bad) for i in birds.test))
    missing = replace(birds, name="missing", pool=tuple(replace(i, path=tmp_path / "x.png") for i in birds.pool))
    leaking = replace(birds, name="leaking", test=(*birds.test, *birds.pool))
    one = witness(birds)
    rows = run([unlabelled, unreadable, missing, leaking, birds], ["knn", "zero_shot"], one.mllm, tmp_path / "out")
    assert [row.status for row in rows] == ["failed"] * 8 + ["done"] * 2
    said = {row.collection: row.error for row in rows[:8]}
    assert "needs true labels" in said["unlabelled"]
    assert "test images are support images, too" in said["leaking"]
    assert said["unreadable"]
    assert said["missing"]
    assert len(one.asked) == 8


def test_some_unreadable_pictures_are_left_out_and_said(birds: Collection, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    some = replace(
        birds,
        pool=(*birds.pool, ImageItem("pool/x", bad, FEW[0])),
        test=(*(replace(i, path=bad) for i in birds.test[:2]), *birds.test[2:]),
    )
    row = run([some], ["knn"], witness(birds).mllm, tmp_path / "out", draw=Draw("given"))[0]
    assert (row.status, row.images, row.answered, row.support) == ("done", 6, 6, 12)
    assert row.notes == (
        "1 support images could not be read (not an image: 1)", "2 test images could not be read (not an image: 2)",
    )  # fmt: skip


def test_a_leak_that_is_allowed_is_said(birds: Collection, tmp_path: Path) -> None:
    leaking = replace(birds, test=(*birds.test, birds.pool[0]))
    given = Draw("given")
    row = run([leaking], ["knn"], witness(birds).mllm, tmp_path / "out", draw=given, allow_leaks=True)[0]
    assert row.notes == ("1 of 9 test images are support images, too: the figures are optimistic",)


# --- what is refused before anything runs -----------------------------------------------------------------------------


def test_contradictory_arguments(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds)
    for collections, methods, more in (
        ([], ["knn"], {}),
        ([birds], [], {}),
        ([birds], ["knn"], {"seeds": ()}),
        ([birds, birds], ["knn"], {}),
        ([replace(birds, name="a b"), replace(birds, name=folder_name("a b"))], ["knn"], {}),
        ([birds], ["knn", "no_such_method"], {}),
        ([replace(birds, name="page.html")], ["knn"], {}),
        ([replace(birds, name="features")], ["knn"], {}),
    ):
        with pytest.raises(InputError):
            run(collections, methods, one.mllm, tmp_path / "out", **more)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    assert one.asked == []


def test_hostile_collection_names_stay_inside(birds: Collection, tmp_path: Path) -> None:
    names = ["../up", "/etc", "a/b", "", ".", "..", "Birds", "birds", "CON", "x" * 300, "=1+1|<script>", "\ud800"]
    collections = [replace(birds, name=name) for name in names]
    rows = run(collections, ["knn"], witness(birds).mllm, tmp_path / "inner" / "out")
    assert [row.collection for row in rows] == names
    assert {row.status for row in rows} == {"done"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["inner"]
    assert [entry.name for entry in (tmp_path / "inner").iterdir()] == ["out"]


def test_doubled_methods_and_seeds_run_once(birds: Collection, tmp_path: Path) -> None:
    rows = run([birds], ["knn", "knn"], witness(birds).mllm, tmp_path / "out", seeds=(0, 0))
    assert len(rows) == 1


def test_other_terms_are_another_comparison(birds: Collection, tmp_path: Path) -> None:
    out, one = tmp_path / "out", witness(birds)
    run([birds], ["knn"], one.mllm, out)
    changes: list[tuple[Any, dict[str, Any]]] = [
        (witness(birds, name="other").mllm, {}),
        (witness(birds, revision="2").mllm, {}),
        (one.mllm, {"llm": witness(birds, revision="2").mllm}),
        (one.mllm, {"draw": Draw(shots=3)}),
        (one.mllm, {"draw": Draw("given")}),
    ]
    for mllm, more in changes:
        with pytest.raises(RunError, match="other settings"):
            run([birds], ["knn"], mllm, out, **more)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="other files"):
        run([birds], ["knn"], one.mllm, stranger)
    assert json.loads((out / "manifest.json").read_bytes())["settings"]["draw"]["shots"] == 2


def test_a_spread_draw_takes_its_number_without_twins_and_no_label(tmp_path: Path) -> None:
    birds = collection(tmp_path, pool=4, test=2)
    unlabelled = replace(birds, pool=tuple(replace(item, label=None) for item in birds.pool))
    seen: dict[str, list[str]] = {}
    for out in ("one", "two"):
        rows = run([unlabelled], ["knn"], witness(birds).mllm, tmp_path / out, draw=Draw("spread", size=6))
        assert [(row.status, row.support) for row in rows] == [("done", 6)]
        ledger = Ledger(tmp_path / out / "birds" / "seed-0" / "knn" / "replies.jsonl")
        seen[out] = [line["item"] for line in ledger if line.get("kind") == "answer"]
    assert len(set(seen["one"])) == 6
    assert seen["one"] == seen["two"]
    assert set(seen["one"]) <= {item.id for item in birds.pool}
