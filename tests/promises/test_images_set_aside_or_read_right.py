"""No file can stop a run: the bad are set aside with a reason, the odd are read right, nothing is lost, memory holds.

The zoo is ``tests/zoo.py``; here it goes through the real command line, in processes of their own. What single animals
decode to is tested in ``tests/test_images.py``, that eight orientations give one embedding there and in
``tests/encoders/test_store.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from fgvr.data.paths import clean_id
from fgvr.errors import ImageError
from fgvr.images import decode
from tests.mllm.rude_server import Answer, completion, serving
from tests.promises.commands import fgvr, python
from tests.zoo import Expected, make_zoo, quadrants

MEBI = 2**20


class Zoo(NamedTuple):
    folder: Path
    manifest: Path
    good: set[str]
    bad: dict[str, str]
    """Item id to reason."""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """All animals, some that lead out of the folder, and a manifest that names every one of them."""
    root = tmp_path_factory.mktemp("animals")
    folder = root / "zoo"
    animals = make_zoo(folder)
    quadrants().save(root / "outside.png")
    (folder / "escape.jpg").symlink_to("/dev/zero")
    (folder / "neighbour.png").symlink_to(root / "outside.png")
    rows = [str(path.relative_to(folder)) for path, _ in animals]
    good = {clean_id(row) for row, (_, expected) in zip(rows, animals) if isinstance(expected, Expected)}
    bad = {clean_id(row): str(reason) for row, (_, reason) in zip(rows, animals) if isinstance(reason, str)}
    ways_out = ["escape.jpg", "neighbour.png", "../outside.png", str(root / "outside.png"), "/etc/hostname"]
    bad |= dict.fromkeys(ways_out, "outside root") | {"https://host/x.jpg": "url"}
    again = "plain.jpg"
    manifest = folder / "all.jsonl"
    manifest.write_text(
        "".join(json.dumps({"image": row}) + "\n" for row in [*rows, *ways_out, "https://host/x.jpg", again])
    )
    return Zoo(folder, manifest, good, bad)


def lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def reasons(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in rows}


def test_every_file_of_the_zoo_is_named_or_set_aside_with_its_reason(zoo: Zoo, tmp_path: Path) -> None:
    assert len(zoo.good) + len(zoo.bad) >= 80
    with serving(lambda *_: Answer(completion("Sedge Warbler"))) as server:
        done = fgvr(
            *("label", zoo.manifest, "--out", tmp_path / "run", "--mllm", "openai:m", "--json"),
            OPENAI_API_KEY="canary-0123456789", OPENAI_BASE_URL=server.url,
        )  # fmt: skip
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert (summary["failed"], summary["not_asked"]) == (0, 0)
    named = lines(tmp_path / "run" / "labels.jsonl")
    assert {row["image"] for row in named if row["name"] == "Sedge Warbler"} == zoo.good
    aside = json.loads((tmp_path / "run" / "set_aside.json").read_text())
    assert reasons(aside) == {**zoo.bad, "plain.jpg": "duplicate"}
    assert all(row["detail"] or row["reason"] in ("missing",) for row in aside)
    assert len(named) + len(aside) == summary["images"] == len(zoo.manifest.read_text().splitlines())
    assert len(server.calls) < len(zoo.good)  # copies of one picture are asked about once
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err + done.out
    assert done.peak < 500 * MEBI


def test_the_zoo_is_classified_and_the_page_says_what_was_left_out_and_why(
    zoo: Zoo, fitted: Path, tmp_path: Path
) -> None:
    file = tmp_path / "p.jsonl"
    done = fgvr("predict", fitted, zoo.manifest, "--out", file, "--cache", tmp_path / "cache")
    assert done.code == 0, done.err
    predicted = lines(file)
    assert {row["image"] for row in predicted} == zoo.good
    aside = lines(tmp_path / "p.jsonl.set_aside.jsonl")
    assert reasons(aside) == {**zoo.bad, "plain.jpg": "duplicate"}
    assert len(predicted) + len(aside) == len(zoo.manifest.read_text().splitlines())
    page = tmp_path / "page.html"
    shown = fgvr("report", fitted, "--predictions", file, "--images", zoo.manifest, "--out", page)
    assert shown.code == 0, shown.err
    text = Words(page.read_text()).text
    assert "What was left out, and why" in text
    for name, reason in (
        ("text-bomb.png", "too much metadata"),
        ("huge-header.png", "too many pixels"),
        ("loop-a.jpg", "symlink loop"),
    ):
        assert name in text
        assert reason in text
    assert {row["reason"] for row in aside} <= set(text.split("\n"))


class Words(HTMLParser):
    """The text of a page, one piece a line."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.feed(html)
        self.text = "\n".join(self.pieces)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data.strip())


def test_a_folder_of_nothing_but_bad_files_is_an_error_that_tallies_them(tmp_path: Path) -> None:
    make_zoo(tmp_path / "all")
    (tmp_path / "bad").mkdir()
    for name in ("empty.jpg", "page.jpg", "truncated.png"):
        shutil.copy(tmp_path / "all" / name, tmp_path / "bad" / name)
    (tmp_path / "replies.jsonl").write_text('{"image": "x", "reply": "Wren"}\n')
    done = fgvr("label", tmp_path / "bad", "--out", tmp_path / "run", "--mllm", f"replay:{tmp_path / 'replies.jsonl'}")
    assert done.code == 2
    assert "no usable image" in done.err
    assert "truncated: 1" in done.err


_UNPRIVILEGED = """
import json, os, sys
from fgvr.data import load_items
from fgvr.images import Image, decode_all
from fgvr.types import SetAside
Image.init()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
assert not os.access(sys.argv[1] + "/locked.png", os.R_OK)
found = load_items(sys.argv[1])
outcomes = {item.id: outcome for item, outcome in decode_all(found.items)}
aside = [*found.set_aside, *(one for one in outcomes.values() if isinstance(one, SetAside))]
good = sorted(i for i, one in outcomes.items() if not isinstance(one, SetAside))
print(json.dumps([good, {a.id: a.reason for a in aside}]))
"""


def test_what_may_not_be_read_is_set_aside_also_when_the_tests_run_as_root() -> None:
    """Permission bits do not bind root: the child gives its rights up first."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        for name in ("open.png", "locked.png"):
            quadrants().save(folder / name)
        (folder / "closed").mkdir()
        quadrants().save(folder / "closed" / "inside.png")
        (folder / "locked.png").chmod(0)
        (folder / "closed").chmod(0)
        try:
            done = python("-c", _UNPRIVILEGED, folder)
        finally:
            (folder / "closed").chmod(0o755)
        assert done.code == 0, done.err
        good, aside = json.loads(done.out)
        assert good == ["open.png"]
        assert aside["locked.png"] == "no permission"
        assert [reason for item, reason in aside.items() if item != "locked.png"] == ["unreadable folder"]


def test_a_file_that_grows_shrinks_or_vanishes_while_it_is_read_harms_nobody(tmp_path: Path) -> None:
    path, stop = tmp_path / "live.png", threading.Event()
    quadrants(400, 300).save(path)
    whole = path.read_bytes()

    def change() -> None:
        while not stop.is_set():
            path.write_bytes(whole[: len(whole) // 2])
            path.write_bytes(whole + b"x" * 50_000)
            path.unlink()
            path.write_bytes(whole)

    seen: set[object] = set()
    reads, latest = 0, time.monotonic() + 30
    changer = threading.Thread(target=change)
    changer.start()
    try:
        # On a busy machine 300 reads may pass before the other thread has its turn.
        while reads < 300 or ((400, 300) not in seen and time.monotonic() < latest):
            reads += 1
            try:
                seen.add(decode(path).image.size)
            except ImageError as error:
                seen.add(error.reason)
    finally:
        stop.set()
        changer.join()
    assert seen <= {(400, 300), "missing", "empty", "truncated", "not an image", "unreadable"}
    assert (400, 300) in seen


def test_a_file_that_vanishes_after_it_was_listed_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for side, name in enumerate("abcdefghijkl", start=40):
        quadrants(side, 30).save(tmp_path / "in" / f"{name}.png")

    def script(number: int, _: object) -> Answer:
        (tmp_path / "in" / "l.png").unlink(missing_ok=True)
        return Answer(completion("Sedge Warbler"))

    with serving(script) as server:
        command = (
            "label",
            tmp_path / "in",
            "--out",
            tmp_path / "run",
            "--mllm",
            "openai:m",
            "--concurrency",
            1,
            "--json",
        )
        done = fgvr(*command, OPENAI_API_KEY="canary-0123456789", OPENAI_BASE_URL=server.url)
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert (summary["answered"], summary["failed"]) == (11, 1)
    assert [row["image"] for row in lines(tmp_path / "run" / "unanswered.jsonl")] == ["l.png"]


_DECODE_ALL = """
import sys
from pathlib import Path
from fgvr.images import decode_all
from fgvr.types import ImageItem, SetAside
side = int(sys.argv[2]) or None
items = [ImageItem(str(n), path) for n, path in enumerate(sorted(Path(sys.argv[1]).iterdir()))]
for item, outcome in decode_all(items, threads=8, side=side):
    if not isinstance(outcome, SetAside):
        print(item.path.name, outcome.image.size, flush=True)
        del outcome
"""


def large_pictures(folder: Path, side: int) -> int:
    """Eight large files of few bytes, one for every way in which converting colours could need memory."""
    folder.mkdir()
    made = {
        "deep.png": Image.fromarray(np.zeros((side, side), np.uint16)),
        "grey.png": Image.new("L", (side, side)),
        "alpha.png": Image.new("LA", (side, side)),
        "colour.png": Image.new("RGB", (side, side)),
        "palette.png": Image.new("P", (side, side)),
        "plain.jpg": Image.new("RGB", (side, side)),
        "cmyk.jpg": Image.new("CMYK", (side, side)),
        "bits.png": Image.new("1", (side, side)),
    }
    for name, image in made.items():
        options = {"transparency": 0} if name == "palette.png" else {}
        image.save(folder / name, **({"compress_level": 1} if name.endswith("png") else {}), **options)
    return len(made)


def test_memory_is_bounded_over_large_pictures_of_every_kind_in_eight_threads(tmp_path: Path) -> None:
    """36 megapixels each: RGB is 144 MB in Pillow, and only one such picture is worked on at a time."""
    count = large_pictures(tmp_path / "large", 6000)
    done = python("-c", _DECODE_ALL, tmp_path / "large", 224)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == count
    assert done.peak < 650 * MEBI, f"{done.peak / MEBI:.0f} MB"


@pytest.mark.slow
def test_memory_is_bounded_at_the_pixel_limit(tmp_path: Path) -> None:
    count = large_pictures(tmp_path / "large", 10_950)
    done = python("-c", _DECODE_ALL, tmp_path / "large", 224)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == count
    assert done.peak < 1600 * MEBI, f"{done.peak / MEBI:.0f} MB"


def test_a_zoo_in_threads_stays_within_an_address_space(zoo: Zoo) -> None:
    """A real limit of the kernel: whoever asked for the 60,000 x 60,000 pixels would get a MemoryError here."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))\n"
    done = python("-c", limit + _DECODE_ALL, zoo.folder, 0)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) >= len(zoo.good)
    assert done.peak < 300 * MEBI
    assert os.path.lexists(zoo.folder / "escape.jpg")
