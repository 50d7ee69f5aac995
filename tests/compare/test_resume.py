"""Going on with a comparison: nothing is asked or computed again but what has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.compare import Collection, Row
from tests.compare.world import DOLLARS, asker, collection, method, run, witness

COUNTED = """
with open({log!r}, "a") as file:
    file.write("x")
return Naming(("{name}",) * n)
"""


@pytest.fixture
def birds(tmp_path: Path) -> Collection:
    return collection(tmp_path / "world")


def counted(folder: Path, name: str = "Red Wren") -> tuple[str, Path]:
    """A method that leaves a mark each time it runs."""
    log = folder / "ran"
    return method(folder, "counted", COUNTED.format(log=str(log), name=name)), log


def times(log: Path) -> int:
    return len(log.read_text())


def test_a_finished_comparison_asks_and_computes_nothing(birds: Collection, tmp_path: Path) -> None:
    spec, log = counted(tmp_path)
    one, out = witness(birds), tmp_path / "out"
    first = run([birds], [spec, "knn"], one.mllm, out, seeds=(0, 1))
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file() and file.parent != out}
    asked, told = len(one.asked), list[Row]()
    assert run([birds], [spec, "knn"], one.mllm, out, seeds=(0, 1), told=told.append) == first == told
    assert (len(one.asked), times(log)) == (asked, 2)
    assert {file: file.read_bytes() for file in before} == before


def test_methods_seeds_and_collections_may_be_added(birds: Collection, tmp_path: Path) -> None:
    spec, log = counted(tmp_path)
    one, out = witness(birds), tmp_path / "out"
    fish = collection(tmp_path / "world", "fish", seed=2)
    first = run([birds], [spec], one.mllm, out)
    both = run([birds], ["knn", spec], one.mllm, out)
    assert both[1] == first[0]
    seeds = run([birds], ["knn", spec], one.mllm, out, seeds=(1, 0))
    assert [row.seed for row in seeds] == [1, 1, 0, 0]
    assert seeds[2:] == both
    other = witness(birds, fish)
    everything = run([fish, birds], ["knn", spec], other.mllm, out, seeds=(1, 0))
    assert everything[4:] == seeds
    assert times(log) == 4
    assert len({request.image_hashes for request in other.asked}) == len(other.asked)
    assert all(request.image_hashes[0] not in {r.image_hashes[0] for r in one.asked} for request in other.asked)


DAMAGE = {
    "result.json": [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"answered": 8', b'"answered": 9'),
        lambda data: data.replace(b'"value": 0.25', b'"value": 0.75'),
        lambda data: data.replace(b'"sum"', b'"sun"'),
        lambda data: b"[]",
        lambda data: b"null",
        lambda data: b"[" * 100_000,
        lambda data: b"\xff" * 10,
        lambda data: b'{"digest": 1, "row": {}, "sum": NaN}',
    ],
    "named.jsonl": [lambda data: b"", lambda data: data.replace(b"Red Wren", b"Red Hen", 1), lambda data: b"\xff"],
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_cell_is_made_again(birds: Collection, tmp_path: Path, name: str) -> None:
    spec, log = counted(tmp_path)
    one, out = witness(birds), tmp_path / "out"
    first = run([birds], [spec], one.mllm, out)
    file = next(out.rglob(name))
    sound = file.read_bytes()
    for number, damage in enumerate(DAMAGE[name]):
        assert damage(sound) != sound
        file.write_bytes(damage(sound))
        again = run([birds], [spec], one.mllm, out)
        assert times(log) == number + 2
        assert [replace(row, seconds=0.0) for row in again] == [replace(row, seconds=0.0) for row in first]
    file.unlink()
    run([birds], [spec], one.mllm, out)
    assert times(log) == len(DAMAGE[name]) + 2


def test_what_has_changed_is_made_again(birds: Collection, tmp_path: Path) -> None:
    spec, log = counted(tmp_path)
    one, out = witness(birds), tmp_path / "out"
    run([birds], [spec], one.mllm, out)
    relabelled = replace(birds, test=(replace(birds.test[0], label="Grey Heron"), *birds.test[1:]))
    synonyms = replace(birds, test=(replace(birds.test[0], accepted=("Wren",)), *birds.test[1:]))
    fewer = replace(birds, test=birds.test[1:])
    for count, changed in enumerate((relabelled, synonyms, fewer, birds), start=2):
        run([changed], [spec], one.mllm, out)
        assert times(log) == count
    run([birds], [spec], one.mllm, out, resamples=30)
    assert times(log) == 6
    birds.test[0].path.write_bytes(birds.pool[0].path.read_bytes() + b"\0")  # another picture under the old name
    run([birds], [spec], one.mllm, out, resamples=30)
    assert times(log) == 7
    counted(tmp_path, name="Blue Wren")  # the method's own file
    run([birds], [spec], one.mllm, out, resamples=30)
    run([birds], [f"{spec}:a=2"], one.mllm, out, resamples=30)
    assert times(log) == 9


def test_other_captions_are_other_material(birds: Collection, tmp_path: Path) -> None:
    from fgvr.methods.baselines.task import Material

    spec, log = counted(tmp_path)
    one, out, captions = witness(birds), tmp_path / "out", tmp_path / "captions.txt"
    for text, ran in (("a wren", 1), ("a wren", 1), ("a wren and a tern", 2)):
        if not captions.exists() or captions.read_text() != text:
            captions.write_text(text)
        run([birds], [spec], one.mllm, out, material=Material(captions=captions))
        assert times(log) == ran


def test_a_failed_method_is_tried_again_and_leaves_no_trace_when_it_succeeds(birds: Collection, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    body = (
        f"import os\nif not os.path.exists({str(flag)!r}):\n    raise ValueError('not yet')\nreturn Naming(('x',) * n)"
    )
    spec, one, out = method(tmp_path, "late", body), witness(birds), tmp_path / "out"
    assert run([birds], [spec], one.mllm, out)[0].status == "failed"
    assert len(list(out.rglob("error.txt"))) == 1
    assert run([birds], [spec], one.mllm, out)[0].status == "failed"
    flag.touch()
    assert run([birds], [spec], one.mllm, out)[0].status == "done"
    assert not list(out.rglob("error.txt"))


def test_answers_of_an_interrupted_cell_are_kept(birds: Collection, tmp_path: Path) -> None:
    """The ledger outlives the cell: the method fails after its questions, and pays nothing when it is mended."""
    spec, one, out = asker(tmp_path, "mine"), witness(birds), tmp_path / "out"
    text = Path(spec).read_text()
    Path(spec).write_text(text.replace("    return Naming(", "    raise ValueError('late')\n    return Naming("))
    row = run([birds], [spec], one.mllm, out)[0]
    assert (row.status, row.usage.calls, row.paid) == ("failed", 8, pytest.approx(8 * DOLLARS))
    Path(spec).write_text(text)
    row = run([birds], [spec], one.mllm, out)[0]
    assert (row.status, row.usage.calls, row.paid) == ("done", 8, pytest.approx(8 * DOLLARS))
    assert len(one.asked) == 8


def test_a_row_survives_the_disk(birds: Collection, tmp_path: Path) -> None:
    rows = run([birds], ["knn", method(tmp_path, "bad", "raise ValueError('\\u2028\\udcff')")],
               witness(birds).mllm, tmp_path / "out")  # fmt: skip
    for row in rows:
        assert Row.from_dict(json.loads(json.dumps(row.to_dict()))) == row
