"""Where the seconds of ``fgvr demo`` go.

Protocol. Two runs of the whole command in new processes, into fresh folders, with its default settings (136 drawn
species, 408 support and 680 test images). First: wall-clock seconds by stage, each stage less the stages inside it, by
timers around the functions named in ``STAGES`` (what is left is "everything else": imports, reading manifests, joining
tables). Second: the same under ``cProfile``, for the functions of the main thread with the most time of their own; the
profiler slows small functions down, so its seconds are for ranking only.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import importlib
import io
import pstats
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.common import in_fresh_process, table, write_section

STAGES = {
    "drawing the pictures": ("fgvr.fieldguide.dataset:make",),
    "loading the models": (
        "fgvr.cli.demo:load_dual_encoder",
        "fgvr.cli.demo:load_model",
        "fgvr.cli.demo:load_sentences",
    ),
    "features (decoding, encoding)": ("fgvr.encoders.store:FeatureStore.features",),
    "MLLM on the support images": ("fgvr.methods.near.estimator:label_images",),
    "MLLM on the test images": ("fgvr.cli.demo:_direct",),
    "select (cross-fit of the candidates)": ("fgvr.methods.near.problem:Problem.chosen",),
    "tune": ("fgvr.methods.near.problem:Problem.tuned",),
    "calibrate": ("fgvr.methods.near.problem:Problem.calibration",),
    "zero-shot names": ("fgvr.cli.demo:_zero_shot",),
    "evaluate (bootstrap, sentence encoder)": ("fgvr.cli.demo:score", "fgvr.cli.demo:curves"),
    "cost estimate": ("fgvr.cli.demo:what_it_would_cost",),
    "hashing for leaks and resumption": (
        "fgvr.cli.demo:content_hashes",
        "fgvr.cli.demo:_named",
        "fgvr.cli.demo:leaked",
    ),
    "report": ("fgvr.cli.demo:_pages",),
}
REST = "everything else"


class Clock:
    """Seconds by stage on one thread; a stage inside another stops the outer one's clock."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack = [REST]
        self._since = time.perf_counter()
        self._thread = threading.get_ident()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside for ``name``."""
        self._turn()
        self._stack.append(name)
        try:
            yield
        finally:
            self._turn()
            self._stack.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, counted for ``name`` when called on the clock's thread."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            with self.stage(name):
                return function(*args, **kwargs)

        return run

    def stop(self) -> dict[str, float]:
        """Seconds of every stage."""
        self._turn()
        return dict(self.seconds)

    def _turn(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now


def stages(folder: str, small: bool) -> dict[str, float]:
    """Run the demo; seconds by stage."""
    clock = Clock()
    for name, places in STAGES.items():
        for place in places:
            module, _, path = place.partition(":")
            *owners, last = path.split(".")
            owner: Any = importlib.import_module(module)
            for part in owners:
                owner = getattr(owner, part)
            setattr(owner, last, clock.timed(name, getattr(owner, last)))
    _demo(folder, small)
    return clock.stop()


def hottest(folder: str, small: bool, count: int = 12) -> list[tuple[str, float, int]]:
    """Run the demo under ``cProfile``: (function, own seconds, calls)."""
    profile = cProfile.Profile()
    profile.runcall(_demo, folder, small)
    rows = [
        (_named(*where), own, calls)
        for where, (_, calls, own, _, _) in pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    ]
    return sorted(rows, key=lambda row: -row[1])[:count]


def _named(file: str, line: int, function: str) -> str:
    parts = Path(file).parts
    package = next((index for index in reversed(range(len(parts))) if parts[index] in ("site-packages", "src")), None)
    place = "/".join(parts[-2:] if package is None else parts[package + 1 :])
    return f"`{function}`" if file == "~" else f"`{place}:{function}`"


def _demo(folder: str, small: bool) -> None:
    from fgvr.cli.main import app

    few = ["--support-per-species", "1", "--test-per-species", "1", "--preset", "lite"] if small else []
    with contextlib.redirect_stdout(io.StringIO()):
        app(["demo", "--out", folder, *few], standalone_mode=False)


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one image a species, lite tuning, nothing written")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="fgvr-bench-") as scratch:
        timed = in_fresh_process(stages, f"{scratch}/timed", quick)
        hot = in_fresh_process(hottest, f"{scratch}/profiled", quick).result
    seconds: dict[str, float] = timed.result
    total = sum(seconds.values())
    order = sorted(seconds, key=lambda name: -seconds[name])
    by_stage = [(name, f"{seconds[name]:.1f}", f"{100 * seconds[name] / total:.0f} %") for name in order]
    by_function = [(name, f"{own:.1f}", calls) for name, own, calls in hot]
    body = f"""
`fgvr demo`: **{total:.0f} s** in all, the peak of memory {timed.growth_mib:,.0f} MiB above the start.

{table(("stage", "seconds", "share"), [*by_stage, ("all", f"{total:.1f}", "100 %")])}

Functions with the most time of their own, under the profiler (main thread):

{table(("function", "own seconds", "calls"), by_function)}
"""
    print(body)
    if not quick:
        write_section("demo_profile", "The demo by stage", body)


if __name__ == "__main__":
    main()
