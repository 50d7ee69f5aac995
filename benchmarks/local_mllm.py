"""A local MLLM: batches against one picture at a time, and whether the replies are the same.

Protocol. The embedded field guide's MLLM names drawn pictures of 96 x 96 pixels, PNG files on disk, with the paper's
prompt, through ``LocalMllm.answer``: reading, preprocessing, generation and decoding are all inside. The same pictures
are taken at every batch size, batch sizes in turn; figures are medians. The model is tiny (5 M parameters): larger ones
spend relatively less time outside matrix products, and gain less from a batch on a CPU, more on a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.common import in_turn, table, write_section
from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from fgvr.mllm import Reply, Request
from fgvr.mllm.local import LocalMllm
from fgvr.naming.prompts import PAPER_PROMPT

BATCHES = (1, 4, 16, 64)
HEADER = ("batch", "pictures/s", "against one by one", "time (range)", "replies unlike one by one")


def questions(folder: Path, count: int) -> list[Request]:
    """``count`` drawn pictures, all kinds of species, each with the paper's prompt."""
    species = all_species()
    requests = []
    for index in range(count):
        path = folder / f"{index}.png"
        render(species[index * 37 % len(species)], index, size=96).image.save(path)
        requests.append(Request(str(index), PAPER_PROMPT, (path,)))
    return requests


def answer(mllm: LocalMllm, requests: list[Request], batch: int) -> list[Reply]:
    """All replies, ``batch`` questions at a time."""
    return [reply for start in range(0, len(requests), batch) for reply in mllm.answer(requests[start : start + batch])]


def measure(*, pictures: int, repeats: int) -> list[list[str]]:
    """One row per batch size."""
    mllm = LocalMllm(str(weights_folder("mllm")), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        requests = questions(Path(folder), pictures)
        replies = {batch: [reply.text for reply in answer(mllm, requests, batch)] for batch in BATCHES}
        jobs = {str(batch): partial(answer, mllm, requests, batch) for batch in BATCHES}
        timings = in_turn(jobs, repeats=repeats, warmup=0)
    rows = []
    for batch in BATCHES:
        taken = timings[str(batch)]
        different = sum(one != other for one, other in zip(replies[1], replies[batch], strict=True))
        gain = timings["1"].median / taken.median
        rows.append([str(batch), f"{pictures / taken.median:.1f}", f"{gain:.1f}x", str(taken), f"{different}"])
    return rows


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pictures, nothing written")
    quick = parser.parse_args().quick
    pictures = 64 if quick else 192
    shown = table(HEADER, measure(pictures=pictures, repeats=1 if quick else 5))
    print(shown)
    if not quick:
        note = f"{pictures} pictures a round, greedy replies of up to 64 tokens; float32 on the CPU.\n\n"
        write_section("local_mllm", "A local MLLM: batches against one by one", note + shown)


if __name__ == "__main__":
    main()
