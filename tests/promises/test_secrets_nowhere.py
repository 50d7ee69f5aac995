"""A canary API key appears in no file of a run folder, cache or report, and in no printed line, in no spelling.

The service is a real server on loopback that sends the key back: in replies, in error bodies, in headers, in broken
JSON. Every verb runs verbosely in a process of its own.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.mllm.rude_server import Answer, completion, serving
from tests.promises.commands import Done, fgvr

KEY = "canary/+Zq7&9x Wm%3é0123456789".replace(" ", "-").replace("é", "e")


def spellings(secret: str) -> Iterator[bytes]:
    """The key as it stands, quoted for URLs and JSON, backwards, hexadecimal, and in base64 at all three offsets."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].replace("/", "\\/").encode()
    yield secret[::-1].encode()
    yield secret.encode().hex().encode()
    for before in range(3):
        whole = base64.b64encode(b"x" * before + secret.encode())
        yield whole[4 if before else 0 : len(whole) // 4 * 4 - 4]
    yield secret[:12].encode()  # not even its beginning


HEADERS = {"x-echo": f"Bearer {KEY}", "x-request-id": KEY}
GOOD = [
    Answer(completion(f"Sedge Warbler (your key is {KEY})"), headers=HEADERS),
    Answer(completion("Reed Bunting", model=KEY), headers=HEADERS),
    Answer(completion(json.dumps({"common_name": "Wren", "scientific_name": KEY})), headers=HEADERS),
]
BAD = [
    Answer(
        {"error": {"message": f"Key {KEY}", "code": KEY, "type": KEY}},
        status=429,
        headers={**HEADERS, "retry-after": "0"},
    ),
    Answer({"error": {"message": f"boom Bearer {KEY}"}}, status=500, headers=HEADERS),
    Answer({"error": {"message": f"bad picture {KEY}", "param": KEY}}, status=422, headers=HEADERS),
    Answer(f'{{"choices": [{{"message": "{KEY}"'.encode(), headers=HEADERS),
    Answer({"error": {"message": f"inside {KEY}"}}, headers=HEADERS),
    Answer(f"<html>{KEY}</html>".encode(), content_type="text/html", headers=HEADERS),
]


def echoing() -> Callable[[int, dict], Answer]:
    """Every second picture is refused once, in another way each time; the key is in every answer."""
    seen: set[str] = set()

    def script(number: int, body: dict) -> Answer:
        question = json.dumps(body["messages"])
        first = question not in seen
        seen.add(question)
        return BAD[len(seen) // 2 % len(BAD)] if first and len(seen) % 2 else GOOD[number % len(GOOD)]

    return script


@pytest.fixture(scope="module")
def leavings(world, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Done]]:
    """What five verbs left on disk and printed."""
    folder = tmp_path_factory.mktemp("canary")
    fit = ("--encoder", world.encoder, "--preset", "lite", "--epochs", 1, "--folds", 0, "--support", 8)
    with serving(echoing()) as server:
        env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url, "HF_TOKEN": KEY + "hf"}
        ask = ("--mllm", "openai:m", "--cache", folder / "cache", "--concurrency", 8)
        label = ("-v", "label", world.photographs, "--out", folder / "label", *ask, "--limit", 10)
        few = ("--sentence-encoder", "none", "--resamples", 10)
        done = [
            fgvr(*label, **env),
            fgvr(*label, "--retry-failed", "--json", **env),
            fgvr("-v", "fit", "near", world.photographs, "--out", folder / "fit", *ask, *fit, **env),
            fgvr("-v", "predict", folder / "fit", world.photographs, "--out", folder / "p.csv", **env),
            fgvr("-v", "evaluate", folder / "p.csv", world.photographs, *few, **env),
            fgvr("-v", "report", folder / "fit", "--predictions", folder / "p.csv", **env),
        ]
        assert f"Bearer {KEY}" in server.keys  # it was used
    return folder, done


def test_every_verb_came_through(leavings) -> None:
    folder, done = leavings
    assert [one.code for one in done] == [0] * 6, [one.err[-500:] for one in done]
    assert (folder / "fit" / "report.html").exists()
    assert json.loads(done[1].out)["answered"] > 4


def test_the_key_is_in_no_file(leavings) -> None:
    folder, _ = leavings
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 20
    found = {
        (str(file.relative_to(folder)), bad) for file in files for bad in spellings(KEY) if bad in file.read_bytes()
    }
    assert not found


def test_the_key_is_in_no_printed_line(leavings) -> None:
    _, done = leavings
    assert any("attempt" in one.err or "failed" in one.err for one in done)
    found = {
        bad for one in done for bad in spellings(KEY) if bad in (one.out + one.err).encode("utf-8", "surrogateescape")
    }
    assert not found


def test_the_key_is_in_no_row_of_the_cache(leavings) -> None:
    """SQLite may split a long value over pages, where a search of the raw file would miss it."""
    folder, _ = leavings
    rows = sqlite3.connect(folder / "cache" / "replies.sqlite").execute("SELECT reply FROM replies").fetchall()
    assert rows
    assert not [bad for (text,) in rows for bad in spellings(KEY) if bad in text.encode()]
