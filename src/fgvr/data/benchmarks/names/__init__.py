"""True names of five data sets: as published, with typing errors corrected, and further names that count as right.

The class lists in circulation (the same four code bases share them) hold typing errors, have lost their hyphens in some
folder names, and write one name a class. Figures are printed against both; these tables, one file a data set, are all
there is to the difference. Scientific names are given for single species only; a class that is a genus ("rose") has
none.

A class has a *listed* name, by which the tables know it; a *published* spelling, which published figures were computed
with; a *corrected* name, which is the default everywhere; and *accepted* names, any of which counts as right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from fgvr.data.benchmarks.names import cars, cub, dogs, flowers, pets
from fgvr.errors import InputError

_TABLES = {"cub200": cub, "dogs120": dogs, "flowers102": flowers, "pets37": pets, "cars196": cars}

LISTED: dict[str, tuple[str, ...]] = {dataset: table.LISTED for dataset, table in _TABLES.items()}
"""Class names as listed, in each data set's own order."""
CORRECTED: dict[str, dict[str, str]] = {dataset: table.CORRECTED for dataset, table in _TABLES.items()}
"""Listed name to the name the class means."""
ACCEPTED: dict[str, dict[str, tuple[str, ...]]] = {dataset: table.ACCEPTED for dataset, table in _TABLES.items()}
"""Listed name to further names that count as right."""
PUBLISHED: dict[str, dict[str, str]] = {dataset: table.PUBLISHED for dataset, table in _TABLES.items()}
"""Listed name to its spelling in the list behind the published tables, where that differs."""

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
        return year_last(listed)
    plain = " ".join(folder.partition(".")[2].replace("_", " ").split())
    return _COMPOUNDS.get(plain) or _HYPHENATED.sub(r"\1-\2", plain)


def find_listed(text: str, dataset: str) -> str | None:
    """The listed name of the class that ``text`` spells; ``None`` when the data set has no such class.

    ``text`` is the data set's own spelling ("n02088238-basset", "013.Bobolink", "american_bulldog"), a published one
    or a corrected one; number, case, hyphens, underscores and apostrophes do not matter.
    """
    return _spellings(dataset).get(_plain(re.sub(r"^(?:n\d{8}-|\d{1,3}\.)", "", text.strip())))


def published_name(listed: str, dataset: str) -> str:
    """``listed`` letter by letter as in the list behind the published tables."""
    return PUBLISHED[dataset].get(listed, listed)


def corrected_name(listed: str, dataset: str) -> str:
    """``listed`` without its typing error or lost ending."""
    return CORRECTED[dataset].get(listed, listed)


def accepted_names(listed: str, dataset: str) -> tuple[str, ...]:
    """All names that count as right, the corrected one first.

    A car may go without its year, except where a second class differs by the year alone: the name would be both.
    """
    names = [corrected_name(listed, dataset), listed, *ACCEPTED[dataset].get(listed, ())]
    if dataset == "cars196" and without_year(listed) not in _ambiguous_cars():
        names.append(without_year(listed))
    return tuple(dict.fromkeys(names))


def class_names(dataset: str, *, original: bool = False) -> tuple[str, ...]:
    """(C) names in the data set's own order: corrected, or as in the list behind the published tables."""
    if dataset not in LISTED:
        raise InputError(f"there is no list of names for {dataset!r}", remedy=f"Known are {', '.join(LISTED)}.")
    name = published_name if original else corrected_name
    return tuple(name(listed, dataset) for listed in LISTED[dataset])


def without_year(name: str) -> str:
    """``name`` without a model year."""
    return " ".join(_YEAR.sub(" ", name).split())


def year_last(name: str) -> str:
    """ "2012 Audi A5 Coupe" to "Audi A5 Coupe 2012"; anything else as it is."""
    year, _, rest = name.strip().partition(" ")
    return f"{rest} {year}" if rest and _YEAR.fullmatch(year) else name.strip()


def year_first(name: str) -> str:
    """ "Audi A5 Coupe 2012" to "2012 Audi A5 Coupe", as CoOp's lists write it; anything else as it is."""
    rest, _, year = name.strip().rpartition(" ")
    return f"{year} {rest}" if rest and _YEAR.fullmatch(year) else name.strip()


def shifted_names(names: Sequence[str], *, by: int = -1) -> tuple[str, ...]:
    """(C) for each class the name ``by`` places further on the list; the first class gets the last name for -1.

    FineR's ``CarDataset`` takes 1 off the 1-based label twice, once when it reads the file and once when it gives out
    an image; e-finer and FiNDR kept the lines. Test labels then run from -1 to 194, and Python reads -1 as the last.
    cACC does not change by this, sACC and sIOU on cars are computed against the name of the class before. Score with
    these names to compare with published figures, with ``names`` themselves to know how good a method is.
    """
    return tuple(names[(index + by) % len(names)] for index in range(len(names)))


@cache
def _spellings(dataset: str) -> dict[str, str]:
    table = _TABLES[dataset]
    found = dict(getattr(table, "DISTRIBUTED", {}))
    for listed in table.LISTED:
        spelled = (listed, published_name(listed, dataset), corrected_name(listed, dataset))
        found.update({_plain(text): listed for text in spelled})
        if dataset == "cars196":
            found[_plain(year_first(listed))] = listed
    return found


@cache
def _ambiguous_cars() -> frozenset[str]:
    counted = Counter(without_year(listed) for listed in LISTED["cars196"])
    return frozenset(name for name, count in counted.items() if count > 1)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[-_/]", " ", text).replace("'", "").replace("’", "").casefold().split())
