"""Oxford-IIIT Pets: the 37 classes in the order of ``annotations/list.txt``, which writes underscores for blanks."""

LISTED = (
    "Abyssinian", "American Bulldog", "American Pit Bull Terrier", "Basset Hound", "Beagle", "Bengal", "Birman",
    "Bombay", "Boxer", "British Shorthair", "Chihuahua", "Egyptian Mau", "English Cocker Spaniel", "English Setter",
    "German Shorthaired", "Great Pyrenees", "Havanese", "Japanese Chin", "Keeshond", "Leonberger", "Maine Coon",
    "Miniature Pinscher", "Newfoundland", "Persian", "Pomeranian", "Pug", "Ragdoll", "Russian Blue", "Saint Bernard",
    "Samoyed", "Scottish Terrier", "Shiba Inu", "Siamese", "Sphynx", "Staffordshire Bull Terrier", "Wheaten Terrier",
    "Yorkshire Terrier",
)  # fmt: skip
"""Class names as listed (hyphens put back where the folder names of the recordings lost them)."""

PUBLISHED: dict[str, str] = {}
"""Listed name to its exact spelling in the list behind the published tables, where the two differ."""

CORRECTED = {
    "German Shorthaired": "German Shorthaired Pointer",
    "Wheaten Terrier": "Soft-coated Wheaten Terrier",
}
"""Listed name to the name the class means."""

ACCEPTED: dict[str, tuple[str, ...]] = {
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
}
"""Listed name to further names that count as right."""
