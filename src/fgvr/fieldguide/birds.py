"""Draws one bird in side view, facing right, from its attributes and the body plan of its genus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.fieldguide.birds_species import SPECIES
from fgvr.fieldguide.canvas import Canvas, Colour, Points, darker, ellipse, lighter, mix, spline
from fgvr.fieldguide.species import Morph, Species

__all__ = ["SPECIES", "draw"]

PALETTE: dict[str, Colour] = {
    "black": (38, 36, 42),
    "white": (246, 243, 234),
    "grey": (122, 132, 146),
    "brown": (124, 98, 72),
    "chestnut": (172, 70, 28),
    "red": (206, 42, 40),
    "orange": (232, 128, 44),
    "yellow": (244, 208, 64),
    "green": (52, 138, 84),
    "blue": (40, 112, 184),
    "purple": (124, 58, 160),
    "pink": (230, 142, 152),
    "olive": (126, 132, 66),
    "buff": (222, 190, 142),
}


@dataclass(frozen=True)
class Plan:
    """Body plan of a genus; lengths are in units of half the body's length."""

    depth: float
    """Half the body's depth."""
    tilt: float
    """Degrees the chest is raised above the horizontal."""
    head: float
    """Radius of the head."""
    neck: tuple[float, float]
    """Head centre in the body's frame: forward, up."""
    bill: tuple[float, float, float]
    """Length, depth at the base and droop of the tip, in head radii."""
    bill_colour: Colour
    legs: float
    leg_colour: Colour
    tail: float
    cock: float
    """Degrees the tail is raised above the line of the body."""
    wing: float
    crest: float = 0.0
    twig: str = "none"
    flat_bill: bool = False
    """Broad and flat, with a rounded tip, as a duck's."""


PLANS: dict[str, Plan] = {
    "Warbler": Plan(0.50, 24, 0.42, (0.86, 0.42), (0.75, 0.26, 0.0), (70, 62, 58), 0.55, (112, 84, 66), 0.95, 0, 1.0),
    "Vireo": Plan(0.54, 18, 0.46, (0.84, 0.40), (0.72, 0.40, 0.14), (84, 92, 104), 0.50, (96, 104, 116), 0.85, 0, 1.0),
    "Finch": Plan(0.58, 30, 0.45, (0.80, 0.42), (0.66, 0.66, 0.06), (190, 150, 112), 0.45, (150, 104, 84), 0.8, 0, 1.0),
    "Sparrow": Plan(
        0.60, 22, 0.46, (0.80, 0.38), (0.62, 0.56, 0.04), (104, 88, 78), 0.48, (172, 118, 92), 0.9, 4, 0.95
    ),
    "Wren": Plan(0.66, 16, 0.46, (0.76, 0.40), (1.05, 0.24, 0.16), (92, 74, 56), 0.55, (134, 100, 76), 0.7, 78, 0.82),
    "Kingfisher": Plan(
        0.56, 46, 0.50, (0.96, 0.34), (1.85, 0.46, 0.0), (52, 46, 48), 0.24, (214, 84, 54), 0.5, -8, 1.0, 0.45, "branch"
    ),
    "Plover": Plan(0.46, 12, 0.36, (0.96, 0.52), (1.0, 0.26, 0.0), (48, 44, 46), 1.25, (206, 148, 64), 0.45, -6, 1.15),
    "Woodpecker": Plan(
        0.44, 62, 0.40, (0.94, 0.20), (1.3, 0.34, 0.0), (84, 82, 84), 0.30, (104, 102, 104), 0.75, 6, 1.0, 0.3, "trunk"
    ),
    "Hummingbird": Plan(
        0.40, 34, 0.38, (0.88, 0.30), (2.3, 0.16, 0.1), (40, 36, 38), 0.16, (70, 60, 58), 0.7, -4, 1.35
    ),
    "Duck": Plan(
        0.40, 3, 0.33, (0.98, 0.72), (1.35, 0.40, 0.16), (222, 170, 58), 0.22, (222, 124, 52), 0.42, 14, 1.0,
        flat_bill=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Affine frame: ``at`` maps (forward, down) coordinates of a body part to the unit square."""

    origin: np.ndarray
    forward: np.ndarray
    down: np.ndarray

    def at(self, points: Sequence[Sequence[float]] | Points) -> Points:
        p = np.asarray(points, float)
        mapped: Points = self.origin + p[:, :1] * self.forward + p[:, 1:] * self.down
        return mapped

    def fitted(self, scale: float, centre: np.ndarray) -> Frame:
        return Frame((self.origin - centre) * scale, self.forward * scale, self.down * scale)


@dataclass(frozen=True)
class Pose:
    """Where this individual holds its body, head and tail."""

    body: Frame
    head: Frame
    tail: Frame
    unit: float
    """Length of half the body in the unit square, for line widths."""


def _frame(origin: np.ndarray, degrees: float, length: float = 1.0, depth: float | None = None) -> Frame:
    """Frame whose forward axis is raised by ``degrees``."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    down = length if depth is None else depth
    return Frame(np.asarray(origin, float), np.array([cos, -sin]) * length, np.array([sin, cos]) * down)


def _pose(plan: Plan, tail_shape: str, morph: Morph) -> Pose:
    """Frames of the parts, varied by the individual, scaled to fill the square."""
    p = morph.proportions
    plump = float(p[0]) * (1.1 if morph.sex == "juvenile" else 1.0)
    tilt = plan.tilt + morph.rng.normal(0, 4)
    body = _frame(np.zeros(2), tilt, 1.0, plan.depth * plump)
    nod = morph.rng.choice([-14.0, 0.0, 0.0, 16.0]) + morph.rng.normal(0, 3)
    forward, up = plan.neck
    # The head swings about the base of the neck: raising it also carries it back.
    swing = _frame(body.at([[forward * 0.6, 0.0]])[0], tilt + nod * 0.7)
    radius = plan.head * float(p[3]) * (1.06 if morph.sex == "juvenile" else 1.0)
    head = _frame(swing.at([[forward * 0.4, -up]])[0], nod, radius)
    cock = plan.cock + morph.rng.choice([-10.0, 0.0, 10.0]) + morph.rng.normal(0, 3)
    length = plan.tail * float(p[2]) * {"long": 1.75, "forked": 1.2, "rounded": 0.9}.get(tail_shape, 1.0)
    tail = _frame(body.at([[-0.86, -0.12]])[0], tilt - cock, length, 0.27 * (1 + 0.25 * plan.tail))
    raw = Pose(body, head, tail, 1.0)
    extent = np.vstack([_silhouette(raw), _tail(raw, tail_shape), *_bill(raw, plan, morph), *_legs(raw, plan, morph)])
    if plan.crest:
        extent = np.vstack([extent, _crest(raw, plan)])
    low, high = extent.min(axis=0), extent.max(axis=0)
    scale = 1.72 / float((high - low).max())
    centre = (low + high) / 2
    body, head, tail = (frame.fitted(scale, centre) for frame in (body, head, tail))
    return Pose(body, head, tail, scale)


def _silhouette(pose: Pose) -> Points:
    """One outline round head, neck and body, clockwise from the rump."""
    back = pose.body.at([(-1.02, -0.3), (-0.5, -0.74), (0.1, -0.92)])
    skull = pose.head.at([(-0.95, -0.15), (-0.62, -0.76), (0.0, -1.0), (0.62, -0.76), (0.98, -0.05), (0.72, 0.62)])
    front = pose.body.at([(0.98, 0.44), (0.62, 0.92), (0.05, 1.06), (-0.55, 0.78), (-1.02, 0.22)])
    return spline(np.vstack([back, skull, front]), steps=6)


def _tail(pose: Pose, shape: str) -> Points:
    """Outline of the tail, from the rump to the tip along minus ``forward``."""
    root = [(0.15, -0.75), (0.15, 0.75)]
    tips = {
        "forked": [(-0.5, 1.0), (-1.1, 1.75), (-0.98, 1.05), (-0.55, 0.0), (-0.98, -1.05), (-1.1, -1.75), (-0.5, -1.0)],
        "square": [(-0.6, 0.95), (-1.0, 1.15), (-1.0, -1.15), (-0.6, -0.95)],
        "long": [(-0.5, 0.75), (-0.92, 0.7), (-1.0, 0.2), (-1.0, -0.2), (-0.92, -0.7), (-0.5, -0.75)],
        "rounded": [(-0.5, 1.25), (-0.8, 1.3), (-0.98, 0.75), (-1.05, 0), (-0.98, -0.75), (-0.8, -1.3), (-0.5, -1.25)],
    }[shape]
    return pose.tail.at([*root, *tips])


def _bill(pose: Pose, plan: Plan, morph: Morph) -> tuple[Points, Points]:
    """Upper and lower mandible."""
    length, depth, droop = plan.bill
    tip = 0.85 + length * float(morph.proportions[1])
    if plan.flat_bill:
        upper = [(0.74, -0.28), (tip * 0.68, 0.06), (tip * 0.92, 0.1), (tip, 0.26), (tip * 0.9, 0.36), (0.74, 0.34)]
        return spline(pose.head.at(upper), steps=5), pose.head.at([(0.74, 0.3), (tip * 0.9, 0.34), (0.74, 0.46)])
    upper = [(0.78, 0.1 - depth), ((0.85 + tip) / 2, 0.1 - depth * 0.66), (tip, 0.1 + droop), (0.78, 0.14)]
    lower = [(0.78, 0.12), (tip * 0.96, 0.1 + droop), (0.42 + tip / 2, 0.12 + depth * 0.44), (0.74, 0.1 + depth * 0.6)]
    return pose.head.at(upper), pose.head.at(lower)


def _legs(pose: Pose, plan: Plan, morph: Morph) -> list[Points]:
    """Two bent legs with three toes each, as polylines hanging straight down whatever the body's tilt."""
    legs = []
    length = plan.legs * float(morph.proportions[4]) * pose.unit
    for hip, lean in ((-0.12, -0.08), (0.16, 0.06)):
        top = pose.body.at([(hip, 0.9)])[0]
        knee = top + np.array([-0.16 + lean, 0.45]) * length
        foot = top + np.array([lean, 1.0]) * length
        toe = 0.16 * pose.unit
        ends = [foot + np.array([dx, dy]) * toe for dx, dy in ((1.3, 0.2), (0, 0), (0.9, 0.5), (0, 0), (-0.9, 0.2))]
        legs.append(np.vstack([top, knee, foot, *ends]))
    return legs


def _crest(pose: Pose, plan: Plan) -> Points:
    """Ragged feathers on the crown, swept back."""
    high = plan.crest
    spikes = [(0.5, -0.75), (-0.2, -1.0 - high), (-0.32, -0.92), (-0.75, -0.8 - high), (-0.72, -0.62), (-1.2, -0.6)]
    return pose.head.at([*spikes, (-0.7, 0.1), (0.2, -0.3)])


@dataclass(frozen=True)
class Coat:
    """Colours of one individual: every attribute's colour after sex, age and tint."""

    morph: Morph

    def __call__(self, name: str) -> Colour:
        base = np.asarray(PALETTE[name], float)
        fade = {"male": 0.0, "female": 0.18, "juvenile": 0.24}[self.morph.sex]
        grey = float(base.mean())
        faded = base + (0.9 * grey + 14 - base) * fade
        r, g, b = np.clip(faded * self.morph.tint, 0, 255).astype(int)
        return int(r), int(g), int(b)


def _draw_tail(canvas: Canvas, pose: Pose, shape: str, colour: Colour) -> None:
    dark = darker(colour, 0.28)
    canvas.polygon(_tail(pose, shape), dark)
    spread = {"forked": 1.5, "rounded": 0.8, "long": 0.4, "square": 0.8}[shape]
    for share in (-1.0, -0.35, 0.35, 1.0):
        end = -0.9 if abs(share) == 1.0 or shape != "forked" else -0.55
        quill = pose.tail.at([(0.1, share * 0.45), (end, share * spread * (0.85 if end > -0.9 else 1.0))])
        canvas.stroke(quill, 0.012, darker(dark, 0.4))


def _draw_support(canvas: Canvas, pose: Pose, plan: Plan) -> None:
    """The bit of branch or trunk that a clinging bird cannot be shown without."""
    bark: Colour = (112, 92, 76)
    if plan.twig == "trunk":
        x = float(pose.body.at([(0.1, 1.0)])[0, 0]) + 0.2 * pose.unit
        edge = [(x, -0.95), (x + 0.04, -0.3), (x - 0.02, 0.3), (x + 0.03, 0.95), (x + 0.22, 0.95), (x + 0.2, 0.1)]
        canvas.polygon(spline([*edge, (x + 0.24, -0.95)]), bark)
        for y in (-0.6, -0.1, 0.4):
            canvas.stroke([(x + 0.1, y - 0.12), (x + 0.12, y + 0.16)], 0.018, darker(bark, 0.35))
    elif plan.twig == "branch":
        x, y = (float(v) for v in pose.body.at([(0.0, 0.95)])[0])
        y += plan.legs * pose.unit + 0.03
        canvas.stroke(spline([(x - 0.4, y + 0.05), (x, y), (x + 0.5, y + 0.03)], closed=False), 0.08, bark)


def _draw_plumage(canvas: Canvas, pose: Pose, attributes: dict[str, str], coat: Coat) -> None:
    """Underparts, throat, crown, stripe and rump, all inside the outline of the body."""
    back, breast = coat(attributes["back colour"]), coat(attributes["breast colour"])
    outline = _silhouette(pose)
    canvas.polygon(outline, back)
    body, head = pose.body, pose.head
    with canvas.clipped(outline):
        under = [(1.6, -0.5), (0.75, -0.12), (0.0, 0.1), (-0.6, 0.2), (-1.15, 0.1), (-1.0, 1.3), (0.4, 1.5), (1.6, 1.0)]
        canvas.polygon(spline(body.at(under)), breast)
        belly = [(0.0, 0.78), (-0.6, 0.34), (-1.2, 0.15), (-1.0, 1.4), (0.3, 1.5)]
        canvas.polygon(spline(body.at(belly)), mix(breast, (244, 240, 228), 0.55))
        _draw_pattern(canvas, body, attributes["breast pattern"], breast, coat.morph)
        cheek = mix(back, breast, 0.3)
        canvas.polygon(head.at(ellipse(0, 0, 1.02, 1.02)), cheek)
        throat = [(1.2, 0.18), (0.5, 0.24), (-0.1, 0.52), (-0.62, 0.95), (-0.2, 1.5), (0.5, 1.45), (1.1, 1.0)]
        canvas.polygon(spline(head.at(throat)), coat(attributes["throat colour"]))
        rump = [(-1.3, -0.9), (-0.4, -1.2), (-0.34, -0.5), (-0.62, 0.05), (-1.3, 0.1)]
        canvas.polygon(spline(body.at(rump)), coat(attributes["rump colour"]))
        crown = [(1.05, -0.22), (0.45, -0.36), (-0.3, -0.34), (-0.9, 0.05), (-1.5, -0.3), (-1, -1.2), (0, -1.5)]
        canvas.polygon(spline(head.at([*crown, (1.0, -1.0)])), coat(attributes["crown colour"]))
        if attributes["eye stripe"] != "none":
            stripe = spline(head.at([(0.95, -0.16), (0.4, -0.38), (-0.3, -0.36), (-0.95, 0.0)]), closed=False)
            canvas.stroke(stripe, 0.27 * float(np.hypot(*head.forward)), coat(attributes["eye stripe"]))
    canvas.shade(outline, strength=0.27, toward=(-0.15, 1.0))


def _draw_pattern(canvas: Canvas, body: Frame, pattern: str, breast: Colour, morph: Morph) -> None:
    """Streaks or spots in rows over the breast."""
    if pattern == "plain":
        return
    ink = darker(mix(breast, (96, 62, 40), 0.6), 0.45)
    size = float(np.hypot(*body.forward))
    for row in range(4):
        for column in range(5):
            u = 0.88 - column * 0.3 + 0.12 * (row % 2) + morph.rng.normal(0, 0.025)
            v = 0.14 + row * 0.26 + morph.rng.normal(0, 0.025)
            if pattern == "spotted":
                x, y = body.at([(u, v)])[0]
                canvas.ellipse(float(x), float(y), 0.066 * size, 0.066 * size, ink)
            else:
                canvas.stroke(body.at([(u + 0.08, v - 0.1), (u - 0.1, v + 0.1)]), 0.07 * size, ink)


def _draw_wing(canvas: Canvas, pose: Pose, plan: Plan, attributes: dict[str, str], coat: Coat) -> None:
    """Folded wing: coverts, bars, secondaries and the primaries' points over the rump."""
    reach = plan.wing * float(coat.morph.proportions[5])
    droop = 0.16 * float(coat.morph.rng.choice([0.0, 0.0, 1.0]))
    at = pose.body.at
    tip = 0.55 - 1.5 * reach
    shape = [(0.55, -0.3), (0.3, -0.66), (-0.2, -0.62), (-0.6, -0.42 + droop), (tip, -0.22 + droop)]
    shape += [(-0.62, 0.2 + droop), (-0.1, 0.42), (0.38, 0.26)]
    outline = spline(at(shape))
    back = coat(attributes["back colour"])
    base = darker(back, 0.12)
    canvas.polygon(outline, base)
    bars = {"none": (), "one": (0.02,), "two": (0.2, -0.2)}[attributes["wing bars"]]
    ink = lighter(back, 0.22) if sum(back) < 180 else darker(back, 0.5)
    with canvas.clipped(outline):
        primaries = [(-0.42, -0.7), (tip - 0.2, -0.6), (tip - 0.2, 0.4), (-0.62, 0.5), (-0.3, 0.0)]
        canvas.polygon(spline(at(primaries)), darker(back, 0.36))
        for share in np.linspace(-0.4, 0.32, 5):
            quill = [(-0.22, share), (-0.6, share * 0.75 + droop), (tip, -0.22 + droop)]
            canvas.stroke(spline(at(quill), closed=False), 0.011, ink)
        for u in (0.36, 0.16, -0.04):
            scallop = [(u + 0.02, -0.6), (u - 0.12, -0.2), (u - 0.02, 0.4)]
            canvas.stroke(spline(at(scallop), closed=False), 0.01, mix(base, ink, 0.5))
        for u in bars:
            bar = spline(at([(u + 0.06, -0.8), (u - 0.1, -0.15), (u + 0.04, 0.5)]), closed=False)
            canvas.stroke(bar, 0.125 * pose.unit, coat("white"))
    canvas.stroke(spline(at(shape[4:]), closed=False), 0.012, darker(back, 0.5))
    canvas.shade(outline, strength=0.25, toward=(-0.2, 1.0))


def _draw_face(canvas: Canvas, pose: Pose, plan: Plan, morph: Morph) -> None:
    radius = float(np.hypot(*pose.head.forward))
    upper, lower = _bill(pose, plan, morph)
    canvas.polygon(lower, darker(plan.bill_colour, 0.3))
    canvas.polygon(upper, plan.bill_colour)
    canvas.stroke(upper[:3], 0.01, darker(plan.bill_colour, 0.25))
    x, y = (float(v) for v in pose.head.at([(0.36, -0.1)])[0])
    canvas.ellipse(x, y, 0.215 * radius, 0.215 * radius, (226, 220, 204))
    canvas.ellipse(x, y, 0.18 * radius, 0.18 * radius, (24, 18, 18))
    canvas.ellipse(x + 0.06 * radius, y - 0.07 * radius, 0.06 * radius, 0.06 * radius, (255, 255, 255))


def draw(canvas: Canvas, species: Species, morph: Morph) -> None:
    """One individual of ``species``; see :class:`fgvr.fieldguide.species.Draw`."""
    attributes, plan, coat = species.attributes, PLANS[species.genus], Coat(morph)
    pose = _pose(plan, attributes["tail shape"], morph)
    _draw_support(canvas, pose, plan)
    for leg, shadow in zip(_legs(pose, plan, morph), (0.25, 0.0), strict=True):
        canvas.stroke(leg, 0.032 if plan.legs < 1 else 0.036, darker(plan.leg_colour, shadow))
    _draw_tail(canvas, pose, attributes["tail shape"], coat(attributes["back colour"]))
    if plan.crest:
        canvas.polygon(_crest(pose, plan), coat(attributes["crown colour"]))
    _draw_plumage(canvas, pose, attributes, coat)
    _draw_wing(canvas, pose, plan, attributes, coat)
    _draw_face(canvas, pose, plan, morph)
