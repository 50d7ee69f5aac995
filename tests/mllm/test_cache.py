"""The response cache: what its key holds, and that it survives damage, threads and other processes."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fgvr.mllm import Parameters, Reply, Request, ResponseCache, ScriptedMllm
from fgvr.mllm.base import BY_ITEM
from fgvr.mllm.cache import request_key
from fgvr.types import Usage

MLLM = ScriptedMllm(lambda r: "x")
ASKED = Request("a", "what?", (Path("a.jpg"),), ("hash1",))
REPLY = Reply("a", "Tern \ud800", "m", Usage(1, 5, 2, 0.5, 0.01), (-0.5, -1.0), 0.75, attempts=2, usage_estimated=True)


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, prompt="what ?"),
        replace(ASKED, system="Be brief."),
        replace(ASKED, image_hashes=("hash2",)),
        replace(ASKED, options=("x", "y")),
        replace(ASKED, parameters=Parameters(max_tokens=65)),
        replace(ASKED, parameters=Parameters(temperature=0.1, seed=1)),
        replace(ASKED, parameters=Parameters(seed=1)),
    ],
)
def test_everything_that_changes_the_answer_is_in_the_key(other: Request) -> None:
    assert request_key(other, MLLM) != request_key(ASKED, MLLM)


@pytest.mark.parametrize("field", ["name", "revision", "preprocessing"])
def test_the_model_is_in_the_key(field: str) -> None:
    assert request_key(ASKED, ScriptedMllm(lambda r: "x", **{field: "other"})) != request_key(ASKED, MLLM)


def test_names_of_files_and_items_and_stages_are_not_in_the_key() -> None:
    renamed = replace(ASKED, item_id="b", images=(Path("/elsewhere/b.png"),), stage="other")
    assert request_key(renamed, MLLM) == request_key(ASKED, MLLM)


def test_recorded_and_sampled_answers_are_keyed_by_item() -> None:
    other = replace(ASKED, item_id="b")
    replay = ScriptedMllm(lambda r: "x", preprocessing=BY_ITEM)
    assert request_key(other, replay) != request_key(ASKED, replay)
    sampled = Parameters(temperature=1.0)
    assert request_key(replace(other, parameters=sampled), MLLM) != request_key(
        replace(ASKED, parameters=sampled), MLLM
    )


def test_a_key_without_image_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="hashes"):
        request_key(replace(ASKED, image_hashes=()), MLLM)


def test_a_reply_comes_back_whole(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "c") as cache:
        cache.put("k", REPLY)
    with ResponseCache(tmp_path / "c") as cache:
        assert cache.get("k", item_id="b") == replace(REPLY, item_id="b", cached=True)
        assert cache.get("other", item_id="b") is None


@pytest.mark.parametrize("damage", ["garbage", "cut", "page"])
def test_a_damaged_file_is_set_aside(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c"
    with ResponseCache(path) as cache:
        cache.put_many({f"k{i}": REPLY for i in range(200)})
    data = path.read_bytes()
    assert len(data) > 3 * 4096
    harmed = {"garbage": b"garbage" * 999, "cut": data[:5000], "page": data[:4096] + b"\xff" * 4096 + data[8192:]}
    path.write_bytes(harmed[damage])
    with ResponseCache(path) as cache:
        assert len(cache) == 0
        cache.put("k", REPLY)
        assert cache.get("k", item_id="a") is not None
    assert [aside.read_bytes() == harmed[damage] for aside in tmp_path.glob("c.corrupt-*")] == [True]
    assert "set aside" in caplog.text


def _fill(path: Path, who: int) -> None:
    with ResponseCache(path) as cache:
        for index in range(20):
            cache.put(f"{who}-{index}", REPLY)


def test_threads_and_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "c"
    processes = [multiprocessing.get_context("spawn").Process(target=_fill, args=(path, who)) for who in range(2)]
    threads = [threading.Thread(target=_fill, args=(path, who)) for who in (2, 3)]
    for worker in (*processes, *threads):
        worker.start()
    for worker in (*processes, *threads):
        worker.join()
    assert [process.exitcode for process in processes] == [0, 0]
    with ResponseCache(path) as cache:
        assert len(cache) == 80
