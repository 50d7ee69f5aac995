"""The flowers of the field guide: seven genera of four species."""

from __future__ import annotations

from fgvr.fieldguide.lineage import Genus
from fgvr.fieldguide.species import Species


def _genus(name: str, latin: str, form: str, count: str, colour: str, shape: str, centre: str, leaf: str) -> Genus:
    ancestor = {
        "flower form": form,
        "petal count": count,
        "petal colour": colour,
        "petal shape": shape,
        "centre colour": centre,
        "petal spots": "none",
        "petal edge": "none",
        "leaf shape": leaf,
    }
    return Genus("flower", name, latin, ancestor)


_DAISY = _genus("Daisy", "Solvenia", "disc", "many", "white", "round", "brown", "toothed")
_ASTER = _genus("Aster", "Astrelia", "rayed", "many", "purple", "pointed", "brown", "narrow")
_POPPY = _genus("Poppy", "Rhoedora", "cup", "five", "red", "round", "black", "toothed")
_ANEMONE = _genus("Anemone", "Ventosella", "bowl", "six", "pink", "round", "black", "toothed")
_LILY = _genus("Lily", "Lirianthe", "star", "six", "orange", "pointed", "green", "narrow")
_VIOLET = _genus("Violet", "Iolantha", "lipped", "five", "purple", "round", "white", "round")
_GENTIAN = _genus("Gentian", "Cyanella", "trumpet", "five", "blue", "pointed", "white", "round")

SPECIES: tuple[Species, ...] = (
    _DAISY.species("Meadow", "pratorum", ("Moon-penny", "Maiden's Wheel")),
    _DAISY.species("Yellow-centred", "xanthodisca", ("Golden-eyed Daisy", "Egg Daisy"), centre_colour="yellow"),
    _DAISY.species("Notch-petalled", "emarginata", ("Cleft Daisy",), petal_shape="notched"),
    _DAISY.species("Point-petalled", "acutipetala", ("Sharp-rayed Daisy",), petal_shape="pointed"),
    _ASTER.species("Field", "arvalis", ("Harvest Star", "Goose Aster")),
    _ASTER.species("Yellow-centred", "chrysops", ("Golden-eyed Aster",), centre_colour="yellow"),
    _ASTER.species("White-petalled", "leucantha", ("Snow Aster", "Ghost Star"), petal_colour="white"),
    _ASTER.species("White-edged", "albomarginata", ("Frosted Aster",), petal_edge="white"),
    _POPPY.species("Thresher", "segetum", ("Cornflame", "Headache Flower")),
    _POPPY.species("Notch-petalled", "incisa", ("Cleft Poppy",), petal_shape="notched"),
    _POPPY.species("Spotted", "maculosa", ("Inkblot Poppy", "Freckled Poppy"), petal_spots="few"),
    _POPPY.species("Yellow-centred", "luteocentra", ("Golden-eyed Poppy",), centre_colour="yellow"),
    _ANEMONE.species("Harbour", "portuensis", ("Windlass Flower",)),
    _ANEMONE.species("Eight-petalled", "octopetala", ("Octave Anemone",), petal_count="eight"),
    _ANEMONE.species("White-edged", "niveomarginata", ("Frosted Anemone", "Lace Windflower"), petal_edge="white"),
    _ANEMONE.species("Point-petalled", "acuminata", ("Sharp-rayed Anemone",), petal_shape="pointed"),
    _LILY.species("Lantern", "lampadaria", ("Lamplighter Lily", "Ember Bell")),
    _LILY.species("Spotted", "punctata", ("Freckled Lily", "Leopard Lily"), petal_spots="few"),
    _LILY.species("White-petalled", "candidula", ("Snow Lily",), petal_colour="white"),
    _LILY.species(
        "White-petalled Spotted", "albopunctata", ("Snow Leopard Lily",), petal_colour="white", petal_spots="few"
    ),
    _VIOLET.species("Cottage", "hortulana", ("Gatepost Violet", "Kittenface")),
    _VIOLET.species("Yellow-centred", "flavocentra", ("Golden-eyed Violet",), centre_colour="yellow"),
    _VIOLET.species("Spotted", "guttata", ("Freckled Violet", "Teardrop Violet"), petal_spots="few"),
    _VIOLET.species("White-edged", "limbata", ("Frosted Violet",), petal_edge="white"),
    _GENTIAN.species("Hill", "collina", ("Shepherd's Trumpet",)),
    _GENTIAN.species("Notch-petalled", "retusa", ("Cleft Gentian",), petal_shape="notched"),
    _GENTIAN.species("Eight-petalled", "octoloba", ("Octave Gentian",), petal_count="eight"),
    _GENTIAN.species("Yellow-centred", "xanthostoma", ("Golden-throated Gentian",), centre_colour="yellow"),
)
