"""The fish of the field guide: five genera of four species."""

from __future__ import annotations

from fgvr.fieldguide.lineage import Genus
from fgvr.fieldguide.species import Species


def _genus(name: str, latin: str, form: str, body: str, tail: str, belly: str) -> Genus:
    ancestor = {
        "body form": form,
        "body colour": body,
        "bars": "none",
        "lines": "none",
        "tail shape": tail,
        "dorsal fin colour": body,
        "tail spot": "none",
        "belly colour": belly,
    }
    return Genus("fish", name, latin, ancestor)


_WRASSE = _genus("Wrasse", "Labridion", "slender", "green", "round", "yellow")
_PERCH = _genus("Perch", "Percalia", "sturdy", "olive", "forked", "white")
_ANGELFISH = _genus("Angelfish", "Pteranella", "tall", "grey", "lyre", "white")
_GOBY = _genus("Goby", "Gobiaster", "low", "buff", "round", "white")
_DAMSEL = _genus("Damsel", "Chromella", "oval", "yellow", "forked", "orange")

SPECIES: tuple[Species, ...] = (
    _WRASSE.species("Kelp", "laminariae", ("Tangle Wrasse", "Old Wife of the Weed")),
    _WRASSE.species("Fork-tailed", "furcata", ("Swallow-tailed Wrasse",), tail_shape="forked"),
    _WRASSE.species("Spot-tailed", "caudimacula", ("Eye-tailed Wrasse", "Seal-mark Wrasse"), tail_spot="black"),
    _WRASSE.species("Lined", "lineata", ("Pinstripe Wrasse",), lines="black"),
    _PERCH.species("Mill", "molaris", ("Weir Perch", "Millpond Jack")),
    _PERCH.species("Red-finned", "erythroptera", ("Flame-finned Perch",), dorsal_fin_colour="red"),
    _PERCH.species("Lyre-tailed", "lyrura", ("Harp-tailed Perch",), tail_shape="lyre"),
    _PERCH.species("Barred", "fasciata", ("Zebra Perch", "Convict Perch"), bars="black"),
    _ANGELFISH.species("Moon", "selenaria", ("Silver Dollar Angel",)),
    _ANGELFISH.species("Barred", "zonata", ("Zebra Angelfish",), bars="black"),
    _ANGELFISH.species("Blue-finned", "cyanoptera", ("Azure-finned Angelfish",), dorsal_fin_colour="blue"),
    _ANGELFISH.species("Fork-tailed", "bifurca", ("Swallow-tailed Angelfish", "Kite Angel"), tail_shape="forked"),
    _GOBY.species("Brindle", "hispida", ("Quay Goby", "Mud Tom")),
    _GOBY.species("Lined", "striolata", ("Pinstripe Goby",), lines="black"),
    _GOBY.species("Spot-tailed", "uropunctata", ("Eye-tailed Goby",), tail_spot="black"),
    _GOBY.species("Lined Spot-tailed", "lineomacula", ("Pinstripe Eye-tailed Goby",), lines="black", tail_spot="black"),
    _DAMSEL.species("Tinker", "ferraria", ("Tinsel Damsel", "Brass Button")),
    _DAMSEL.species("Blue-finned", "caeruleipinnis", ("Azure-finned Damsel",), dorsal_fin_colour="blue"),
    _DAMSEL.species("Red-finned", "rubripinnis", ("Flame-finned Damsel",), dorsal_fin_colour="red"),
    _DAMSEL.species("Lyre-tailed", "citharura", ("Harp-tailed Damsel",), tail_shape="lyre"),
)
