"""Drawings stay what the embedded models were trained on: one digest over all species, another over scenes.

A change of these digests means training both models again (``docs/development.md``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fgvr.fieldguide import dataset
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render, render_scene

SPECIES = all_species()


def test_every_species_is_drawn_as_ever():
    digest = hashlib.sha256()
    for number, species in enumerate(SPECIES):
        digest.update(render(species, 700 + number, size=64).image.tobytes())
    assert digest.hexdigest() == "99e5e0e23af4428c338e4eb6ef4daef1121d55956dea95e90c45c6db6775e6b8"


def test_scenes_are_drawn_as_ever():
    digest = hashlib.sha256()
    for seed in range(4):
        cast = [(SPECIES[(31 * seed + 17 * place) % len(SPECIES)], 10 * seed + place) for place in range(2 + seed)]
        digest.update(render_scene(cast, seed, size=128).image.tobytes())
    assert digest.hexdigest() == "3b3e9553168ff22ab2f6924adf3236605693b3d2316bbf9cc7c830a169ed94fc"


def test_files_are_written_as_ever(tmp_path: Path):
    counts = {"support_per_species": 1, "test_per_species": 1, "scenes": 1}
    dataset.make(tmp_path / "guide", size=64, species=SPECIES[::30], workers=1, **counts)
    digest = hashlib.sha256()
    for path in sorted((tmp_path / "guide").rglob("*.jpg")):
        digest.update(path.relative_to(tmp_path).as_posix().encode() + path.read_bytes())
    assert digest.hexdigest() == "dfdfd6cc978e78812f962e044cf9058be5f5c355cff1aecde5829c6694ee2ffa"
