"""``fgvr doctor``: do the embedded models, an encoder and an MLLM give the numbers they should on this machine?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fgvr.cli.doctor_check import Check
from fgvr.cli.inputs import load_dual_encoder, load_model, quieten

TOLERANCE = 1e-4
"""Largest difference between features of one picture alone and in a batch, float32."""
REDUCED_TOLERANCE = 2e-2
"""The same in bfloat16 and float16."""


def embedded() -> Iterator[Check]:
    """The two models are there, and the encoder gives the features that are stored beside it."""
    from fgvr.encoders.loading import file_digest
    from fgvr.errors import FgvrError
    from fgvr.fieldguide import weights_folder

    for part in ("encoder", "mllm"):
        try:
            weights = weights_folder(part) / "model.safetensors"
        except FgvrError as error:
            yield Check(f"embedded {part}", "warn", error.message, error.remedy)
            continue
        digest, size = file_digest(weights), weights.stat().st_size / 2**20
        yield Check(f"embedded {part}", "ok", f"{size:.1f} MB, sha256 {digest[:16]}")
        if part == "encoder":
            yield stored_parity(load_dual_encoder("fieldguide", device="cpu"), digest)


def stored_parity(encoder: Any, weights_sha256: str) -> Check:
    """The encoder against ``fieldguide/models/parity.json``."""
    from fgvr.fieldguide.parity import compare

    found = compare(encoder, weights_sha256=weights_sha256)
    shown = f"features differ by {found.difference:.1e} from the stored ones (tolerance {found.tolerance:.0e})"
    if found.holds:
        return Check("embedded parity", "ok", f"{shown}, {found.pictures} pictures")
    if found.redrawn < found.pictures:
        shown = f"{found.pictures - found.redrawn} of {found.pictures} pictures are drawn differently; {shown}"
        remedy = "Drawings follow Pillow and numpy: install the versions of the lock file to repeat published numbers."
        return Check("embedded parity", "warn", shown, remedy)
    remedy = "This build of torch or transformers computes something else: reinstall both in a fresh environment."
    return Check("embedded parity", "fail", shown, remedy)


def encoder(name: str | None, device: str, dtype: str) -> Iterator[Check]:
    """Load the encoder; then ``parity``."""
    if name is None:
        return
    loaded: Any = load_dual_encoder(name, device=device, dtype=dtype)
    yield Check("encoder", "ok", f"{loaded.name}, {loaded.dim} dimensions, scale {loaded.logit_scale:.1f}, {dtype}")
    if loaded.accuracy is not None:
        agreed = f"{dtype} against float32: least cosine {loaded.accuracy.least_cosine:.5f}"
        yield Check("encoder precision", "ok", agreed)
    yield parity(loaded, tolerance=TOLERANCE if dtype in ("float32", "float64") else REDUCED_TOLERANCE)


def parity(encoder: Any, *, tolerance: float = TOLERANCE) -> Check:
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
    found = f"norm off by {norm:.1e}, one by one {drift:.1e}, repeated {repeat:.1e} (tolerance {tolerance:.0e})"
    if max(norm, drift, repeat) <= tolerance:
        return Check("encoder parity", "ok", found)
    return Check("encoder parity", "fail", found, "Use --dtype float32, or another build of torch.")


def mllm(name: str | None, device: str) -> Iterator[Check]:
    """Load the MLLM, or make the client of its service."""
    if name is None:
        return
    quieten()
    loaded = load_model(name, device=device)
    yield Check("mllm", "ok", f"{loaded.name}, {'local' if loaded.local else 'service'}, revision {loaded.revision}")
