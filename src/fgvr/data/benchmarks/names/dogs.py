"""Stanford Dogs: the 120 classes in the order of their WordNet numbers, as in its lists.

``LISTED`` is the list behind the published tables, with typing errors the data set itself does not have (its folders
say "Chihuahua", "Ibizan_hound", "Dandie_Dinmont", "curly-coated_retriever", "German_shepherd").
"""

LISTED = (
    "Chihuaha", "Japanese Spaniel", "Maltese Dog", "Pekinese", "Shih-Tzu", "Blenheim Spaniel", "Papillon",
    "Toy Terrier", "Rhodesian Ridgeback", "Afghan Hound", "Basset Hound", "Beagle", "Bloodhound", "Bluetick",
    "Black-and-tan Coonhound", "Walker Hound", "English Foxhound", "Redbone", "Borzoi", "Irish Wolfhound",
    "Italian Greyhound", "Whippet", "Ibizian Hound", "Norwegian Elkhound", "Otterhound", "Saluki",
    "Scottish Deerhound", "Weimaraner", "Staffordshire Bullterrier", "American Staffordshire Terrier",
    "Bedlington Terrier", "Border Terrier", "Kerry Blue Terrier", "Irish Terrier", "Norfolk Terrier",
    "Norwich Terrier", "Yorkshire Terrier", "Wirehaired Fox Terrier", "Lakeland Terrier", "Sealyham Terrier",
    "Airedale", "Cairn", "Australian Terrier", "Dandi Dinmont", "Boston Bull", "Miniature Schnauzer",
    "Giant Schnauzer", "Standard Schnauzer", "Scotch Terrier", "Tibetan Terrier", "Silky Terrier",
    "Soft-coated Wheaten Terrier", "West Highland White Terrier", "Lhasa", "Flat-coated Retriever",
    "Curly-coater Retriever", "Golden Retriever", "Labrador Retriever", "Chesapeake Bay Retriever",
    "German Short-haired Pointer", "Vizsla", "English Setter", "Irish Setter", "Gordon Setter", "Brittany",
    "Clumber", "English Springer Spaniel", "Welsh Springer Spaniel", "Cocker Spaniel", "Sussex Spaniel",
    "Irish Water Spaniel", "Kuvasz", "Schipperke", "Groenendael", "Malinois", "Briard", "Kelpie", "Komondor",
    "Old English Sheepdog", "Shetland Sheepdog", "Collie", "Border Collie", "Bouvier des Flandres", "Rottweiler",
    "German Shepard", "Doberman", "Miniature Pinscher", "Greater Swiss Mountain Dog", "Bernese Mountain Dog",
    "Appenzeller", "EntleBucher", "Boxer", "Bull Mastiff", "Tibetan Mastiff", "French Bulldog", "Great Dane",
    "Saint Bernard", "Eskimo Dog", "Malamute", "Siberian Husky", "Affenpinscher", "Basenji", "Pug", "Leonberg",
    "Newfoundland", "Great Pyrenees", "Samoyed", "Pomeranian", "Chow", "Keeshond", "Brabancon Griffon", "Pembroke",
    "Cardigan", "Toy Poodle", "Miniature Poodle", "Standard Poodle", "Mexican Hairless", "Dingo", "Dhole",
    "African Hunting Dog",
)  # fmt: skip
"""Class names as listed (hyphens put back where the folder names of the recordings lost them)."""

PUBLISHED: dict[str, str] = {}
"""Listed name to its exact spelling in the list behind the published tables, where the two differ."""

DISTRIBUTED = {
    "basset": "Basset Hound",
    "wire haired fox terrier": "Wirehaired Fox Terrier",
    "brittany spaniel": "Brittany",
    "english springer": "English Springer Spaniel",
}
"""The data set's own folder names (without number, in small letters) that differ by a word, to the listed name."""

CORRECTED = {
    "Chihuaha": "Chihuahua",
    "Pekinese": "Pekingese",
    "Ibizian Hound": "Ibizan Hound",
    "Dandi Dinmont": "Dandie Dinmont",
    "Curly-coater Retriever": "Curly-coated Retriever",
    "German Shepard": "German Shepherd",
    "EntleBucher": "Entlebucher",
    "Bull Mastiff": "Bullmastiff",
}
"""Listed name to the name the class means."""

ACCEPTED: dict[str, tuple[str, ...]] = {
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
}
"""Listed name to further names that count as right."""
