"""Photographs an organism: pose, framing, background, light, occluders and lens faults, all drawn from one seed.

A ``View`` holds every random choice in units of the frame, never in pixels, so one view is the same picture at any
size. Parts that need many small draws (background, occluder, sensor noise) carry a seed of their own in the view.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from fgvr.fieldguide.backgrounds import PLATE, casts_shadow, choose_background, draw_background
from fgvr.fieldguide.canvas import Canvas, soft_shadow
from fgvr.fieldguide.guide import drawing_of
from fgvr.fieldguide.occluders import OCCLUDERS, occlude
from fgvr.fieldguide.species import Morph, Species

Box = tuple[float, float, float, float]

ANGLE_LIMIT = {"bird": 25.0, "fish": 25.0, "flower": 25.0, "butterfly": 40.0, "beetle": 40.0}
CANVAS_FILL = 0.85
"""Share of its canvas that a canonical drawing fills."""
FRAME_LIMIT = 0.95
"""Largest share of the frame that a turned organism may take before it is reduced to fit."""
VISIBLE_ALPHA = 64
STRONG_BLUR, DUSK, HEAVY_OCCLUSION = 0.006, 0.55, 0.14


@dataclass(frozen=True)
class View:
    """Everything random about one picture; lengths are shares of the frame's side."""

    angle: float
    """Degrees counter-clockwise on screen."""
    flip: bool
    scale: float
    """Side of the untilted organism."""
    offset: tuple[float, float]
    """Where the organism lies in the room left over, each 0 (left, top) to 1 (right, bottom)."""
    background: str
    brightness: float
    warmth: float
    """Colour temperature: red gains and blue loses this share; negative is colder."""
    contrast: float
    blur: float
    """Radius of the blur."""
    occluder: str
    """``none`` or a kind of ``occluders.OCCLUDERS``."""
    occlusion: float
    """Most that the occluder may hide of the organism."""
    noise: float
    """Standard deviation, in 0-255 grey levels."""
    sex: str
    tint: tuple[float, ...]
    proportions: tuple[float, ...]
    seed: int
    """Seeds the parts drawn from streams of their own."""

    @property
    def difficulty(self) -> str:
        """``poor`` when strongly blurred, taken at dusk or heavily hidden, else ``clear``."""
        poor = self.blur >= STRONG_BLUR or self.brightness < DUSK or self.occlusion >= HEAVY_OCCLUSION
        return "poor" if poor else "clear"

    def stream(self, name: str) -> np.random.Generator:
        """The independent generator of one part of the picture."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class Rendered:
    """One picture: RGB image, tight pixel box (x0, y0, x1, y1) of what is visible of the organism, and its view."""

    image: Image.Image
    box: Box
    view: View


@dataclass(frozen=True)
class Scene:
    """Several organisms in one picture; ``boxes[i]`` is the visible part of ``species[i]``."""

    image: Image.Image
    species: tuple[Species, ...]
    boxes: tuple[Box, ...]
    background: str


def view_generator(species: Species, view_seed: int) -> np.random.Generator:
    """The generator from which a view of ``species`` is drawn; stable between runs and machines."""
    return np.random.default_rng([view_seed, zlib.crc32(species.key.encode())])


def sample_view(species: Species, rng: np.random.Generator) -> View:
    """Draw a view; about 15 % come out ``poor``."""
    background = choose_background(species.super_category, rng)
    on_plate = background == PLATE
    dusk = rng.random() < 0.08 and not on_plate
    brightness = rng.uniform(0.42, DUSK - 0.01) if dusk else rng.uniform(0.7, 1.25)
    hidden = rng.random() < 0.27 and not on_plate
    occlusion = rng.uniform(0.04, 0.15 + 0.015) if hidden else 0.0
    limit = ANGLE_LIMIT[species.super_category]
    return View(
        angle=float(np.clip(rng.normal(0, limit / 2), -limit, limit)),
        flip=bool(rng.random() < 0.5),
        scale=float(rng.uniform(0.45, 0.9)),
        offset=(float(rng.beta(2, 2)), float(rng.beta(2, 2))),
        background=background,
        brightness=float(min(brightness, 1.06) if on_plate else brightness),
        warmth=float(rng.normal(0, 0.05)),
        contrast=float(rng.uniform(0.82, 1.15)),
        blur=_sample_blur(rng),
        occluder=OCCLUDERS[int(rng.integers(len(OCCLUDERS)))] if hidden else "none",
        occlusion=float(occlusion),
        noise=float(rng.uniform(0, 6)),
        sex=("male", "female", "juvenile")[int(rng.choice(3, p=[0.5, 0.35, 0.15]))],
        tint=tuple(float(v) for v in np.clip(rng.normal(1, 0.03, 3), 0.92, 1.08)),
        proportions=tuple(float(v) for v in np.clip(rng.normal(1, 0.05, 8), 0.87, 1.13)),
        seed=int(rng.integers(2**32)),
    )


def _sample_blur(rng: np.random.Generator) -> float:
    kind, share = rng.random(), rng.random()
    if kind < 0.75:
        return 0.0
    return float(0.004 * share if kind < 0.955 else STRONG_BLUR + (0.012 - STRONG_BLUR) * share)


def render(species: Species, view_seed: int, *, size: int) -> Rendered:
    """The picture of ``species`` that ``view_seed`` stands for, ``size`` x ``size``; same arguments, same bytes."""
    return render_view(species, sample_view(species, view_generator(species, view_seed)), size=size)


def render_view(species: Species, view: View, *, size: int) -> Rendered:
    """The picture of ``species`` under a given view."""
    frame = draw_background(view.background, size, view.stream("background"))
    organism = posed(species, view, size=size)
    corner = _corner(organism, view.offset, size)
    frame, alpha = _lay(frame, organism, corner, shadow=casts_shadow(view.background))
    if view.occluder != "none":
        frame, alpha = occlude(frame, alpha, view.occluder, view.occlusion, view.stream("occluder"))
    return Rendered(_expose(frame, view), _visible_box(alpha), view)


def posed(species: Species, view: View, *, size: int) -> Image.Image:
    """The organism flipped and turned, RGBA, cropped to what is visible; ``size`` is the frame's side."""
    canvas = Canvas(max(8, round(view.scale * size / CANVAS_FILL)))
    morph = Morph(view.sex, np.asarray(view.tint), np.asarray(view.proportions), view.stream("texture"))
    drawing_of(species)(canvas, species, morph)
    drawing = canvas.image()
    if view.flip:
        drawing = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = drawing.rotate(view.angle, Image.Resampling.BICUBIC, expand=True)
    cropped = turned.crop(turned.getchannel("A").getbbox())
    excess = max(cropped.size) / (FRAME_LIMIT * size)
    if excess > 1:
        reduced = (max(1, round(cropped.width / excess)), max(1, round(cropped.height / excess)))
        cropped = cropped.resize(reduced, Image.Resampling.BICUBIC)
    return cropped


def _corner(organism: Image.Image, offset: tuple[float, float], size: int) -> tuple[int, int]:
    return round((size - organism.width) * offset[0]), round((size - organism.height) * offset[1])


def _lay(
    frame: Image.Image, organism: Image.Image, corner: tuple[int, int], *, shadow: bool
) -> tuple[Image.Image, Image.Image]:
    """The frame with the organism over it, and the organism's alpha channel in the frame (L)."""
    layer = Image.new("RGBA", frame.size, (0, 0, 0, 0))
    layer.paste(organism, corner)
    frame = frame.copy()
    if shadow:
        side = frame.width
        dark = soft_shadow(layer, radius=0.018 * side, opacity=0.45)
        fall = (round(0.012 * side), round(0.02 * side))
        frame.paste(dark.convert("RGB"), fall, dark.getchannel("A"))
    alpha = layer.getchannel("A")
    frame.paste(layer.convert("RGB"), (0, 0), alpha)
    return frame, alpha


def _visible_box(alpha: Image.Image) -> Box:
    solid = alpha.point([0] * VISIBLE_ALPHA + [255] * (256 - VISIBLE_ALPHA)).getbbox() or alpha.getbbox()
    if solid is None:
        raise ValueError("the drawing of this organism is empty")
    x0, y0, x1, y1 = solid
    return float(x0), float(y0), float(x1), float(y1)


def _expose(frame: Image.Image, view: View) -> Image.Image:
    """Lens, light and sensor, in the order in which a camera applies them."""
    if view.blur > 0:
        frame = frame.filter(ImageFilter.GaussianBlur(view.blur * frame.width))
    gain = np.float32(view.brightness) * np.array([1 + view.warmth, 1, 1 - view.warmth], np.float32)
    pivot = np.float32(118 * view.brightness)
    pixels = (np.asarray(frame, np.float32) * gain - pivot) * np.float32(view.contrast) + pivot
    grain = view.stream("noise").standard_normal((frame.height, frame.width, 1), np.float32)
    return Image.fromarray(np.clip(pixels + grain * np.float32(view.noise), 0, 255).astype(np.uint8))


def render_scene(specimens: Sequence[tuple[Species, int]], seed: int, *, size: int) -> Scene:
    """Two to five organisms, each (species, view seed), in one picture on the first one's kind of background."""
    if not 2 <= len(specimens) <= 5:
        raise ValueError(f"a scene holds 2 to 5 organisms, not {len(specimens)}")
    rng = np.random.default_rng([seed, zlib.crc32(b"scene")])
    camera = replace(sample_view(specimens[0][0], rng), blur=0.0, occluder="none", occlusion=0.0)
    camera = replace(camera, brightness=max(camera.brightness, 0.75))
    frame = draw_background(camera.background, size, camera.stream("background"))
    largest = 0.5 if len(specimens) <= 3 else 0.42
    alphas: list[Image.Image] = []
    taken: list[Box] = []
    for species, view_seed in specimens:
        view = sample_view(species, view_generator(species, view_seed))
        view = replace(view, scale=float(rng.uniform(largest - 0.12, largest)))
        organism = posed(species, view, size=size)
        corner = _free_corner(organism, taken, rng, size)
        taken.append((*corner, corner[0] + organism.width, corner[1] + organism.height))
        frame, alpha = _lay(frame, organism, corner, shadow=casts_shadow(camera.background))
        alphas = [ImageChops.multiply(below, ImageChops.invert(alpha)) for below in alphas]
        alphas.append(alpha)
    boxes = tuple(_visible_box(alpha) for alpha in alphas)
    return Scene(_expose(frame, camera), tuple(one for one, _ in specimens), boxes, camera.background)


def _free_corner(organism: Image.Image, taken: Sequence[Box], rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Of 60 random places, the one whose box is least covered by the boxes already taken."""
    places = [_corner(organism, (float(x), float(y)), size) for x, y in rng.random((60, 2))]

    def covered(place: tuple[int, int]) -> float:
        x, y = place
        return sum(
            max(0.0, min(x + organism.width, x1) - max(x, x0)) * max(0.0, min(y + organism.height, y1) - max(y, y0))
            for x0, y0, x1, y1 in taken
        )

    return min(places, key=covered)
