"""A plate of the field guide: species side by side in their plainest view, each with its name underneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, ImageDraw, ImageFont

from fgvr.fieldguide.render import View, posed, sample_view, view_generator
from fgvr.fieldguide.species import Species

PAPER, INK, FAINT = (250, 247, 240), (44, 42, 40), (128, 122, 114)
_FILL = 0.84
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(species: Sequence[Species], *, columns: int = 8, tile: int = 160, seed: int = 0) -> Image.Image:
    """RGB plate of an adult male of each species, row by row, with common and scientific name under each.

    ``tile`` is the side of a picture in pixels; ``seed`` chooses the individuals. Raises ``ValueError`` when there is
    nothing to show.
    """
    if not species or columns < 1 or tile < 32:
        raise ValueError("a plate needs a species, a column and tiles of 32 pixels or more")
    columns = min(columns, len(species))
    gap, caption = max(2, tile // 20), round(tile * 0.36)
    rows = -(-len(species) // columns)
    sheet = Image.new("RGB", (columns * (tile + gap) + gap, rows * (tile + caption) + 2 * gap), PAPER)
    for place, one in enumerate(species):
        x, y = gap + place % columns * (tile + gap), gap + place // columns * (tile + caption)
        organism = posed(one, plain_view(one, seed), size=tile)
        corner = (x + (tile - organism.width) // 2, y + (tile - organism.height) // 2)
        sheet.paste(organism.convert("RGB"), corner, organism.getchannel("A"))
        _write_names(ImageDraw.Draw(sheet), one, (x + tile / 2, y + tile), width=tile + gap / 2)
    return sheet


def plain_view(species: Species, seed: int) -> View:
    """An adult, upright, in the middle of the frame; only the individual is left to ``seed``."""
    view = sample_view(species, view_generator(species, seed))
    return replace(view, angle=0.0, flip=False, scale=_FILL, offset=(0.5, 0.5), sex="male")


def _write_names(draw: ImageDraw.ImageDraw, species: Species, top: tuple[float, float], *, width: float) -> None:
    """The common name on up to two lines, the scientific one below it, centred on ``top``."""
    size = width / 13
    font, small = ImageFont.load_default(size), ImageFont.load_default(size * 0.86)
    lines = [(line, font, INK) for line in _wrapped(draw, species.name, font, width)]
    lines += [(line, small, FAINT) for line in _wrapped(draw, species.scientific, small, width)]
    x, y = top
    for text, face, colour in lines:
        draw.text((x - draw.textlength(text, face) / 2, y), text, fill=colour, font=face)
        y += size * 1.2


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> list[str]:
    """Lines no wider than ``width``, as even in length as words allow; one word is never broken."""
    words = text.split()
    for count in range(1, len(words)):
        lines = _even_lines(words, count)
        if max(draw.textlength(line, font) for line in lines) <= width:
            return lines
    return _even_lines(words, len(words))


def _even_lines(words: list[str], count: int) -> list[str]:
    """``words`` on ``count`` lines: each line is filled until it has its share of the letters that are left."""
    if count == 1 or len(words) == 1:
        return [" ".join(words)]
    share = len(" ".join(words)) / count
    best = min(range(1, len(words) - count + 2), key=lambda n: abs(len(" ".join(words[:n])) - share))
    return [" ".join(words[:best]), *_even_lines(words[best:], count - 1)]
