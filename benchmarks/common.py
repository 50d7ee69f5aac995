"""What all benchmarks share: paired timing, memory of a fresh process, and the sections of the page.

A shared machine is noisy, so nothing here compares two runs: alternatives are timed in turn inside one run, and what
is reported are medians and ratios of medians.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fgvr.runs.atomic import write_text

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ORDER = (
    "prompt_step",
    "prompt_memory",
    "full_batch",
    "embedding",
    "precision",
    "neighbours",
    "memory",
    "retrieval",
    "metrics",
    "scheduler",
    "local_mllm",
    "ranking",
    "ranking_7b",
    "alignment_step",
    "policy_step",
    "growth",
    "student",
    "student_replies",
    "demo_profile",
)
"""Sections of the page, top to bottom; a new script adds its name here."""

HEAD = """# Benchmarks

Every section is written by the script it names (`python -m benchmarks.NAME`); do not edit by hand. Ratios come from
alternatives timed in turn inside one run, figures are medians; seconds depend on the machine, which each section names.
"""


@dataclass(frozen=True)
class Timing:
    """Seconds of several repetitions of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        """Median and range, for a cell of a table."""
        if len(self.seconds) == 1:
            return f"{self.median:.3g} s"
        return f"{self.median:.3g} s ({min(self.seconds):.3g}-{max(self.seconds):.3g})"


def in_turn(
    alternatives: Mapping[str, Callable[[], object]], *, repeats: int = 5, warmup: int = 1
) -> dict[str, Timing]:
    """Time alternatives round by round (a, b, a, b, ...), so that the machine's moods meet all of them."""
    for _ in range(warmup):
        for run in alternatives.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, run in alternatives.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


@dataclass(frozen=True)
class Measured:
    """One call in a process of its own."""

    result: Any
    seconds: float
    growth_mib: float
    """Peak resident memory during the call, above what the process held before it."""


def in_fresh_process(function: Callable[..., Any], *arguments: Any, prepare: Callable[[], object] | None = None) -> Any:
    """``Measured`` of ``function(*arguments)`` in a new interpreter. Both must be importable (module-level) functions.

    ``prepare`` runs first and is not measured: imports, warming up.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments, prepare).result()


def _measured(
    function: Callable[..., Any], arguments: tuple[Any, ...], prepare: Callable[[], object] | None
) -> Measured:
    if prepare is not None:
        prepare()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew (Linux)
    started = time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - started
    return Measured(result, seconds, (_status("VmHWM") - before) / 1024)


def _status(field: str) -> int:
    """KiB of one line of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; first column to the left, the others to the right."""
    lines = [list(map(str, header)), ["---", *["---:"] * (len(header) - 1)], *[list(map(str, row)) for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """One line: processor, cores, memory, versions, date."""
    model = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    cores = len(os.sched_getaffinity(0))
    parts = [
        model[1].strip() if model else platform.processor() or platform.machine(),
        f"{cores} cores",
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        *(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy", "pillow")),
        f"Python {platform.python_version()}",
        datetime.now(UTC).date().isoformat(),
    ]
    return ", ".join(part for part in parts if part)


def write_section(name: str, title: str, body: str) -> None:
    """Replace (or add) one section of the page; the others stay as they are."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections = dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->", old, flags=re.DOTALL))
    sections[name] = f"## {title}\n\n{body.strip()}\n\n`python -m benchmarks.{name}`; {machine()}.\n"
    unknown = sections.keys() - set(ORDER)
    if unknown:
        raise ValueError(f"sections without a place in ORDER: {sorted(unknown)}")
    parts = [f"<!-- begin {key} -->\n{sections[key]}<!-- end {key} -->\n" for key in ORDER if key in sections]
    write_text(PAGE, "\n".join([HEAD, *parts]))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
