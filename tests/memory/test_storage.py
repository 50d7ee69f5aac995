"""A memory on disk: the same when it comes back, whole after any kill, and nothing damaged or foreign believed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import RunError
from fgvr.memory import Memory, nearest, storage
from fgvr.memory.storage import MANIFEST
from fgvr.runs.lock import FolderLock
from tests.memory.vectors import content, empty, files, filled, scattered


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SEGMENT_ROWS", 4)


def loaded(folder: Path, **how: bool) -> dict[str, object]:
    return content(Memory.load(folder, **how))


def test_comes_back_as_it_was(tmp_path: Path):
    memory = filled()
    memory.rename("Tern", "Flußseeschwalbe \u202e\udcff")  # a hidden character, a byte that was no UTF-8
    memory.save(tmp_path / "m")
    assert content(memory) == loaded(tmp_path / "m", verify=True)
    assert Memory.load(tmp_path / "m").names[2] == "Flußseeschwalbe \u202e\udcff"
    assert sorted(p.suffix for p in (tmp_path / "m").iterdir() if p.name != ".lock") == [".json", *[".safetensors"] * 2]


def test_an_empty_memory_comes_back(tmp_path: Path):
    empty().save(tmp_path)
    memory = Memory.load(tmp_path)
    assert content(memory) == content(empty())
    memory.add("image", ["Wren"], scattered(1))
    memory.save(tmp_path)
    assert loaded(tmp_path) == content(memory)


def test_the_same_memory_makes_the_same_files(tmp_path: Path):
    filled().save(tmp_path / "a")
    filled().save(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_vectors_are_mapped_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = filled()
    memory.save(tmp_path)
    for held in (memory, Memory.load(tmp_path)):
        base = held.images.vectors
        while base.base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
        assert not held.images.vectors.flags.writeable
        assert nearest(scattered(1), held.images.vectors, k=1)[0].shape == (1, 1)
    monkeypatch.setattr(storage, "VERIFY_UP_TO", 0)
    with monkeypatch.context() as patched:
        patched.setattr("fgvr.memory.segments.load_arrays", lambda path: pytest.fail("all of it was read"))
        Memory.load(tmp_path)


def test_a_memory_that_grows_in_chunks_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """20 MiB of vectors, stored, loaded and searched with a few at a time."""
    monkeypatch.setattr(storage, "SEGMENT_ROWS", 256)
    query = scattered(1, 1024)
    nearest(query, query, k=1)  # imports
    tracemalloc.start()
    try:
        memory = empty(1024)
        for number in range(20):
            memory.add("image", ["Wren"] * 256, scattered(256, 1024, seed=number))
            memory.save(tmp_path)
        rows = Memory.load(tmp_path).images
        found, _ = nearest(query, rows.pieces, k=3, block=16)
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()
    assert len(rows) == 20 * 256
    assert len(rows.pieces.pieces) == 20
    np.testing.assert_array_equal(found, nearest(query, rows.vectors, k=3)[0])


def test_saving_again_without_a_change_writes_nothing(tmp_path: Path):
    memory = filled()
    memory.save(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*")}
    memory.save(tmp_path)
    Memory.load(tmp_path).save(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*")} == before


def test_only_what_is_new_is_written(tmp_path: Path, small_files: None):
    memory = filled(per_class=4)  # three full files of images, one of texts
    memory.save(tmp_path)
    before = files(tmp_path)
    again = Memory.load(tmp_path)
    again.add("image", ["Eagle"], scattered(1, seed=8))
    again.remove("Wren")  # the whole of one file
    again.save(tmp_path)
    after = files(tmp_path)
    new = after.keys() - before.keys()
    assert len([name for name in new if name.startswith("image")]) == 1
    assert len(before.keys() - after.keys()) == 2  # Wren's file of images, and the texts, a third of which are gone
    assert all(after[name] == before[name] for name in after.keys() & before.keys() - {MANIFEST})
    assert loaded(tmp_path) == content(again)


def test_few_removed_rows_are_marked_many_are_cleared_away(tmp_path: Path):
    memory = empty()
    memory.add("image", [f"class {i}" for i in range(8)], scattered(8))
    memory.save(tmp_path)
    sizes = []
    for number in range(3):
        memory = Memory.load(tmp_path)
        memory.remove(f"class {number}")
        memory.save(tmp_path)
        assert loaded(tmp_path, verify=True) == content(memory)
        (segment,) = json.loads((tmp_path / MANIFEST).read_text())["segments"]
        sizes.append((segment["rows"], segment["removed"]))
    assert sizes == [(8, [[0, 1]]), (8, [[0, 2]]), (5, [])]


def test_single_additions_leave_few_files(tmp_path: Path):
    memory, written = empty(), 0
    for number in range(40):
        before = {path.name for path in tmp_path.glob("image*")}
        memory.add("image", [f"class {number % 7}"], scattered(1, seed=number))
        memory.save(tmp_path)
        (new,) = [path for path in tmp_path.glob("image*") if path.name not in before]
        written += storage_rows(tmp_path, new.name)
        sizes = [segment["rows"] for segment in json.loads((tmp_path / MANIFEST).read_text())["segments"]]
        assert all(a > 2 * b for a, b in pairwise(sizes))
        assert sum(sizes) == number + 1
    assert written <= 40 * np.log(40) / np.log(1.5)
    assert loaded(tmp_path) == content(memory)


def storage_rows(folder: Path, file: str) -> int:
    segments = json.loads((folder / MANIFEST).read_text())["segments"]
    return next(segment["rows"] for segment in segments if segment["file"] == file)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "update", "rename", "save", "load"]), st.integers(0, 5), st.integers(0, 9)
    ),
    max_size=14,
)


@given(CHANGES)
@settings(max_examples=60, deadline=None)
def test_saved_and_loaded_in_between_or_not_makes_no_difference(tmp_path_factory: pytest.TempPathFactory, changes):
    folder = tmp_path_factory.mktemp("memory")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(storage, "SEGMENT_ROWS", 5)
        stored, plain = empty(), empty()
        stored.save(folder)
        for number, (what, which, count) in enumerate(changes):
            name = f"class {which}"
            if what == "save":
                stored.save(folder)
            elif what == "load":
                stored.save(folder)
                stored = Memory.load(folder, verify=True)
            elif what == "add":
                names = [f"class {(which + i) % 6}" for i in range(count)]
                for memory in (stored, plain):
                    memory.add("image", names, scattered(count, seed=number))
            elif name in plain.names:
                for memory in (stored, plain):
                    if what == "remove":
                        memory.remove(name)
                    elif what == "update":
                        memory.update("image", name, scattered(count, seed=number))
                    else:
                        memory.rename(name, f"class {which} of {number}")
            assert content(stored) == content(plain)
        stored.save(folder)
        assert loaded(folder, verify=True) == content(plain)
    shutil.rmtree(folder)


# --- kills ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def changed(folder: Path) -> Memory:
    """A memory whose saving writes, marks, rewrites and removes files."""
    memory = Memory.load(folder)
    memory.remove("Wren")
    memory.add("image", ["Eagle"] * 6, scattered(6, seed=11))
    memory.update("text", "Tern", scattered(1, seed=12))
    memory.rename("Heron", "Grey Heron")
    return memory


def test_a_kill_between_any_two_steps_leaves_the_old_version_or_the_new(
    tmp_path: Path, small_files: None, monkeypatch: pytest.MonkeyPatch
):
    filled(per_class=4).save(tmp_path / "start")
    old, new = loaded(tmp_path / "start"), content(changed(tmp_path / "start"))
    seen = []
    for steps in range(100):
        folder = shutil.copytree(tmp_path / "start", tmp_path / f"killed-{steps}")
        memory, done = changed(folder), 0

        def stop_at(real: Callable[..., None], *, wanted: int = steps) -> Callable[..., None]:
            def step(*arguments: object, **more: object) -> None:
                nonlocal done
                if done == wanted:
                    raise Killed
                done += 1
                real(*arguments, **more)

            return step

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", stop_at(os.replace))
            patched.setattr(os, "fsync", stop_at(os.fsync))
            patched.setattr(Path, "unlink", stop_at(Path.unlink))
            try:
                memory.save(folder)
                killed = False
            except Killed:
                killed = True
        found = loaded(folder, verify=True)
        assert found in (old, new)
        seen.append(found == new)
        again = Memory.load(folder)  # whatever was left, work goes on
        again.add("image", ["Kite"], scattered(1, seed=13))
        again.save(folder)
        assert loaded(folder, verify=True) == content(again)
        named = {segment["file"] for segment in json.loads((folder / MANIFEST).read_text())["segments"]}
        assert named == files(folder).keys() - {MANIFEST}
        if not killed:
            break
    assert not killed
    assert steps > 8
    assert seen == sorted(seen)  # old up to one moment, new from then on
    assert {*seen} == {False, True}


KILLED_AT_REPLACE = """
import os, signal, sys
from fgvr.memory import Memory, storage
from tests.memory.test_storage import changed
storage.SEGMENT_ROWS = 4
memory, left, real = changed(sys.argv[1]), int(sys.argv[2]), os.replace
def replace(*arguments):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(*arguments)
os.replace = replace
memory.save(sys.argv[1])
"""


def test_a_real_kill_leaves_files_that_the_next_save_clears_away(tmp_path: Path, small_files: None):
    filled(per_class=4).save(tmp_path)
    old = loaded(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED_AT_REPLACE, str(tmp_path), "1"], cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()} - {MANIFEST, ".lock"}
    assert len(left) == 6  # four old ones, a new one, one half-written
    assert loaded(tmp_path, verify=True) == old
    memory = changed(tmp_path)
    memory.save(tmp_path)
    assert loaded(tmp_path, verify=True) == content(memory)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_a_full_disk_changes_nothing_and_saving_again_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filled().save(tmp_path)
    old, memory = loaded(tmp_path), changed(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            memory.save(tmp_path)
    assert loaded(tmp_path, verify=True) == old
    memory.save(tmp_path)
    assert loaded(tmp_path, verify=True) == content(memory)


# --- two at once ------------------------------------------------------------------------------------------------------


def test_a_change_by_someone_else_is_not_overwritten(tmp_path: Path):
    filled().save(tmp_path)
    mine, theirs = Memory.load(tmp_path), Memory.load(tmp_path)
    theirs.remove("Wren")
    theirs.save(tmp_path)
    mine.remove("Tern")
    with pytest.raises(RunError, match="changed since it was loaded"):
        mine.save(tmp_path)
    assert loaded(tmp_path) == content(theirs)
    mine.save(tmp_path / "elsewhere")
    assert loaded(tmp_path / "elsewhere") == content(mine)


def test_two_savers_at_once_are_kept_apart(tmp_path: Path):
    memory = filled()
    memory.save(tmp_path)
    memory.remove("Wren")
    lock = FolderLock.acquire(tmp_path)
    with pytest.raises(RunError, match="another process"):
        memory.save(tmp_path)
    lock.release()
    memory.save(tmp_path)


def test_another_memory_replaces_what_is_there(tmp_path: Path):
    filled(per_class=5, seed=3).save(tmp_path)
    filled().save(tmp_path)
    assert loaded(tmp_path, verify=True) == content(filled())
    assert len(files(tmp_path)) == 3


def test_a_reader_follows_a_writer_that_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filled().save(tmp_path)
    real, done = storage.read_segment, []

    def read(*arguments: object, **more: object) -> object:
        if not done:
            done.append(True)
            filled(seed=5).save(tmp_path)  # the files this manifest names are gone
        return real(*arguments, **more)

    monkeypatch.setattr(storage, "read_segment", read)
    assert loaded(tmp_path) == content(filled(seed=5))
