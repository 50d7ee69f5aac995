"""Draw ``docs/field_guide.png``: one plate with some siblings of every super-category of the field guide.

python scripts/field_guide_plate.py
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

from fgvr.fieldguide.dataset import contact_sheet
from fgvr.fieldguide.guide import all_species, super_categories
from fgvr.fieldguide.species import Species

GENERA = 2
"""Whole genera shown of each super-category: the point is how alike siblings are."""


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/field_guide.png"))
    parser.add_argument("--tile", type=int, default=150)
    options = parser.parse_args()
    sheet = contact_sheet(shown(all_species()), columns=8, tile=options.tile)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out, optimize=True)
    print(f"{options.out}: {sheet.width} x {sheet.height}, {options.out.stat().st_size / 1000:.0f} kB")


def shown(species: tuple[Species, ...]) -> list[Species]:
    """The first ``GENERA`` genera of every super-category."""
    chosen: list[Species] = []
    for kind in super_categories():
        members = [one for one in species if one.super_category == kind]
        genera = [[*group] for _, group in groupby(members, key=lambda one: one.genus)]
        chosen += [one for genus in genera[:GENERA] for one in genus]
    return chosen


if __name__ == "__main__":
    main()
