"""True names of the five data sets: as listed, with typing errors corrected, and further names that count as right.

The class lists in circulation (the same four code bases share them) hold typing errors, have lost their hyphens in the
folder names used here, and write one name a class. Figures are printed against both; these tables are all there is to
the difference. Scientific names are given for single species only; a class that is a genus ("rose") has none.
"""

from __future__ import annotations

import re

CORRECTED = {
    "cub200": {
        "Artic Tern": "Arctic Tern",
        "Forsters Tern": "Forster's Tern",
        "Chuck-will-Widow": "Chuck-will's-widow",
        "Whip-poor-Will": "Whip-poor-will",
        "Le Conte Sparrow": "Le Conte's Sparrow",
        **{
            f"{who} {what}": f"{who}'s {what}"
            for who, what in (
                ("Brewer", "Blackbird"), ("Brandt", "Cormorant"), ("Heermann", "Gull"), ("Anna", "Hummingbird"),
                ("Clark", "Nutcracker"), ("Scott", "Oriole"), ("Baird", "Sparrow"), ("Brewer", "Sparrow"),
                ("Harris", "Sparrow"), ("Henslow", "Sparrow"), ("Lincoln", "Sparrow"), ("Swainson", "Warbler"),
                ("Wilson", "Warbler"), ("Bewick", "Wren"), ("Nelson", "Sharp-tailed Sparrow"),
            )
        },
    },
    "dogs120": {
        "Chihuaha": "Chihuahua",
        "Pekinese": "Pekingese",
        "Ibizian Hound": "Ibizan Hound",
        "Dandi Dinmont": "Dandie Dinmont",
        "Curly-coater Retriever": "Curly-coated Retriever",
        "German Shepard": "German Shepherd",
        "EntleBucher": "Entlebucher",
        "Bull Mastiff": "Bullmastiff",
    },
    "flowers102": {
        "Colt'S Foot": "Coltsfoot",
        "Barbeton Daisy": "Barberton Daisy",
    },
    "pets37": {"German Shorthaired": "German Shorthaired Pointer", "Wheaten Terrier": "Soft-coated Wheaten Terrier"},
    "cars196": {},
}  # fmt: skip
"""Listed name (hyphens restored) to the name the class means."""

ACCEPTED: dict[str, dict[str, tuple[str, ...]]] = {
    "cub200": {
        "Cardinal": ("Northern Cardinal",),
        "Mockingbird": ("Northern Mockingbird",),
        "Eared Grebe": ("Black-necked Grebe",),
        "Nighthawk": ("Common Nighthawk",),
        "White Pelican": ("American White Pelican",),
        "Sayornis": ("Eastern Phoebe", "Say's Phoebe", "Black Phoebe"),
        "Geococcyx": ("Greater Roadrunner", "Roadrunner"),
        "Florida Jay": ("Florida Scrub-Jay",),
        "Frigatebird": ("Magnificent Frigatebird",),
        "White-breasted Kingfisher": ("White-throated Kingfisher",),
        "Myrtle Warbler": ("Yellow-rumped Warbler",),
        "Whip-poor-Will": ("Eastern Whip-poor-will",),
        "Tree Sparrow": ("American Tree Sparrow",),
        "Great Grey Shrike": ("Northern Shrike",),
        "Nelson Sharp-tailed Sparrow": ("Nelson's Sparrow",),
        "Green Violetear": ("Mexican Violetear",),
        "Gray Catbird": ("Grey Catbird",),
        "American Three-toed Woodpecker": ("Three-toed Woodpecker",),
        "Western Wood Pewee": ("Western Wood-Pewee",),
        "Gray-crowned Rosy Finch": ("Gray-crowned Rosy-Finch",),
        "American Pipit": ("Buff-bellied Pipit",),
    },
    "dogs120": {
        "Japanese Spaniel": ("Japanese Chin",),
        "Maltese Dog": ("Maltese",),
        "Blenheim Spaniel": ("Cavalier King Charles Spaniel", "English Toy Spaniel", "King Charles Spaniel"),
        "Bluetick": ("Bluetick Coonhound",),
        "Walker Hound": ("Treeing Walker Coonhound",),
        "Redbone": ("Redbone Coonhound",),
        "Airedale": ("Airedale Terrier",),
        "Cairn": ("Cairn Terrier",),
        "Dandi Dinmont": ("Dandie Dinmont Terrier",),
        "Boston Bull": ("Boston Terrier",),
        "Scotch Terrier": ("Scottish Terrier",),
        "Lhasa": ("Lhasa Apso",),
        "German Short-haired Pointer": ("German Shorthaired Pointer",),
        "Brittany": ("Brittany Spaniel",),
        "Clumber": ("Clumber Spaniel",),
        "Malinois": ("Belgian Malinois",),
        "Groenendael": ("Belgian Sheepdog", "Belgian Groenendael", "Belgian Shepherd"),
        "Kelpie": ("Australian Kelpie",),
        "Doberman": ("Doberman Pinscher",),
        "German Shepard": ("German Shepherd Dog",),
        "Collie": ("Rough Collie",),
        "Appenzeller": ("Appenzeller Sennenhund",),
        "EntleBucher": ("Entlebucher Mountain Dog", "Entlebucher Sennenhund"),
        "Eskimo Dog": ("American Eskimo Dog", "Canadian Eskimo Dog"),
        "Malamute": ("Alaskan Malamute",),
        "Leonberg": ("Leonberger",),
        "Chow": ("Chow Chow",),
        "Brabancon Griffon": ("Brussels Griffon", "Petit Brabancon"),
        "Pembroke": ("Pembroke Welsh Corgi",),
        "Cardigan": ("Cardigan Welsh Corgi",),
        "Mexican Hairless": ("Xoloitzcuintli", "Mexican Hairless Dog"),
        "African Hunting Dog": ("African Wild Dog",),
        "Staffordshire Bullterrier": ("Staffordshire Bull Terrier",),
        "Wirehaired Fox Terrier": ("Wire Fox Terrier",),
        "English Springer Spaniel": ("English Springer",),
        "Newfoundland": ("Newfoundland Dog",),
        "Great Pyrenees": ("Pyrenean Mountain Dog",),
        "Samoyed": ("Samoyed Dog",),
    },
    "pets37": {
        "Bengal": ("Bengal Cat",),
        "Persian": ("Persian Cat",),
        "Siamese": ("Siamese Cat",),
        "Sphynx": ("Sphynx Cat",),
        "Ragdoll": ("Ragdoll Cat",),
        "Abyssinian": ("Abyssinian Cat",),
        "Birman": ("Birman Cat",),
        "Bombay": ("Bombay Cat",),
        "British Shorthair": ("British Shorthair Cat",),
        "Maine Coon": ("Maine Coon Cat",),
        "Egyptian Mau": ("Egyptian Mau Cat",),
        "Russian Blue": ("Russian Blue Cat",),
        "Newfoundland": ("Newfoundland Dog",),
        "Pomeranian": ("Pomeranian Dog",),
        "Saint Bernard": ("St. Bernard",),
        "American Pit Bull Terrier": ("Pit Bull Terrier", "Pit Bull"),
        "Samoyed": ("Samoyed Dog",),
        "Great Pyrenees": ("Pyrenean Mountain Dog",),
    },
    "flowers102": {
        "Pink Primrose": ("Oenothera Speciosa", "Pink Evening Primrose"),
        "Canterbury Bells": ("Campanula Medium",),
        "Sweet Pea": ("Lathyrus Odoratus", "Sweet Peas"),
        "English Marigold": ("Calendula Officinalis", "Pot Marigold"),
        "Tiger Lily": ("Lilium Lancifolium",),
        "Moon Orchid": ("Phalaenopsis Amabilis", "Moth Orchid"),
        "Bird Of Paradise": ("Strelitzia Reginae", "Bird of Paradise Flower"),
        "Monkshood": ("Aconitum Napellus",),
        "Globe Thistle": ("Echinops Ritro",),
        "Snapdragon": ("Antirrhinum Majus",),
        "Colt'S Foot": ("Tussilago Farfara",),
        "King Protea": ("Protea Cynaroides",),
        "Spear Thistle": ("Cirsium Vulgare",),
        "Yellow Iris": ("Iris Pseudacorus", "Yellow Flag Iris"),
        "Globe Flower": ("Trollius Europaeus", "European Globeflower", "Globeflower"),
        "Purple Coneflower": ("Echinacea Purpurea",),
        "Peruvian Lily": ("Alstroemeria",),
        "Balloon Flower": ("Platycodon Grandiflorus",),
        "Giant White Arum Lily": ("Zantedeschia Aethiopica", "Calla Lily", "Arum Lily"),
        "Pincushion Flower": ("Scabiosa",),
        "Fritillary": ("Fritillaria Meleagris", "Fritillaria", "Snake's Head Fritillary"),
        "Red Ginger": ("Alpinia Purpurata",),
        "Grape Hyacinth": ("Muscari Armeniacum", "Muscari"),
        "Corn Poppy": ("Papaver Rhoeas", "Common Poppy"),
        "Prince Of Wales Feathers": ("Celosia Argentea", "Celosia"),
        "Stemless Gentian": ("Gentiana Acaulis",),
        "Artichoke": ("Cynara Scolymus", "Cynara Cardunculus", "Globe Artichoke"),
        "Sweet William": ("Dianthus Barbatus",),
        "Carnation": ("Dianthus Caryophyllus",),
        "Garden Phlox": ("Phlox Paniculata",),
        "Love In The Mist": ("Nigella Damascena", "Love-in-a-mist"),
        "Mexican Aster": ("Cosmos Bipinnatus", "Garden Cosmos"),
        "Alpine Sea Holly": ("Eryngium Alpinum",),
        "Ruby-lipped Cattleya": ("Cattleya Labiata",),
        "Great Masterwort": ("Astrantia Major",),
        "Siam Tulip": ("Curcuma Alismatifolia",),
        "Lenten Rose": ("Helleborus Orientalis", "Hellebore"),
        "Barbeton Daisy": ("Gerbera Jamesonii", "Gerbera Daisy"),
        "Daffodil": ("Narcissus",),
        "Sword Lily": ("Gladiolus",),
        "Poinsettia": ("Euphorbia Pulcherrima",),
        "Bolero Deep Blue": ("Lisianthus", "Eustoma", "Eustoma Grandiflorum"),
        "Wallflower": ("Erysimum Cheiri", "Wallflowers"),
        "Oxeye Daisy": ("Leucanthemum Vulgare",),
        "Common Dandelion": ("Taraxacum Officinale", "Dandelion"),
        "Wild Pansy": ("Viola Tricolor",),
        "Sunflower": ("Helianthus Annuus", "Common Sunflower"),
        "Gaura": ("Gaura Lindheimeri", "Oenothera Lindheimeri"),
        "Cautleya Spicata": ("Spiked Ginger Lily",),
        "Japanese Anemone": ("Anemone Hupehensis",),
        "Black-eyed Susan": ("Rudbeckia Hirta",),
        "Silverbush": ("Convolvulus Cneorum",),
        "Californian Poppy": ("Eschscholzia Californica", "California Poppy"),
        "Osteospermum": ("African Daisy",),
        "Spring Crocus": ("Crocus Vernus",),
        "Bearded Iris": ("Iris Germanica",),
        "Windflower": ("Wood Anemone", "Anemone Nemorosa"),
        "Tree Poppy": ("Matilija Poppy", "Romneya Coulteri"),
        "Gazania": ("Gazania Rigens",),
        "Thorn Apple": ("Datura Stramonium", "Jimsonweed", "Datura"),
        "Passion Flower": ("Passiflora Caerulea", "Blue Passionflower", "Passionflower", "Passiflora"),
        "Lotus": ("Nelumbo Nucifera", "Sacred Lotus"),
        "Toad Lily": ("Tricyrtis Hirta", "Tricyrtis"),
        "Anthurium": ("Anthurium Andraeanum", "Flamingo Flower"),
        "Frangipani": ("Plumeria", "Plumeria Rubra", "Plumeria Obtusa"),
        "Desert Rose": ("Adenium Obesum",),
        "Cyclamen": ("Cyclamen Persicum",),
        "Watercress": ("Nasturtium Officinale",),
        "Bee Balm": ("Monarda Didyma", "Monarda"),
        "Ball Moss": ("Tillandsia Recurvata",),
        "Foxglove": ("Digitalis Purpurea",),
        "Camellia": ("Camellia Japonica",),
        "Mexican Petunia": ("Ruellia Simplex",),
        "Blanket Flower": ("Gaillardia Pulchella", "Gaillardia"),
        "Trumpet Creeper": ("Campsis Radicans", "Trumpet Vine"),
        "Blackberry Lily": ("Iris Domestica", "Belamcanda Chinensis"),
        "Geranium": ("Cranesbill",),
        "Canna Lily": ("Canna Indica", "Canna"),
    },
    "cars196": {},
}
"""Listed name (hyphens restored) to further names that count as right."""

_HYPHENATED = re.compile(
    r"\b(Black|White|Red|Blue|Green|Yellow|Gray|Golden|Orange|Chestnut|Bay|Dark|Clay|Olive|Slaty|Rose|Groove|Boat|Pied|"
    r"Ring|Ruby|Long|Scissor|Glaucous|Sharp|Three|Worm|Flat|Curly|Soft|Short|Hard) "
    r"(footed|billed|winged|headed|breasted|faced|crowned|sided|tailed|bellied|throated|capped|eyed|necked|backed|"
    r"legged|colored|toed|cockaded|eating|coated|coater|haired|leaved|lipped)\b"
)
_COMPOUNDS = {
    name.replace("-", " "): name
    for name in ("Shih-Tzu", "Black-and-tan Coonhound", "Black-and-white Warbler", "Pink-yellow Dahlia",
                 "Chuck-will-Widow", "Whip-poor-Will", "Cape-Glossy Starling")
}  # fmt: skip
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def listed_name(folder: str, listed: str, dataset: str) -> str:
    """The name as the class lists write it, from the class folder ("004.Shih_Tzu") or, for cars, the list's line.

    Folders have lost the hyphens; those of colour-and-part compounds are put back. The car list writes the year first,
    folders and recorded labels last: it is moved to the end.
    """
    if dataset == "cars196":
        year, _, rest = listed.strip().partition(" ")
        return f"{rest} {year}" if _YEAR.fullmatch(year) else listed.strip()
    plain = " ".join(folder.partition(".")[2].replace("_", " ").split())
    return _COMPOUNDS.get(plain) or _HYPHENATED.sub(r"\1-\2", plain)


def corrected_name(listed: str, dataset: str) -> str:
    """``listed`` without its typing error or lost ending."""
    return CORRECTED[dataset].get(listed, listed)


def accepted_names(listed: str, dataset: str) -> tuple[str, ...]:
    """All names that count as right, the corrected one first; a car may go without its year."""
    names = [corrected_name(listed, dataset), listed, *ACCEPTED[dataset].get(listed, ())]
    if dataset == "cars196":
        names.append(without_year(listed))
    return tuple(dict.fromkeys(names))


def without_year(name: str) -> str:
    """``name`` without a model year."""
    return " ".join(_YEAR.sub(" ", name).split())
