"""Catalogue of the 28 butterflies: seven genera, four siblings each that differ in one or two attributes."""

from __future__ import annotations

from fgvr.fieldguide.species import Species

_KEYS = (
    "forewing colour", "hindwing colour", "border colour", "band colour", "wing tip colour", "eyespots", "tail",
    "veins",
)  # fmt: skip
_FORE, _HIND, _BORDER, _BAND, _TIP, _EYES, _TAIL, _VEINS = _KEYS

_BASE: dict[str, tuple[str, tuple[str, ...]]] = {
    # genus: (Latin genus, values in the order of _KEYS)
    "Swallowtail": ("Papilonia", ("yellow", "yellow", "black", "none", "none", "none", "long", "plain")),
    "Emperor": ("Imperatrix", ("orange", "orange", "black", "none", "none", "none", "none", "dark")),
    "Admiral": ("Vanessula", ("brown", "brown", "black", "white", "none", "none", "none", "plain")),
    "Satyr": ("Satyrina", ("brown", "brown", "none", "none", "none", "one pair", "none", "plain")),
    "Ringlet": ("Aphantella", ("chestnut", "brown", "none", "none", "none", "two pairs", "none", "plain")),
    "Skipper": ("Hesperina", ("orange", "orange", "brown", "none", "none", "none", "none", "plain")),
    "Hairstreak": ("Theclara", ("blue", "blue", "black", "none", "none", "none", "short", "plain")),
}

_ROWS: tuple[tuple[str, str, str, tuple[str, ...], dict[str, str]], ...] = (
    # genus, words before it, Latin epithet, synonyms, what differs from the genus
    ("Swallowtail", "Red-banded", "rubrifascia", ("Red-belted Swallowtail", "Sash Swallowtail"), {_BAND: "red"}),
    ("Swallowtail", "Dark-veined", "nervosa", ("Leaded Swallowtail",), {_VEINS: "dark"}),
    ("Swallowtail", "White-winged", "albipennis", ("Ivory Swallowtail",), {_FORE: "white"}),
    ("Swallowtail", "Orrery", "astralis", ("Star Swallowtail",), {_EYES: "one pair", _BORDER: "blue"}),
    ("Emperor", "White-tipped", "albiapex", ("Frosted Emperor",), {_TIP: "white"}),
    ("Emperor", "Black-banded", "nigrifascia", ("Black-belted Emperor",), {_BAND: "black"}),
    ("Emperor", "Blue-bordered", "cyanolimbata", ("Blue-edged Emperor", "Harbour Emperor"), {_BORDER: "blue"}),
    ("Emperor", "Marlow", "marlowensis", ("Copperhead Emperor",), {_HIND: "yellow"}),
    ("Admiral", "Red-banded", "miniata", ("Red-belted Admiral",), {_BAND: "red"}),
    ("Admiral", "White-tipped", "apicalis", ("Frosted Admiral",), {_TIP: "white"}),
    ("Admiral", "Twin-eyed Blue-bordered", "biocellata", ("Peacock Admiral",), {_EYES: "two pairs", _BORDER: "blue"}),
    ("Admiral", "Quayside", "portuensis", ("Mooring Admiral",), {_HIND: "orange"}),
    ("Satyr", "White-banded", "albicincta", ("White-belted Satyr",), {_BAND: "white"}),
    ("Satyr", "Orange-tipped", "aurantiapex", ("Flame-tipped Satyr",), {_TIP: "orange"}),
    ("Satyr", "Twin-eyed", "geminata", ("Four-ringed Satyr", "Owlet Satyr"), {_EYES: "two pairs"}),
    ("Satyr", "Gloaming", "crepuscula", ("Dimsey Satyr",), {_HIND: "purple"}),
    ("Ringlet", "White-banded", "albifascia", ("White-belted Ringlet",), {_BAND: "white"}),
    ("Ringlet", "Single-eyed", "monocula", ("Wink Ringlet",), {_EYES: "one pair"}),
    ("Ringlet", "White-winged", "leucoptera", ("Ghost Ringlet",), {_FORE: "white"}),
    ("Ringlet", "Tussock", "caespitosa", ("Moorgrass Ringlet",), {_BORDER: "yellow"}),
    ("Skipper", "Black-banded", "nigricincta", ("Black-belted Skipper",), {_BAND: "black"}),
    ("Skipper", "Dark-veined", "venata", ("Netted Skipper", "Lattice Skipper"), {_VEINS: "dark"}),
    ("Skipper", "Single-eyed", "ocellata", ("Pupil Skipper",), {_EYES: "one pair"}),
    ("Skipper", "Hesper", "vespera", ("Lamplight Skipper",), {_TIP: "black", _HIND: "buff"}),
    ("Hairstreak", "Long-tailed", "caudata", ("Ribbon Hairstreak",), {_TAIL: "long"}),
    ("Hairstreak", "Orange-tipped Long-tailed", "igniapex", ("Match Hairstreak",), {_TIP: "orange", _TAIL: "long"}),
    ("Hairstreak", "White-winged", "candida", ("Chalk Hairstreak",), {_FORE: "white"}),
    ("Hairstreak", "Elowen's", "elowenae", ("Blackthorn Hairstreak",), {_BAND: "yellow"}),
)


def _species(genus: str, words: str, epithet: str, synonyms: tuple[str, ...], changes: dict[str, str]) -> Species:
    latin, values = _BASE[genus]
    name = f"{words} {genus}"
    key = "butterfly_" + name.lower().replace("'", "").replace("-", "_").replace(" ", "_")
    attributes = dict(zip(_KEYS, values, strict=True)) | changes
    return Species(key, name, f"{latin} {epithet}", genus, "butterfly", synonyms, attributes)


SPECIES: tuple[Species, ...] = tuple(_species(*row) for row in _ROWS)
