"""Labelling through a service that takes 200 ms a call: how near the ideal is the scheduler, and what a call costs.

Protocol. A stub of an OpenAI-compatible service runs in a process of its own on loopback: keep-alive, and an answer
exactly 0.2 s after the last byte of the question. The client is what a user has: ``ask_all`` with ``OpenAIMllm``, a
ledger that waits for the disk, a response cache, a spending cap; every question is another one, without a picture or
with one that is decoded from a JPEG file and encoded again as for any service. The ideal at concurrency c is c / 0.2 s.

Timed is one whole ``ask_all`` of ``ROUNDS`` questions per worker, from planning (hashing the pictures) to the last
ledger line: a new client, new connections, ramp-up and ramp-down are inside; importing the packages is not. Steady is
the rate between the second round's end and the second last's. CPU seconds are the client's own. Three concurrencies
are taken in turn, several times over; figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.common import table, write_section
from fgvr.mllm import Answers, Budget, Parameters, Price, Request, ResponseCache, ask_all
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger

LATENCY = 0.2
CONCURRENCIES = (1, 8, 64)
ROUNDS = 25
PICTURES = 32


class Stub(asyncio.Protocol):
    """One connection: questions in, after ``latency`` seconds the same well-formed answer out."""

    def __init__(self, answer: bytes, latency: float) -> None:
        self.answer, self.latency = answer, latency
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = int(self.buffer[:head].lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self.buffer) >= head + 4 + length:
            self.buffer.clear()
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, self.answer)  # type: ignore[attr-defined]


def serve(latency: float, port: Connection) -> None:
    """The stub's process: sends its port, then answers until it is ended."""
    asyncio.run(_serve(latency, port))


async def _serve(latency: float, port: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(partial(Stub, http_answer(), latency), "127.0.0.1", 0)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def http_answer() -> bytes:
    """A reply with token counts and log-probabilities, as services send it."""
    tokens: list[dict[str, object]] = [
        {"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": []} for text in ("Sedge", " Warbler")
    ]
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Sedge Warbler"},
        "logprobs": {"content": tokens},
    }
    usage = {"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302}
    body = json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


@contextmanager
def stub(latency: float = LATENCY) -> Iterator[str]:
    """The base URL of a running stub."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(latency, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def draw(folder: Path, *, side: int, count: int = PICTURES) -> list[Path]:
    """``count`` drawn pictures of ``side`` x ``side`` pixels, JPEG files of a few kB and more."""
    from fgvr.fieldguide.guide import all_species
    from fgvr.fieldguide.render import render

    species = all_species()
    paths = [folder / f"{side}-{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        render(species[index * len(species) // count], index, size=side).image.save(path, quality=90)
    return paths


@dataclass(frozen=True)
class Run:
    """One timed ``ask_all``."""

    calls: int
    wall: float
    cpu: float
    steady: float
    """Calls a second without the first and last two rounds."""


def label(url: str, pictures: list[Path], *, concurrency: int, rounds: int) -> Run:
    """Ask ``rounds`` questions per worker with everything a real run has."""
    requests = [
        Request(
            f"i{index}",
            f"What is this? ({index})",
            (pictures[index % len(pictures)],) if pictures else (),
            parameters=Parameters(),
        )
        for index in range(rounds * concurrency)
    ]
    ended: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        with Ledger(Path(folder) / "ledger.jsonl") as ledger, ResponseCache(Path(folder) / "replies.sqlite") as cache:
            answers = _ask(url, requests, ledger, cache, concurrency, ended)
        first, last = 2 * concurrency, len(ended) - 2 * concurrency
        steady = (last - first) / (ended[last] - ended[first]) if last > first else 0.0
        run = Run(len(requests), time.perf_counter() - wall, time.process_time() - cpu, steady)
    if len(answers.replies) != len(requests) or answers.reused:
        raise RuntimeError(f"only {len(answers.replies)} of {len(requests)} questions were answered")
    return run


def _ask(
    url: str, requests: list[Request], ledger: Ledger, cache: ResponseCache, concurrency: int, ended: list[float]
) -> Answers:
    return ask_all(
        requests,
        OpenAIMllm("stub", base_url=url),
        ledger=ledger,
        cache=cache,
        concurrency=concurrency,
        budget=Budget(1000.0),
        prices={"stub": Price(1.0, 1.0)},
        progress=lambda _done, _total, _usage: ended.append(time.perf_counter()),
    )


def measure(*, side: int, repeats: int, rounds: int) -> list[list[str]]:
    """One row per concurrency."""
    runs: dict[int, list[Run]] = {concurrency: [] for concurrency in CONCURRENCIES}
    with tempfile.TemporaryDirectory() as folder, stub() as url:
        pictures = draw(Path(folder), side=side) if side else []
        label(url, pictures, concurrency=2, rounds=1)  # imports
        kilobytes = statistics.median(path.stat().st_size for path in pictures) / 1000 if side else 0
        for _ in range(repeats):
            for concurrency in CONCURRENCIES:
                runs[concurrency].append(label(url, pictures, concurrency=concurrency, rounds=rounds))
    shown = f"{side} px ({kilobytes:.0f} kB)" if side else "none"
    return [_row(shown, concurrency, done) for concurrency, done in runs.items()]


def _row(pictures: str, concurrency: int, runs: list[Run]) -> list[str]:
    ideal = concurrency / LATENCY
    whole = statistics.median(run.calls / run.wall / ideal for run in runs)
    steady = [run.steady / ideal for run in runs]
    cpu = statistics.median(1000 * run.cpu / run.calls for run in runs)
    return [
        pictures,
        str(concurrency),
        f"{ideal:.0f}",
        f"{statistics.median(steady):.1%} ({min(steady):.1%}-{max(steady):.1%})",
        f"{whole:.1%}",
        f"{cpu:.2f} ms",
    ]


HEADER = ("picture", "concurrency", "ideal calls/s", "share of it, steady (range)", "whole run", "client CPU per call")
NOTE = """A stub of an OpenAI-compatible service in a process of its own answers 0.2 s after the last byte of a
question. One question in flight per worker, {rounds} rounds; ledger with fsync, cache and cap as in real use. "Steady"
leaves out the first and last two rounds, "whole run" has everything from planning to the last ledger line. The aim is
95 %. Pictures are decoded and encoded again for every call, while others are in flight; that is most of the client's
processor time, and for large pictures the number of cores bounds the rate.
"""


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run, nothing written")
    quick = parser.parse_args().quick
    os.environ.setdefault("OPENAI_API_KEY", "none")
    rounds, repeats = (10, 1) if quick else (ROUNDS, 3)
    rows = measure(side=0, repeats=repeats, rounds=rounds)
    rows += measure(side=128, repeats=repeats, rounds=rounds)
    rows += measure(side=1024, repeats=1, rounds=10)
    shown = table(HEADER, rows)
    print(shown)
    if not quick:
        write_section("scheduler", "Labelling through a service of 200 ms", f"{NOTE.format(rounds=rounds)}\n{shown}")


if __name__ == "__main__":
    main()
