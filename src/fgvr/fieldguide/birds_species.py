"""Catalogue of the 40 birds: ten genera, four siblings each that differ in one or two attributes."""

from __future__ import annotations

from fgvr.fieldguide.species import Species

_KEYS = (
    "crown colour", "back colour", "throat colour", "breast colour", "breast pattern", "wing bars", "eye stripe",
    "rump colour", "tail shape",
)  # fmt: skip

_BASE: dict[str, tuple[str, str]] = {
    # genus: (Latin genus, values in the order of _KEYS)
    "Warbler": ("Setavia", "olive olive yellow yellow plain none none olive square"),
    "Vireo": ("Virentia", "olive olive white yellow plain none white olive square"),
    "Finch": ("Fringalis", "brown brown pink pink plain one none brown square"),
    "Sparrow": ("Passerula", "chestnut brown white grey plain one none brown square"),
    "Wren": ("Troglonia", "brown chestnut white buff plain none white chestnut rounded"),
    "Kingfisher": ("Alcedura", "blue blue white orange plain none none blue square"),
    "Plover": ("Charadrina", "brown brown white white plain none white brown square"),
    "Woodpecker": ("Picoides", "black black white white plain two white black square"),
    "Hummingbird": ("Trochilia", "green green purple white plain none none green rounded"),
    "Duck": ("Anatella", "brown grey white buff plain one none grey rounded"),
}

_CROWN, _BACK, _THROAT, _BREAST, _PATTERN, _BARS, _BROW, _RUMP, _TAIL = _KEYS

_ROWS: tuple[tuple[str, str, str, tuple[str, ...], dict[str, str]], ...] = (
    # genus, words before it, Latin epithet, synonyms, what differs from the genus
    ("Warbler", "Black-capped", "nigricapilla", ("Black-crowned Warbler", "Monk Warbler"), {_CROWN: "black"}),
    ("Warbler", "Black-throated Two-barred", "gularis", ("Bib Warbler",), {_THROAT: "black", _BARS: "two"}),
    ("Warbler", "Streak-breasted", "striata", ("Streaky Warbler",), {_PATTERN: "streaked"}),
    ("Warbler", "Tolland", "tollandi", ("Withy Warbler",), {_BROW: "white", _BACK: "grey"}),
    ("Vireo", "Two-barred", "bivittata", ("Double-barred Vireo", "Ladder Vireo"), {_BARS: "two"}),
    ("Vireo", "Grey-capped", "griseicapilla", ("Grey-crowned Vireo",), {_CROWN: "grey"}),
    ("Vireo", "Black-browed", "nigrisupercilium", ("Masked Vireo",), {_BROW: "black"}),
    ("Vireo", "Tamsin's", "tamsinae", ("Primrose Greenlet",), {_THROAT: "yellow", _RUMP: "yellow"}),
    ("Finch", "Red-capped", "rubricapilla", ("Red-crowned Finch", "Ember Finch"), {_CROWN: "red"}),
    ("Finch", "White-rumped", "albirumpa", ("Snowback Finch",), {_RUMP: "white"}),
    (
        "Finch",
        "Fork-tailed Streak-breasted",
        "furcata",
        ("Forked Streaky Finch",),
        {_TAIL: "forked", _PATTERN: "streaked"},
    ),
    ("Finch", "Harrow", "agrorum", ("Stubble Finch",), {_BREAST: "yellow", _THROAT: "yellow"}),
    ("Sparrow", "White-browed", "albisupercilium", ("White-eyebrowed Sparrow", "Hedge Dunling"), {_BROW: "white"}),
    ("Sparrow", "Black-throated", "nigrigularis", ("Bibbed Sparrow",), {_THROAT: "black"}),
    ("Sparrow", "Spot-breasted", "maculipectus", ("Speckle-breasted Sparrow",), {_PATTERN: "spotted"}),
    ("Sparrow", "Fenlight", "paludicola", ("Reed Dunling",), {_CROWN: "grey", _BARS: "two"}),
    ("Wren", "Long-tailed", "longicauda", ("Wagging Wren", "Whip-tailed Wren"), {_TAIL: "long"}),
    ("Wren", "Grey-capped", "griseiceps", ("Grey-crowned Wren",), {_CROWN: "grey"}),
    ("Wren", "Spot-breasted", "guttata", ("Thrush Wren",), {_PATTERN: "spotted"}),
    ("Wren", "Mabel's", "mabelae", ("Chimney Wren",), {_THROAT: "black", _BROW: "none"}),
    ("Kingfisher", "Black-capped", "atricapilla", ("Black-crowned Kingfisher",), {_CROWN: "black"}),
    ("Kingfisher", "White-rumped", "leucopyga", ("Flash Kingfisher",), {_RUMP: "white"}),
    ("Kingfisher", "Green-backed", "viridorsalis", ("Green-mantled Kingfisher", "Alder Halcyon"), {_BACK: "green"}),
    ("Kingfisher", "Orrin", "orrinensis", ("Weir Halcyon",), {_BREAST: "white"}),
    ("Plover", "Black-breasted", "nigripectus", ("Soot-breasted Plover", "Waistcoat Plover"), {_BREAST: "black"}),
    ("Plover", "Chestnut-capped", "castaneiceps", ("Chestnut-crowned Plover",), {_CROWN: "chestnut"}),
    ("Plover", "Black-browed", "atrisupercilium", ("Bandit Plover",), {_BROW: "black"}),
    ("Plover", "Shingle", "litoralis", ("Pebble Plover",), {_PATTERN: "spotted", _BACK: "grey"}),
    ("Woodpecker", "Red-capped", "rubriceps", ("Red-crowned Woodpecker", "Poppy Woodpecker"), {_CROWN: "red"}),
    ("Woodpecker", "Red-throated", "rubrigularis", ("Red-bibbed Woodpecker",), {_THROAT: "red"}),
    ("Woodpecker", "Green-backed", "viridis", ("Green-mantled Woodpecker",), {_BACK: "green"}),
    ("Woodpecker", "Ashgrove", "fraxinea", ("Coppice Woodpecker",), {_BREAST: "yellow", _BARS: "none"}),
    ("Hummingbird", "Red-throated", "ignigula", ("Red-gorgeted Hummingbird",), {_THROAT: "red"}),
    ("Hummingbird", "Long-tailed", "caudata", ("Streamer Hummingbird",), {_TAIL: "long"}),
    ("Hummingbird", "Fork-tailed", "furcicauda", ("Scissor Hummingbird",), {_TAIL: "forked"}),
    ("Hummingbird", "Lantern", "lucifera", ("Dusk Hummingbird",), {_BREAST: "orange"}),
    ("Duck", "Chestnut-capped", "badiiceps", ("Chestnut-crowned Duck",), {_CROWN: "chestnut"}),
    ("Duck", "Black-breasted", "melanothorax", ("Soot-breasted Duck", "Collier Duck"), {_BREAST: "black"}),
    ("Duck", "White-browed", "leucophrys", ("White-eyebrowed Duck",), {_BROW: "white"}),
    ("Duck", "Mereside", "lacustris", ("Tarn Duck",), {_THROAT: "black", _PATTERN: "spotted"}),
)


def _species(genus: str, words: str, epithet: str, synonyms: tuple[str, ...], changes: dict[str, str]) -> Species:
    latin, values = _BASE[genus]
    name = f"{words} {genus}"
    key = "bird_" + name.lower().replace("'", "").replace("-", "_").replace(" ", "_")
    attributes = dict(zip(_KEYS, values.split(), strict=True)) | changes
    return Species(key, name, f"{latin} {epithet}", genus, "bird", synonyms, attributes)


SPECIES: tuple[Species, ...] = tuple(_species(*row) for row in _ROWS)
