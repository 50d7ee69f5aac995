"""Prints plates of the field guide: one picture per species with its name underneath."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fgvr.fieldguide.render import render
from fgvr.fieldguide.species import Species

_PAPER, _INK = (250, 248, 242), (40, 36, 32)


def contact_sheet(species_list: Sequence[Species], *, columns: int, tile: int, seed: int) -> Image.Image:
    """A plate of one picture (view seed ``seed``, side ``tile`` pixels) per species, ``columns`` across."""
    font = ImageFont.load_default(max(8, tile // 13))
    line = max(10, round(tile / 13 * 1.25))
    margin = max(2, tile // 24)
    step = (tile + margin, tile + 2 * line + 2 * margin)
    rows = -(-len(species_list) // columns)
    sheet = Image.new("RGB", (columns * step[0] + margin, max(1, rows * step[1] + margin)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, species in enumerate(species_list):
        x, y = margin + index % columns * step[0], margin + index // columns * step[1]
        sheet.paste(render(species, seed, size=tile).image, (x, y))
        for number, words in enumerate(_two_lines(species.name, draw, font, tile)):
            width = draw.textlength(words, font)
            draw.text((x + max(0.0, (tile - width) / 2), y + tile + 2 + number * line), words, fill=_INK, font=font)
    return sheet


def _two_lines(
    name: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> tuple[str, ...]:
    """The name on one line if it fits, else broken where the longer of the two lines is shortest."""
    words = name.split()
    if draw.textlength(name, font) <= width or len(words) < 2:
        return (name,)
    breaks = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return min(breaks, key=lambda pair: max(draw.textlength(half, font) for half in pair))
