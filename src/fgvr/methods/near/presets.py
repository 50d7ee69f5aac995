"""Tuning settings by name."""

from __future__ import annotations

from fgvr.errors import InputError
from fgvr.methods.near.select import SMALL_GRID
from fgvr.methods.near.settings import FAST, LITE, RefineSettings, TuneSettings


def tunings(preset: str) -> dict[str, TuneSettings]:
    """The settings behind a preset, by name; several where the support set is to choose. Raises ``InputError``."""
    known = {
        "workshop": {"workshop": TuneSettings()},
        "fast": {"fast": FAST},
        "near-style": {"near-style": TuneSettings(refine=RefineSettings())},
        "lite": {"lite": LITE},
        "select": dict(SMALL_GRID),
    }
    if preset not in known:
        raise InputError("no such preset", remedy=f"The presets are: {', '.join(known)}.", preset=preset)
    return known[preset]
