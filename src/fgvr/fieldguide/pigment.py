"""Named colours of the field guide, as one individual wears them."""

from __future__ import annotations

import numpy as np

from fgvr.fieldguide.canvas import Colour, mix
from fgvr.fieldguide.species import Morph

HUES: dict[str, Colour] = {
    "black": (34, 32, 38),
    "white": (245, 243, 234),
    "grey": (158, 165, 172),
    "brown": (106, 70, 42),
    "chestnut": (146, 72, 40),
    "red": (206, 44, 42),
    "orange": (238, 132, 36),
    "yellow": (246, 206, 52),
    "green": (84, 148, 72),
    "blue": (56, 104, 202),
    "purple": (136, 82, 178),
    "pink": (236, 136, 170),
    "olive": (122, 124, 62),
    "buff": (214, 184, 136),
}
_DULLNESS = {"male": 0.0, "female": 0.2, "juvenile": 0.15}


def pigment(name: str, morph: Morph) -> Colour:
    """The colour called ``name`` on this individual: tinted, and duller on females and juveniles."""
    colour = np.asarray(HUES[name], float) * morph.tint
    red, green, blue = (int(v) for v in np.clip(np.rint(colour), 0, 255))
    level = round(0.3 * red + 0.59 * green + 0.11 * blue)
    return mix((red, green, blue), (level, level, level), _DULLNESS[morph.sex])
