"""What FineR asks, in the wording of its released code, and the super-categories it asks about.

1. *Super-category.* The released question names a closed list of six ("car, bird, flower, dog, cat, or Pokemon"), and
   the last word of each answer is counted. ``IDENTIFY_RELEASED`` keeps it; the default is open: ``IDENTIFY``, the
   house's own question for what a collection shows, asked about one picture.
2. *How-to.* One text for every super-category, with the birds' list as example, as released. The unit ("species",
   "breeds") is released for six super-categories; any other has "species". The released text for cars lists 24 class
   names of Stanford Cars: a leak of how the true names are written. Not here: cars are asked about like the rest.
3. *Describe.* The birds' wording, with "in this image", for every super-category and attribute; the released code says
   "photo" for the others, asks "How many" for counts and "What is" for the habitat.
4. *Guess.* The birds' wording with the unit put in, without the indentation of the released source; the flowers' "in
   the United Kingdom" and the cars' "Mercedes-Benz C-Class Sedan 2012" tell of the data set and are left out. The text
   speaks of triple backticks but uses triple quotes; kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from fgvr.naming.prompts import META_PROMPT

SYSTEM = "You are a helpful assistant."
IDENTIFY = META_PROMPT
IDENTIFY_RELEASED = (
    "Question: What is the category (car, bird, flower, dog, cat, or Pokemon) of the main object in this image? Answer:"
)
GENERAL = "General Description"
DESCRIBE = "Describe this image in details."
UNITS = MappingProxyType(
    {
        "bird": ("species", "species"),
        "car": ("model", "models"),
        "dog": ("breed", "breeds"),
        "cat": ("breed", "breeds"),
        "pet": ("breed", "breeds"),
        "flower": ("category", "categories"),
        "pokemon": ("name", "names"),
    }
)
"""(singular, plural) of what is told apart, as the released code has it."""
_BIRD_ATTRIBUTES = """\
['bill shape', 'wing color', 'upperparts color', 'underparts color', 'breast pattern',
'back color', 'tail shape', 'upper tail color', 'head pattern', 'breast color',
'throat color', 'eye color', 'bill length', 'forehead color', 'under tail color',
'nape color', 'belly color', 'wing shape', 'size', 'shape',
'back pattern', 'tail pattern', 'belly pattern', 'primary color', 'leg color',
'bill color', 'crown color', 'wing pattern', 'habitat']"""
_HOW_TO = """
Your task is to tell me what are the useful attributes for distinguishing {kind} {units} in a photo of a {kind}.

Specifically, you can complete the task by following the instructions below:
1 - I give you an example delimited by <> about what are the useful attributes for distinguishing bird species in 
a photo of a bird. You should understand and learn this example carefully.
2 - List the useful attributes for distinguishing {kind} {units} in a photo of a {kind}.
3 - Output a Python list object that contains the listed useful attributes.

===
<bird species>
The useful attributes for distinguishing bird species in a photo of a bird:
{example}
===

===
<{kind} {units}>
The useful attributes for distinguishing {kind} {units} in a photo of a {kind}:
===
"""
_GUESS = """
I have a photo of a {kind}.
Your task is to perform the following actions:
1 - Summarize the information you get about the {kind} from the general description and attribute description \
delimited by triple backticks with five sentences.
2 - Infer and list three possible {unit} name of the {kind} in this photo based on the information you get.
3 - Output a JSON object that uses the following format
<three possible {units}>: [
        <first sentence of the summary>,
        <second sentence of the summary>,
        <third sentence of the summary>,
        <fourth sentence of the summary>,
        <fifth sentence of the summary>,
]

Use the following format to perform the aforementioned tasks:
General Description: '''general description of the photo'''
Attributes List:
- '''attribute name''': '''attribute description'''
- '''attribute name''': '''attribute description'''
- ...
- '''attribute name''': '''attribute description'''
Summary: <summary>
Three possible {units}: <three possible {unit} names>
Output JSON: <output JSON object>

'''General Description''': '''{general}'''

Attributes List:
{pairs}
"""


def how_to_prompt(kind: str) -> str:
    """Which attributes tell the species of ``kind`` ("bird") apart."""
    return _HOW_TO.format(kind=kind, units=units_of(kind)[1], example=_BIRD_ATTRIBUTES)


def describe_prompt(attribute: str, kind: str) -> str:
    """One attribute of what a picture shows."""
    return f"Describe the {attribute} of the {kind} in this image."


def guess_prompt(kind: str, general: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Three names from a general description and (attribute, description) pairs; all of them fit to stand in it."""
    unit, units = units_of(kind)
    lines = "\n".join(f"- '''{attribute}''': '''{answer}'''" for attribute, answer in pairs)
    return _GUESS.format(kind=kind, unit=unit, units=units, general=general, pairs=lines)


def units_of(kind: str) -> tuple[str, str]:
    """(singular, plural) of what is told apart among ``kind``: species, unless the released code says otherwise."""
    return UNITS.get(kind, ("species", "species"))


_SAME = frozenset(["bus", "glass", "gas", "lens", "series", "species", "fungus", "cactus", "octopus", "virus"])


def singular(noun: str) -> str:
    """``butterflies`` to ``butterfly``, ``boxes`` to ``box``, ``birds`` to ``bird``; other words stay."""
    if noun in _SAME or len(noun) < 4 or noun.endswith("ss"):
        return noun
    if noun.endswith("ies") and len(noun) > 5:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") else noun


def plural(noun: str) -> str:
    """``butterfly`` to ``butterflies``, ``box`` to ``boxes``, ``fish`` and ``species`` as they are."""
    if noun in ("fish", "sheep", "deer", "aircraft", "species", "series"):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
