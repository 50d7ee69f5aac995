"""The beetles of the field guide: five genera of four species."""

from __future__ import annotations

from fgvr.fieldguide.lineage import Genus
from fgvr.fieldguide.species import Species


def _genus(
    name: str, latin: str, form: str, elytra: str, pronotum: str, legs: str, spots: tuple[str, str] = ("none", "none")
) -> Genus:
    ancestor = {
        "body form": form,
        "elytra colour": elytra,
        "spot count": spots[0],
        "spot colour": spots[1],
        "pronotum colour": pronotum,
        "horn": "none",
        "antennae": "long" if form == "long" else "short",
        "band": "none",
        "leg colour": legs,
    }
    return Genus("beetle", name, latin, ancestor)


_LADYBIRD = _genus("Ladybird", "Globellina", "round", "red", "black", "black", ("four", "black"))
_LONGHORN = _genus("Longhorn", "Ceramacera", "long", "blue", "blue", "black")
_CHAFER = _genus("Chafer", "Aurelontha", "broad", "green", "green", "brown")
_GROUND = _genus("Ground Beetle", "Terricarabus", "waisted", "black", "black", "black", ("four", "orange"))
_WEEVIL = _genus("Weevil", "Rhynchidion", "snouted", "brown", "brown", "black")

SPECIES: tuple[Species, ...] = (
    _LADYBIRD.species("Cushion", "pulvinata", ("Bishop Barnaby", "Button Cow")),
    _LADYBIRD.species("Two-spotted", "bipunctella", ("Domino Ladybird",), spot_count="two"),
    _LADYBIRD.species("Seven-spotted", "septempunctella", ("Week-day Ladybird",), spot_count="seven"),
    _LADYBIRD.species("Yellow-necked", "flavicollis", ("Gold-collared Ladybird",), pronotum_colour="yellow"),
    _LONGHORN.species("Harp", "cithara", ("Fiddler Longhorn", "Timber Musician")),
    _LONGHORN.species("Red-necked", "ruficollis", ("Scarlet-collared Longhorn",), pronotum_colour="red"),
    _LONGHORN.species("Yellow-banded", "cingulata", ("Gold-belted Longhorn",), band="yellow"),
    _LONGHORN.species("Red-legged", "rufipes", ("Scarlet-shanked Longhorn",), leg_colour="red"),
    _CHAFER.species("Harrow", "agraria", ("Rose Hummer", "Ploughman's Chafer")),
    _CHAFER.species("Horned", "cornuta", ("Unicorn Chafer",), horn="long"),
    _CHAFER.species("Yellow-banded", "zonaria", ("Gold-belted Chafer",), band="yellow"),
    _CHAFER.species("Horned Yellow-banded", "cornuzona", ("Gold-belted Unicorn Chafer",), horn="long", band="yellow"),
    _GROUND.species("Chapel", "capellae", ("Sexton Runner", "Vestry Beetle")),
    _GROUND.species("Two-spotted", "bimaculata", ("Domino Ground Beetle",), spot_count="two"),
    _GROUND.species("Seven-spotted", "septemguttata", ("Week-day Ground Beetle",), spot_count="seven"),
    _GROUND.species("Red-legged", "erythropoda", ("Scarlet-shanked Ground Beetle",), leg_colour="red"),
    _WEEVIL.species("Tallow", "sebacea", ("Chandler's Weevil", "Candle Snout")),
    _WEEVIL.species("Yellow-necked", "luteicollis", ("Gold-collared Weevil",), pronotum_colour="yellow"),
    _WEEVIL.species("Red-necked", "rubricollis", ("Scarlet-collared Weevil",), pronotum_colour="red"),
    _WEEVIL.species("Yellow-banded", "balteata", ("Gold-belted Weevil",), band="yellow"),
)
