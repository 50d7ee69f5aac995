"""Scenic backgrounds of the field guide: soft, out of focus, painted on a small fixed grid and enlarged.

Painting on a grid of ``GRID`` pixels whatever the size asked for keeps a background fast, naturally defocused, and the
same picture at every resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from fgvr.fieldguide.canvas import Colour

GRID = 96
PLATE = "plate"
PLATE_SHARE = 0.12

Painter = Callable[[np.random.Generator], Image.Image]
Palette = Sequence[Colour]

GREENS: Palette = ((58, 96, 44), (88, 128, 58), (122, 152, 74), (44, 78, 48), (150, 170, 96), (96, 120, 84))
BROWNS: Palette = ((112, 86, 58), (140, 108, 74), (92, 70, 50), (164, 132, 92), (124, 84, 52), (78, 62, 48))
BLOOMS: Palette = ((214, 108, 140), (236, 196, 92), (178, 128, 206), (240, 236, 226), (226, 130, 84), (120, 140, 210))
CORALS: Palette = ((206, 118, 112), (222, 160, 92), (150, 104, 152), (98, 138, 122), (188, 170, 132), (112, 96, 110))


def choose_background(super_category: str, rng: np.random.Generator) -> str:
    """Name of a background that suits ``super_category``; the plain plate in ``PLATE_SHARE`` of the draws."""
    kinds = KINDS_BY_SUPER_CATEGORY[super_category]
    if rng.random() < PLATE_SHARE:
        return PLATE
    return kinds[int(rng.integers(len(kinds)))]


def draw_background(kind: str, size: int, rng: np.random.Generator) -> Image.Image:
    """RGB picture of ``size`` x ``size`` pixels."""
    return PAINTERS[kind](rng).resize((size, size), Image.Resampling.BICUBIC)


def casts_shadow(kind: str) -> bool:
    """Whether an organism lies on this background (and shadows it) rather than floating far in front of it."""
    return kind in SHADOWED


def _vary(colour: Colour, rng: np.random.Generator, spread: float = 10.0) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _pick(palette: Palette, rng: np.random.Generator, spread: float = 10.0) -> Colour:
    return _vary(palette[int(rng.integers(len(palette)))], rng, spread)


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, GRID)[:, None, None]
    column = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    return Image.fromarray(np.broadcast_to(column, (GRID, GRID, 3)).astype(np.uint8))


def _cloud(rng: np.random.Generator, cells: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Smooth random field (GRID, GRID), roughly in [-1, 1]: sum of grids of ``cells`` (across, down), halving."""
    field = np.zeros((GRID, GRID), np.float32)
    for octave, (across, down) in enumerate(cells):
        coarse = Image.fromarray(rng.uniform(-1, 1, (down, across)).astype(np.float32))
        field += np.asarray(coarse.resize((GRID, GRID), Image.Resampling.BICUBIC)) * np.float32(0.5**octave)
    return field


def _textured(image: Image.Image, field: NDArray[np.float32], strength: float) -> Image.Image:
    pixels = np.asarray(image, np.float32) * (1 + strength * field[:, :, None])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _discs(
    image: Image.Image,
    rng: np.random.Generator,
    palette: Palette,
    *,
    count: int,
    radius: tuple[float, float],
    alpha: int,
) -> None:
    """Translucent discs, the highlights of an out-of-focus scene; ``radius`` in shares of the side."""
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(count):
        x, y = rng.uniform(-0.1, 1.1, 2) * GRID
        r = rng.uniform(*radius) * GRID
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(*_pick(palette, rng), alpha))


def _soften(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _bokeh(rng: np.random.Generator, under: Palette, lights: Palette, *, count: int) -> Image.Image:
    image = _gradient(_pick(under, rng), _pick(under, rng))
    _discs(image, rng, under, count=14, radius=(0.10, 0.28), alpha=130)
    image = _soften(image, 6)
    _discs(image, rng, lights, count=count, radius=(0.03, 0.09), alpha=95)
    return _soften(image, 1.6)


def _blade(draw: ImageDraw.ImageDraw, rng: np.random.Generator, colour: Colour) -> None:
    """One grass blade or reed rising from the lower edge."""
    foot, lean = rng.uniform(-0.1, 1.1) * GRID, rng.normal(0, 0.14) * GRID
    height, width = rng.uniform(0.5, 1.25) * GRID, rng.uniform(0.012, 0.035) * GRID
    middle, tip = (foot + lean * 0.3, GRID - height / 2), (foot + lean, GRID - height)
    draw.polygon(((foot - width, GRID), (middle[0] - width * 0.8, middle[1]), tip,
                  (middle[0] + width * 0.8, middle[1]), (foot + width, GRID)), fill=colour)  # fmt: skip


def _leaf_shape(draw: ImageDraw.ImageDraw, rng: np.random.Generator, colour: Colour, length: float) -> None:
    """One pointed leaf with a midrib, lying anywhere."""
    centre, angle = rng.uniform(-0.05, 1.05, 2) * GRID, rng.uniform(0, 2 * np.pi)
    t = np.linspace(0, 1, 9)
    half = np.sin(np.pi * t) * 0.24 * length
    outline = np.stack([np.r_[t, t[::-1]] * length - length / 2, np.r_[half, -half[::-1]]], axis=1) * GRID
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = outline @ turn + centre
    draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)
    rib = _vary((int(colour[0] * 0.75), int(colour[1] * 0.75), int(colour[2] * 0.75)), rng, 4)
    draw.line([(float(x), float(y)) for x, y in (points[0], points[8])], fill=rib, width=1)


def _foliage(rng: np.random.Generator) -> Image.Image:
    return _bokeh(rng, GREENS, ((196, 214, 138), (226, 232, 180), (140, 172, 92)), count=int(rng.integers(6, 20)))


def _sky(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((104, 152, 208), rng, 14), _vary((202, 220, 232), rng, 10))
    cloud = np.clip(_cloud(rng, ((3, 4), (6, 9))) - 0.1, 0, 1)[:, :, None] * rng.uniform(0.2, 0.8)
    pixels = np.asarray(image, np.float32) * (1 - cloud) + np.float32(246) * cloud
    return Image.fromarray(pixels.astype(np.uint8))


def _reeds(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((190, 200, 168), rng), _vary((120, 126, 76), rng))
    draw = ImageDraw.Draw(image)
    for layer in range(2):
        for _ in range(int(rng.integers(9, 16))):
            _blade(draw, rng, _pick(((148, 144, 82), (176, 160, 100), (112, 124, 64), (96, 110, 62)), rng))
        if layer == 0:
            image = _soften(image, 3)
            draw = ImageDraw.Draw(image)
    return _soften(image, 1.3)


def _lake(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((150, 178, 190), rng), _vary((72, 108, 126), rng))
    return _soften(_textured(image, _cloud(rng, ((3, 24), (5, 48))), 0.16), 0.6)


def _trunk(rng: np.random.Generator) -> Image.Image:
    image = _foliage(rng)
    wide = rng.uniform(0.35, 0.75)
    left = rng.uniform(0.0, 1 - wide)
    bark = _textured(Image.new("RGB", (GRID, GRID), _pick(BROWNS, rng)), _cloud(rng, ((14, 4), (32, 10))), 0.3)
    across = (np.linspace(0, 1, GRID) - left) / wide
    round_light = np.clip(1.15 - 1.1 * np.abs(across - 0.4), 0.4, 1.2).astype(np.float32)
    bark = _textured(bark, np.broadcast_to(round_light - 1, (GRID, GRID)), 1.0)
    edges = [int(left * GRID), int((left + wide) * GRID)]
    image.paste(bark.crop((edges[0], 0, edges[1], GRID)), (edges[0], 0))
    return _soften(image, 0.8)


def _leaf_litter(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (GRID, GRID), _vary((74, 58, 44), rng))
    draw = ImageDraw.Draw(image)
    for _ in range(34):
        colour = _pick(BROWNS, rng, 14) if rng.random() < 0.85 else _pick(GREENS, rng)
        _leaf_shape(draw, rng, colour, rng.uniform(0.2, 0.5))
    return _soften(image, 1.1)


def _leaf(rng: np.random.Generator) -> Image.Image:
    """Surface of one big leaf: midrib across the frame and parallel side veins."""
    base = _pick(GREENS, rng)
    image = _textured(_gradient(base, _vary(base, rng, 8)), _cloud(rng, ((4, 4), (12, 12))), 0.1)
    draw = ImageDraw.Draw(image, "RGBA")
    angle, vein = rng.uniform(0, np.pi), (235, 240, 190, 70)
    along = np.array([np.cos(angle), np.sin(angle)]) * GRID
    centre = rng.uniform(0.25, 0.75, 2) * GRID
    draw.line([*map(float, centre - 2 * along), *map(float, centre + 2 * along)], fill=vein, width=3)
    for offset in np.arange(-1.4, 1.5, rng.uniform(0.14, 0.24)):
        root = centre + along * offset
        for side in (1, -1):
            tip = root + along * 0.6 + side * np.array([-along[1], along[0]]) * 0.9
            draw.line([*map(float, root), *map(float, tip)], fill=vein, width=1)
    return _soften(image, 0.8)


def _flower_bed(rng: np.random.Generator) -> Image.Image:
    lights = [_pick(BLOOMS, rng) for _ in range(2)]
    return _bokeh(rng, GREENS, lights, count=int(rng.integers(8, 18)))


def _sand(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((206, 188, 150), rng), _vary((190, 170, 132), rng))
    image = _textured(image, _cloud(rng, ((5, 5), (60, 60))), 0.12)
    _discs(image, rng, ((150, 132, 108), (222, 208, 180)), count=12, radius=(0.006, 0.025), alpha=190)
    return _soften(image, 0.5)


def _bark(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (GRID, GRID), _pick(BROWNS, rng))
    image = _textured(image, _cloud(rng, ((12, 3), (30, 8), (60, 30))), 0.3)
    _discs(image, rng, ((140, 156, 128), (168, 176, 146)), count=5, radius=(0.03, 0.09), alpha=80)
    return _soften(image, 0.7)


def _meadow(rng: np.random.Generator) -> Image.Image:
    image = _bokeh(rng, GREENS, [_pick(BLOOMS, rng), (214, 222, 150)], count=int(rng.integers(4, 10)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5, 12))):
        _blade(draw, rng, _pick(GREENS, rng))
    return _soften(image, 2.2)


def _soil(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((98, 76, 58), rng), _vary((72, 56, 44), rng))
    image = _textured(image, _cloud(rng, ((6, 6), (24, 24), (60, 60))), 0.28)
    _discs(image, rng, ((128, 110, 92), (58, 46, 38)), count=16, radius=(0.01, 0.035), alpha=170)
    return _soften(image, 0.8)


def _dark(rng: np.random.Generator) -> Image.Image:
    tone = _vary((30, 34, 38), rng, 7)
    return _textured(_gradient(tone, (12, 14, 16)), _cloud(rng, ((3, 3),)), 0.35)


def _blue_water(rng: np.random.Generator) -> Image.Image:
    image = _gradient(_vary((92, 176, 204), rng, 14), _vary((16, 62, 104), rng, 12))
    rays = Image.new("L", (GRID, GRID), 0)
    draw, source = ImageDraw.Draw(rays), rng.uniform(-0.2, 1.2) * GRID
    for _ in range(int(rng.integers(3, 8))):
        foot, width = rng.uniform(-0.8, 1.8) * GRID, rng.uniform(0.04, 0.16) * GRID
        draw.polygon(((source - 3, -8), (source + 3, -8), (foot + width, GRID), (foot - width, GRID)), fill=255)
    fade = np.linspace(0.3, 0.0, GRID, dtype=np.float32)[:, None]
    glow = np.asarray(_soften(rays, 3), np.float32) * fade
    pixels = np.clip(np.asarray(image, np.float32) + glow[:, :, None], 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _reef(rng: np.random.Generator) -> Image.Image:
    image = _blue_water(rng)
    draw = ImageDraw.Draw(image)
    for _ in range(18):
        x, r = rng.uniform(0, 1) * GRID, rng.uniform(0.05, 0.15) * GRID
        y = rng.uniform(0.72, 1.0) * GRID
        tone = np.asarray(_pick(CORALS, rng, 14)) * 0.7 + np.array([30, 80, 110]) * 0.3
        draw.ellipse((x - r, y - r * 0.8, x + r, y + r * 1.4), fill=(int(tone[0]), int(tone[1]), int(tone[2])))
    return _soften(image, 2.0)


def _sea_floor(rng: np.random.Generator) -> Image.Image:
    image, sand = _blue_water(rng), _textured(_sand(rng), _cloud(rng, ((4, 14),)), 0.12)
    line = rng.uniform(0.55, 0.8)
    share = np.clip((np.linspace(0, 1, GRID) - line) / 0.12, 0, 1) * 0.72
    mask = Image.fromarray(np.broadcast_to(share[:, None] * 255, (GRID, GRID)).astype(np.uint8))
    return _soften(Image.composite(sand, image, mask), 0.8)


def _plate(rng: np.random.Generator) -> Image.Image:
    paper = Image.new("RGB", (GRID, GRID), _vary((243, 239, 228), rng, 4))
    return _textured(paper, _cloud(rng, ((3, 3), (20, 20), (80, 80))), 0.018)


PAINTERS: dict[str, Painter] = {
    "foliage": _foliage, "sky": _sky, "reeds": _reeds, "lake": _lake, "trunk": _trunk, "leaf litter": _leaf_litter,
    "leaf": _leaf, "flower bed": _flower_bed, "sand": _sand, "bark": _bark, "meadow": _meadow, "soil": _soil,
    "dark": _dark, "blue water": _blue_water, "reef": _reef, "sea floor": _sea_floor, PLATE: _plate,
}  # fmt: skip

KINDS_BY_SUPER_CATEGORY: dict[str, tuple[str, ...]] = {
    "bird": ("foliage", "sky", "reeds", "lake", "trunk"),
    "butterfly": ("leaf litter", "leaf", "flower bed", "sand", "bark"),
    "beetle": ("leaf litter", "leaf", "flower bed", "sand", "bark"),
    "flower": ("meadow", "soil", "dark"),
    "fish": ("blue water", "reef", "sea floor"),
}

SHADOWED = frozenset({"leaf litter", "leaf", "sand", "bark", "soil", "trunk", PLATE})
